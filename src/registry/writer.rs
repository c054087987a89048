//! The thread that writes. Whatever has come while one transaction was being written goes into the next one: many registrations share
//! a commit, and each client has its answer after the disk has its registration.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::{
    NewRegistration, Store, StoreError, Timestamp,
    change::{Applied, Change},
    service::{Live, NotStored, Open, Settings, Shared},
};
use crate::{backoff::Backoff, mailbox::Username};

/// The most changes in one transaction: some 10 ms of work.
const BATCH: usize = 1024;
/// How often the store is asked whether another process, such as `devices import`, has changed it.
const LOOK: Duration = Duration::from_secs(1);
/// The same where nobody registers: then only that the file is still there is of interest.
const LOOK_ALONE: Duration = Duration::from_secs(60);
/// How often old registrations are looked for.
const EXPIRE: Duration = Duration::from_secs(3600);
/// The first and the longest wait after the store failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A change, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) reply: Option<oneshot::Sender<Result<Applied, NotStored>>>,
}

pub(super) struct Writer {
    open: Open,
    shared: Arc<Shared>,
    devices_per_user: usize,
    expire: Duration,
    store: Option<Box<dyn Store>>,
    backoff: Backoff,
    /// When the store is tried again.
    retry: Instant,
    /// From one look for changes of others to the next. Where nobody registers, nobody minds.
    look: Duration,
    next_look: Instant,
    next_expire: Instant,
    /// Has anybody been told who has a device?
    told: bool,
    /// How many of those that waited are written since there were any.
    caught_up: usize,
    /// Dropped when the store has been opened, or cannot be.
    opened: Option<Sender<()>>,
}

impl Writer {
    pub(super) fn new(open: Open, shared: Arc<Shared>, settings: &Settings, opened: Sender<()>) -> Self {
        let now = Instant::now();
        Self {
            open,
            shared,
            devices_per_user: settings.devices_per_user,
            expire: settings.expire,
            store: None,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            retry: now,
            look: if settings.has_clients { LOOK } else { LOOK_ALONE },
            next_look: now + LOOK,
            next_expire: now,
            told: false,
            caught_up: 0,
            opened: Some(opened),
        }
    }

