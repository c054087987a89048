//! The configuration file as it is written: a mirror for serde, with the place of each value that is checked later.
//!
//! What is written above the tables and keys here is for administrators: docs/configuration.md is made of it (`tests/it/documents`). A
//! table has an example in a `toml` block. A key ends with a line `Default: …`: a value of TOML in backticks, which a test holds
//! against the code, or words. `Takes effect: …` follows where a reload (SIGHUP) is not enough.

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
    pub(super) control: Control,
}

/// Where the map of users and Maildirs comes from. At least one source is needed. Sources add up; the first to name a user wins, in the
/// order in which they stand here. Names that lead to the same folder are one mailbox with several names, and each of them is told.
///
/// ```toml
/// [mailboxes]
/// mail-location = "maildir:/var/vmail/%d/%n/Maildir"
/// users = { jesse = "/srv/mail/jesse" }
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Mailboxes {
    /// Users and their Maildirs, written out: the name that the user logs in with, and the folder that has `cur/` and `new/` in it.
    ///
    /// Default: none
    pub(super) users: BTreeMap<Spanned<String>, Spanned<PathBuf>>,
    /// A file with a line `user: /path` for each user, and comments after `#`. It is followed when it changes. A script that writes it
    /// should write another file and `mv` it there: a file whose last line has no end is taken for half written, and the old map stays.
    ///
    /// Default: none
    pub(super) map_file: Option<Spanned<PathBuf>>,
    /// Dovecot's template, as `doveconf -h mail_location` prints it (Dovecot 2.3): `%u` is the user, `%n` the part before the `@`, `%d` the
    /// part after it, with modifiers such as `%Lu` (lower case) and `%1n` (first letter). It is matched against the folders that exist, and
    /// new ones are noticed. Hidden folders are skipped, and a link that leads out of the part before the first variable is reported and
    /// not followed.
    ///
    /// Default: none
    pub(super) mail_location: Option<Spanned<String>>,
    /// The system's users with a Maildir in their home directories. `passwd = {}` is the usual range of people.
    ///
    /// Default: none
    pub(super) passwd: Option<Spanned<Passwd>>,
    /// Dovecot itself, 2.3 or 2.4: who its users are and where their mail is, as `doveadm user` says. Its user database must be able to
    /// list its users, and the daemon's group must be allowed to use the socket auth-userdb. Users whose mail is no Maildir are reported
    /// and left out. `doveadm = {}` is the usual.
    ///
    /// Default: none
    pub(super) doveadm: Option<Spanned<Doveadm>>,
    /// OS X Server's partition map, as a rule `/Library/Server/Mail/Config/dovecot/partition_map.conf`: mail is in a folder named by GUID,
    /// and the links in the folder `users` beside it say whose it is. New links are noticed.
    ///
    /// Default: none
    pub(super) os_x_server: Option<Spanned<PathBuf>>,
    /// How a name is written before it is looked up: Dovecot's `auth_username_format`. `%Lu` makes `Jo@Example.org` and `jo@example.org`
    /// one user; with `%n` the domain does not count.
    ///
    /// Default: `"%Lu"`
    pub(super) username_format: Option<Spanned<String>>,
}

/// Users of the system, from its user database.
///
/// ```toml
/// [mailboxes]
/// passwd = { min-uid = 1000, max-uid = 59999, maildir = "Maildir" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Passwd {
    /// The smallest user id of a person.
    ///
    /// Default: `1000`
    pub(super) min_uid: u32,
    /// The largest user id of a person.
    ///
    /// Default: `59999`
    pub(super) max_uid: u32,
    /// Where the Maildir is, below the home directory.
    ///
    /// Default: `"Maildir"`
    pub(super) maildir: PathBuf,
}

impl Default for Passwd {
    fn default() -> Self {
        // The range that Debian's adduser gives to people.
        Self { min_uid: 1000, max_uid: 59999, maildir: "Maildir".into() }
    }
}

/// The users of Dovecot, as it says itself. Its answer is not remembered over a start: the daemon starts when Dovecot answers.
///
/// ```toml
/// [mailboxes]
/// doveadm = { command = "doveadm", refresh = "1h" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Doveadm {
    /// The program: a name that is looked for in `PATH`, or a path.
    ///
    /// Default: `"doveadm"`
    pub(super) command: Spanned<PathBuf>,
    /// How often Dovecot is asked again, 5 seconds or more; a reload asks it at once. While there is no answer, the last one stays.
    ///
    /// Default: `"1h"`
    pub(super) refresh: Spanned<Span>,
}

impl Default for Doveadm {
    fn default() -> Self {
        Self {
            command: Spanned::new(0..0, "doveadm".into()),
            refresh: Spanned::new(0..0, Span(Duration::from_secs(3600))),
        }
    }
}

