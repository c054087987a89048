//! Mailboxes that wait for a receiver, in the order in which they came, each once, with what is said of their push when it goes out. Pure.
//!
//! In an outage there may be a million of them: 4 bytes each, and 4 for each mailbox there is.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::{classifier::Kind, debouncer::MailboxReady, growth, mailbox::MailboxId};

/// The first event of a push may be that much older than the first push that waits.
const BEFORE: Duration = Duration::from_secs(3600);
/// The age of a push is kept to so many milliseconds.
const TICK: u32 = 8;
/// And for three days; a push that came later looks older than it is.
const MOST_TICKS: u32 = (1 << 25) - 1;
/// The most events that are counted for one push.
const MOST_EVENTS: u32 = (1 << 5) - 1;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Those that are gone or were sent stay until their turn comes. One that comes again before that has its old turn.
    queue: VecDeque<MailboxId>,
    /// What waits, by number of the mailbox.
    waits: Vec<Option<Wait>>,
    count: usize,
    /// What ticks are counted from.
    base: Option<Instant>,
}

/// A push in four bytes: a bit that is always set, the ticks until its first event, the number of events, and whether there is new mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait(NonZeroU32);

impl Wait {
    fn new(ticks: u32, events: u32, kind: Kind) -> Self {
        let (ticks, events) = (ticks.min(MOST_TICKS), events.min(MOST_EVENTS));
        let word = 1 << 31 | ticks << 6 | events << 1 | u32::from(kind == Kind::NewMail);
        Self(NonZeroU32::MIN.saturating_add(word - 1))
    }

    const fn ticks(self) -> u32 {
        self.0.get() >> 6 & MOST_TICKS
    }

    const fn events(self) -> u32 {
        self.0.get() >> 1 & MOST_EVENTS
    }

    const fn kind(self) -> Kind {
        if self.0.get() & 1 == 1 { Kind::NewMail } else { Kind::Change }
    }
}

impl Waiting {
    pub(super) fn insert(&mut self, ready: &MailboxReady) {
        let MailboxReady { mailbox, kind, since, events } = *ready;
        let base = *self.base.get_or_insert_with(|| since.checked_sub(BEFORE).unwrap_or(since));
        let ticks = since.saturating_duration_since(base).as_millis() / u128::from(TICK);
        let new = Wait::new(u32::try_from(ticks).unwrap_or(MOST_TICKS), events, kind);
        growth::at_least(&mut self.waits, mailbox.index() + 1, None);
        let place = &mut self.waits[mailbox.index()];
        *place = Some(match *place {
            Some(old) => Wait::new(
                old.ticks().min(new.ticks()),
                old.events().saturating_add(events),
                old.kind().max(kind),
            ),
            None => {
                self.queue.push_back(mailbox);
                self.count += 1;
                new
            }
        });
    }

    /// No longer does this one wait.
    pub(super) fn remove(&mut self, mailbox: MailboxId) {
        let wait = self.waits.get_mut(mailbox.index()).and_then(Option::take);
        if wait.is_some() {
            self.count -= 1;
            // It stays in the queue until its turn comes, unless so many did that they would be most of it.
            if self.queue.len() > 64 && self.queue.len() / 4 > self.count {
                let mut kept = vec![false; self.waits.len()];
                let waits = &self.waits;
                self.queue.retain(|id| {
                    waits[id.index()].is_some() && !std::mem::replace(&mut kept[id.index()], true)
                });
            }
        }
    }

    /// The one that has waited longest.
    pub(super) fn front(&mut self) -> Option<MailboxReady> {
        while let Some(&mailbox) = self.queue.front() {
            if let Some(wait) = self.waits[mailbox.index()] {
                let base = self.base.unwrap_or_else(Instant::now);
                let since = base + Duration::from_millis(u64::from(wait.ticks()) * u64::from(TICK));
                return Some(MailboxReady { mailbox, kind: wait.kind(), since, events: wait.events() });
            }
            self.queue.pop_front();
        }
        self.base = None;
        // After an outage the memory goes back.
        if self.queue.capacity() > 1024 {
            *self = Self::default();
        }
        None
    }

