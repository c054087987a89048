//! Lengths of time in words, as the status shows them.

use std::time::{Duration, SystemTime};

/// How long before `now` a time was; both as the daemon wrote them, so that two clocks do not matter.
pub(crate) fn ago(time: &str, now: &str) -> Option<Duration> {
    let parse = |text: &str| humantime::parse_rfc3339(text).ok();
    let (time, now): (SystemTime, SystemTime) = (parse(time)?, parse(now)?);
    Some(now.duration_since(time).unwrap_or_default())
}

/// A length of time in one or two units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        for (milliseconds, text) in [
            (0, "0.0 ms"),
            (999, "999.0 ms"),
            (1_500, "1.5 s"),
            (59_900, "59.9 s"),
            (60_000, "1 min"),
            (3_600_000 * 2 + 60_000 * 5, "2 h 5 min"),
            (86_400_000 * 3, "3 d 0 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(
            ago("2026-01-01T00:00:01.500Z", "2026-01-01T00:00:03Z"),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(
            ago("2026-01-01T00:00:03Z", "2026-01-01T00:00:01Z"),
            Some(Duration::ZERO),
            "a clock set back"
        );
        assert_eq!(ago("yesterday", "2026-01-01T00:00:01Z"), None);
    }
}
