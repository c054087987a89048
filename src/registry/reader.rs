//! The thread that reads: look-ups never wait for a commit.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::debug;

use super::{
    Counts, DeviceToken, Registration, Store, StoreError, Timestamp, Topic,
    life::{self, Answer, Write},
    service::{NotStored, Open, Shared},
};
use crate::{mailbox::Username, stamp::Stamps};

/// A store that nobody asks for so long is closed. The connections of a process share what they found out when the first one was opened: as
/// long as there is one from when the disk was read-only, none of them writes.
const IDLE: Duration = Duration::from_secs(2);

/// A device, when it was last pushed to, and whether its token was called bad.
pub(super) type Pushed = (DeviceToken, Timestamp, bool);

/// A question, and where the answer goes.
#[derive(Debug)]
pub(super) enum Lookup {
    OfUsers(Vec<Username>, oneshot::Sender<Result<Vec<Registration>, NotStored>>),
    LastTopic(oneshot::Sender<Result<Option<Topic>, NotStored>>),
    PushedSince(Timestamp, oneshot::Sender<Result<Vec<Pushed>, NotStored>>),
    Counts(oneshot::Sender<Result<Counts, NotStored>>),
    Records(oneshot::Sender<Result<Option<Stored>, NotStored>>),
}

/// What the last process stored of all mailboxes: for a million of them, so in a few large pieces.
#[derive(Debug, Default)]
pub struct Stored {
    /// The paths of the Maildirs, one after the other.
    paths: Vec<u8>,
    /// Where each path ends, and the record.
    records: Vec<(usize, Stamps)>,
}

impl Stored {
    /// Each Maildir with its record.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, Stamps)> {
        let mut start = 0;
        self.records.iter().map(move |(end, stamps)| {
            let path = &self.paths[std::mem::replace(&mut start, *end)..*end];
            (Path::new(OsStr::from_bytes(path)), *stamps)
        })
    }
}

pub(super) fn run(open: &Open, shared: &Shared, lookups: &Receiver<Lookup>) {
    let mut store = None;
    let mut generation = *shared.generation.borrow();
    loop {
        if shared.trouble().is_some() {
            store = None;
        }
        let lookup = match store {
            Some(_) => lookups.recv_timeout(IDLE),
            None => lookups.recv().map_err(RecvTimeoutError::from),
        };
        let lookup = match lookup {
            Ok(lookup) => lookup,
            Err(RecvTimeoutError::Timeout) => {
                store = None;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let newest = *shared.generation.borrow();
        if std::mem::replace(&mut generation, newest) != newest {
            // The writer has had to open it anew: perhaps it is another file.
            store = None;
        }
        // Whoever asked may be gone, and then nobody minds.
        match lookup {
            Lookup::OfUsers(users, reply) => {
                let _ = reply.send(ask(open, &mut store, |store| of_users(store, shared, &users)));
            }
            Lookup::PushedSince(since, reply) => {
                let _ = reply.send(ask(open, &mut store, |store| pushed_since(store, since)));
            }
            Lookup::Records(reply) => {
                let _ = reply.send(ask(open, &mut store, records));
                // They are asked for once.
                store = None;
            }
            Lookup::Counts(reply) => {
                let _ = reply.send(ask(open, &mut store, |store| store.counts()));
            }
            Lookup::LastTopic(reply) => {
                let _ = reply.send(ask(open, &mut store, |store| store.last_topic()));
            }
        }
    }
}

/// Opens the store if need be. After an error it is opened anew the next time; the writer is the one who tells people.
fn ask<T>(
    open: &Open,
    store: &mut Option<Box<dyn Store>>,
    question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
) -> Result<T, NotStored> {
    let answer = match store.take().map_or_else(open, Ok) {
        Ok(mut opened) => question(opened.as_mut()).inspect(|_| *store = Some(opened)),
        Err(error) => Err(error),
    };
    answer.map_err(|error| {
        debug!(%error, "the registry cannot be read: {error}");
        NotStored
    })
}

fn of_users(
    store: &mut dyn Store,
    shared: &Shared,
    users: &[Username],
) -> Result<Vec<Registration>, StoreError> {
    let mut all = Vec::with_capacity(users.len());
    for user in users {
        let mut of_user = store.of_user(user)?;
        let waiting = shared.unwritten().of_user(user).to_vec();
        if waiting.is_empty() || store.is_opted_out(user)? {
            all.append(&mut of_user);
            continue;
        }
        for new in &waiting {
            // What the registry will be once this is written.
            for write in life::register(&of_user, new, usize::MAX).unwrap_or_default() {
                let key = match &write {
                    Write::Put(registration) => &registration.key,
                    Write::Delete(key) => key,
                };
                of_user.retain(|old| old.key != *key);
                if let Write::Put(registration) = write {
                    of_user.push(registration);
                }
            }
        }
        all.append(&mut of_user);
    }
    Ok(all)
}

fn records(store: &mut dyn Store) -> Result<Option<Stored>, StoreError> {
    let mut stored = Stored::default();
    let are_kept = store.records(&mut |maildir, stamps| {
        stored.paths.extend_from_slice(maildir);
        stored.records.push((stored.paths.len(), stamps));
    })?;
    Ok(are_kept.then_some(stored))
}

fn pushed_since(store: &mut dyn Store, since: Timestamp) -> Result<Vec<Pushed>, StoreError> {
    let mut pushed = Vec::new();
    let bad = [Answer::BadToken, Answer::NotForTopic].map(|answer| answer.text());
    store.pushed_since(since, &mut |token, at, answer| {
        pushed.push((token, at, bad.iter().any(|bad| answer == Some(bad))));
    })?;
    pushed.sort_by_key(|(_, at, _)| *at);
    Ok(pushed)
}
