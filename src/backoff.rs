//! How long to wait before the next try. Pure: the randomness is a parameter.

use std::time::Duration;

/// Waits that double from `base` to `most`, each shortened by up to a half so that many clients do not come back
/// at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet. A `most` that is shorter than `base` counts as `base`.
    #[must_use]
    pub fn new(base: Duration, most: Duration) -> Self {
        Self { base, most: most.max(base), failures: 0 }
    }

    /// Counts a failure, and tells how long to wait. `jitter` is a random number from 0 to 1.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let wait = self.base.saturating_mul(1 << self.failures.min(31)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_and_stay_in_bounds(base_ms in 1u64..1000, most_ms in 1u64..100_000, jitters in proptest::collection::vec(0.0f64..=1.0, 1..80)) {
            let mut backoff = Backoff::new(Duration::from_millis(base_ms), Duration::from_millis(most_ms));
            let most = Duration::from_millis(most_ms.max(base_ms));
            let mut nominal = Duration::from_millis(base_ms);
            for jitter in jitters {
                let wait = backoff.failed(jitter);
                prop_assert!(wait <= nominal && wait >= nominal / 2 - Duration::from_nanos(1));
                nominal = (nominal * 2).min(most);
            }
            backoff.reset();
            prop_assert!(backoff.failed(1.0) <= Duration::from_millis(base_ms));
        }
    }
}
