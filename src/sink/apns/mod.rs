//! Apple's push service: the sink for registered devices.
//!
//! ```text
//! thread of the Maildirs ─Changes→ pusher/ ─── registry look-up → pending.rs → connections.rs → Apple
//!                                      ↑ answer.rs, circuit.rs, guard.rs: what an answer means
//! ```

pub mod answer;
pub mod circuit;
pub mod connection;
pub mod connections;
pub mod counters;
pub mod credential;
pub mod devices;
pub mod dial;
pub mod guard;
pub mod judgement;
pub mod pending;
pub mod push;
pub mod pusher;
pub mod settings;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use rustc_hash::{FxHashMap, FxHashSet};
use tracing::{Level, debug, enabled};

use super::{Health, Outcome, Sink, tally::Via};
use crate::{
    debouncer::MailboxReady,
    mailbox::{MailboxId, MailboxMap, Username},
};

use self::{
    counters::Counters,
    push::Changed,
    pusher::{Changes, join},
};

/// The end of the sink on the thread that watches Maildirs. The rest is the task in `pusher/`, on another thread.
#[derive(Debug)]
pub struct ApnsSink {
    changes: Arc<Changes>,
    counters: Arc<Counters>,
    registered: Registered,
    /// Mailboxes with something pending of which a plugin said that another folder than INBOX changed. Bounded by mailboxes, and for
    /// each by what its devices were told they would hear of.
    folders: FxHashMap<MailboxId, Folders>,
    /// Pushes that came before it was known who has a device: the registry's disk may come late.
    early: FxHashMap<MailboxId, MailboxReady>,
}

/// What changed in a mailbox, where it is not INBOX alone.
#[derive(Debug, Default)]
struct Folders {
    inbox: bool,
    others: Vec<String>,
}

impl ApnsSink {
    /// A sink for the task that takes from `changes`.
    #[must_use]
    pub fn new(changes: Arc<Changes>, counters: Arc<Counters>) -> Self {
        Self {
            changes,
            counters,
            registered: Registered::default(),
            folders: FxHashMap::default(),
            early: FxHashMap::default(),
        }
    }

    /// Whose mailboxes have devices.
    pub fn registered(&mut self) -> &mut Registered {
        &mut self.registered
    }

    /// Has one of the mailbox's users a device?
    #[must_use]
    pub fn has_device(&self, mailbox: MailboxId, map: &MailboxMap) -> bool {
        map.names(mailbox).any(|name| self.registered.contains(name))
    }

    /// Hands over what came before it was known who has a device, if that is known now.
    pub fn offer_early(&mut self, map: &MailboxMap, now: Instant) {
        if self.registered.is_all {
            for ready in std::mem::take(&mut self.early).into_values() {
                self.offer(&ready, map, now);
            }
        }
    }

    /// Does the mailbox wait until it is known who has a device?
    #[must_use]
    pub fn is_early(&self, mailbox: MailboxId) -> bool {
        self.early.contains_key(&mailbox)
    }

    /// A user as the eight bytes that [`pusher::Control::Unpushed`] answers with.
    #[must_use]
    pub fn fingerprint(&self, user: &str) -> u64 {
        self.registered.hasher.hash_one(user)
    }

    /// What makes such fingerprints, for another thread.
    #[must_use]
    pub fn hasher(&self) -> RandomState {
        self.registered.hasher.clone()
    }

    /// Why nothing is sent, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.counters.trouble.now()
    }

    /// How many users have a device, as far as is known.
    #[must_use]
    pub fn users(&self) -> usize {
        self.registered.fingerprints.len()
    }

    /// What the sink has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// INBOX changed: for a mailbox with other folders pending that has to be kept in mind. Nearly always there is none.
    pub fn note_inbox(&mut self, mailbox: MailboxId) {
        if !self.folders.is_empty()
            && let Some(folders) = self.folders.get_mut(&mailbox)
        {
            folders.inbox = true;
        }
    }

    /// Other folders changed. `inbox_pending`: is INBOX waiting for its push already?
    pub fn note_others(&mut self, mailbox: MailboxId, others: Vec<String>, inbox_pending: bool) {
        let folders =
            self.folders.entry(mailbox).or_insert(Folders { inbox: inbox_pending, others: Vec::new() });
        for other in others {
            if !folders.others.contains(&other) {
                folders.others.push(other);
            }
        }
    }
}

