//! Who has changed and who was told, as two times for each user.
//!
//! A push counts for a change if it was **sent** no earlier than the change **began**, which is the instant before the one system call
//! that makes it (a rename, a link or an unlink). Two nearby rules would be wrong:
//!
//! - By the time of receiving, a push that lay in the socket while the change was made would count. So the kernel's time stamp of the
//!   sending is taken where there is one; see [`listener`](super::listener).
//! - From the time at which the change was complete, a daemon that is quicker than the return of rename(2) would be blamed. What is left
//!   is a push for an earlier change, still to be told, that happens to be sent within these microseconds. It counts, and
//!   [`Ledger::in_doubt`] has the number of users for whom nothing better came.

use std::{
    iter,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{self, Duration, SystemTime, UNIX_EPOCH},
};

use super::Tree;

/// New mail to somebody to whom nothing has happened for so long is pushed at once, so its way to the push is measured.
const QUIET: Duration = Duration::from_secs(5);

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A time of the system's clock, in nanoseconds since 1970: what a datagram's time stamp is as well. 0 is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn now() -> Self {
        SystemTime::now().into()
    }

    /// How much later this is; nothing if it is not.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// One user's times.
#[derive(Debug, Default)]
struct Times {
    /// The last change that matters, before it was made.
    began: AtomicU64,
    /// The same after it was made; 0 if the one before it had been told by then, for any push is for this one then.
    in_doubt_until: AtomicU64,
    /// The last push.
    told: AtomicU64,
    /// New mail whose way to the push is being measured.
    measured: AtomicU64,
}

impl Times {
    fn is_untold(&self) -> bool {
        self.began.load(Ordering::Acquire) > self.told.load(Ordering::Acquire)
    }
}

/// Everybody's times. One thread notes changes and another one pushes; any may ask.
#[derive(Debug)]
pub(crate) struct Ledger {
    users: Box<[Times]>,
    changes: AtomicU64,
    pushes: AtomicU64,
    strangers: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
}

impl Ledger {
    pub(crate) fn new(users: usize) -> Self {
        Self {
            users: iter::repeat_with(Times::default).take(users).collect(),
            changes: AtomicU64::new(0),
            pushes: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            latencies: Mutex::default(),
        }
    }

    /// Makes a change that matters, and notes it if it succeeds.
    pub(crate) fn change<E>(&self, user: usize, make: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let times = &self.users[user];
        let is_owed = times.is_untold();
        let began = Moment::now();
        make()?;
        let complete = Moment::now();
        times.began.store(began.0, Ordering::Release);
        times.in_doubt_until.store(if is_owed { complete.0 } else { 0 }, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The same for a delivery, whose way to the push is measured if the user was quiet.
    pub(crate) fn delivery<E>(&self, user: usize, make: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let times = &self.users[user];
        let began = Moment::now();
        let is_quiet = !times.is_untold() && began.since(Moment(times.told.load(Ordering::Relaxed))) >= QUIET;
        // Before the delivery, for its push may be here before rename(2) has returned.
        times.measured.store(if is_quiet { began.0 } else { 0 }, Ordering::Release);
        self.change(user, make).inspect_err(|_| times.measured.store(0, Ordering::Release))
    }

    /// Notes a push that was sent at that time.
    pub(crate) fn told(&self, name: &str, sent: Moment) {
        self.pushes.fetch_add(1, Ordering::Relaxed);
        let Some(times) = Tree::number(name).and_then(|user| self.users.get(user)) else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            return;
        };
        times.told.store(sent.0, Ordering::Release);
        let measured = times.measured.load(Ordering::Acquire);
        // If the user has new mail by now, that is not what this push was for.
        if measured != 0
            && measured <= sent.0
            && times.measured.compare_exchange(measured, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.push(sent.since(Moment(measured)));
        }
    }

    /// The users whose last change was not followed by a push.
    pub(crate) fn untold(&self) -> impl Iterator<Item = usize> {
        self.users.iter().enumerate().filter(|(_, times)| times.is_untold()).map(|(user, _)| user)
    }

    /// Waits until everybody is told, for so long at most, and says how long it took. `glance` is called between the looks.
    pub(crate) fn settle(&self, within: Duration, glance: impl Fn()) -> Duration {
        let start = time::Instant::now();
        while self.untold().next().is_some() && start.elapsed() < within {
            glance();
            #[expect(clippy::disallowed_methods, reason = "between two looks; a ledger tells nobody")]
            thread::sleep(BETWEEN_LOOKS);
        }
        start.elapsed()
    }

    /// Of those who are told: how many by a push that was sent while their last change was being made and may have been for an earlier one.
    pub(crate) fn in_doubt(&self) -> usize {
        let is_in_doubt = |times: &&Times| {
            let told = times.told.load(Ordering::Acquire);
            times.began.load(Ordering::Acquire) <= told && told < times.in_doubt_until.load(Ordering::Acquire)
        };
        self.users.iter().filter(is_in_doubt).count()
    }

    /// How many users have had a change that matters.
    pub(crate) fn users_changed(&self) -> usize {
        self.users.iter().filter(|times| times.began.load(Ordering::Acquire) > 0).count()
    }

    /// How many changes that matter were made.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How many pushes have come.
    pub(crate) fn pushes(&self) -> u64 {
        self.pushes.load(Ordering::Relaxed)
    }

    /// How many of them were for nobody of ours.
    pub(crate) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// From new mail for a quiet user to the push, sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latencies.sort_unstable();
        latencies
    }
}
