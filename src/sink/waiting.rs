//! Mailboxes that wait for a receiver, in the order in which they came, each once, with what is said of their push when it goes out. Pure.
//!
//! In an outage there may be a million of them: 16 bytes each, and 4 for each mailbox there is.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{classifier::Kind, debouncer::MailboxReady, growth, mailbox::MailboxId};

/// The first event of a push may be that much older than the first push that waits.
const BEFORE: Duration = Duration::from_secs(3600);
/// Places are counted from the beginning, and begin anew before there are so many.
const MOST_PLACES: u32 = u32::MAX / 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Those that are gone or were sent stay until their turn comes.
    queue: VecDeque<Wait>,
    /// The place of each mailbox in the queue, by number, counted from 1; 0 for one that does not wait.
    places: Vec<u32>,
    /// How many have left the queue at its front.
    gone: u32,
    count: usize,
    /// What `since` is counted from.
    base: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    mailbox: MailboxId,
    /// Milliseconds.
    since: u32,
    events: u32,
    kind: Kind,
}

impl Waiting {
    pub(super) fn insert(&mut self, ready: &MailboxReady) {
        let MailboxReady { mailbox, kind, since, events } = *ready;
        let base = *self.base.get_or_insert_with(|| since.checked_sub(BEFORE).unwrap_or(since));
        let since = since.saturating_duration_since(base).as_millis();
        let new = Wait { mailbox, since: u32::try_from(since).unwrap_or(u32::MAX), events, kind };
        growth::at_least(&mut self.places, mailbox.index() + 1, 0);
        if let Some(old) = self.at(mailbox) {
            old.since = old.since.min(new.since);
            old.events = old.events.saturating_add(events);
            old.kind = old.kind.max(kind);
            return;
        }
        if self.gone >= MOST_PLACES {
            self.compact();
        }
        self.queue.push_back(new);
        self.places[mailbox.index()] = self.last_place();
        self.count += 1;
    }

    /// No longer does this one wait.
    pub(super) fn remove(&mut self, mailbox: MailboxId) {
        if let Some(place) = self.places.get_mut(mailbox.index())
            && std::mem::take(place) != 0
        {
            self.count -= 1;
            // It stays in the queue until its turn comes, unless so many did that they would be most of it.
            if self.queue.len() > 64 && self.queue.len() / 4 > self.count {
                self.compact();
            }
        }
    }

    /// The one that has waited longest.
    pub(super) fn front(&mut self) -> Option<MailboxReady> {
        while let Some(&Wait { mailbox, since, events, kind }) = self.queue.front() {
            if self.places[mailbox.index()] == self.gone + 1 {
                let base = self.base.unwrap_or_else(Instant::now);
                let since = base + Duration::from_millis(since.into());
                return Some(MailboxReady { mailbox, kind, since, events });
            }
            self.queue.pop_front();
            self.gone += 1;
        }
        (self.gone, self.base) = (0, None);
        // After an outage the memory goes back.
        if self.queue.capacity() > 1024 {
            *self = Self::default();
        }
        None
    }

    pub(super) fn has(&self, mailbox: MailboxId) -> bool {
        self.places.get(mailbox.index()).is_some_and(|place| *place != 0)
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    fn at(&mut self, mailbox: MailboxId) -> Option<&mut Wait> {
        let place = self.places[mailbox.index()].checked_sub(self.gone + 1)?;
        self.queue.get_mut(place as usize)
    }

    fn last_place(&self) -> u32 {
        self.gone.saturating_add(u32::try_from(self.queue.len()).unwrap_or(u32::MAX))
    }

    /// Lets go of those that do not wait any more.
    fn compact(&mut self) {
        let mut place = self.gone;
        let places = &self.places;
        self.queue.retain(|wait| {
            place += 1;
            places[wait.mailbox.index()] == place
        });
        self.gone = 0;
        for (place, wait) in (1..).zip(&self.queue) {
            self.places[wait.mailbox.index()] = place;
        }
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
        assert!(front.since.duration_since(earlier) < Duration::from_millis(2));
        waiting.remove(front.mailbox);
        assert_eq!(waiting.front().map(|front| front.mailbox.0), Some(1));
        assert!(waiting.has(MailboxId(1)) && !waiting.has(MailboxId(3)) && !waiting.has(MailboxId(99)));
    }

    proptest! {
        /// The same as a list that is searched.
        #[test]
        fn the_order_is_that_of_a_list(steps in proptest::collection::vec((0u32..200, 0u8..4), 1..2000)) {
            let (mut waiting, now) = (Waiting::default(), Instant::now());
            let (mut list, mut events) = (Vec::new(), BTreeMap::<u32, u32>::new());
            for (number, step) in steps {
                match step {
                    0 | 1 => {
                        waiting.insert(&ready(number, Kind::Change, now));
                        if !list.contains(&number) {
                            list.push(number);
                        }
                        *events.entry(number).or_default() += 1;
                    }
                    2 => {
                        waiting.remove(MailboxId(number));
                        list.retain(|it| *it != number);
                        events.remove(&number);
                    }
                    _ => {
                        let front = waiting.front();
                        prop_assert_eq!(front.map(|it| it.mailbox.0), list.first().copied());
                        if let Some(front) = front {
                            prop_assert_eq!(Some(front.events), events.remove(&front.mailbox.0));
                            waiting.remove(front.mailbox);
                            list.remove(0);
                        }
                    }
                }
                prop_assert_eq!(waiting.len(), list.len());
                prop_assert_eq!(waiting.has(MailboxId(number)), list.contains(&number));
            }
        }
    }
}
