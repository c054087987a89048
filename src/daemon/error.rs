//! What ends the daemon.

use std::{io, path::PathBuf};

use thiserror::Error;

#[cfg(target_os = "linux")]
use crate::watcher::fanotify::Refusal;
use crate::{
    config::ConfigError, control::ControlStartError, instance_lock::LockError, listener::ListenError,
    mailbox::source::SourceError,
};

/// What ends the daemon with an error.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to push to.
    #[error("{}: there is no sink to push to", .0.display())]
    NoSink(PathBuf),
    /// A socket for registrations cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlStartError),
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A source of the map cannot be read at the start.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The backend cannot be opened, or is broken.
    #[error("the {backend} backend cannot be used: {error}")]
    Watcher {
        /// Its name.
        backend: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The system refuses something that every process gets.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl DaemonError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint().to_owned(),
            Self::NoSink(_) => {
                "add a table [push-notify] with the `socket` of the push daemon, [apns] with a certificate, or [exec] with a `command`"
                    .to_owned()
            }
            Self::Listen(error) => error.hint(),
            Self::Control(ControlStartError::Control(error)) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Watcher { error, .. } if error.raw_os_error() == Some(libc::EMFILE) => {
                "too many inotify instances: raise `sysctl fs.inotify.max_user_instances`".to_owned()
            }
            #[cfg(target_os = "linux")]
            Self::Watcher { error, .. } if refusal(error).is_some() => {
                refusal(error).map_or("", Refusal::hint).to_owned()
            }
            Self::Watcher { .. } => "`backend = \"poll\"` works everywhere".to_owned(),
            Self::System(_) | Self::Control(ControlStartError::Io(_)) => "see the error above".to_owned(),
        }
    }
}

/// Why fanotify does not work, if that is the error.
#[cfg(target_os = "linux")]
fn refusal(error: &io::Error) -> Option<Refusal> {
    error.get_ref()?.downcast_ref().copied()
}