/// How changes are noticed. The defaults are right for most sites.
///
/// ```toml
/// [watch]
/// backend = "auto"
/// sweep-interval = "10m"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Watch {
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
pub(super) struct Debounce {
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

/// A sink: the push_notify socket of OS X Server's push daemon and its relatives. Leave the table out to have none. The receiver may be
/// away for a while: each user keeps one push until it is back.
///
/// ```toml
/// [push-notify]
/// socket = "/var/dovecot/push_notify"
/// dialect = "osx-10.8"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PushNotify {
    /// The socket that the receiver listens on. The daemon's user needs write permission on it. 103 bytes at most.
    ///
    /// Default: none; the table needs it
    pub(super) socket: Spanned<PathBuf>,
    /// What the receiver speaks.
    ///
    /// Default: `"osx-10.8"`
    #[serde(default = "osx_108")]
    pub(super) dialect: Dialect,
}

const fn osx_108() -> Dialect {
    Dialect::Osx108
}

/// A sink: Apple's push service, for the devices that registered. Leave the table out to have none. It needs a credential that Apple gave
/// for mail: see [the credential](credential.md). A file that changes is taken up within ten seconds, without a reload.
///
/// ```toml
/// [apns]
/// certificate = "/etc/pushmaild/apns.pem"
/// ```
///
/// Without a credential, for the time until Apple has given one: phones register and are told the topic, and pushes wait.
///
/// ```toml
/// [apns]
/// topic = "com.apple.mobilemail.push.org.example"
/// ```
///
/// Adding or removing the whole table takes effect at a restart.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Apns {
    /// The certificate, PEM or PKCS#12 (`.p12`), with its chain; the private key may be in the same file, and encrypted.
    ///
    /// Default: none
    pub(super) certificate: Option<Spanned<PathBuf>>,
    /// The private key, if it is in a file of its own.
    ///
    /// Default: none; in the file of the certificate
    pub(super) key: Option<Spanned<PathBuf>>,
    /// A file whose first line opens an encrypted key or a PKCS#12.
    ///
    /// Default: none
    pub(super) password_file: Option<Spanned<PathBuf>>,
    /// A key that signs provider tokens, instead of a certificate. Whether Apple takes it for the topic of mail is not proven. It needs
    /// `topic`.
    ///
    /// Default: none
    pub(super) token: Option<Token>,
    /// What phones are told when they register, and then pushed to on. A phone keeps what it was told and takes no other.
    ///
    /// Default: the topic in the certificate; without a certificate the key is needed
    pub(super) topic: Option<Spanned<String>>,
    /// Which of Apple's two services the credential is for.
    ///
    /// Default: what the certificate says; `production` for a token
    pub(super) environment: Option<Environment>,
    /// Another address than Apple's: Apple's other port, `https://api.push.apple.com:2197`, or a simulator.
    ///
    /// Default: Apple's host for the environment, port 443
    pub(super) endpoint: Option<Spanned<String>>,
    /// An HTTP proxy that allows CONNECT. A password in it is not supported.
    ///
    /// Default: none; Apple is dialled directly
    pub(super) proxy: Option<Spanned<String>>,
    /// The only authorities, in PEM, that the server's certificate may come from.
    ///
    /// Default: Mozilla's list as it was when pushmaild was built
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    /// The priority of pushes for new mail: 10 is at once; 5 lets Apple wait for a moment that is good for the battery.
    ///
    /// Default: `10`
    pub(super) new_mail_priority: Option<Spanned<u8>>,
    /// The priority of pushes for what was read, flagged, moved or deleted.
    ///
    /// Default: `5`
    pub(super) change_priority: Option<Spanned<u8>>,
}

/// A key that signs provider tokens (JWT).
///
/// ```toml
/// [apns]
/// topic = "com.apple.mobilemail.push.org.example"
/// token = { key-file = "/etc/pushmaild/AuthKey.p8", key-id = "ABC123DEFG", team-id = "DEF123GHIJ" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Token {
    /// The `.p8` file from Apple.
    ///
    /// Default: none; the table needs it
    pub(super) key_file: Spanned<PathBuf>,
    /// Ten letters and digits, beside the key in Apple's list of keys.
    ///
    /// Default: none; the table needs it
    pub(super) key_id: String,
    /// Ten letters and digits, on Apple's page about the membership.
    ///
    /// Default: none; the table needs it
    pub(super) team_id: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Environment {
    /// For phones as people have them.
    Production,
    /// For programs in development.
    Sandbox,
}

