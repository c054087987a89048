//! `[debounce]`: how long to wait before a push.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError, span::Span};
use crate::debouncer::Intervals;

/// How long to wait before a push, for each mailbox by itself.
///
/// ```toml
/// [debounce]
/// new-mail-interval = "2s"
/// change-quiet = "10s"
/// change-max-wait = "60s"
/// catch-up-rate = 500
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct DebounceTable {
    /// The first new message is pushed at once, those after it at most this often, and always once after the last.
    ///
    /// Default: `"2s"`
    pub(super) new_mail_interval: Spanned<Span>,
    /// When mail was read, flagged, moved or deleted, the push waits until it has been quiet for this long.
    ///
    /// Default: `"10s"`
    pub(super) change_quiet: Spanned<Span>,
    /// The longest that such a push waits, from the first change on, in a mailbox that is never quiet. A push for new mail takes the change
    /// along. Not shorter than `change-quiet`.
    ///
    /// Default: `"60s"`
    pub(super) change_max_wait: Spanned<Span>,
    /// How many pushes a second go out at most for what changed while nobody looked: before a start, or when events were lost. New mail
    /// that comes meanwhile does not wait for these.
    ///
    /// Default: `500`
    pub(super) catch_up_rate: Spanned<u32>,
}

impl Default for DebounceTable {
    fn default() -> Self {
        let seconds = |seconds| Spanned::new(0..0, Span(Duration::from_secs(seconds)));
        Self {
            new_mail_interval: seconds(2),
            change_quiet: seconds(10),
            change_max_wait: seconds(60),
            catch_up_rate: Spanned::new(0..0, 500),
        }
    }
}

impl Check<'_> {
    pub(super) fn debounce(&self, raw: &DebounceTable) -> Result<Intervals, ConfigError> {
        let intervals = Intervals {
            new_mail: raw.new_mail_interval.get_ref().0,
            change_quiet: raw.change_quiet.get_ref().0,
            change_max_wait: raw.change_max_wait.get_ref().0,
        };
        if intervals.change_max_wait < intervals.change_quiet {
            let at =
                if raw.change_max_wait.span().is_empty() { &raw.change_quiet } else { &raw.change_max_wait };
            return Err(self.error(
                at,
                format_args!(
                    "change-max-wait ({}) is shorter than change-quiet ({})",
                    humantime::format_duration(intervals.change_max_wait),
                    humantime::format_duration(intervals.change_quiet)
                ),
                "the longest wait must be at least as long as the quiet time",
            ));
        }
        Ok(intervals)
    }

    pub(super) fn catch_up_rate(&self, raw: &DebounceTable) -> Result<u32, ConfigError> {
        match *raw.catch_up_rate.get_ref() {
            0 => Err(self.error(&raw.catch_up_rate, "a catch-up-rate of 0", "use 1 or more pushes a second")),
            rate => Ok(rate),
        }
    }
}
