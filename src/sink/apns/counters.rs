//! What the sink counts, for `status` and the metrics.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::sink::{tally::Tally, trouble::Trouble};

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
    /// What became of pushes, of all sinks.
    pub tally: Arc<Tally>,
    /// What is wrong with the way to Apple.
    pub trouble: Trouble,
    /// Locked to look at it or to change it.
    facts: Mutex<Facts>,
}

/// What pushes are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The server.
    pub endpoint: String,
    /// The topic of the credential, or of the configuration.
    pub topic: Option<String>,
    /// Which of Apple's services it is.
    pub environment: Option<String>,
    /// When the certificate ends; none for provider tokens.
    pub certificate_ends: Option<SystemTime>,
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

    /// What pushes are made with.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The credential has been read.
    pub fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}
