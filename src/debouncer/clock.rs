//! Times as four bytes: milliseconds since a beginning that moves on now and then.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// The beginning moves on when so much has passed since then: 24 days.
const RENEW: u32 = 1 << 31;
/// No span is longer, so that nothing lies beyond what a moment can say: 12 days. People want minutes.
const LONGEST: u32 = 1 << 30;

/// Tells the time.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// None until somebody asks.
    beginning: Option<Instant>,
}

/// A time. Whole milliseconds, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU32);

/// A length of time, in milliseconds, rounded up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(u32);

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        let milliseconds = duration.as_micros().div_ceil(1000);
        Self(u32::try_from(milliseconds).unwrap_or(LONGEST).min(LONGEST))
    }
}

impl Moment {
    fn new(milliseconds: u32) -> Self {
        // One later than it is, so that there is a number left for "never".
        Self(NonZeroU32::MIN.saturating_add(milliseconds))
    }

    pub(super) fn after(self, Span(span): Span) -> Self {
        Self(self.0.saturating_add(span))
    }

    pub(super) fn before(self, Span(span): Span) -> Self {
        Self(NonZeroU32::new(self.0.get().saturating_sub(span)).unwrap_or(NonZeroU32::MIN))
    }
}

impl Clock {
    /// Lets the beginning move on if it is time. Then all moments there are have to be moved by what this returns.
    pub(super) fn renew(&mut self, now: Instant) -> Option<Span> {
        let beginning = self.beginning.get_or_insert(now);
        let passed = now.saturating_duration_since(*beginning);
        if passed < Duration::from_millis(RENEW.into()) {
            return None;
        }
        // All of it: what is so old is due, whenever it was.
        let whole = Duration::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        *beginning += whole;
        Some(Span(u32::try_from(whole.as_millis()).unwrap_or(u32::MAX)))
    }

    pub(super) fn moment(&self, now: Instant) -> Moment {
        let passed =
            self.beginning.map_or(Duration::ZERO, |beginning| now.saturating_duration_since(beginning));
        Moment::new(u32::try_from(passed.as_millis()).unwrap_or(u32::MAX))
    }

    pub(super) fn instant(&self, Moment(at): Moment) -> Instant {
        let beginning = self.beginning.expect("a moment comes from a clock that has begun");
        beginning + Duration::from_millis(u64::from(at.get() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_time_to_the_millisecond() {
        let start = Instant::now();
        let mut clock = Clock::default();
        assert!(clock.renew(start).is_none());
        let at = start + Duration::from_micros(1_234_567);
        assert_eq!(clock.instant(clock.moment(at)), start + Duration::from_millis(1234));
        let later = clock.moment(at).after(Duration::from_micros(1500).into());
        assert_eq!(clock.instant(later), start + Duration::from_millis(1236));
        assert_eq!(size_of::<Option<Moment>>(), 4);
    }

    #[test]
    fn after_weeks_it_begins_anew_and_nothing_is_lost() {
        let start = Instant::now();
        let mut clock = Clock::default();
        assert!(clock.renew(start).is_none());
        let day = Duration::from_secs(24 * 3600);
        let old = clock.moment(start + day);
        let soon = clock.moment(start + 20 * day).after((12 * day).into());
        let now = start + 25 * day;
        let passed = clock.renew(now).expect("it is time");
        assert!(old.before(passed) <= clock.moment(now), "long due");
        assert_eq!(clock.instant(soon.before(passed)), start + 32 * day);
        // And from an eternity without an event.
        assert!(clock.renew(now + 1000 * day).is_some());
    }
}
