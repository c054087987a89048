//! Who is to be told, and what may be forgotten. Pure: events and looks come in, pushes and records come out, and time is a parameter.
//!
//! ```text
//! event → classifier → debouncer ─→ push            a record may be stored when nothing of its mailbox is pending
//! look  → compared with the record → catch-up ─→ push
//! ```
//!
//! The one promise: after the last change of a mailbox that matters there is a push, whatever happened in between. What it rests on:
//!
//! - A record says that everything its look can have seen was noted or means nothing (records.rs). So whatever differs from it is told.
//! - A look that finds a difference makes a push, and is the record from then on: the push comes after the look.
//! - A look at a mailbox whose events explain the difference (or mean nothing) becomes the record when a later read has found everything
//!   read, and that mailbox untouched since: settling.rs. So what it saw had its events read.
//! - An overflow makes all looks that wait for that worthless, and every mailbox is compared before one is settled again: an event that was
//!   read does not explain what it sees when others were dropped.

mod catch_up;
mod comparing;
mod look;
mod records;
mod settling;

use std::time::Instant;

use crate::{
    classifier::{Classifier, Kind, Nothing, Op},
    debouncer::{Debouncer, Intervals, MailboxReady},
    mailbox::MailboxId,
    maildir::Part,
    stamp::{Stamp, Stamps},
};

pub use self::look::{Look, Order, Seen, Unseen, Why};
use self::{
    catch_up::CatchUp,
    records::{Flag, Records},
    settling::Settling,
};

/// Pushes in one go, before events get their turn: as many as a receiver's queue takes many times over.
const PUSHES: usize = 512;

/// What became of an event, for whoever wonders why nothing is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is no change.
    Nothing(Nothing),
    /// It waits for its time, or for that of what waits already.
    Waits,
    /// It was pushed at once.
    Pushed,
}

/// What a mailbox is that has no record, when it is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was there before anybody kept records: what it holds is no news.
    Old,
    /// There are records, and it has none: what lies in `new/` is news.
    Unrecorded,
    /// It appeared while we looked on: what it holds may have come before the watch.
    Appeared,
}

/// See the module.
#[derive(Debug)]
pub struct Planner {
    classifier: Classifier,
    debouncer: Debouncer,
    catch_up: CatchUp,
    records: Records,
    settling: Settling,
    /// Mailboxes still to be compared, and why.
    round: Vec<MailboxId>,
    round_why: Why,
    overflows: u32,
    /// Looks after an overflow that are on their way.
    overflow_looks: usize,
    /// Mailboxes whose directories are others than those that are watched.
    elsewhere: Vec<MailboxId>,
    /// Is there anybody who stores records?
    stores: bool,
    /// How often a look found what nobody had told.
    found: u64,
}

impl Planner {
    /// Knows nothing, and has nothing to do. Without `stores` no record is ever given out.
    #[must_use]
    pub fn new(intervals: Intervals, catch_up_rate: u32, stores: bool) -> Self {
        Self {
            classifier: Classifier::default(),
            debouncer: Debouncer::new(intervals),
            catch_up: CatchUp::new(catch_up_rate),
            records: Records::default(),
            settling: Settling::default(),
            round: Vec::new(),
            round_why: Why::Sweep,
            overflows: 0,
            overflow_looks: 0,
            elsewhere: Vec::new(),
            stores,
            found: 0,
        }
    }

    /// New lengths of time and a new rate, for what comes from now on.
    pub fn set_intervals(&mut self, intervals: Intervals, catch_up_rate: u32) {
        self.debouncer.set_intervals(intervals);
        self.catch_up.set_rate(catch_up_rate);
    }

    /// One event in `new/` or `cur/`.
    pub fn event(
        &mut self,
        (id, part): (MailboxId, Part),
        op: Op,
        name: &[u8],
        now: Instant,
        push: &mut impl FnMut(MailboxReady),
    ) -> Noted {
        self.touch(id, part, now);
        // One event tells of two mailboxes at most: a message that went from one to the other.
        let mut found = [None; 2];
        let mut count = 0;
        let nothing = self.classifier.event(id, part, op, name, &mut |id, kind| {
            found[count] = Some((id, kind));
            count += 1;
        });
        let mut noted = nothing.map_or(Noted::Waits, Noted::Nothing);
        for (id, kind) in found.into_iter().flatten() {
            noted = self.note(id, kind, now, push);
        }
        noted
    }

