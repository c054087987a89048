//! The port: it can be closed, so that dials are refused, and opened again.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use crate::{Failure, connection, server::Server};

const BACKLOG: i32 = 1024;

/// Orders to the one who accepts: whether to, and whom to tell when that is so.
type Order = (bool, oneshot::Sender<io::Result<()>>);

/// The port, to give orders to.
pub(crate) struct Port {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
}

/// The port, to accept from.
pub(crate) struct Accepting {
    address: SocketAddr,
    listener: Option<TcpListener>,
    orders: mpsc::Receiver<Order>,
    /// Bound and never listening: so the port stays ours while it is closed. The BSDs would not let two sockets
    /// have it.
    _reserve: Option<Socket>,
}

impl Port {
    /// Binds the port and listens.
    pub(crate) fn open(address: SocketAddr) -> Result<(Self, Accepting), Failure> {
        let reserve = if cfg!(target_os = "linux") { Some(bind(address)?) } else { None };
        let address = match &reserve {
            Some(reserve) => reserve.local_addr()?.as_socket().unwrap_or(address),
            None => address,
        };
        let listener = listen(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let address = listener.local_addr()?;
        let (sender, orders) = mpsc::channel(1);
        Ok((
            Self { address, orders: sender },
            Accepting { address, listener: Some(listener), orders, _reserve: reserve },
        ))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or closes the port; it is done when this returns.
    pub(crate) async fn set_open(&self, open: bool) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        // Errors: the simulator ends.
        let _ = self.orders.send((open, done)).await;
        answer.await.unwrap_or(Ok(()))
    }
}

impl Accepting {
    /// Accepts connections for ever.
    pub(crate) async fn serve(mut self, server: Arc<Server>) -> Result<(), Failure> {
        let numbers = AtomicU64::new(1);
        loop {
            tokio::select! {
                Some((open, done)) = self.orders.recv() => {
                    // Nobody waits for it any more: it is done all the same.
                    let _ = done.send(self.set_open(open));
                }
                accepted = accept(self.listener.as_ref()) => match accepted {
                    Ok(socket) => begin(&server, numbers.fetch_add(1, Ordering::Relaxed), socket),
                    // Too many open files, or a client that has gone again.
                    Err(error) => {
                        server.journal.note(0, error);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }

    fn set_open(&mut self, open: bool) -> io::Result<()> {
        if !open {
            self.listener = None;
        } else if self.listener.is_none() {
            self.listener = Some(listen(self.address)?);
        }
        Ok(())
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

fn begin(server: &Arc<Server>, number: u64, socket: TcpStream) {
    let closed_at_once = server.faults().accept_then_close;
    let mut counts = server.journal.counts();
    counts.connections += 1;
    if closed_at_once {
        counts.closed_at_once += 1;
        return;
    }
    counts.open += 1;
    drop(counts);
    // Answers are small, and each is waited for.
    let _ = socket.set_nodelay(true);
    let orders = server.orders.subscribe();
    let server = Arc::clone(server);
    tokio::spawn(async move {
        connection::serve(Arc::clone(&server), number, socket, orders).await;
        server.journal.counts().open -= 1;
    });
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// With `SO_REUSEADDR`, as connections of the process before may linger.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
