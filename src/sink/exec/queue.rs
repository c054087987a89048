//! Who is to have a run of the program, or has one: each user once, shared by the thread that watches Maildirs and the one that runs
//! programs.
//!
//! Not a [`crate::handover::Handover`], which empties when it is taken: a user stays in here until the run has ended, so that whoever
//! asks whether somebody has been told of everything finds the answer in one place, and a change that comes during a run waits for the
//! end of that run.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use crate::{
    classifier::Kind,
    mailbox::{MailboxId, Username},
};

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Push {
    /// Who.
    pub user: Username,
    /// The mailbox, to be forgotten with it.
    pub mailbox: MailboxId,
    /// Where the mailbox is.
    pub maildir: Arc<Path>,
    /// New mail if there was any, else a change.
    pub kind: Kind,
    /// When the first of the events was seen.
    pub since: Instant,
    /// How many events there were.
    pub events: u32,
}

impl Push {
    /// Makes one of two: `newer` came later.
    fn join(&mut self, newer: Self) {
        *self = Self {
            kind: self.kind.max(newer.kind),
            since: self.since.min(newer.since),
            events: self.events.saturating_add(newer.events),
            ..newer
        };
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    /// Locked for a moment, and never across a wait.
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Invariant: a user is here with something that waits, or with a run, or with both.
    users: FxHashMap<Username, Turn>,
    /// Users without a run in the order in which they came. Those that were forgotten are passed over.
    next: VecDeque<Username>,
}

#[derive(Debug, Default)]
struct Turn {
    waiting: Option<Push>,
    is_running: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a push in. True if it joins one that waits, or waits for a run that goes on.
    pub fn put(&self, push: Push) -> bool {
        let is_behind = self.state().put(push);
        if !is_behind {
            self.filled.notify_one();
        }
        is_behind
    }

    /// Takes what has waited longest of a user who has no run; from now on the user has one.
    pub fn take(&self) -> Option<Push> {
        let mut state = self.state();
        let State { users, next } = &mut *state;
        while let Some(user) = next.pop_front() {
            if let Some(turn) = users.get_mut(&user)
                && !turn.is_running
                && let Some(push) = turn.waiting.take()
            {
                turn.is_running = true;
                return Some(push);
            }
        }
        // After an outage the memory goes back.
        if next.capacity() > 1024 {
            *next = VecDeque::new();
        }
        None
    }

    /// The user's run has ended, and what it was about is done.
    pub fn ended(&self, user: &Username) {
        self.state().ended(user);
    }

    /// The run could not begin: it is the first again, with what came meanwhile.
    pub fn put_back(&self, mut push: Push) {
        let mut state = self.state();
        let user = push.user.clone();
        let turn = state.users.entry(user.clone()).or_default();
        turn.is_running = false;
        if let Some(newer) = turn.waiting.take() {
            push.join(newer);
        }
        turn.waiting = Some(push);
        state.next.push_front(user);
    }

    /// Waits until there is something to take, perhaps. Safe to drop while it waits.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Drops what waits for these mailboxes, in one pass. Runs go on.
    pub fn forget(&self, mailboxes: &FxHashSet<MailboxId>) {
        self.state().users.retain(|_, turn| {
            turn.waiting = turn.waiting.take().filter(|push| !mailboxes.contains(&push.mailbox));
            turn.waiting.is_some() || turn.is_running
        });
    }

    /// Has the user a run, or something that waits for one?
    #[must_use]
    pub fn has<'a>(&self, mut users: impl Iterator<Item = &'a str>) -> bool {
        let state = self.state();
        !state.users.is_empty() && users.any(|user| state.users.contains_key(user))
    }

    /// How many users have a run, or something that waits for one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().users.len()
    }

    /// Has nobody any?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many users have something that waits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().users.values().filter(|turn| turn.waiting.is_some()).count()
    }
}

impl State {
    fn put(&mut self, push: Push) -> bool {
        let turn = self.users.entry(push.user.clone()).or_default();
        if let Some(waiting) = &mut turn.waiting {
            waiting.join(push);
            return true;
        }
        let is_running = turn.is_running;
        if !is_running {
            self.next.push_back(push.user.clone());
        }
        turn.waiting = Some(push);
        is_running
    }

    fn ended(&mut self, user: &Username) {
        let Some(turn) = self.users.get_mut(user) else { return };
        turn.is_running = false;
        if turn.waiting.is_some() {
            self.next.push_back(user.clone());
        } else {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn push(user: &str, kind: Kind, since: Instant) -> Push {
        let user = Username::new(user).expect("a name");
        Push { user, mailbox: MailboxId(7), maildir: Path::new("/mail").into(), kind, since, events: 1 }
    }

    #[test]
    fn what_comes_during_a_run_is_one_run_after_it() {
        let (queue, first) = (Queue::default(), Instant::now());
        let later = first + Duration::from_secs(1);
        assert!(!queue.put(push("jo", Kind::Change, first)));
        let run = queue.take().expect("jo is first");
        assert!(queue.put(push("jo", Kind::NewMail, first)));
        assert!(queue.put(push("jo", Kind::Change, later)));
        assert!(queue.take().is_none(), "one run of a user at a time");
        assert!(queue.has(["jesse", "jo"].into_iter()) && !queue.has(["jesse"].into_iter()));
        queue.ended(&run.user);
        let again = queue.take().expect("what came meanwhile");
        assert_eq!((again.kind, again.since, again.events), (Kind::NewMail, first, 2));
        queue.ended(&again.user);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_run_that_could_not_begin_is_the_first_again() {
        let (queue, now) = (Queue::default(), Instant::now());
        for user in ["jo", "jesse"] {
            queue.put(push(user, Kind::Change, now));
        }
        let run = queue.take().expect("jo is first");
        queue.put(push("jo", Kind::NewMail, now));
        queue.put_back(run);
        let again = queue.take().expect("jo again");
        assert_eq!((again.user.as_str(), again.kind, again.events), ("jo", Kind::NewMail, 2));
        assert_eq!(queue.take().map(|push| push.user.to_string()), Some("jesse".to_owned()));
    }

    #[test]
    fn a_mailbox_that_is_no_more_has_no_run() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.put(push("jo", Kind::Change, now));
        queue.forget(&FxHashSet::from_iter([MailboxId(7)]));
        assert!(queue.is_empty() && queue.take().is_none());
        // The name that is left in the order of turns does no harm to one that comes back.
        queue.put(push("jo", Kind::Change, now));
        assert!(queue.take().is_some() && queue.take().is_none());
    }
}
