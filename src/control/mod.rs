//! What the running daemon says of itself, to people and to programs: the control socket of `status` and `doctor`, metrics, and the
//! status page.
//!
//! ```text
//! status, doctor ─line→ socket.rs ─┬→ desk.rs ─Question→ daemon/report.rs (the thread that watches)
//! browsers, Prometheus ──→ http/ ──┘     └─ look-up → registry
//!                           ├─ gate.rs     who is let in
//!                           ├─ metrics.rs  the status as Prometheus reads it
//!                           └─ page/       the status as people read it
//! ```
//!
//! Everything here runs on a thread of its own and only reads. A client that is slow, or hostile, holds up itself.

pub mod client;
mod clients;
mod desk;
mod http;
mod metrics;
mod page;
mod socket;
pub mod status;
pub(crate) mod words;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::http::gate::TokenFault;
use self::{
    desk::Desk,
    http::{Http, gate::Gate},
    status::{Status, UserStatus},
};
use crate::{
    config,
    registry::service::Registry,
    sink::tally::Tally,
    unix_socket::{self, Access, BindError, BoundPath, UnknownGroup},
};

/// Questions that wait for the thread that watches.
const QUESTIONS: usize = 16;

/// Asked of the thread that watches Maildirs.
#[derive(Debug)]
pub enum Question {
    /// Is anybody there?
    Alive(oneshot::Sender<()>),
    /// How is everything?
    Status(oneshot::Sender<Status>),
    /// How is the mailbox of this user? None if the map has no such user.
    User(String, oneshot::Sender<Option<UserStatus>>),
    /// How are the mailboxes from this number on? Some of them, and the number to go on with.
    Users(u32, oneshot::Sender<(Vec<UserStatus>, Option<u32>)>),
}

/// Why nobody can ask.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The socket.
    #[error("`socket` of [control]: {0}")]
    Socket(BindError),
    /// The group is not there, or cannot be looked up.
    #[error("`group` of [control]: {0}")]
    Group(#[from] UnknownGroup),
    /// The port.
    #[error("`http` of [control]: cannot bind {address}: {error}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The file with the secret.
    #[error("`token-file` of [control]: `{}` {fault}", .file.display())]
    Token {
        /// Its path.
        file: PathBuf,
        /// What is wrong with it.
        fault: TokenFault,
    },
}

impl ControlError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Socket(error) => error.hint(),
            Self::Port { error, .. } => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program listens there, perhaps another pushmaild; name another port"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; `127.0.0.1:9466` is always there"
                }
                io::ErrorKind::PermissionDenied => "ports below 1024 are root's; name another one",
                _ => "see the error above",
            }
            .to_owned(),
            Self::Token { file, fault } => fault.hint(file),
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
    /// Binds socket and port and starts the thread. None if nothing is configured, and there is no folder for the socket either.
    ///
    /// Call it before there are threads that make files: see [`unix_socket::bind_stream`].
    ///
    /// # Errors
    /// If what the configuration names cannot be had.
    pub fn start(
        config: &config::Control,
        registry: Option<&Registry>,
        tally: &Arc<Tally>,
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
        }
        let http = config.http.map(|address| bind_http(config, address)).transpose()?;
        if socket.is_none() && http.is_none() {
            return Ok(None);
        }
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let desk = Desk::new(ask, registry.cloned());
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("control".to_owned()).spawn({
            let (stop, tally) = (stop.clone(), Arc::clone(tally));
            move || {
                let socket = async {
                    if let Some((listener, path)) = socket {
                        socket::serve(listener, path, desk.clone()).await;
                    }
                };
                let http = async {
                    if let Some((listener, gate)) = http {
                        Http::new(desk.clone(), tally, gate).serve(listener).await;
                    }
                };
                runtime.block_on(stop.run_until_cancelled(async { tokio::join!(socket, http) }));
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
    let access = Access::with_group(0o660, config.group.as_deref())?;
    unix_socket::bind_stream(socket, access).map(Some).map_err(ControlError::Socket)
}

fn bind_http(config: &config::Control, address: SocketAddr) -> Result<(TcpListener, Gate), ControlError> {
    let gate = gate(config, address)?;
    let listener = TcpListener::bind(address).map_err(|error| ControlError::Port { address, error })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "the status page is at http://{address}/, and metrics at http://{address}/metrics");
    }
    Ok((listener, gate))
}

fn gate(config: &config::Control, address: SocketAddr) -> Result<Gate, ControlError> {
    let token = config.token_file.as_deref();
    Gate::new(address.ip(), token)
        .map_err(|fault| ControlError::Token { file: token.unwrap_or(Path::new("")).to_owned(), fault })
}

/// Could the status page be had? A daemon that runs has the port already.
///
/// # Errors
/// What the daemon's start would say.
pub fn probe_http(config: &config::Control, is_running: bool) -> Result<(), ControlError> {
    let Some(address) = config.http else { return Ok(()) };
    gate(config, address)?;
    if !is_running {
        TcpListener::bind(address).map_err(|error| ControlError::Port { address, error })?;
    }
    Ok(())
}
