//! The configuration: read from TOML, checked once, and valid from then on.

mod apns;
mod control;
mod error;
mod exec;
mod listen;
mod raw;
mod registry;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use crate::{
    debouncer::Intervals,
    mailbox::{
        Username,
        doveadm::Doveadm,
        source::{Passwd, Source, Sources},
        template::Template,
        username_format::UsernameFormat,
    },
    proto::push_notify::Dialect,
};

pub use apns::Apns;
pub use control::Control;
pub use error::ConfigError;
pub use exec::Exec;
pub use listen::Listen;
pub use raw::{Backend, WatchedMailboxes};
pub use registry::{NO_RECORDS, Registry};

/// Where the configuration is unless `-c` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/pushmaild/pushmaild.toml";

/// The most bytes that the path of a Unix socket may have, on the system with the least room (macOS).
const MAX_SOCKET_PATH: usize = 103;

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it came from.
    pub path: PathBuf,
    /// `[mailboxes]`.
    pub mailboxes: Sources,
    /// `[watch]`.
    pub watch: Watch,
    /// `[debounce]`.
    pub debounce: Intervals,
    /// `[push-notify]`, if the socket is to be pushed to.
    pub push_notify: Option<PushNotify>,
    /// `[apns]`, if devices are pushed to through Apple.
    pub apns: Option<Apns>,
    /// `[exec]`, if a program is run for each push.
    pub exec: Option<Exec>,
    /// How many pushes a second at most go out for what changed while nobody looked: `[debounce] catch-up-rate`.
    pub catch_up_rate: u32,
    /// `[registry]`; also there, with its defaults, when something needs it.
    pub registry: Option<Registry>,
    /// `[listen]`, if registrations are taken.
    pub listen: Option<Listen>,
    /// `[control]`.
    pub control: Control,
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

/// `[push-notify]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNotify {
    /// The receiver's socket.
    pub socket: PathBuf,
    /// What the receiver speaks.
    pub dialect: Dialect,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// If it cannot be read, or anything in it is wrong. The error says where, and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        // Relative paths in the file must mean the same after a reload, so its own path is made absolute first.
        let path = std::path::absolute(path).map_err(|error| ConfigError::unreadable(path, error))?;
        let bytes = fs::read(&path).map_err(|error| ConfigError::unreadable(&path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let at = good.len()..good.len();
            ConfigError::at(
                &path,
                &good,
                at,
                "the file is not UTF-8 from here on".to_owned(),
                "save it as UTF-8".to_owned(),
            )
        })?;
        Self::parse(&path, &text)
    }

    /// Is there anything to push to?
    #[must_use]
    pub const fn has_sink(&self) -> bool {
        self.push_notify.is_some() || self.apns.is_some() || self.exec.is_some()
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: raw::File =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        let check = Check { path, text };
        let push_notify = file.push_notify.map(|sink| check.push_notify(sink)).transpose()?;
        let sink = push_notify.as_ref().map(|sink| sink.socket.as_path());
        let listen = file.listen.map(|listen| check.listen(listen, sink)).transpose()?;
        let sockets = listen.iter().flat_map(|listen| listen.sockets().map(|(_, path)| path)).chain(sink);
        let control = check.control(file.control, sockets)?;
        let apns = file.apns.as_ref().map(|apns| check.apns(apns)).transpose()?;
        let exec = file.exec.as_ref().map(|exec| check.exec(exec)).transpose()?;
        let needs_registry = listen.is_some() || apns.is_some();
        let registry = file.registry.or_else(|| needs_registry.then(raw::Registry::default));
        Ok(Self {
            mailboxes: check.mailboxes(file.mailboxes, push_notify.as_ref().map(|sink| sink.dialect))?,
            watch: check.watch(&file.watch, apns.is_some(), push_notify.is_some() || exec.is_some())?,
            debounce: check.debounce(&file.debounce)?,
            catch_up_rate: check.catch_up_rate(&file.debounce)?,
            registry: registry.map(|registry| check.registry(registry)).transpose()?,
            control,
            listen,
            apns,
            exec,
            push_notify,
            path: path.to_owned(),
        })
    }
}

