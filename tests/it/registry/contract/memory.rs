//! A store in memory that is simple enough to be right: the contract says what it means, and the properties compare with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use pushmaild::mailbox::Username;
use pushmaild::registry::{Key, Registration, Store, StoreError, Timestamp, Topic, Transaction, VisitRecord};
use pushmaild::stamp::Stamps;

use super::Place;

/// A place whose stores all see the same memory.
#[derive(Clone, Default)]
pub(in crate::registry) struct Model(Arc<Mutex<Kept>>);

#[derive(Clone, Default)]
struct Kept {
    registrations: BTreeMap<Key, Registration>,
    opted_out: Vec<Username>,
    last_topic: Option<Topic>,
    /// None until there have been any.
    records: Option<BTreeMap<PathBuf, Stamps>>,
    commits: u64,
}

struct ModelStore {
    model: Model,
    seen: u64,
}

impl Model {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for Model {
    fn fresh() -> Self {
        Self::default()
    }

    fn try_open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(ModelStore { model: self.clone(), seen: self.lock().commits }))
    }
}

impl Store for ModelStore {
    fn transaction(
        &mut self,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut next = self.model.lock().clone();
        work(&mut next)?;
        // With two writers at once the last would win; only the opening of many is such a case.
        let mut kept = self.model.lock();
        let others = kept.registrations.clone();
        if kept.commits != next.commits {
            next.registrations.extend(others);
        }
        next.commits = kept.commits + 1;
        *kept = next;
        self.seen += 1;
        Ok(())
    }

    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
        self.model.lock().of_user(user)
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(Registration)) -> Result<(), StoreError> {
        let kept = self.model.lock().clone();
        kept.registrations.into_values().for_each(visit);
        Ok(())
    }

    fn live_users(&mut self, visit: &mut dyn FnMut(Username)) -> Result<(), StoreError> {
        let kept = self.model.lock().clone();
        let mut live: Vec<_> =
            kept.registrations.into_values().filter(|it| it.state.is_live()).map(|it| it.key.user).collect();
        live.dedup();
        live.into_iter().filter(|user| !kept.opted_out.contains(user)).for_each(visit);
        Ok(())
    }

    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError> {
        self.model.lock().is_opted_out(user)
    }

    fn last_topic(&mut self) -> Result<Option<Topic>, StoreError> {
        Ok(self.model.lock().last_topic.clone())
    }

    fn was_changed_by_another(&mut self) -> Result<bool, StoreError> {
        let commits = self.model.lock().commits;
        Ok(std::mem::replace(&mut self.seen, commits) != commits)
    }

    fn records(&mut self, visit: &mut VisitRecord<'_>) -> Result<bool, StoreError> {
        let records = self.model.lock().records.clone();
        for (maildir, stamps) in records.iter().flatten() {
            visit(maildir.as_os_str().as_bytes(), *stamps);
        }
        Ok(records.is_some())
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Io { path: to.to_owned(), error: io::ErrorKind::Unsupported.into() })
    }
}

impl Transaction for Kept {
    fn keep_records(&mut self, kept: &[(PathBuf, Stamps)], gone: &[PathBuf]) -> Result<(), StoreError> {
        let records = self.records.get_or_insert_default();
        gone.iter().for_each(|maildir| {
            records.remove(maildir);
        });
        records.extend(kept.iter().cloned());
        Ok(())
    }

    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
        Ok(self.registrations.values().filter(|it| it.key.user == *user).cloned().collect())
    }

    fn put(&mut self, registration: &Registration) -> Result<(), StoreError> {
        self.registrations.insert(registration.key.clone(), registration.clone());
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<(), StoreError> {
        self.registrations.remove(key);
        Ok(())
    }

    fn pushed(&mut self, key: &Key, at: Timestamp) -> Result<(), StoreError> {
        if let Some(it) = self.registrations.get_mut(key) {
            it.last_push = Some(at);
            it.last_answer = Some("200".to_owned());
            it.bad_answers = 0;
        }
        Ok(())
    }

    fn expire(&mut self, before: Timestamp) -> Result<Vec<Username>, StoreError> {
        let is_old = |it: &Registration| it.last_registered < before;
        let old = self.registrations.values().filter(|it| is_old(it)).map(|it| it.key.user.clone()).collect();
        self.registrations.retain(|_, it| !is_old(it));
        Ok(old)
    }

    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError> {
        Ok(self.opted_out.contains(user))
    }

    fn set_opted_out(&mut self, user: &Username, out: bool) -> Result<(), StoreError> {
        self.opted_out.retain(|it| it != user);
        if out {
            self.opted_out.push(user.clone());
        }
        Ok(())
    }

    fn set_last_topic(&mut self, topic: &Topic) -> Result<(), StoreError> {
        self.last_topic = Some(topic.clone());
        Ok(())
    }

    fn touch(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
