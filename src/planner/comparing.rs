//! The comparison of mailboxes with their records: what is to be looked at, and what a look means. Pure, as all of the planner.

use std::time::Instant;

use super::{
    Planner,
    look::{Look, Order, Seen, Unseen, Verdict, Why},
};
use crate::{mailbox::MailboxId, maildir::Part};

impl Planner {
    /// Events were dropped. Every mailbox is to be compared: see [`Self::compare`].
    pub fn overflow(&mut self) {
        self.overflows = self.overflows.wrapping_add(1);
        self.settling.overflow();
    }

    /// Begins to compare these mailboxes anew, or these too.
    pub fn compare(&mut self, mailboxes: impl Iterator<Item = MailboxId>, why: Why) {
        if self.round.is_empty() {
            self.round_why = why;
        }
        self.round_why = self.round_why.max(why);
        if why == Why::Overflow {
            self.round.clear();
        }
        self.round.extend(mailboxes);
    }

    /// Is there something to look at?
    #[must_use]
    pub fn wants_look(&self) -> bool {
        !self.round.is_empty() || self.settling.wants_look()
    }

    /// The next mailboxes to look at, at most so many.
    pub fn next_looks(&mut self, most: usize) -> Vec<Order> {
        let settle = self.settling.next_looks(most);
        let (ids, why) = match settle {
            Some(ids) => (ids, Why::Settle),
            None => (self.round.split_off(self.round.len().saturating_sub(most)), self.round_why),
        };
        if why == Why::Overflow {
            self.overflow_looks += ids.len();
        }
        let order = |mailbox| {
            // The event tells of the change: see `confirm`.
            let told = Part::ALL.map(|part| why == Why::Settle && self.records.is_dirty(mailbox, part));
            Order { mailbox, why, known: self.records.stamps(mailbox), told, overflows: self.overflows }
        };
        ids.into_iter().map(order).collect()
    }

    /// An order was carried out. `is_there`: the mailbox is still the one that was to be looked at. Each order comes back, for the next
    /// ones wait for that.
    pub fn looked(&mut self, look: Look, is_there: bool, now: Instant) {
        let Order { mailbox: id, why, overflows, .. } = look.order;
        if why == Why::Overflow {
            self.overflow_looks = self.overflow_looks.saturating_sub(1);
        }
        match why {
            // If events were dropped since, all is looked at anyway.
            Why::Settle => self.settling.looked(look, is_there && overflows == self.overflows),
            _ if !is_there => {}
            Why::Overflow => self.doubt_all(id, look.parts, now),
            Why::Sweep => {
                for (part, seen) in Part::ALL.into_iter().zip(look.parts) {
                    match Verdict::of(self.records.stamp(id, part), seen) {
                        Verdict::Elsewhere => self.arm_anew(id),
                        // An event for it may be on its way.
                        Verdict::Changed(_) if !self.records.is_dirty(id, part) => self.doubt(id, now),
                        Verdict::Same if self.records.stamp(id, part).is_some_and(|it| it.is_racy()) => {
                            self.doubt(id, now);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// After an overflow an event that was read may not be the one that matters, and the doubt is the user's.
    fn doubt_all(&mut self, id: MailboxId, parts: [Result<Seen, Unseen>; 2], now: Instant) {
        for (part, seen) in Part::ALL.into_iter().zip(parts) {
            let record = self.records.stamp(id, part);
            match (Verdict::of(record, seen), seen) {
                (Verdict::Elsewhere, _) => self.arm_anew(id),
                (Verdict::Changed(seen), _) => {
                    self.found(id, seen.kind(part));
                    self.renew(id, part, seen.stamp, self.records.is_dirty(id, part), now);
                }
                (Verdict::Same, Ok(seen)) if record.is_some_and(|record| record.is_racy()) => {
                    self.found(id, seen.kind(part));
                    self.renew(id, part, seen.stamp, self.records.is_dirty(id, part), now);
                }
                (Verdict::Same, _) => {}
            }
        }
    }

    pub(super) fn arm_anew(&mut self, id: MailboxId) {
        if self.elsewhere.last() != Some(&id) {
            self.elsewhere.push(id);
        }
    }

    /// Mailboxes to be armed anew, since their directories are others than those that are watched.
    pub fn take_elsewhere(&mut self) -> Vec<MailboxId> {
        std::mem::take(&mut self.elsewhere)
    }

    /// Is there a mailbox left that was not compared since events were dropped?
    pub(super) fn is_after_overflow(&self) -> bool {
        self.overflow_looks > 0 || (self.round_why == Why::Overflow && !self.round.is_empty())
    }

    /// Has everything been compared that was to be, apart from looks that are on their way?
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.round.is_empty()
    }
}
