//! The configuration file as it is written: a mirror for serde, with the place of each value that is checked later.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use toml::Spanned;

use crate::proto::push_notify::Dialect;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) mailboxes: Mailboxes,
    pub(super) watch: Watch,
    pub(super) debounce: Debounce,
    pub(super) push_notify: Option<PushNotify>,
    pub(super) apns: Option<Apns>,
    pub(super) exec: Option<Exec>,
    pub(super) registry: Option<Registry>,
    pub(super) listen: Option<Listen>,
    /// Where people and programs ask the running daemon how it is.
    pub(super) control: Control,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Mailboxes {
    pub(super) users: BTreeMap<Spanned<String>, Spanned<PathBuf>>,
    pub(super) map_file: Option<Spanned<PathBuf>>,
    pub(super) mail_location: Option<Spanned<String>>,
    pub(super) passwd: Option<Spanned<Passwd>>,
    pub(super) username_format: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Passwd {
    pub(super) min_uid: u32,
    pub(super) max_uid: u32,
    pub(super) maildir: PathBuf,
}

impl Default for Passwd {
    fn default() -> Self {
        // The range that Debian's adduser gives to people.
        Self { min_uid: 1000, max_uid: 59999, maildir: "Maildir".into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Watch {
    pub(super) backend: Spanned<Backend>,
    pub(super) mailboxes: Option<Spanned<WatchedMailboxes>>,
    pub(super) sweep_interval: SweepInterval,
    pub(super) poll_interval: Spanned<Span>,
}

impl Default for Watch {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Debounce {
    pub(super) new_mail_interval: Spanned<Span>,
    pub(super) change_quiet: Spanned<Span>,
    pub(super) change_max_wait: Spanned<Span>,
    pub(super) catch_up_rate: Spanned<u32>,
}

impl Default for Debounce {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PushNotify {
    pub(super) socket: Spanned<PathBuf>,
    #[serde(default = "osx_108")]
    pub(super) dialect: Dialect,
}

const fn osx_108() -> Dialect {
    Dialect::Osx108
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Apns {
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) token: Option<Token>,
    pub(super) topic: Option<Spanned<String>>,
    pub(super) environment: Option<Environment>,
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) proxy: Option<Spanned<String>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) new_mail_priority: Option<Spanned<u8>>,
    pub(super) change_priority: Option<Spanned<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Token {
    pub(super) key_file: Spanned<PathBuf>,
    pub(super) key_id: String,
    pub(super) team_id: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Environment {
    Production,
    Sandbox,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Exec {
    /// The program that is run for each push of each user, and its arguments. It is never given to a shell: each item is one argument,
    /// with `{user}`, `{kind}` (`new-mail` or `change`) and `{path}` (the Maildir) put in wherever they stand; the same is in the environment
    /// as `PUSHMAILD_USER`, `PUSHMAILD_KIND` and `PUSHMAILD_PATH`. A program without a slash is looked up in `PATH`. Names are passed as they
    /// are, so let the argument before `{user}` be `--` if the program has options and a name may begin with `-`.
    pub(super) command: Spanned<Vec<Spanned<String>>>,
    /// How many run at the same time at most; 1 to 1000, 4 unless set. A user has one at a time, and what comes meanwhile is one run after it.
    pub(super) concurrency: Option<Spanned<u32>>,
    /// How long a run may take: then its process group gets SIGTERM, and SIGKILL 5 seconds later. `30s` unless set.
    pub(super) timeout: Option<Spanned<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Registry {
    pub(super) url: Option<Spanned<String>>,
    pub(super) expire: Option<Spanned<Span>>,
    pub(super) devices_per_user: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Listen {
    pub(super) xaps_http: Option<Spanned<String>>,
    pub(super) xaps_socket: Option<Spanned<PathBuf>>,
    pub(super) push_notify_datagram: Option<Spanned<PathBuf>>,
    pub(super) push_notify_stream: Option<Spanned<PathBuf>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) group: Option<String>,
    pub(super) peers: Option<Vec<String>>,
    pub(super) allow_remote: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Control {
    /// The Unix socket that `pushmaild status` and `pushmaild doctor` ask. Its mode is 0660, and only root, the daemon's user and members
    /// of its group are answered. Default: `/run/pushmaild/control.sock` (`/var/run/…` on a Mac), where that folder exists.
    pub(super) socket: Option<Spanned<PathBuf>>,
    /// The group of the socket, by name: its members may see the status. Default: the daemon's own group.
    pub(super) group: Option<String>,
    /// The address and port of the status page, `/metrics`, `/healthz` and `/readyz`. Off unless given. Another address than a
    /// loopback one needs `token-file`.
    pub(super) http: Option<Spanned<String>>,
    /// A file with a secret in its first line. With it, every request to `http` has to send `Authorization: Bearer SECRET`.
    pub(super) token_file: Option<Spanned<PathBuf>>,
}

/// A length of time, written `250ms`, `2s`, `1m`, `1h`, `180d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// Longer ones are mistakes, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"250ms\", \"2s\", \"1m\", \"1h\" or \"180d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let duration = humantime::parse_duration(text)
                    .map_err(|_| E::custom(format_args!("`{text}` is not a duration")))?;
                if duration > LONGEST {
                    return Err(E::custom(format_args!("`{text}` is longer than a year")));
                }
                Ok(Span(duration))
            }
        }
        deserializer.deserialize_str(Text)
    }
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
