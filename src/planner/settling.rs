//! Mailboxes that had something happen to them and are to be settled: looked at again once they are quiet, and stored.
//!
//! Settling goes by turns, a few seconds apart, and before each turn everything that the backend has is read. In one turn a mailbox with
//! nothing pending is asked for a look; in the next one, if no event came for it and none were dropped, all that the look can have seen
//! had its events read long before, and it becomes the record. (The kernel tells of a change just after the mtime shows it. Turns are
//! seconds apart, so that a deliverer that was held up in between has been heard of.)

use std::time::{Duration, Instant};

use super::{
    Planner,
    look::{Look, Verdict},
    records::Flag,
};
use crate::{
    mailbox::MailboxId,
    maildir::Part,
    stamp::{Stamp, Stamps},
};

/// From one turn to the next.
const TURN: Duration = Duration::from_millis(2500);
/// The same while so many wait that going through them costs something: most of them for a receiver that is out.
const LONG_TURN: Duration = Duration::from_secs(15);
/// How many those are.
const MANY: usize = 20_000;
/// The most looks in one turn: what they saw is kept until the next one.
const LOOKS: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Each mailbox once, and numbers of mailboxes that are no more.
    unsettled: Vec<MailboxId>,
    to_look: Vec<MailboxId>,
    /// Looks on their way.
    looking: usize,
    looked: Vec<Look>,
    next: Option<Instant>,
}

impl Settling {
    pub(super) fn add(&mut self, id: MailboxId, now: Instant) {
        self.unsettled.push(id);
        self.next.get_or_insert_with(|| now + TURN);
    }

    /// What looks saw so far may have been told by events that were dropped. Those that were not sent out are asked for later.
    pub(super) fn overflow(&mut self) {
        self.looked.clear();
        self.to_look.clear();
    }

    pub(super) fn wants_look(&self) -> bool {
        !self.to_look.is_empty()
    }

    pub(super) fn next_looks(&mut self, most: usize) -> Option<Vec<MailboxId>> {
        let at = self.to_look.len().saturating_sub(most);
        let ids = self.to_look.split_off(at);
        self.looking += ids.len();
        (!ids.is_empty()).then_some(ids)
    }

    pub(super) fn looked(&mut self, look: Look, is_good: bool) {
        self.looking = self.looking.saturating_sub(1);
        if is_good {
            self.looked.push(look);
        }
    }
}

impl Planner {
    /// When [`Self::settle`] is wanted next.
    #[must_use]
    pub fn next_turn(&self) -> Option<Instant> {
        self.settling.next
    }

    /// Wants the next turn now. For the first start: as long as there is no record of a mailbox, a kill leaves no trace of what it was
    /// to be told.
    pub fn settle_soon(&mut self, now: Instant) {
        self.settling.next = self.settling.next.map(|next| next.min(now));
    }

    /// A turn. Just before, everything that had happened was read and handed in.
    ///
    /// `waits` says whether the mailbox waits in a sink. Returns the mailboxes whose records are good to be stored if nothing of theirs
    /// waits elsewhere, and those that have none yet: see [`Self::take_records`].
    pub fn settle(&mut self, now: Instant, waits: impl Fn(MailboxId) -> bool) -> Vec<MailboxId> {
        for look in std::mem::take(&mut self.settling.looked) {
            self.confirm(&look);
        }
        // The next looks when the last ones are all there, so that each mailbox has one look on its way at most.
        let may_look =
            self.settling.looking == 0 && self.settling.to_look.is_empty() && !self.is_after_overflow();
        let mut good = Vec::new();
        let mut unsettled = std::mem::take(&mut self.settling.unsettled);
        unsettled.retain(|&id| {
            if !self.stores {
                self.records.lower(id, Flag::Unstored);
            }
            let is_unstored = self.records.is(id, Flag::Unstored);
            let wants_look = self.records.wants_look(id);
            if !is_unstored && !wants_look {
                self.records.lower(id, Flag::Unsettled);
                return false;
            }
            if self.is_pending(id) || waits(id) {
                if is_unstored && !self.records.is(id, Flag::Recorded) {
                    good.push(id);
                }
                return true;
            }
            if is_unstored {
                self.records.raise(id, Flag::Asked);
                good.push(id);
            }
            if wants_look && may_look && self.settling.to_look.len() < LOOKS {
                self.records.lower(id, Flag::Touched);
                self.settling.to_look.push(id);
            }
            true
        });
        if unsettled.is_empty() && unsettled.capacity() > 1024 {
            unsettled = Vec::new();
        }
        self.settling.unsettled = unsettled;
        let waiting = self.settling.unsettled.len();
        let turn = if waiting > MANY && self.settling.to_look.is_empty() { LONG_TURN } else { TURN };
        self.settling.next = (waiting > 0).then(|| now + turn);
        good
    }

    /// The records of these mailboxes, to be stored, except where `waits`, or something has happened since they were given out. Then one
    /// that has none on disk gets one that says that there is something to tell: without any, a change would be no news to the next start.
    pub fn take_records(
        &mut self,
        mailboxes: impl IntoIterator<Item = MailboxId>,
        waits: impl Fn(MailboxId) -> bool,
    ) -> Vec<(MailboxId, Stamps)> {
        let mut records = Vec::new();
        for id in mailboxes {
            if self.records.lower(id, Flag::Asked) && !waits(id) {
                self.records.lower(id, Flag::Unstored);
                self.records.raise(id, Flag::Recorded);
                records.push((id, self.records.stamps(id)));
            } else if self.stores && self.is_known(id) && self.records.raise(id, Flag::Recorded) {
                let stamps = self.records.stamps(id).map(|stamp| stamp.map(Stamp::doubtful));
                records.push((id, stamps));
            }
        }
        records
    }

    /// The records of these mailboxes could not be stored.
    pub fn not_stored(&mut self, mailboxes: impl IntoIterator<Item = MailboxId>, now: Instant) {
        for id in mailboxes {
            self.records.lower(id, Flag::Recorded);
            self.records.raise(id, Flag::Unstored);
            self.unsettle(id, now);
        }
    }

    /// Is a record on its way, or a look that could become one? For the end.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settling.unsettled.is_empty()
    }

    fn confirm(&mut self, look: &Look) {
        let id = look.order.mailbox;
        if self.records.is(id, Flag::Touched) {
            return;
        }
        self.records.lower(id, Flag::Doubtful);
        for (part, seen) in Part::ALL.into_iter().zip(look.parts) {
            let record = self.records.stamp(id, part);
            match Verdict::of(record, seen) {
                Verdict::Elsewhere => self.arm_anew(id),
                Verdict::Changed(seen) => {
                    if !self.records.is_dirty(id, part) {
                        self.found(id, seen.kind(part));
                    }
                    self.records.set(id, part, Some(seen.stamp), false);
                    self.records.raise(id, Flag::Unstored);
                    if seen.stamp.is_racy() {
                        self.records.raise(id, Flag::Doubtful);
                    }
                }
                Verdict::Same => {
                    let now_clean = seen.ok().map(|seen| seen.stamp).or(record);
                    if record.map(|it| it.is_racy()) != now_clean.map(|it| it.is_racy()) {
                        self.records.raise(id, Flag::Unstored);
                    }
                    // What stays racy has an mtime in the future. The sweep looks at it again.
                    self.records.set(id, part, now_clean, false);
                }
            }
        }
    }
}
