//! Mailboxes that changed while nobody looked, on their way to their one push: so many a second, so that a start after a long outage
//! is not a storm. Pure; time is a parameter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{classifier::Kind, growth, mailbox::MailboxId};

/// Pushes go out in groups of as many as are due in this time.
const STEP: Duration = Duration::from_millis(20);

/// The queue.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Each mailbox once, and some that were taken out since.
    queue: VecDeque<MailboxId>,
    /// What each mailbox in the queue is to be told; by number.
    kinds: Vec<Option<Kind>>,
    waiting: usize,
    rate: u32,
    /// When the next group is due, and how many of this one are left.
    next: Option<Instant>,
    left: u32,
}

impl CatchUp {
    /// At most `rate` pushes a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { queue: VecDeque::new(), kinds: Vec::new(), waiting: 0, rate, next: None, left: 0 }
    }

    pub(super) fn set_rate(&mut self, rate: u32) {
        self.rate = rate;
    }

    /// Adds a mailbox, or joins what it is told to what it is to be told already.
    pub(super) fn add(&mut self, id: MailboxId, kind: Kind) {
        growth::at_least(&mut self.kinds, id.index() + 1, None);
        let waiting = &mut self.kinds[id.index()];
        if waiting.is_none() {
            self.queue.push_back(id);
            self.waiting += 1;
        }
        *waiting = (*waiting).max(Some(kind));
    }

    /// The mailbox has its push, or wants none any more. What it was to be told.
    pub(super) fn take(&mut self, id: MailboxId) -> Option<Kind> {
        let taken = self.kinds.get_mut(id.index())?.take();
        if taken.is_some() {
            self.waiting -= 1;
            // Those that were taken out lie in the queue until their turn comes, unless they would be most of it.
            if self.queue.len() > 64 && self.queue.len() / 4 > self.waiting {
                let kinds = &self.kinds;
                let mut seen = vec![false; kinds.len()];
                self.queue.retain(|id| {
                    kinds[id.index()].is_some() && !std::mem::replace(&mut seen[id.index()], true)
                });
            }
        }
        taken
    }

    /// All of them, at once.
    pub(super) fn drain(&mut self) -> Vec<(MailboxId, Kind)> {
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().filter_map(|id| Some((id, self.take(id)?))).collect()
    }

    pub(super) fn contains(&self, id: MailboxId) -> bool {
        self.kinds.get(id.index()).is_some_and(Option::is_some)
    }

    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    /// When [`Self::pop`] has something next.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = if self.left > 0 { now } else { self.next.unwrap_or(now) };
        (self.waiting > 0).then_some(due)
    }

    /// The next mailbox whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(MailboxId, Kind)> {
        if self.waiting == 0 {
            if self.queue.capacity() > 1024 {
                self.queue = VecDeque::new();
                self.kinds = Vec::new();
            }
            return None;
        }
        if self.left == 0 {
            if self.next.is_some_and(|next| next > now) {
                return None;
            }
            // A rate of less than one a group makes the groups rarer.
            self.left = (self.rate / (1000 / 20)).max(1);
            self.next = Some(now + STEP.max(Duration::from_secs(1) / self.rate.max(1)));
        }
        loop {
            let id = self.queue.pop_front()?;
            // Taken out, or a second entry of one that was taken out and came again.
            if let Some(kind) = self.take(id) {
                self.left -= 1;
                return Some((id, kind));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds it takes until all are out.
    fn seconds_for(count: u32, rate: u32) -> f64 {
        let start = Instant::now();
        let mut catch_up = CatchUp::new(rate);
        for number in 0..count {
            catch_up.add(MailboxId(number), Kind::Change);
        }
        let mut now = start;
        let mut out = 0;
        while out < count {
            now = catch_up.deadline(now).expect("something waits");
            out += u32::try_from(std::iter::from_fn(|| catch_up.pop(now)).count()).expect("few");
        }
        assert_eq!((catch_up.deadline(now), catch_up.len()), (None, 0));
        now.duration_since(start).as_secs_f64()
    }

    #[test]
    fn the_rate_holds() {
        for (count, rate, seconds) in [(5000, 500, 10.0), (3, 500, 0.0), (100, 10, 9.9), (10_000, 5000, 2.0)]
        {
            let took = seconds_for(count, rate);
            assert!((took - seconds).abs() < 0.05, "{count} at {rate} a second: {took} s");
        }
    }

    #[test]
    fn a_mailbox_waits_once_and_new_mail_is_not_forgotten() {
        let now = Instant::now();
        let mut catch_up = CatchUp::new(1000);
        catch_up.add(MailboxId(1), Kind::NewMail);
        catch_up.add(MailboxId(1), Kind::Change);
        catch_up.add(MailboxId(2), Kind::Change);
        assert_eq!(catch_up.take(MailboxId(2)), Some(Kind::Change));
        catch_up.add(MailboxId(2), Kind::NewMail);
        let all: Vec<_> = std::iter::from_fn(|| catch_up.pop(now)).collect();
        assert_eq!(all, [(MailboxId(1), Kind::NewMail), (MailboxId(2), Kind::NewMail)]);
        assert!(!catch_up.contains(MailboxId(2)));
    }

    #[test]
    fn taking_out_does_not_grow_the_queue() {
        let mut catch_up = CatchUp::new(1);
        for _ in 0..10_000 {
            catch_up.add(MailboxId(1), Kind::Change);
            catch_up.take(MailboxId(1));
        }
        assert!(catch_up.queue.len() <= 65, "{}", catch_up.queue.len());
    }
}
