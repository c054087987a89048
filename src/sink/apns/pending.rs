//! The set of pushes that wait, keyed by registration. Pure.
//!
//! A push says only "look", so a newer one joins an older one of its registration: an outage costs memory by registrations and not by
//! events. What is in the set lies in one of four places: the queue, the heap of those that wait for a time, in flight, or both in flight
//! and wanted again, because something changed after it was sent.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{HashTable, hash_table::Entry as TableEntry};

use super::push::Push;
use crate::mailbox::Username;

/// The number of a push in the set, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PushId(u32);

impl PushId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Slot {
    push: Arc<Push>,
    /// How often it has failed in a row.
    failures: u32,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Queued,
    /// Until this time, of all the entries in the heap.
    Waits(Instant),
    /// On the wire. What came since then, if anything; and whether the push itself is forgotten, and not to be sent again if it fails.
    InFlight {
        again: Option<Arc<Push>>,
        is_forgotten: bool,
    },
}

/// The set.
#[derive(Debug, Default)]
pub struct Pending {
    slots: Vec<Option<Slot>>,
    free: Vec<PushId>,
    by_key: HashTable<PushId>,
    /// Device tokens come from outside, so the hash has a secret.
    hasher: RandomState,
    queue: VecDeque<PushId>,
    waiting: BinaryHeap<Reverse<(Instant, PushId)>>,
    in_flight: usize,
}

impl Pending {
    /// How many registrations have a push here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Is nothing here?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whose pushes are here, some of them more than once.
    pub fn users(&self) -> impl Iterator<Item = &Username> {
        self.slots.iter().flatten().map(|slot| &slot.push.key.user)
    }

    /// How many are on the wire.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Is one ready to be sent? There may be none after all, but never one when this says no.
    #[must_use]
    pub fn has_ready(&self, now: Instant) -> bool {
        !self.queue.is_empty() || self.deadline().is_some_and(|due| due <= now)
    }

