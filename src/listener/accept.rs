//! Letting connections in, and ending them at a stop.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    counters::{Asked, Listener},
    desk::Desk,
    peer::Speaker,
    seats::Seat,
};
use crate::{backoff::Backoff, unix_socket::BoundPath};

/// When `accept` fails: most often there is no file descriptor left, and that takes a while.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// And how often the log says so.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection with all that its task needs.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) speaker: Speaker,
    pub(super) seat: Arc<Seat>,
    pub(super) desk: Arc<Desk>,
    /// No more requests are to be read.
    pub(super) stop: CancellationToken,
}

/// What connections come from.
pub(super) trait Source {
    type Stream: Send + 'static;
    const IS_TCP: bool;

    async fn accept(&self) -> io::Result<Self::Stream>;

    fn speaker(stream: &Self::Stream, desk: &Desk) -> io::Result<Speaker>;
}

impl Source for TcpListener {
    type Stream = TcpStream;
    const IS_TCP: bool = true;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // An answer is one small packet, and nothing comes after it.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn speaker(_: &TcpStream, _: &Desk) -> io::Result<Speaker> {
        Ok(Speaker::Port)
    }
}

/// A Unix socket, with the path that is removed when it no longer listens.
#[derive(Debug)]
pub(super) struct UnixSource {
    pub(super) listener: UnixListener,
    pub(super) _path: BoundPath,
}

impl Source for UnixSource {
    type Stream = UnixStream;
    const IS_TCP: bool = false;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Whoever connected. What he is now, or whom he gave the connection to, is of no interest.
    fn speaker(stream: &UnixStream, desk: &Desk) -> io::Result<Speaker> {
        Ok(desk.peers.speaker(stream.peer_cred()?.uid()))
    }
}

/// Lets connections in until the stop, and returns when the last one has ended, or after the grace period.
pub(super) async fn run<L: Source, F>(
    source: L,
    on: Listener,
    desk: Arc<Desk>,
    stop: CancellationToken,
    serve: impl Fn(Connection<L::Stream>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let _ = stop.run_until_cancelled(accept_all(&source, on, &desk, &stop, &serve, &mut connections)).await;
    // From here on a client cannot connect, and knows it at once.
    drop(source);
    let _ = timeout(desk.limits.grace, async { while connections.join_next().await.is_some() {} }).await;
}

async fn accept_all<L: Source, F>(
    source: &L,
    on: Listener,
    desk: &Arc<Desk>,
    stop: &CancellationToken,
    serve: &impl Fn(Connection<L::Stream>) -> F,
    connections: &mut JoinSet<()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut told: Option<Instant> = None;
    loop {
        while connections.try_join_next().is_some() {}
        let mut place = desk.seats.keep(L::IS_TCP).await;
        let stream = match source.accept().await {
            Ok(stream) => stream,
            // The client has gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                // Not each time: the connection stays in the backlog, and so each try fails until there is room.
                if told.is_none_or(|told| told.elapsed() >= SILENCE) {
                    error!(listener = %on, %error, "{on} cannot accept connections, and tries again: {error}");
                    told = Some(Instant::now());
                }
                desk.seats.make_room();
                sleep(backoff.failed(fastrand::f64())).await;
                continue;
            }
        };
        backoff.reset();
        // A client that has gone already has no credentials on some systems.
        let Ok(speaker) = L::speaker(&stream, desk) else { continue };
        let Some(seat) = place.give(speaker) else {
            desk.malformed(on, speaker, Asked::Unknown, &"it has too many connections");
            continue;
        };
        desk.counters.count_connection(on);
        let served = serve(Connection {
            stream,
            speaker,
            seat: Arc::clone(&seat),
            desk: Arc::clone(desk),
            stop: stop.clone(),
        });
        let desk = Arc::clone(desk);
        connections.spawn(async move {
            let ended = async {
                seat.ended().await;
                desk.counters.count_ended(on);
            };
            tokio::select! {
                () = served => {}
                () = ended => {}
            }
            drop(place);
        });
    }
}