    pub(super) fn has(&self, mailbox: MailboxId) -> bool {
        self.waits.get(mailbox.index()).is_some_and(Option::is_some)
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ready(number: u32, kind: Kind, since: Instant) -> MailboxReady {
        MailboxReady { mailbox: MailboxId(number), kind, since, events: 1 }
    }

    #[test]
    fn one_that_changes_again_keeps_its_place_and_its_age() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let earlier = now.checked_sub(Duration::from_secs(5)).expect("the machine runs for longer");
        waiting.insert(&ready(3, Kind::Change, now));
        waiting.insert(&ready(1, Kind::Change, now));
        waiting.insert(&ready(3, Kind::NewMail, earlier));
        assert_eq!(waiting.len(), 2);
        let front = waiting.front().expect("the first one");
        assert_eq!((front.mailbox.0, front.kind, front.events), (3, Kind::NewMail, 2));
        assert!(earlier.saturating_duration_since(front.since) <= Duration::from_millis(TICK.into()));
        waiting.remove(front.mailbox);
        assert_eq!(waiting.front().map(|front| front.mailbox.0), Some(1));
        assert!(waiting.has(MailboxId(1)) && !waiting.has(MailboxId(3)) && !waiting.has(MailboxId(99)));
    }

    #[test]
    fn what_is_too_much_for_four_bytes_is_as_much_as_there_is_room_for() {
        let wait = Wait::new(u32::MAX, u32::MAX, Kind::NewMail);
        assert_eq!((wait.ticks(), wait.events(), wait.kind()), (MOST_TICKS, MOST_EVENTS, Kind::NewMail));
        let wait = Wait::new(0, 0, Kind::Change);
        assert_eq!((wait.ticks(), wait.events(), wait.kind()), (0, 0, Kind::Change));
        assert_eq!(size_of::<Option<Wait>>(), 4);
    }

    proptest! {
        /// The same as a list that is searched, in which those that are gone keep their places; so few that no place is given up.
        #[test]
        fn the_order_is_that_of_a_list(steps in proptest::collection::vec((0u32..20, 0u8..4), 1..64)) {
            let (mut waiting, now) = (Waiting::default(), Instant::now());
            let (mut list, mut events) = (Vec::new(), BTreeMap::<u32, u32>::new());
            for (number, step) in steps {
                match step {
                    0 | 1 => {
                        waiting.insert(&ready(number, Kind::Change, now));
                        if !events.contains_key(&number) {
                            list.push(number);
                        }
                        *events.entry(number).or_default() += 1;
                    }
                    2 => {
                        waiting.remove(MailboxId(number));
                        events.remove(&number);
                    }
                    _ => {
                        let front = waiting.front();
                        while list.first().is_some_and(|first| !events.contains_key(first)) {
                            list.remove(0);
                        }
                        prop_assert_eq!(front.map(|it| it.mailbox.0), list.first().copied());
                        if let Some(front) = front {
                            let all = events.remove(&front.mailbox.0);
                            prop_assert_eq!(Some(front.events), all.map(|all| all.min(MOST_EVENTS)));
                            waiting.remove(front.mailbox);
                        }
                    }
                }
                prop_assert_eq!(waiting.len(), events.len());
                prop_assert_eq!(waiting.has(MailboxId(number)), events.contains_key(&number));
            }
        }

        /// However many come and go, the queue is no longer than what waits needs.
        #[test]
        fn it_does_not_grow_with_those_that_are_gone(numbers in proptest::collection::vec(0u32..1000, 1..3000)) {
            let (mut waiting, now) = (Waiting::default(), Instant::now());
            for number in numbers {
                waiting.insert(&ready(number, Kind::Change, now));
                waiting.remove(MailboxId(number / 2));
                prop_assert!(waiting.queue.len() <= 64.max(waiting.len() * 4 + 4));
            }
            let mut last = None;
            while let Some(front) = waiting.front() {
                prop_assert_ne!(Some(front.mailbox), last);
                last = Some(front.mailbox);
                waiting.remove(front.mailbox);
            }
            prop_assert_eq!(waiting.len(), 0);
        }
    }
}