    /// When the next of those that wait is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, _))| *due)
    }

    /// Adds a push, or joins it to the one of its registration.
    pub fn add(&mut self, push: Push) {
        let hash = self.hasher.hash_one(&push.key);
        let Self { slots, free, by_key, hasher, queue, .. } = self;
        let is_it = |id: &PushId| slot(slots, *id).is_some_and(|slot| slot.push.key == push.key);
        let rehash = |id: &PushId| slot(slots, *id).map_or(0, |slot| hasher.hash_one(&slot.push.key));
        match by_key.entry(hash, is_it, rehash) {
            TableEntry::Occupied(entry) => {
                let Some(Some(slot)) = slots.get_mut(entry.get().index()) else { return };
                match &mut slot.place {
                    Place::Queued | Place::Waits(_) => slot.push = Arc::new(slot.push.joined(push)),
                    Place::InFlight { again, .. } => {
                        *again = Some(Arc::new(match again {
                            Some(again) => again.joined(push),
                            None => push,
                        }));
                    }
                }
            }
            TableEntry::Vacant(entry) => {
                let slot = Slot { push: Arc::new(push), failures: 0, place: Place::Queued };
                let id = match free.pop() {
                    Some(id) => {
                        slots[id.index()] = Some(slot);
                        id
                    }
                    None => {
                        let id = PushId(u32::try_from(slots.len()).expect("fewer than 2^32 fit into memory"));
                        slots.push(Some(slot));
                        id
                    }
                };
                entry.insert(id);
                queue.push_back(id);
            }
        }
    }

    /// The next one to send, which is in flight from now on.
    pub fn next(&mut self, now: Instant) -> Option<(PushId, Arc<Push>)> {
        while let Some(&Reverse((due, id))) = self.waiting.peek()
            && due <= now
        {
            self.waiting.pop();
            if let Some(Some(slot)) = self.slots.get_mut(id.index())
                && matches!(slot.place, Place::Waits(until) if until == due)
            {
                slot.place = Place::Queued;
                self.queue.push_back(id);
            }
        }
        while let Some(id) = self.queue.pop_front() {
            if let Some(Some(slot)) = self.slots.get_mut(id.index())
                && matches!(slot.place, Place::Queued)
            {
                slot.place = Place::InFlight { again: None, is_forgotten: false };
                self.in_flight += 1;
                return Some((id, Arc::clone(&slot.push)));
            }
        }
        None
    }

    /// The push in flight is done with, one way or the other. If something came meanwhile, that is queued.
    pub fn done(&mut self, id: PushId) {
        let Some(Some(slot)) = self.slots.get_mut(id.index()) else { return };
        let Place::InFlight { again, .. } = &mut slot.place else { return };
        self.in_flight -= 1;
        match again.take() {
            Some(again) => {
                *slot = Slot { push: again, failures: 0, place: Place::Queued };
                self.queue.push_back(id);
            }
            None => self.remove(id),
        }
        self.shrink();
    }

    /// The push in flight was not taken, through no fault of its own: it is the next one again.
    pub fn put_back(&mut self, id: PushId) {
        if self.land(id) {
            self.queue.push_front(id);
        }
    }

    /// The push in flight was not taken, and it may be at fault: the others come first.
    pub fn put_last(&mut self, id: PushId) {
        if self.land(id) {
            self.queue.push_back(id);
        }
    }

    /// The push in flight failed, and is tried again after a while that `wait` makes of the number of failures.
    pub fn retry(&mut self, id: PushId, now: Instant, wait: impl FnOnce(u32) -> Duration) {
        if self.land(id)
            && let Some(Some(slot)) = self.slots.get_mut(id.index())
        {
            let due = now + wait(slot.failures);
            slot.failures = slot.failures.saturating_add(1);
            slot.place = Place::Waits(due);
            self.waiting.push(Reverse((due, id)));
        }
    }

    /// Drops what waits for users who have no device any more. What is in flight stays until its answer, and is not sent again.
    pub fn forget(&mut self, is_gone: impl Fn(&Username) -> bool) {
        let gone: Vec<PushId> = (0u32..)
            .zip(&self.slots)
            .filter_map(|(number, slot)| {
                let slot = slot.as_ref()?;
                is_gone(&slot.push.key.user).then_some(PushId(number))
            })
            .collect();
        for id in gone {
            match self.slots.get_mut(id.index()) {
                Some(Some(Slot { place: place @ Place::InFlight { .. }, .. })) => {
                    *place = Place::InFlight { again: None, is_forgotten: true };
                }
                _ => self.remove(id),
            }
        }
        let Self { slots, queue, waiting, .. } = self;
        queue.retain(|id| slot(slots, *id).is_some());
        waiting.retain(|Reverse((_, id))| slot(slots, *id).is_some());
        self.shrink();
    }

    /// Takes a push out of the air, with what came meanwhile. False if nobody wants it any more.
    fn land(&mut self, id: PushId) -> bool {
        let Some(Some(slot)) = self.slots.get_mut(id.index()) else { return false };
        let Place::InFlight { again, is_forgotten } = &mut slot.place else { return false };
        self.in_flight -= 1;
        match (again.take(), *is_forgotten) {
            (Some(again), true) => slot.push = again,
            (Some(again), false) => slot.push = Arc::new(slot.push.joined(Arc::unwrap_or_clone(again))),
            (None, true) => {
                self.remove(id);
                self.shrink();
                return false;
            }
            (None, false) => {}
        }
        slot.place = Place::Queued;
        true
    }

    fn remove(&mut self, id: PushId) {
        let Some(slot) = self.slots.get_mut(id.index()).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one(&slot.push.key);
        if let Ok(entry) = self.by_key.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// After an outage the memory goes back.
    fn shrink(&mut self) {
        if self.is_empty() && self.slots.capacity() > 1024 {
            *self = Self::default();
        }
    }
}

