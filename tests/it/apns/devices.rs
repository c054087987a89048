//! The registry without its threads: the same store and the same rules, at once.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use pushmaild::mailbox::Username;
use pushmaild::registry::change::Change;
use pushmaild::registry::service::NotStored;
use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Registration, Store};
use pushmaild::sink::apns::devices::Devices;
use tempfile::TempDir;

use super::accounts::{number, registration};

/// Registrations in a folder of their own.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Mutex<State>>);

struct State {
    store: SqliteStore,
    /// Whoever is asked for has a device, and nothing is written.
    has_everybody: bool,
    changes: Vec<Change>,
    is_readable: bool,
    _folder: TempDir,
}

impl Shelf {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.sqlite")).unwrap();
        let (changes, has_everybody, is_readable) = (Vec::new(), false, true);
        Self(Arc::new(Mutex::new(State { store, has_everybody, changes, is_readable, _folder: folder })))
    }

    pub(super) fn of_everybody() -> Self {
        let shelf = Self::new();
        shelf.state().has_everybody = true;
        shelf
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn set_readable(&self, is_readable: bool) {
        self.state().is_readable = is_readable;
    }

    pub(super) fn put(&self, registrations: impl IntoIterator<Item = Registration>) {
        let all: Vec<_> = registrations.into_iter().collect();
        let mut put = |transaction: &mut dyn pushmaild::registry::Transaction| {
            all.iter().try_for_each(|registration| transaction.put(registration))
        };
        self.state().store.transaction(&mut put).unwrap();
    }

    pub(super) fn of(&self, user: &Username) -> Vec<Registration> {
        self.state().store.of_user(user).unwrap()
    }

    /// What the pusher has handed over.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.state().changes.clone()
    }
}

impl Devices for Shelf {
    fn of_users(&self, users: Vec<Username>) -> BoxFuture<'static, Result<Vec<Registration>, NotStored>> {
        let mut state = self.state();
        if !state.is_readable {
            return ready(Err(NotStored)).boxed();
        }
        if state.has_everybody {
            return ready(Ok(users.iter().map(|user| registration(number(user))).collect())).boxed();
        }
        let found = users.iter().flat_map(|user| state.store.of_user(user).unwrap()).collect();
        ready(Ok(found)).boxed()
    }

    fn submit(&self, change: Change) -> Result<(), NotStored> {
        let mut state = self.state();
        if state.has_everybody {
            return Ok(());
        }
        let mut apply = |transaction: &mut dyn pushmaild::registry::Transaction| {
            change.apply(transaction, 50, &mut |_| {}).map(drop)
        };
        state.store.transaction(&mut apply).unwrap();
        state.changes.push(change);
        Ok(())
    }
}
