//! The configuration: read from TOML, checked once, and valid from then on.
//!
//! Each table has a file with all that is to be known of it: the mirror for serde (`…Table`), whose comments are for administrators and
//! make docs/configuration.md, the valid form, and the check that makes the one of the other. `file.rs` says how the comments are written.

mod apns;
mod control;
mod debounce;
mod error;
mod exec;
mod file;
mod listen;
mod mailboxes;
mod push_notify;
mod registry;
mod span;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::Spanned;

use crate::{debouncer::Intervals, mailbox::source::Sources};

use file::File;
use registry::RegistryTable;

pub use apns::Apns;
pub use control::Control;
pub use error::ConfigError;
pub use exec::Exec;
pub use listen::Listen;
pub use push_notify::PushNotify;
pub use registry::{NO_RECORDS, Registry};
pub use watch::{Backend, Watch, WatchedMailboxes};

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
        let file: File = toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        let check = Check { path, text };
        let push_notify = file.push_notify.map(|sink| check.push_notify(sink)).transpose()?;
        let sink = push_notify.as_ref().map(|sink| sink.socket.as_path());
        let listen = file.listen.map(|listen| check.listen(listen, sink)).transpose()?;
        let sockets = listen.iter().flat_map(|listen| listen.sockets().map(|(_, path)| path)).chain(sink);
        let control = check.control(file.control, sockets)?;
        let apns = file.apns.as_ref().map(|apns| check.apns(apns)).transpose()?;
        let exec = file.exec.as_ref().map(|exec| check.exec(exec)).transpose()?;
        let needs_registry = listen.is_some() || apns.is_some();
        let registry = file.registry.or_else(|| needs_registry.then(RegistryTable::default));
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

/// Turns the file as it is written into the valid configuration, and knows where everything stands.
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