    /// Until the last handle is gone.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let now = Instant::now();
            self.on_time(now);
            let wait = match self.store {
                Some(_) if self.shared.unwritten().is_empty() => self.next_look,
                _ => self.retry.min(self.next_look),
            };
            match requests.recv_timeout(wait.saturating_duration_since(now)) {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(requests.try_iter().take(BATCH - 1));
                    self.write(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.retry = Instant::now();
        self.on_time(self.retry);
    }

    fn on_time(&mut self, now: Instant) {
        if self.store.is_none() && self.retry <= now {
            match (self.open)().and_then(|mut store| {
                tell_all_live(store.as_mut(), &self.shared)?;
                Ok(store)
            }) {
                Ok(store) => {
                    self.told = true;
                    self.store = Some(store);
                    self.shared.generation.send_modify(|generation| *generation += 1);
                }
                Err(error) => self.failed(&error),
            }
            self.opened = None;
        }
        if self.store.is_some() && self.retry <= now && !self.shared.unwritten().is_empty() {
            self.write_unwritten();
        }
        if self.store.is_some() && self.shared.trouble().is_some() && self.shared.unwritten().is_empty() {
            self.end_trouble();
        }
        if self.store.is_some() && self.next_expire <= now {
            self.next_expire = now + EXPIRE;
            let before = Timestamp(Timestamp::now().0 - Timestamp(0).after(self.expire).0);
            self.write(vec![Request { change: Change::Expire { before }, reply: None }]);
        }
        if self.next_look <= now {
            self.next_look = now + self.look;
            if let Some(store) = &mut self.store {
                let looked = store.was_changed_by_another().and_then(|changed| {
                    if changed { tell_all_live(store.as_mut(), &self.shared) } else { Ok(()) }
                });
                if let Err(error) = looked {
                    self.failed(&error);
                }
            }
        }
    }

    fn write(&mut self, batch: Vec<Request>) {
        let changes: Vec<&Change> = batch.iter().map(|request| &request.change).collect();
        let applied = match &mut self.store {
            Some(store) => apply_all(store.as_mut(), &changes, self.devices_per_user),
            None => {
                for request in batch {
                    reply(request.reply, Err(NotStored));
                }
                return;
            }
        };
        match applied {
            Ok((applied, live)) => {
                self.shared.unwritten().written(changes.iter().filter_map(|change| registered(change)));
                for (user, is_live) in live {
                    self.shared.events.put(Some(user), Live::User(is_live), |old, new| *old = new);
                }
                for (request, applied) in batch.into_iter().zip(applied) {
                    log(&request.change, &applied);
                    reply(request.reply, Ok(applied));
                }
            }
            Err(error) => {
                self.failed(&error);
                for request in batch {
                    reply(request.reply, Err(NotStored));
                }
            }
        }
    }

    /// What waits for the disk: what clients could not wait for, and what the last process left.
    fn write_unwritten(&mut self) {
        let waiting: Vec<Request> = self
            .shared
            .unwritten()
            .iter()
            .take(BATCH)
            .map(|new| Request { change: Change::Register(new.clone()), reply: None })
            .collect();
        let count = waiting.len();
        self.write(waiting);
        if self.store.is_none() {
            return;
        }
        self.caught_up += count;
        if self.shared.unwritten().is_empty() {
            let count = std::mem::take(&mut self.caught_up);
            info!(
                count,
                "the registry is complete again: what waited for the disk is written ({})",
                crate::count::count(count, "registration", "registrations")
            );
        }
    }

    /// The store could be opened and nothing waits any more. That it takes something is seen only by writing, and on some site nobody
    /// registers for hours.
    fn end_trouble(&mut self) {
        let Some(store) = &mut self.store else { return };
        match store.transaction(&mut |transaction| transaction.touch()) {
            Ok(()) => {
                self.backoff.reset();
                *self.shared.trouble() = None;
                info!("the registry can be written again");
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Opens the store anew after a while: a disk that was full or a folder that was read-only may be so no more.
    fn failed(&mut self, error: &StoreError) {
        self.store = None;
        self.retry = Instant::now() + self.backoff.failed(fastrand::f64());
        // Nobody waits for a disk: as far as is known, these are all.
        if !std::mem::replace(&mut self.told, true) {
            let unwritten = self.shared.unwritten();
            let waiting = unwritten.iter().map(|new| new.key.user.clone()).collect();
            self.shared.events.put_instead(None, Live::Unread(waiting));
        }
        let text = error.to_string();
        let mut trouble = self.shared.trouble();
        if trouble.as_ref() != Some(&text) {
            let hint = error.hint();
            error!(%error, hint, "the registry cannot be used: {text}; registrations wait in memory and in the spill file; hint: {hint}");
            *trouble = Some(text);
        }
    }
}

/// What became of each change, and of each user concerned whether there is a live registration now.
type AllApplied = (Vec<Applied>, Vec<(Username, bool)>);

/// Applies changes in one transaction.
fn apply_all(
    store: &mut dyn Store,
    changes: &[&Change],
    devices_per_user: usize,
) -> Result<AllApplied, StoreError> {
    let mut all = Vec::with_capacity(changes.len());
    let mut live = Vec::new();
    store.transaction(&mut |transaction| {
        all.clear();
        live.clear();
        let mut touched = FxHashSet::default();
        for change in changes {
            all.push(change.apply(transaction, devices_per_user, &mut |user| {
                touched.insert(user.clone());
            })?);
        }
        for user in touched {
            let is_live = transaction.of_user(&user)?.iter().any(|found| found.state.is_live());
            live.push((user, is_live));
        }
        Ok(())
    })?;
    Ok((all, live))
}

fn tell_all_live(store: &mut dyn Store, shared: &Shared) -> Result<(), StoreError> {
    let mut users = Vec::new();
    store.live_users(&mut |user| users.push(user))?;
    // Locked to the end, so that one who comes to wait now is told of after this.
    let unwritten = shared.unwritten();
    users.extend(unwritten.iter().map(|new| new.key.user.clone()));
    shared.events.put_instead(None, Live::All(users));
    Ok(())
}

fn registered(change: &Change) -> Option<(&super::Key, Timestamp)> {
    match change {
        Change::Register(NewRegistration { key, at, .. }) => Some((key, *at)),
        _ => None,
    }
}

fn reply(to: Option<oneshot::Sender<Result<Applied, NotStored>>>, answer: Result<Applied, NotStored>) {
    // A client that did not wait has put its registration into the spill file.
    if let Some(to) = to {
        let _ = to.send(answer);
    }
}

fn log(change: &Change, applied: &Applied) {
    match (change, applied) {
        (Change::Register(NewRegistration { key, .. }), Applied::Done(_)) => {
            info!(user = %key.user, token = %key.token, account = %key.account, "registered: device {} of {}", key.token, key.user);
        }
        (Change::Register(NewRegistration { key, .. }), Applied::OptedOut) => {
            debug!(user = %key.user, "not registered: {} is opted out", key.user);
        }
        (Change::Register(NewRegistration { key, .. }), Applied::Refused(refused)) => {
            warn!(user = %key.user, token = %key.token, "not registered: device {} of {}: {refused}", key.token, key.user);
        }
        (Change::Expire { .. }, Applied::Done(count @ 1..)) => {
            info!(count, "registrations that have not come back for long are removed: {count}");
        }
        _ => {}
    }
}
