//! The other end of the control socket, for `status` and `doctor`.

use std::{
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::unix_socket::connect_stream;

/// The daemon answers in milliseconds, unless it is stopped by a signal or a debugger.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the daemon says nothing.
#[derive(Debug, Error)]
pub enum AskError {
    /// There is no socket, or nobody listens.
    #[error("no daemon answers at `{socket}`: {error}")]
    NoDaemon {
        /// Its path.
        socket: String,
        /// Why.
        error: io::Error,
    },
    /// The socket is for others.
    #[error("this user may not ask the daemon: `{socket}`: {error}")]
    NotAllowed {
        /// Its path.
        socket: String,
        /// Why.
        error: io::Error,
    },
    /// The daemon does not want to.
    #[error("the daemon does not answer: {0}")]
    Refused(String),
    /// It ended before it had said all.
    #[error("the daemon ended before it answered")]
    Ended,
    /// What it says is no answer.
    #[error("the daemon's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl AskError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDaemon { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => {
                    "is pushmaild running, with this configuration? Start it, for example with `systemctl start pushmaild`".to_owned()
                }
                io::ErrorKind::ConnectionRefused => {
                    "the daemon has ended without removing its socket; start it again, and see its log".to_owned()
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    "the daemon is there and does not answer: it hangs, or was stopped".to_owned()
                }
                _ => "see the error above".to_owned(),
            },
            Self::Ended => "it was stopped just now, or ended; ask again, or see its log".to_owned(),
            Self::NotAllowed { .. } | Self::Refused(_) => {
                "ask as root, or as a member of the socket's group, which is `pushmaild` unless `[control] group` says otherwise".to_owned()
            }
            Self::Unreadable(_) => "is the daemon of the same version as this command? Restart it after an upgrade".to_owned(),
        }
    }
}

/// Why there is no document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    error: String,
}

/// Asks the daemon, and reads the document that it answers with.
///
/// # Errors
/// See [`AskError`].
pub fn ask<T: DeserializeOwned>(socket: &Path, question: &str) -> Result<T, AskError> {
    let text = ask_for_text(socket, question)?;
    if let Ok(Refusal { error }) = serde_json::from_slice(&text) {
        return Err(AskError::Refused(error));
    }
    serde_json::from_slice(&text).map_err(|error| match error.is_eof() {
        true => AskError::Ended,
        false => AskError::Unreadable(error),
    })
}

fn ask_for_text(socket: &Path, question: &str) -> Result<Vec<u8>, AskError> {
    let asked = || {
        let mut stream = connect_stream(socket, PATIENCE)?;
        stream.write_all(format!("{question}\n").as_bytes())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(text)
    };
    asked().map_err(|error: io::Error| {
        let socket = socket.display().to_string();
        match error.kind() {
            io::ErrorKind::PermissionDenied => AskError::NotAllowed { socket, error },
            _ => AskError::NoDaemon { socket, error },
        }
    })
}
