//! What the sink counts, for `status` and the metrics.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::sink::tally::Tally;

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
    /// Why no program can be started, if so.
    trouble: Mutex<Option<String>>,
    /// How the last run that did not end well ended.
    last_error: Mutex<Option<(SystemTime, String)>>,
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

    /// Why no program can be started, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or takes away the reason.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// How the last run that did not end well ended, and when.
    #[must_use]
    pub fn last_error(&self) -> Option<(SystemTime, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a run ended that did not end well.
    pub fn set_last_error(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((SystemTime::now(), error));
    }
}
