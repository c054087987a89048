//! What Dovecot's plugins and their like bring: registrations of devices, and hints that something happened to a mailbox.
//!
//! ```text
//! accept.rs ─ a place (seats.rs) ─→ xaps_http.rs, xaps_socket.rs, push_notify.rs ─request→ desk.rs ─→ intake.rs
//! ```
//!
//! Everything here runs on the network thread. A client is answered within milliseconds, for it waits inside a user's IMAP session;
//! what takes longer happens afterwards. `limits.rs` has what a client may have, and `peer.rs` who he is.

mod accept;
pub mod counters;
mod desk;
pub mod intake;
pub mod limits;
mod peer;
mod push_notify;
mod seats;
mod xaps_http;
mod xaps_socket;

use std::{
    io,
    net::SocketAddr,
    os::unix::net::{UnixDatagram, UnixListener},
    sync::Arc,
};

use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{
    accept::UnixSource,
    counters::{Counters, Listener},
    desk::Desk,
    intake::Intake,
    limits::Limits,
    peer::Peers,
    push_notify::Datagrams,
};
use crate::{
    config::Listen,
    unix_socket::{self, Access, BindError, BoundPath, UnknownGroup},
};

/// Connections that the kernel keeps until they are accepted; see the one of Unix sockets.
const BACKLOG: i32 = 4096;

/// Why the listeners cannot be had.
#[derive(Debug, Error)]
pub enum ListenError {
    /// A Unix socket.
    #[error("`{key}` of [listen]: {error}")]
    Socket {
        /// The key in the configuration.
        key: Listener,
        /// Why.
        error: BindError,
    },
    /// The port.
    #[error("`xaps-http` of [listen]: cannot bind {address}: {error}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The group is not there, or cannot be looked up.
    #[error("`group` of [listen]: {0}")]
    Group(#[from] UnknownGroup),
}

impl ListenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Socket { error, .. } => return error.hint(),
            Self::Group(_) => {
                "name a group that `getent group` shows; for Dovecot it is the one that its IMAP processes run with, or leave the \
                 key out"
            }
            Self::Port { error, .. } => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program listens there, perhaps xapsd or another pushmaild; stop it, or name another port"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; where IPv6 is off, use `127.0.0.1:11619`, in the plugin as well"
                }
                io::ErrorKind::PermissionDenied => "ports below 1024 are root's; name another one",
                _ => "see the error above",
            },
        };
        hint.to_owned()
    }
}

/// The listeners' sockets. From now on clients can connect, and wait until they are served. The sockets' paths are removed when
/// this is dropped.
#[derive(Debug)]
pub struct Bound {
    xaps_http: Option<std::net::TcpListener>,
    xaps_socket: Option<(UnixListener, BoundPath)>,
    datagrams: Option<(UnixDatagram, BoundPath)>,
    records: Option<(UnixListener, BoundPath)>,
    peers: Peers,
    limits: Limits,
}

/// Binds all sockets of the configuration, or none. Call it before there are threads that make files: see
/// [`bind_stream`](unix_socket::bind_stream).
///
/// Asks the user database for the group and the peers, and waits for the answer.
///
/// # Errors
/// See [`ListenError`].
pub fn bind(config: &Listen) -> Result<Bound, ListenError> {
    let access = Access::with_group(config.mode, config.group.as_deref())?;
    let of = |key| move |error| ListenError::Socket { key, error };
    let stream = |path: &_, key| unix_socket::bind_stream(path, access).map_err(of(key));
    let xaps_http = config
        .xaps_http
        .map(|address| bind_port(address).map_err(|error| ListenError::Port { address, error }))
        .transpose()?;
    let xaps_socket =
        config.xaps_socket.as_ref().map(|path| stream(path, Listener::XapsSocket)).transpose()?;
    let datagrams = config
        .push_notify_datagram
        .as_ref()
        .map(|path| unix_socket::bind_datagram(path, access).map_err(of(Listener::PushNotifyDatagram)))
        .transpose()?;
    let records = config
        .push_notify_stream
        .as_ref()
        .map(|path| stream(path, Listener::PushNotifyStream))
        .transpose()?;
    let peers = Peers::new(&config.peers);
    Ok(Bound { xaps_http, xaps_socket, datagrams, records, peers, limits: Limits::default() })
}

fn bind_port(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // After a restart, connections of before may still be on their way out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// The address of XAPS over HTTP: the one of the configuration, or what the system chose for port 0.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.xaps_http.as_ref()?.local_addr().ok()
    }

    /// With other limits than the usual ones.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Starts to serve, on the runtime that this is called on, and counts what comes. `stop` ends it: sockets are closed and their paths removed at once,
    /// and requests that are under way get their answers if that takes no longer than [`Limits::grace`].
    ///
    /// # Errors
    /// If the system does not let us wait for the sockets.
    pub fn serve(
        self,
        intake: Intake,
        counters: Arc<Counters>,
        stop: &CancellationToken,
    ) -> io::Result<Serving> {
        let desk = Arc::new(Desk::new(intake, self.peers, self.limits, counters));
        let mut tasks = JoinSet::new();
        if let Some(listener) = self.xaps_http {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (on, desk) = (Listener::XapsHttp, Arc::clone(&desk));
            tasks.spawn(accept::run(listener, on, desk, stop.clone(), xaps_http::serve));
        }
        if let Some(bound) = self.xaps_socket {
            let (on, desk) = (Listener::XapsSocket, Arc::clone(&desk));
            tasks.spawn(accept::run(unix(bound)?, on, desk, stop.clone(), xaps_socket::serve));
        }
        if let Some(bound) = self.records {
            let (on, desk) = (Listener::PushNotifyStream, Arc::clone(&desk));
            tasks.spawn(accept::run(unix(bound)?, on, desk, stop.clone(), push_notify::serve));
        }
        if let Some((socket, path)) = self.datagrams {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::UnixDatagram::from_std(socket)?;
            tasks.spawn(Datagrams { socket, _path: path }.run(Arc::clone(&desk), stop.clone()));
        }
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = desk.seats.watch() => {}
                () = desk.sum_up() => {}
            }
        });
        Ok(Serving { tasks })
    }
}

fn unix((listener, path): (UnixListener, BoundPath)) -> io::Result<UnixSource> {
    listener.set_nonblocking(true)?;
    Ok(UnixSource { listener: tokio::net::UnixListener::from_std(listener)?, _path: path })
}

/// The listeners at work. Dropping this ends them at once.
#[derive(Debug)]
pub struct Serving {
    tasks: JoinSet<()>,
}

impl Serving {
    /// Waits until they have ended after the stop.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