impl Sink for ApnsSink {
    fn via(&self) -> Via {
        Via::Apns
    }

    fn offer(&mut self, ready: &MailboxReady, map: &MailboxMap, _now: Instant) -> Outcome {
        if !self.registered.is_all && !self.has_device(ready.mailbox, map) {
            let early = self.early.entry(ready.mailbox).or_insert(*ready);
            early.kind = early.kind.max(ready.kind);
            tell_nothing(
                ready.mailbox,
                map,
                "early",
                "it is not known yet who has a device, and this push waits for it",
            );
            return Outcome::Handed;
        }
        let Folders { inbox, others } =
            self.folders.remove(&ready.mailbox).unwrap_or(Folders { inbox: true, others: Vec::new() });
        // Only users with a device are anybody else's affair.
        if !self.has_device(ready.mailbox, map) {
            tell_nothing(ready.mailbox, map, "no-device", "no device is registered");
            return Outcome::Handed;
        }
        let names: Vec<_> = map.usernames(ready.mailbox).collect();
        if let Some(first) = names.first().cloned() {
            let changed =
                Changed { inbox, others, kind: ready.kind, since: ready.since, events: ready.events };
            self.changes.put(first, (names, changed), join);
        }
        Outcome::Handed
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn retry(&mut self, _map: &MailboxMap, _now: Instant, _sent: &mut dyn FnMut(&MailboxReady)) {}

    fn forget(&mut self, mailbox: MailboxId) {
        self.folders.remove(&mailbox);
        self.early.remove(&mailbox);
    }

    fn waiting(&self) -> usize {
        self.early.len() + self.changes.len() + self.counters.pending.load(Relaxed)
    }

    fn health(&self) -> Health {
        Health {
            target: self.counters.facts().endpoint,
            trouble: self.counters.trouble.now(),
            last_error: self.counters.trouble.last(),
        }
    }
}

/// Says why a push does not go to Apple now.
fn tell_nothing(mailbox: MailboxId, map: &MailboxMap, reason: &'static str, why: &'static str) {
    if enabled!(Level::DEBUG) {
        let user = map.names(mailbox).next().unwrap_or_default();
        debug!(user, sink = "apns", reason, "nothing to push to {user} through Apple: {why}");
    }
}

/// Who has a device, as eight bytes for each: a million of them are 16 MB. Two names with one fingerprint cost a needless watch.
#[derive(Debug, Default)]
pub struct Registered {
    fingerprints: FxHashSet<u64>,
    /// With a secret, since names may come from outside.
    hasher: RandomState,
    is_known: bool,
    /// Has the registry been read, so that nobody else has one?
    is_all: bool,
}

impl Registered {
    /// Is it known who has one? Not before the registry has been read.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Has the user one?
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.fingerprints.contains(&self.hasher.hash_one(user))
    }

    /// The user has one now, or none any more. True if that is news.
    pub fn set(&mut self, user: &Username, has_device: bool) -> bool {
        let fingerprint = self.hasher.hash_one(user.as_str());
        if has_device {
            self.fingerprints.insert(fingerprint)
        } else {
            self.fingerprints.remove(&fingerprint)
        }
    }

    /// These have one, and nobody else; unless not `is_all`: then that is not known as long as the registry cannot be read.
    pub fn set_all<'a>(&mut self, users: impl Iterator<Item = &'a Username>, is_all: bool) {
        let hasher = &self.hasher;
        self.fingerprints = users.map(|user| hasher.hash_one(user.as_str())).collect();
        self.is_known = true;
        self.is_all = is_all;
    }
}
