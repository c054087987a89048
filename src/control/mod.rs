//! What the running daemon says of itself, to people and to programs: the control socket of `status` and `doctor`.
//!
//! ```text
//! status, doctor ─line→ socket.rs ─→ desk.rs ─Question→ daemon/report.rs (the thread that watches)
//!                                        └─ look-up → registry
//! ```
//!
//! Everything here runs on a thread of its own and only reads. A client that is slow, or hostile, holds up itself.

pub mod client;
mod desk;
mod socket;
pub mod status;

use std::{io, os::unix::net::UnixListener, thread};

use nix::unistd::Group;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{
    desk::Desk,
    status::{Status, UserStatus},
};
use crate::{
    config,
    registry::service::Registry,
    unix_socket::{self, Access, BindError, BoundPath},
};

/// Questions that wait for the thread that watches.
const QUESTIONS: usize = 16;

/// Asked of the thread that watches Maildirs.
#[derive(Debug)]
pub enum Question {
    /// How is everything?
    Status(oneshot::Sender<Status>),
    /// How is the mailbox of this user? None if the map has no such user.
    User(String, oneshot::Sender<Option<UserStatus>>),
    /// How are the mailboxes from this number on? Some of them, and the number to go on with.
    Users(u32, oneshot::Sender<(Vec<UserStatus>, Option<u32>)>),
}

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The socket.
    #[error("`socket` of [control]: {0}")]
    Socket(BindError),
    /// The group is not there, or cannot be looked up.
    #[error("`group` of [control]: there is no such group: `{}`", .0.escape_debug())]
    Group(String),
}

impl ControlError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Socket(error) => error.hint(),
            Self::Group(_) => "name a group that `getent group` shows, or leave the key out".to_owned(),
        }
    }
}

/// The thread, seen from the one that watches Maildirs.
#[derive(Debug)]
pub struct Control {
    questions: mpsc::Receiver<Question>,
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Control {
    /// Binds the socket and starts the thread. None if nothing is configured, and there is no folder for the socket either.
    ///
    /// Call it before there are threads that make files: see [`unix_socket::bind_stream`].
    ///
    /// # Errors
    /// If what the configuration names cannot be had.
    pub fn start(
        config: &config::Control,
        registry: Option<&Registry>,
    ) -> Result<Option<Self>, ControlStartError> {
        let socket = match bind(config) {
            Ok(socket) => socket,
            // Nobody asked for it by name.
            Err(error) if !config.is_named => {
                let hint = error.hint();
                warn!(%error, hint, "`pushmaild status` will not work: {error}; hint: {hint}");
                None
            }
            Err(error) => return Err(error.into()),
        };
        if socket.is_none() {
            debug!("there is no control socket, for `{}` has no folder", config.socket.display());
            return Ok(None);
        }
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let desk = Desk::new(ask, registry.cloned());
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("control".to_owned()).spawn({
            let stop = stop.clone();
            move || {
                let serve = async {
                    if let Some((listener, path)) = socket {
                        socket::serve(listener, path, desk).await;
                    }
                };
                runtime.block_on(stop.run_until_cancelled(serve));
                runtime.shutdown_background();
            }
        })?;
        Ok(Some(Self { questions, stop, thread }))
    }

    /// The next question. Safe to drop while it waits.
    pub async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }

    /// Ends the thread; clients see the end of their connections.
    pub fn stop(self) {
        self.stop.cancel();
        let _ = self.thread.join();
    }
}

/// Why the thread could not be started.
#[derive(Debug, Error)]
pub enum ControlStartError {
    /// What the configuration names cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The system has no thread for it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn bind(config: &config::Control) -> Result<Option<(UnixListener, BoundPath)>, ControlError> {
    let Some(socket) = config.bound_socket() else { return Ok(None) };
    let group = match &config.group {
        None => None,
        Some(name) => match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid.as_raw()),
            _ => return Err(ControlError::Group(name.clone())),
        },
    };
    let access = Access { mode: 0o660, group };
    unix_socket::bind_stream(socket, access).map(Some).map_err(ControlError::Socket)
}