    /// A directory changed, and this is all that the backend can tell. `seen` is what it saw then, if it goes by looks: everything that
    /// the look can have seen is told with this.
    pub fn changed(
        &mut self,
        (id, part): (MailboxId, Part),
        kind: Kind,
        seen: Option<Stamp>,
        now: Instant,
        push: &mut impl FnMut(MailboxReady),
    ) -> Noted {
        match seen {
            Some(stamp) => self.renew(id, part, stamp, false, now),
            None => self.touch(id, part, now),
        }
        self.note(id, kind, now, push)
    }

    /// A read that had events is over.
    pub fn end_of_read(&mut self, now: Instant, push: &mut impl FnMut(MailboxReady)) {
        let mut found = Vec::new();
        self.classifier.end_of_read(now, &mut |id, kind| found.push((id, kind)));
        for (id, kind) in found {
            self.note(id, kind, now, push);
        }
    }

    /// Something happened to a mailbox: push, or wait for more.
    pub fn note(
        &mut self,
        id: MailboxId,
        kind: Kind,
        now: Instant,
        push: &mut impl FnMut(MailboxReady),
    ) -> Noted {
        // Whoever is finding out whether everything is pushed does not know of this.
        self.records.lower(id, Flag::Asked);
        let Some(ready) = self.debouncer.note(id, kind, now) else { return Noted::Waits };
        push(self.with_catch_up(ready));
        Noted::Pushed
    }

    /// A push takes along what the mailbox was to be told anyway.
    fn with_catch_up(&mut self, mut ready: MailboxReady) -> MailboxReady {
        if self.catch_up.len() > 0
            && let Some(kind) = self.catch_up.take(ready.mailbox)
        {
            ready.kind = ready.kind.max(kind);
        }
        ready
    }

    /// Something was found by a look.
    fn found(&mut self, id: MailboxId, kind: Kind) {
        self.records.lower(id, Flag::Asked);
        self.found += 1;
        self.catch_up.add(id, kind);
    }

    /// How often a look found what nobody had told: the part of a mailbox that is not as its record says.
    #[must_use]
    pub const fn found_by_looks(&self) -> u64 {
        self.found
    }

    /// When [`Self::on_time`] has something to do next.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        [self.classifier.deadline(), self.debouncer.deadline(), self.catch_up.deadline(now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due, a bounded part of it.
    pub fn on_time(&mut self, now: Instant, push: &mut impl FnMut(MailboxReady)) {
        if self.classifier.deadline().is_some_and(|deadline| deadline <= now) {
            self.release_halves(now, push);
        }
        for _ in 0..PUSHES {
            let Some(ready) = self.debouncer.pop_due(now) else { break };
            push(self.with_catch_up(ready));
        }
        while let Some((id, kind)) = self.catch_up.pop(now) {
            push(self.debouncer.push_now(id, kind, now));
        }
    }

    /// Ends the wait for second halves of renames.
    pub fn release_halves(&mut self, now: Instant, push: &mut impl FnMut(MailboxReady)) {
        let mut found = Vec::new();
        self.classifier.release(&mut |id, kind| found.push((id, kind)));
        for (id, kind) in found {
            self.note(id, kind, now, push);
        }
    }

    /// For an orderly stop: everything that waits for its time goes out now. What is to be caught up with stays for the next start, which
    /// finds it by the records.
    pub fn flush(&mut self, now: Instant, push: &mut impl FnMut(MailboxReady)) {
        self.release_halves(now, push);
        for ready in self.debouncer.flush() {
            push(self.with_catch_up(ready));
        }
        if !self.stores {
            for id in self.catch_up.drain() {
                push(self.debouncer.push_now(id.0, id.1, now));
            }
        }
    }

    /// How many mailboxes wait until it is their turn to catch up.
    #[must_use]
    pub const fn to_catch_up(&self) -> usize {
        self.catch_up.len()
    }

    /// How many mailboxes wait for quiet, or for the end of their interval.
    #[must_use]
    pub fn debounced(&self) -> usize {
        self.debouncer.pending()
    }

    /// See [`Debouncer::waiting`].
    #[must_use]
    pub fn waiting(&self, id: MailboxId) -> Option<(Instant, Instant, u32)> {
        self.debouncer.waiting(id)
    }

