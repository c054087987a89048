//! When the daemon began, whatever becomes of the clock on the wall.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Goes on also while the machine sleeps, which `Instant` does not everywhere.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// The time when the daemon began, by two clocks: one that tells the date and may be set, and one that only goes on.
#[derive(Debug)]
pub(super) struct Beginning {
    date: SystemTime,
    steady: Duration,
}

impl Beginning {
    pub(super) fn now() -> Self {
        Self { date: SystemTime::now(), steady: steady() }
    }

    /// Its date, as the clock tells dates now.
    pub(super) fn date(&self) -> SystemTime {
        corrected(self.date, SystemTime::now(), steady().saturating_sub(self.steady))
    }
}

fn steady() -> Duration {
    Duration::try_from(clock_gettime(STEADY)).unwrap_or_default()
}

/// The date that was noted, moved by as many whole seconds as the clock was set since. Smaller differences are nobody's doing: one clock
/// is read a moment after the other, and whoever compares answers must not see another date in each.
fn corrected(noted: SystemTime, now: SystemTime, up: Duration) -> SystemTime {
    let whole = |set: Duration| Duration::from_secs((set + Duration::from_millis(500)).as_secs());
    let corrected = match now.duration_since(noted + up) {
        Ok(ahead) => noted.checked_add(whole(ahead)),
        Err(behind) => noted.checked_sub(whole(behind.duration())),
    };
    corrected.unwrap_or(noted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_follows_a_clock_that_is_set_and_stays_otherwise() {
        let noted = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_123);
        let up = Duration::from_secs(7200);
        let moment = Duration::from_micros(70);
        let hour = Duration::from_secs(3600);
        for (now, date) in [
            (noted + up, noted),
            (noted + up + moment, noted),
            (noted + up - moment, noted),
            (noted + up + hour, noted + hour),
            (noted + up + hour + moment, noted + hour),
            (noted + up - hour - moment, noted - hour),
            // Set back to before the start, as on a machine whose clock begins in 1970.
            (noted - hour, noted - up - hour),
        ] {
            assert_eq!(corrected(noted, now, up), date);
        }
        let beginning = Beginning::now();
        assert_eq!((beginning.date(), beginning.date()), (beginning.date, beginning.date));
    }
}
