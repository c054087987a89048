//! So many events a second.

use std::{
    thread,
    time::{Duration, Instant},
};

/// So that whoever wants the player to stop does not wait for a slow rate's next event.
const LONGEST: Duration = Duration::from_millis(20);

/// Holds somebody back who would be too fast. Whoever was held up makes good for it.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    rate: f64,
}

impl Pace {
    /// So many a second, from now on; 0 for as many as can be.
    pub(crate) fn new(rate: f64) -> Self {
        Self { start: Instant::now(), rate }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits until it is time for event number `event`, counted from 0, or until there is another wish.
    pub(crate) fn wait(&self, event: u64, stop: &impl Fn() -> bool) {
        if self.rate <= 0.0 {
            return;
        }
        let due = Duration::try_from_secs_f64(event as f64 / self.rate).unwrap_or(Duration::MAX);
        while let Some(left) = due.checked_sub(self.start.elapsed())
            && !left.is_zero()
            && !stop()
        {
            #[expect(clippy::disallowed_methods, reason = "time is what is waited for")]
            thread::sleep(left.min(LONGEST));
        }
    }
}
