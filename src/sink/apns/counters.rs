//! What the sink counts, for `status` and the metrics.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Counters since the start, and a few gauges. Written by the network thread, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pushes that Apple accepted.
    pub accepted: AtomicU64,
    /// Pushes that ended with something about the registration: 410, `BadDeviceToken`, `DeviceTokenNotForTopic`.
    pub refused: AtomicU64,
    /// Tries that are repeated later: throttled, unavailable, a connection that ended, no answer in time.
    pub retried: AtomicU64,
    /// Pushes dropped as our own mistake.
    pub dropped: AtomicU64,
    /// Pushes that were not sent because they were a day old.
    pub expired: AtomicU64,
    /// Pushes not sent because the phone expects another topic than the credential's.
    pub other_topic: AtomicU64,
    /// Connections that were tried.
    pub dials: AtomicU64,
    /// Registrations with a push that waits or is on the wire.
    pub pending: AtomicUsize,
    /// Why nothing is sent, if so.
    trouble: Mutex<Option<String>>,
}

impl Counters {
    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Why nothing is sent, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or takes away the reason.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
