//! What the sink counts, for `status` and the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::sink::{tally::Tally, trouble::Trouble};

/// Counters since the start, and a few gauges. Written by the thread that runs programs, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    /// Runs that ended with status 0.
    pub succeeded: AtomicU64,
    /// Runs that ended with another status, or by a signal that was not ours.
    pub failed: AtomicU64,
    /// Runs that were ended because they took too long.
    pub timed_out: AtomicU64,
    /// Starts that did not succeed; each is tried again.
    pub not_started: AtomicU64,
    /// Programs that run now.
    pub running: AtomicUsize,
    /// What became of pushes, of all sinks.
    pub tally: Arc<Tally>,
    /// Why no program can be started, and how the last run ended that did not end well.
    pub trouble: Trouble,
}

impl Counters {
    /// All at zero.
    #[must_use]
    pub fn new(tally: Arc<Tally>) -> Self {
        Self { tally, ..Self::default() }
    }

    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}
