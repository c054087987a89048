//! `[watch]`: how changes are noticed.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{Check, ConfigError, span::Span};

/// How changes are noticed. The defaults are right for most sites.
///
/// ```toml
/// [watch]
/// backend = "auto"
/// sweep-interval = "10m"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct WatchTable {
    /// How the system tells of changes. `pushmaild check` says what `auto` stands for here, and why.
    ///
    /// Default: `"auto"`
    /// Takes effect: at a restart
    pub(super) backend: Spanned<Backend>,
    /// Which mailboxes are watched. Users without a device need no watch where Apple is the only one to be told.
    ///
    /// Default: `registered` if there is `[apns]` and no other sink, else `all`
    pub(super) mailboxes: Option<Spanned<WatchedMailboxes>>,
    /// How often all mailboxes are compared with what is there, for what no event tells: a Maildir that was replaced, a file system that
    /// was mounted later. `"off"` is allowed; less than a second is not.
    ///
    /// Default: `"10m"`
    pub(super) sweep_interval: SweepInterval,
    /// How often the backend `poll` looks at each directory, and how late a change is there at most. Also for mailboxes beyond the system's
    /// limit of watches.
    ///
    /// Default: `"30s"`
    /// Takes effect: at a restart
    pub(super) poll_interval: Spanned<Span>,
}

impl Default for WatchTable {
    fn default() -> Self {
        Self {
            backend: Spanned::new(0..0, Backend::Auto),
            mailboxes: None,
            sweep_interval: SweepInterval(Some(Duration::from_secs(600))),
            poll_interval: Spanned::new(0..0, Span(Duration::from_secs(30))),
        }
    }
}

/// How changes are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The best that works here.
    #[default]
    Auto,
    /// Linux: two watches a mailbox.
    Inotify,
    /// Linux, with privileges: one mark for each file system.
    Fanotify,
    /// Whatever the notify crate has for the system: FSEvents, kqueue, or inotify again.
    Notify,
    /// A look at each directory's mtime now and then, for network file systems.
    Poll,
}

impl Backend {
    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
            Self::Notify => "notify",
            Self::Poll => "poll",
        }
    }
}

/// Which mailboxes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchedMailboxes {
    /// All of the map.
    All,
    /// Those of users with a registered device.
    Registered,
}

/// A duration, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SweepInterval(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for SweepInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let Span(duration) = Span::deserialize(de::value::StrDeserializer::<D::Error>::new(&text))?;
        if duration < Duration::from_secs(1) {
            return Err(de::Error::custom(
                "the sweep looks at every mailbox, and cannot do that more than once a second",
            ));
        }
        Ok(Self(Some(duration)))
    }
}

/// `[watch]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How changes are noticed.
    pub backend: Backend,
    /// Which mailboxes are watched.
    pub mailboxes: WatchedMailboxes,
    /// How often all mailboxes are compared with what is armed; nothing for never.
    pub sweep_interval: Option<Duration>,
    /// How often a polled directory is looked at.
    pub poll_interval: Duration,
}

impl Check<'_> {
    pub(super) fn watch(
        &self,
        raw: &WatchTable,
        has_apns: bool,
        has_others: bool,
    ) -> Result<Watch, ConfigError> {
        let backend = *raw.backend.get_ref();
        if matches!(backend, Backend::Inotify | Backend::Fanotify) && !cfg!(target_os = "linux") {
            return Err(self.error(
                &raw.backend,
                format_args!("{} is a part of Linux", backend.as_str()),
                "leave `backend` out: `auto` knows what this system has",
            ));
        }
        let poll_interval = raw.poll_interval.get_ref().0;
        if poll_interval < Duration::from_millis(10) {
            return Err(self.error(&raw.poll_interval, "too short a poll-interval", "use `1s` or more"));
        }
        let default =
            if has_apns && !has_others { WatchedMailboxes::Registered } else { WatchedMailboxes::All };
        let mailboxes = match &raw.mailboxes {
            None => default,
            Some(at) if *at.get_ref() == WatchedMailboxes::Registered && !has_apns => {
                return Err(self.error(
                    at,
                    "nobody has a registered device without [apns]",
                    "leave `mailboxes` out",
                ));
            }
            Some(at) => *at.get_ref(),
        };
        Ok(Watch { backend, mailboxes, sweep_interval: raw.sweep_interval.0, poll_interval })
    }
}