    /// Does something wait to be pushed?
    #[must_use]
    pub fn is_pending(&self, id: MailboxId) -> bool {
        self.catch_up.contains(id) || self.debouncer.is_pending(id) || self.classifier.holds(id)
    }

    /// Drops everything about a mailbox that is no more, or is not watched any more.
    pub fn forget(&mut self, id: MailboxId) {
        self.debouncer.forget(id);
        self.catch_up.take(id);
        self.records.forget(id);
        // A look that is on its way is at the old one.
        self.records.raise(id, Flag::Touched);
    }

    /// What the last process stored of a mailbox. Before it is armed.
    pub fn load(&mut self, id: MailboxId, stamps: Stamps) {
        for (part, stamp) in Part::ALL.into_iter().zip(stamps) {
            self.records.set(id, part, stamp, false);
        }
        self.records.raise(id, Flag::Known);
        self.records.raise(id, Flag::Recorded);
    }

    /// The same, read late: the mailbox may be armed already, and what had changed before that is told now.
    pub fn load_late(&mut self, id: MailboxId, stamps: Stamps) {
        if !self.is_known(id) {
            return self.load(id, stamps);
        }
        self.records.raise(id, Flag::Recorded);
        let is_told = |(seen, then): (Option<Stamp>, Option<Stamp>)| match (seen, then) {
            (Some(seen), Some(then)) => seen.is_unchanged_since(&then),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !self.known(id).into_iter().zip(stamps).all(is_told) {
            self.found(id, Kind::Change);
        }
    }

    /// Whoever keeps the records may have lost them.
    pub fn store_again(&mut self, mailboxes: impl Iterator<Item = MailboxId>, now: Instant) {
        for id in mailboxes {
            if self.is_known(id) {
                self.not_stored([id], now);
            }
        }
    }

    /// What the record says.
    #[must_use]
    pub fn known(&self, id: MailboxId) -> Stamps {
        self.records.stamps(id)
    }

    /// A watch is armed, and a look after that saw this.
    pub fn armed(&mut self, (id, part): (MailboxId, Part), seen: Seen, arrival: Arrival, now: Instant) {
        let known = self.records.stamp(id, part);
        let is_known = self.records.is(id, Flag::Known);
        let kind = match known {
            Some(then) if seen.stamp.is_unchanged_since(&then) => None,
            Some(_) => Some(seen.kind(part)),
            None if !seen.holds_message => None,
            None if is_known || arrival == Arrival::Appeared => Some(match part {
                Part::New => Kind::NewMail,
                Part::Cur => Kind::Change,
            }),
            None => (arrival == Arrival::Unrecorded && part == Part::New).then_some(Kind::NewMail),
        };
        if let Some(kind) = kind {
            self.found(id, kind);
        }
        if kind.is_some() || known != Some(seen.stamp) {
            self.renew(id, part, seen.stamp, false, now);
        }
    }

    /// All parts that there are have been armed.
    pub fn is_armed(&mut self, id: MailboxId) {
        self.records.raise(id, Flag::Known);
    }

    /// Is there a record, of this process or the last one?
    #[must_use]
    pub fn is_known(&self, id: MailboxId) -> bool {
        self.records.is(id, Flag::Known)
    }

    /// Notes that something is to be settled; the hot path's share.
    fn touch(&mut self, id: MailboxId, part: Part, now: Instant) {
        self.records.touch(id, part);
        self.unsettle(id, now);
    }

    /// Something is not as it was known: the mailbox is looked at when it is quiet.
    pub fn doubt(&mut self, id: MailboxId, now: Instant) {
        self.records.raise(id, Flag::Doubtful);
        self.unsettle(id, now);
    }

    /// Makes a look the record.
    fn renew(&mut self, id: MailboxId, part: Part, stamp: Stamp, is_dirty: bool, now: Instant) {
        self.records.set(id, part, Some(stamp), is_dirty);
        self.records.raise(id, Flag::Unstored);
        if stamp.is_racy() {
            self.records.raise(id, Flag::Doubtful);
        }
        self.unsettle(id, now);
    }

    fn unsettle(&mut self, id: MailboxId, now: Instant) {
        if self.records.raise(id, Flag::Unsettled) {
            self.settling.add(id, now);
        }
    }
}