/// A sink: a program that is run for each push. Leave the table out to have none.
///
/// ```toml
/// [exec]
/// command = ["/usr/local/bin/on-mail", "{user}", "{kind}"]
/// concurrency = 4
/// timeout = "30s"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Exec {
    /// The program that is run for each push of each user, and its arguments. It is never given to a shell: each item is one argument, with
    /// `{user}`, `{kind}` (`new-mail` or `change`) and `{path}` (the Maildir) put in wherever they stand; the same is in the environment as
    /// `PUSHMAILD_USER`, `PUSHMAILD_KIND` and `PUSHMAILD_PATH`. A program without a slash is looked up in `PATH`. Names are passed as they
    /// are, so let the argument before `{user}` be `--` if the program has options and a name may begin with `-`.
    ///
    /// Default: none; the table needs it
    pub(super) command: Spanned<Vec<Spanned<String>>>,
    /// How many run at the same time at most; 1 to 1000. A user has one at a time, and what comes meanwhile is one run after it.
    ///
    /// Default: `4`
    pub(super) concurrency: Option<Spanned<u32>>,
    /// How long a run may take: then its process group gets SIGTERM, and SIGKILL 5 seconds later.
    ///
    /// Default: `"30s"`
    pub(super) timeout: Option<Spanned<Span>>,
}

/// Where registrations are kept, and what everybody has been told of: with that, a start finds what changed while the daemon did not run.
/// The table may be left out.
///
/// ```toml
/// [registry]
/// url = "sqlite:///var/lib/pushmaild/pushmaild.db"
/// expire = "180d"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Registry {
    /// An SQLite file, in a folder that the daemon's user may write to.
    ///
    /// Default: `"sqlite:///var/lib/pushmaild/pushmaild.db"`
    pub(super) url: Option<Spanned<String>>,
    /// A device that has not come back for so long is forgotten. Phones come back about once a day while they are used, and Apple usually
    /// says sooner that a device is gone. Two days at least.
    ///
    /// Default: `"180d"`
    pub(super) expire: Option<Spanned<Span>>,
    /// The most devices of one user. Beyond it, a new one is refused.
    ///
    /// Default: `50`
    pub(super) devices_per_user: Option<Spanned<u32>>,
}

/// Where Dovecot's plugins bring registrations, and hints that something happened. What is left out is off; leave the table out to have
/// none. Which plugin needs which key is in the document on where you come from: [docs](README.md).
///
/// ```toml
/// [listen]
/// xaps-http = "127.0.0.1:11619"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Listen {
    /// An address for XAPS over HTTP: the plugin by freswa, and docker-mailserver's recipe. Whoever reaches it can register for anybody, so
    /// it is a loopback address, unless `allow-remote` says otherwise.
    ///
    /// Default: off
    pub(super) xaps_http: Option<Spanned<String>>,
    /// A socket for XAPS in lines: the plugin by st3fan.
    ///
    /// Default: off
    pub(super) xaps_socket: Option<Spanned<PathBuf>>,
    /// A socket for push_notify datagrams: Dovecot patched with pushnotify, FreeBSD's dovecot-apns, or anything that speaks to OS X
    /// Server's push daemon.
    ///
    /// Default: off
    pub(super) push_notify_datagram: Option<Spanned<PathBuf>>,
    /// A socket for push_notify records, one a connection: the plugin by argon.
    ///
    /// Default: off
    pub(super) push_notify_stream: Option<Spanned<PathBuf>>,
    /// The permission bits of the Unix sockets, in octal digits.
    ///
    /// Default: `"0660"`
    pub(super) mode: Option<Spanned<String>>,
    /// The group of the Unix sockets: that of Dovecot's IMAP processes. The daemon can give a socket only to a group that it is in.
    ///
    /// Default: the daemon's own group
    pub(super) group: Option<String>,
    /// The users of the system who may register for anybody, beside root and the daemon's own. A process of somebody else may register for
    /// those whose Maildirs its uid owns.
    ///
    /// Default: `["dovecot"]`
    pub(super) peers: Option<Vec<String>>,
    /// Allows another than a loopback address for `xaps-http`. Only behind a firewall: there is no password.
    ///
    /// Default: `false`
    pub(super) allow_remote: bool,
}

/// Where people and programs ask the running daemon how it is.
///
/// ```toml
/// [control]
/// socket = "/run/pushmaild/control.sock"
/// http = "127.0.0.1:9466"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Control {
    /// The Unix socket that `pushmaild status` and `pushmaild doctor` ask. Its mode is 0660, and only root, the daemon's user and members
    /// of its group are answered.
    ///
    /// Default: `/run/pushmaild/control.sock` (`/var/run/…` on a Mac), where that folder exists
    pub(super) socket: Option<Spanned<PathBuf>>,
    /// The group of the socket, by name: its members may see the status.
    ///
    /// Default: the daemon's own group
    pub(super) group: Option<String>,
    /// The address and port of the status page, `/metrics`, `/healthz` and `/readyz`. Another address than a loopback one needs
    /// `token-file`.
    ///
    /// Default: off
    pub(super) http: Option<Spanned<String>>,
    /// A file with a secret in its first line. With it, every request to `http` has to send `Authorization: Bearer SECRET`.
    ///
    /// Default: none; nobody is asked
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