fn slot(slots: &[Option<Slot>], id: PushId) -> Option<&Slot> {
    slots.get(id.index())?.as_ref()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        classifier::Kind,
        registry::{DeviceToken, Key},
    };

    fn push(number: u8, now: Instant) -> Push {
        Push {
            key: Arc::new(Key {
                user: Username::new(&format!("user{}", number % 3)).expect("a name"),
                token: format!("{number:02x}").parse().expect("digits"),
                account: "id".parse().expect("an id"),
            }),
            topic: None,
            mailboxes: None,
            kind: Kind::Change,
            since: now,
            events: 1,
            expires: now + Duration::from_secs(3600),
        }
    }

    #[test]
    fn what_changes_while_a_push_is_in_flight_is_pushed_afterwards() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.add(push(1, now));
        let (id, _) = pending.next(now).expect("ready");
        pending.add(push(1, now));
        pending.add(push(1, now));
        assert!(pending.next(now).is_none(), "not two at once to one device");
        pending.done(id);
        let (id, _) = pending.next(now).expect("once more");
        pending.done(id);
        assert!(pending.next(now).is_none() && pending.is_empty());
    }

    #[test]
    fn new_mail_that_joins_a_change_is_new_mail() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.add(push(1, now));
        pending.add(Push { kind: Kind::NewMail, ..push(1, now) });
        pending.add(push(1, now));
        assert_eq!(pending.next(now).expect("ready").1.kind, Kind::NewMail);
    }

    #[test]
    fn what_is_forgotten_in_flight_is_not_sent_again() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.add(push(1, now));
        let (id, _) = pending.next(now).expect("ready");
        pending.add(push(1, now));
        pending.forget(|_| true);
        pending.put_back(id);
        assert!(pending.is_empty() && pending.in_flight() == 0);

        pending.add(push(1, now));
        let (id, _) = pending.next(now).expect("ready");
        pending.forget(|_| true);
        pending.add(push(1, now));
        pending.retry(id, now, |_| Duration::ZERO);
        assert!(pending.next(now).is_some(), "it has registered again since");
    }

    #[test]
    fn after_an_outage_the_memory_goes_back() {
        let now = Instant::now();
        let mut pending = Pending::default();
        for number in 0..5000u16 {
            let mut push = push(0, now);
            let token = DeviceToken::from_bytes(&number.to_be_bytes()).expect("two bytes");
            push.key = Arc::new(Key { token, ..(*push.key).clone() });
            pending.add(push);
        }
        while let Some((id, _)) = pending.next(now) {
            pending.done(id);
        }
        assert_eq!((pending.slots.capacity(), pending.queue.capacity()), (0, 0));
    }

    proptest! {
        /// Whatever happens, in any order: nobody who is wanted is forgotten, nobody is sent to twice at once, and each key is in the
        /// set once.
        #[test]
        fn nobody_is_lost(steps in proptest::collection::vec((0u8..6, 0u8..12), 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut pending = Pending::default();
            let mut wanted = BTreeSet::new();
            let mut flying: BTreeMap<u8, PushId> = BTreeMap::new();
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        pending.add(push(number, now));
                        wanted.insert(number);
                    }
                    2 => {
                        if let Some((id, push)) = pending.next(now) {
                            let number = push.key.token.as_bytes()[0];
                            prop_assert!(flying.insert(number, id).is_none(), "twice at once");
                            prop_assert!(wanted.remove(&number), "nobody wanted it");
                        }
                    }
                    3 => {
                        if let Some((_, id)) = flying.pop_first() {
                            pending.done(id);
                        }
                    }
                    4 => {
                        if let Some((number, id)) = flying.pop_last() {
                            pending.put_back(id);
                            wanted.insert(number);
                        }
                    }
                    _ => {
                        if let Some((number, id)) = flying.pop_first() {
                            pending.retry(id, now, |failures| Duration::from_secs(u64::from(failures) + 1));
                            wanted.insert(number);
                        }
                        now += Duration::from_millis(700);
                    }
                }
                prop_assert_eq!(pending.in_flight(), flying.len());
                let all: BTreeSet<u8> = wanted.iter().copied().chain(flying.keys().copied()).collect();
                prop_assert_eq!(pending.len(), all.len());
            }
            for id in flying.into_values() {
                pending.done(id);
            }
            now += Duration::from_secs(1000);
            while let Some((id, push)) = pending.next(now) {
                wanted.remove(&push.key.token.as_bytes()[0]);
                pending.done(id);
            }
            prop_assert!(wanted.is_empty() && pending.is_empty());
        }
    }
}
