//! What is wrong with a sink that works on another thread, and what was wrong last: written there, and read by whoever asks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Locked to look at it or to change it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Option<String>,
    last: Option<(SystemTime, String)>,
}

impl Trouble {
    /// Why nothing goes out, if so.
    #[must_use]
    pub fn now(&self) -> Option<String> {
        self.state().now.clone()
    }

    /// What was wrong last, and since when.
    #[must_use]
    pub fn last(&self) -> Option<(SystemTime, String)> {
        self.state().last.clone()
    }

    /// Nothing goes out, or no longer so.
    pub fn set(&self, trouble: Option<String>) {
        let mut state = self.state();
        if let Some(new) = trouble.as_ref().filter(|_| state.now != trouble) {
            state.last = Some((SystemTime::now(), new.clone()));
        }
        state.now = trouble;
    }

    /// Something went wrong, and is over.
    pub fn note(&self, error: String) {
        self.state().last = Some((SystemTime::now(), error));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