/// Turns the raw file into the valid configuration, and knows where everything stands.
struct Check<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Check<'_> {
    fn error<T>(&self, at: &Spanned<T>, message: impl ToString, hint: impl ToString) -> ConfigError {
        ConfigError::at(self.path, self.text, at.span(), message.to_string(), hint.to_string())
    }

    /// The folder that relative paths start from.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn resolve(&self, at: &Spanned<PathBuf>) -> Result<PathBuf, ConfigError> {
        let path = at.get_ref();
        if path.as_os_str().is_empty() {
            return Err(self.error(at, "an empty path", "write the path, or leave the key out"));
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(self.error(at, "a path with a NUL in it", "no file has such a name"));
        }
        Ok(self.base().join(path))
    }

    fn mailboxes(&self, raw: raw::Mailboxes, dialect: Option<Dialect>) -> Result<Sources, ConfigError> {
        let mut sources = Vec::new();
        if !raw.users.is_empty() {
            let mut users = Vec::new();
            for (name, maildir) in &raw.users {
                let user = Username::new(name.get_ref()).map_err(|error| {
                    self.error(
                        name,
                        error,
                        "use the name that the user logs in with, as in `jesse` or `jo@example.org`",
                    )
                })?;
                users.push((user, self.resolve(maildir)?));
            }
            sources.push(Source::Users(users));
        }
        if let Some(path) = &raw.map_file {
            sources.push(Source::MapFile(self.resolve(path)?));
        }
        if let Some(location) = &raw.mail_location {
            let template = Template::parse(location.get_ref())
                .map_err(|error| self.error(location, &error, error.hint()))?;
            sources.push(Source::MailLocation(template));
        }
        if let Some(passwd) = &raw.passwd {
            sources.push(Source::Passwd(self.passwd(passwd)?));
        }
        if let Some(doveadm) = &raw.doveadm {
            sources.push(Source::Doveadm(self.doveadm(doveadm.get_ref())?));
        }
        if let Some(path) = &raw.os_x_server {
            sources.push(Source::OsXServer(self.resolve(path)?));
        }
        if sources.is_empty() {
            return Err(ConfigError::whole(
                self.path,
                "no source of mailboxes".to_owned(),
                "add `users`, `map-file`, `mail-location`, `passwd`, `doveadm` or `os-x-server` under [mailboxes]".to_owned(),
            ));
        }
        let username_format = match &raw.username_format {
            None => UsernameFormat::default(),
            Some(format) => UsernameFormat::try_from(format.get_ref().clone()).map_err(|error| {
                self.error(format, error, "known are %u, %n and %d, with L, U, and a width such as %1n")
            })?,
        };
        Ok(Sources { sources, username_format, dialect })
    }

    fn passwd(&self, raw: &Spanned<raw::Passwd>) -> Result<Passwd, ConfigError> {
        let raw::Passwd { min_uid, max_uid, maildir } = raw.get_ref();
        if min_uid > max_uid {
            return Err(self.error(
                raw,
                "min-uid is larger than max-uid",
                "people usually have 1000 to 59999",
            ));
        }
        let is_below = maildir.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if maildir.as_os_str().is_empty() || !is_below {
            return Err(self.error(
                raw,
                format_args!("the maildir `{}` is not below the home directory", maildir.display()),
                "write it as `Maildir` or `mail/inbox`",
            ));
        }
        Ok(Passwd { min_uid: *min_uid, max_uid: *max_uid, maildir: maildir.clone() })
    }

    fn doveadm(&self, raw: &raw::Doveadm) -> Result<Doveadm, ConfigError> {
        let command = self.resolve(&raw.command)?;
        // As a shell takes it: a name without a slash is looked for in PATH.
        let name = raw.command.get_ref();
        let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/');
        let command = if is_path { command } else { name.clone() };
        let refresh = raw.refresh.get_ref().0;
        if refresh < Duration::from_secs(5) {
            return Err(self.error(
                &raw.refresh,
                "too short a refresh",
                "use `5s` or more: each time doveadm is asked about every user",
            ));
        }
        Ok(Doveadm { command, refresh })
    }

    fn watch(&self, raw: &raw::Watch, has_apns: bool, has_others: bool) -> Result<Watch, ConfigError> {
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

    fn debounce(&self, raw: &raw::Debounce) -> Result<Intervals, ConfigError> {
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

    fn catch_up_rate(&self, raw: &raw::Debounce) -> Result<u32, ConfigError> {
        match *raw.catch_up_rate.get_ref() {
            0 => Err(self.error(&raw.catch_up_rate, "a catch-up-rate of 0", "use 1 or more pushes a second")),
            rate => Ok(rate),
        }
    }

    fn push_notify(&self, raw: raw::PushNotify) -> Result<PushNotify, ConfigError> {
        Ok(PushNotify { socket: self.socket(&raw.socket)?, dialect: raw.dialect })
    }

    /// A path that a Unix socket can have.
    fn socket(&self, at: &Spanned<PathBuf>) -> Result<PathBuf, ConfigError> {
        let socket = self.resolve(at)?;
        let bytes = socket.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            return Err(self.error(
                at,
                format_args!(
                    "the path of the socket has {bytes} bytes, and a Unix socket takes {MAX_SOCKET_PATH}"
                ),
                "use a shorter path",
            ));
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests;
