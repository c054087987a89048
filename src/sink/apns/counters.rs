//! What the sink counts, for `status` and the metrics.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::sink::tally::Tally;

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
    /// Locked to look at it or to change it.
    state: Mutex<State>,
}

/// What the sink is like at the moment.
#[derive(Debug, Default)]
struct State {
    /// Why nothing is sent, if so.
    trouble: Option<String>,
    last_trouble: Option<(SystemTime, String)>,
    facts: Facts,
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

    /// Why nothing is sent, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Why nothing was sent the last time, and since when.
    #[must_use]
    pub fn last_trouble(&self) -> Option<(SystemTime, String)> {
        self.state().last_trouble.clone()
    }

    /// Sets or takes away the reason.
    pub fn set_trouble(&self, trouble: Option<String>) {
        let mut state = self.state();
        if let Some(new) = trouble.as_ref().filter(|_| state.trouble != trouble) {
            state.last_trouble = Some((SystemTime::now(), new.clone()));
        }
        state.trouble = trouble;
    }

    /// What pushes are made with.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.state().facts.clone()
    }

    /// The credential has been read.
    pub fn set_facts(&self, facts: Facts) {
        self.state().facts = facts;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
