//! When to push: gathers what happens to a mailbox into as few pushes as are useful. Pure; `now` is a parameter.
//!
//! - The first new mail is pushed at once, later ones at most once in [`Intervals::new_mail`], and the last message
//!   is always followed by a push.
//! - Changes wait for [`Intervals::change_quiet`] without another change, since the phone's own reading is a change
//!   too and comes in bursts, but never longer than [`Intervals::change_max_wait`] from the first one.
//! - A push makes the phone look at everything, so it takes waiting changes along.
//!
//! There is an entry only for a mailbox with something pending, and it has one live timer in a heap. A timer is not moved when its
//! mailbox's time moves back, only when it comes up: thus a burst of events costs one entry and no work on the heap. When the last
//! new-mail push of a mailbox was is four bytes in an array, for nothing has to happen when the interval ends.

mod clock;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use self::clock::{Clock, Moment, Span};
use crate::{classifier::Kind, growth, mailbox::MailboxId};

/// The three lengths of time, as `[debounce]` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// New mail is pushed at most this often.
    pub new_mail: Duration,
    /// A change waits until this long has passed without another.
    pub change_quiet: Duration,
    /// A change never waits longer than this.
    pub change_max_wait: Duration,
}

/// A mailbox whose owner's phones are to look now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxReady {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// New mail if there was any, else a change.
    pub kind: Kind,
    /// When the first of the gathered events was seen.
    pub since: Instant,
    /// How many events were gathered.
    pub events: u32,
}

/// What waits for one mailbox: 24 bytes, since after an outage, or in a storm, there are hundreds of thousands.
///
/// Invariant: `timer` is the time of an entry in the heap, and no later than [`State::due`].
#[derive(Debug, Default)]
struct State {
    first: Option<Moment>,
    first_change: Option<Moment>,
    last_change: Option<Moment>,
    timer: Option<Moment>,
    events: u32,
    new_mail: bool,
}

/// The [`Intervals`] as the clock has them.
#[derive(Clone, Copy, Debug)]
struct Spans {
    new_mail: Span,
    change_quiet: Span,
    change_max_wait: Span,
}

/// The pending mailboxes and their timers.
#[derive(Debug)]
pub struct Debouncer {
    spans: Spans,
    clock: Clock,
    states: FxHashMap<MailboxId, State>,
    timers: BinaryHeap<Reverse<(Moment, MailboxId)>>,
    /// The ends of the intervals that the last new-mail pushes began, by mailbox.
    quiet_until: Vec<Option<Moment>>,
}

impl Debouncer {
    /// Nothing pending.
    #[must_use]
    pub fn new(intervals: Intervals) -> Self {
        Self {
            spans: intervals.into(),
            clock: Clock::default(),
            states: FxHashMap::default(),
            timers: BinaryHeap::new(),
            quiet_until: Vec::new(),
        }
    }

    /// New lengths of time, for what comes from now on; a timer that runs is corrected when it comes up.
    pub fn set_intervals(&mut self, intervals: Intervals) {
        self.spans = intervals.into();
    }

    /// Notes an event. Returns the push if it is to go out at once.
    pub fn note(&mut self, mailbox: MailboxId, kind: Kind, now: Instant) -> Option<MailboxReady> {
        let now = self.moment(now);
        let state = self.states.entry(mailbox).or_default();
        state.first.get_or_insert(now);
        state.events = state.events.saturating_add(1);
        match kind {
            Kind::NewMail => state.new_mail = true,
            Kind::Change => {
                state.first_change.get_or_insert(now);
                state.last_change = Some(now);
            }
        }
        self.settle(mailbox, now)
    }

    /// Pushes a mailbox at once, with what waits for it: somebody else knows that it is time.
    pub fn push_now(&mut self, mailbox: MailboxId, kind: Kind, now: Instant) -> MailboxReady {
        let moment = self.moment(now);
        let clock = &self.clock;
        let waiting = self.states.remove(&mailbox).and_then(|state| state.ready(mailbox, clock));
        let ready = match waiting {
            Some(waiting) => MailboxReady {
                kind: waiting.kind.max(kind),
                events: waiting.events.saturating_add(1),
                ..waiting
            },
            None => MailboxReady { mailbox, kind, since: now, events: 1 },
        };
        if ready.kind == Kind::NewMail {
            // As after any other push for new mail, the next one waits for its interval.
            self.begin_interval(mailbox, moment);
        }
        ready
    }

    /// When [`Self::pop_due`] may have something next. Earlier than needed at times, never later.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((time, _))| self.clock.instant(*time))
    }

    /// The next push whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<MailboxReady> {
        if self.timers.is_empty() {
            return None;
        }
        let now = self.moment(now);
        while let Some(&Reverse((time, mailbox))) = self.timers.peek() {
            if time > now {
                return None;
            }
            self.timers.pop();
            match self.states.get_mut(&mailbox) {
                Some(state) if state.timer == Some(time) => state.timer = None,
                // An earlier timer took this one's place, or the mailbox is gone.
                _ => continue,
            }
            if let Some(ready) = self.settle(mailbox, now) {
                return Some(ready);
            }
        }
        None
    }

    /// Everything that is pending, at once: for an orderly stop.
    pub fn flush(&mut self) -> Vec<MailboxReady> {
        self.timers.clear();
        self.quiet_until.clear();
        let mut ready: Vec<_> =
            self.states.drain().filter_map(|(mailbox, state)| state.ready(mailbox, &self.clock)).collect();
        ready.sort_unstable_by_key(|ready| ready.since);
        ready
    }

    /// Drops what is pending for a mailbox that is no more.
    pub fn forget(&mut self, mailbox: MailboxId) {
        self.states.remove(&mailbox);
        if let Some(until) = self.quiet_until.get_mut(mailbox.index()) {
            *until = None;
        }
    }

    /// Does the mailbox wait for its push?
    #[must_use]
    pub fn is_pending(&self, mailbox: MailboxId) -> bool {
        self.states.get(&mailbox).is_some_and(|state| state.first.is_some())
    }

    /// What waits for a mailbox's push: since when, until when, and how many events.
    #[must_use]
    pub fn waiting(&self, mailbox: MailboxId) -> Option<(Instant, Instant, u32)> {
        let state = self.states.get(&mailbox)?;
        let quiet_until = self.quiet_until.get(mailbox.index()).copied().flatten();
        let due = state.due(&self.spans, quiet_until)?;
        Some((self.clock.instant(state.first?), self.clock.instant(due), state.events))
    }

    /// How many mailboxes wait for their push.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.states.values().filter(|state| state.first.is_some()).count()
    }

    /// How many timers there are: one for each mailbox with an entry, and those that were overtaken and will go when they come up.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Pushes a mailbox if its time has come, else sees that a timer runs for it.
    fn settle(&mut self, mailbox: MailboxId, now: Moment) -> Option<MailboxReady> {
        let quiet_until = self.quiet_until.get(mailbox.index()).copied().flatten();
        let state = self.states.get_mut(&mailbox)?;
        let due = state.due(&self.spans, quiet_until)?;
        if due > now {
            if state.timer.is_none_or(|timer| due < timer) {
                state.timer = Some(due);
                self.timers.push(Reverse((due, mailbox)));
            }
            return None;
        }
        let ready = self.states.remove(&mailbox)?.ready(mailbox, &self.clock)?;
        self.shrink();
        if ready.kind == Kind::NewMail {
            self.begin_interval(mailbox, now);
        }
        Some(ready)
    }

    /// After a storm the memory goes back.
    fn shrink(&mut self) {
        if self.states.is_empty() && self.states.capacity() > 1024 {
            self.states = FxHashMap::default();
            self.timers = BinaryHeap::new();
        }
    }

    /// The time as the clock has it. Once in some weeks the clock begins anew.
    fn moment(&mut self, now: Instant) -> Moment {
        if let Some(passed) = self.clock.renew(now) {
            let earlier = |time: &mut Option<Moment>| *time = time.map(|time| time.before(passed));
            for state in self.states.values_mut() {
                let State { first, first_change, last_change, timer, .. } = state;
                [first, first_change, last_change, timer].into_iter().for_each(earlier);
            }
            self.timers =
                self.timers.drain().map(|Reverse((time, id))| Reverse((time.before(passed), id))).collect();
            self.quiet_until.iter_mut().for_each(earlier);
        }
        self.clock.moment(now)
    }

    fn begin_interval(&mut self, mailbox: MailboxId, now: Moment) {
        growth::at_least(&mut self.quiet_until, mailbox.index() + 1, None);
        self.quiet_until[mailbox.index()] = Some(now.after(self.spans.new_mail));
    }
}

impl From<Intervals> for Spans {
    fn from(Intervals { new_mail, change_quiet, change_max_wait }: Intervals) -> Self {
        Self {
            new_mail: new_mail.into(),
            change_quiet: change_quiet.into(),
            change_max_wait: change_max_wait.into(),
        }
    }
}

impl State {
    /// When the push is due; nothing when nothing is pending.
    fn due(&self, spans: &Spans, quiet_until: Option<Moment>) -> Option<Moment> {
        let first = self.first?;
        let changes = self
            .first_change
            .zip(self.last_change)
            .map(|(first, last)| last.after(spans.change_quiet).min(first.after(spans.change_max_wait)));
        let new_mail = self.new_mail.then(|| quiet_until.unwrap_or(first).max(first));
        // Both may wait; the earlier one takes the other along.
        [changes, new_mail].into_iter().flatten().min()
    }

    fn ready(&self, mailbox: MailboxId, clock: &Clock) -> Option<MailboxReady> {
        Some(MailboxReady {
            mailbox,
            kind: if self.new_mail { Kind::NewMail } else { Kind::Change },
            since: clock.instant(self.first?),
            events: self.events,
        })
    }
}
