//! One connection: TLS, HTTP/2, and the faults that are about streams and connections.

use std::{
    future::poll_fn,
    ops::ControlFlow,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Connection as H2, SendResponse},
};
use http::{Request, header::AUTHORIZATION, request::Parts};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::broadcast::{self, error::RecvError},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::server::TlsStream;

use crate::{
    answer::Answer,
    frames::{Additions, Frames},
    gate::Gated,
    identity::Identity,
    provider_token::Bearer,
    request::Pending,
    rules,
    server::{Order, Server},
};

/// How long the client may stay after it was told to go, and was answered.
const FAREWELL: Duration = Duration::from_secs(1);
/// Until an acknowledgement is looked for again.
const SOON: Duration = Duration::from_millis(5);
/// Flow control must never be what limits a client: each payload is read at once.
const WINDOW: u32 = 1 << 24;
const STREAM_WINDOW: u32 = 1 << 16;

type Stream = Frames<TlsStream<Gated<TcpStream>>>;
type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves a connection to its end. `orders` is from before it was accepted, so that none is missed.
pub(crate) async fn serve(
    server: Arc<Server>,
    number: u64,
    socket: TcpStream,
    mut orders: broadcast::Receiver<Order>,
) {
    let opened = tokio::select! {
        // However long it takes: a connection that is frozen has to stay.
        opened = Connection::open(&server, number, socket) => opened,
        // Whatever the order is, there is nobody yet to say goodbye to.
        _ = orders.recv() => return,
    };
    match opened {
        Ok((connection, h2)) => connection.run(h2, orders).await,
        Err(error) => {
            server.journal.counts().handshakes_failed += 1;
            server.journal.note(number, error);
        }
    }
}

struct Connection {
    server: Arc<Server>,
    number: u64,
    /// `None`: the client has to bring a provider token.
    certificate: Option<Identity>,
    bearer: Bearer,
    additions: Additions,
    streams: u32,
    /// A provider token is needed before there may be more than one stream.
    narrow: bool,
    /// It has brought one.
    trusted: bool,
    /// All requests so far.
    requests: u64,
    /// The last stream whose request was taken.
    last: u32,
    /// Since GOAWAY nothing is taken any more.
    goodbye: bool,
    /// Never answered, and not reset either, as nobody looks at them.
    not_processed: Vec<Incoming>,
    /// Requests whose payload or answer is on its way.
    pending: JoinSet<()>,
}

impl Connection {
    async fn open(
        server: &Arc<Server>,
        number: u64,
        socket: TcpStream,
    ) -> Result<(Self, H2<Stream, Bytes>), crate::Failure> {
        let gated = Gated::new(socket, server.frozen.subscribe());
        let tls = match server.tls.accept(gated).into_fallible().await {
            Ok(tls) => tls,
            Err((error, socket)) => {
                hang_up(socket).await;
                return Err(error.into());
            }
        };
        let (_, session) = tls.get_ref();
        if session.alpn_protocol() != Some(b"h2") {
            return Err("the client does not offer HTTP/2 (ALPN h2)".into());
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.map(|certificate| Identity::of(certificate));

        let streams = server.faults().streams.unwrap_or(server.streams);
        let additions = Additions::default();
        let narrow = certificate.is_none() && streams > 1;
        if narrow {
            additions.streams_in_next_settings(1);
        }
        let h2 = h2::server::Builder::new()
            .max_concurrent_streams(streams)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(Frames::new(tls, additions.clone()))
            .await?;
        let connection = Self {
            server: Arc::clone(server),
            number,
            certificate,
            bearer: Bearer::default(),
            additions,
            streams,
            narrow,
            trusted: false,
            requests: 0,
            last: 0,
            goodbye: false,
            not_processed: Vec::new(),
            pending: JoinSet::new(),
        };
        Ok((connection, h2))
    }

    async fn run(mut self, mut h2: H2<Stream, Bytes>, mut orders: broadcast::Receiver<Order>) {
        let for_sandbox = |identity: &Identity| !identity.production && !identity.topics.is_empty();
        if self.certificate.as_ref().is_some_and(for_sandbox) {
            self.say_goodbye("BadCertificateEnvironment");
        }
        let additions = self.additions.clone();
        let mut end: Option<Instant> = None;
        loop {
            if self.goodbye && self.pending.is_empty() && end.is_none() {
                end = Some(Instant::now() + FAREWELL);
            }
            self.widen(&mut h2);
            tokio::select! {
                biased;
                incoming = poll_fn(|cx| poll_incoming(&additions, &mut h2, cx)) => match incoming {
                    Some(Ok(incoming)) => {
                        if self.take(incoming).is_break() {
                            break self.flush(&mut h2);
                        }
                    }
                    Some(Err(error)) => break self.server.journal.note(self.number, error),
                    None => break,
                },
                order = orders.recv() => match order {
                    Ok(Order::GoAway(reason)) => self.say_goodbye(&reason),
                    Ok(Order::Drop) => {
                        self.server.journal.counts().cut += 1;
                        break;
                    }
                    Err(RecvError::Closed) => break,
                    Err(RecvError::Lagged(_)) => {}
                },
                Some(_) = self.pending.join_next() => {}
                () = tokio::time::sleep(SOON), if self.wants_width() => {}
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                    break self.close(h2).await;
                }
            }
        }
    }

    /// Sends what was answered, as far as the socket takes it: the connection is about to break.
    fn flush(&self, h2: &mut H2<Stream, Bytes>) {
        self.additions.cork(false);
        let _ = h2.poll_closed(&mut Context::from_waker(Waker::noop()));
    }

    /// Closes in good order.
    async fn close(&self, mut h2: H2<Stream, Bytes>) {
        self.additions.cork(false);
        h2.abrupt_shutdown(Reason::NO_ERROR);
        // An error: the client has closed already, or does not read.
        let _ = tokio::time::timeout(FAREWELL, poll_fn(|cx| h2.poll_closed(cx))).await;
    }

    /// Takes a request, or does to it what was ordered. Breaks when the connection is to break.
    fn take(&mut self, (request, mut respond): Incoming) -> ControlFlow<()> {
        if self.goodbye {
            self.server.journal.counts().not_processed += 1;
            self.not_processed.push((request, respond));
            return ControlFlow::Continue(());
        }
        self.requests += 1;
        let nth = |every: Option<u64>| every.is_some_and(|every| self.requests.is_multiple_of(every));

        let mut faults = self.server.faults();
        if nth(faults.refuse_streams_every) {
            self.server.journal.counts().refused_streams += 1;
            respond.send_reset(Reason::REFUSED_STREAM);
            return ControlFlow::Continue(());
        }
        if nth(faults.drop_every) {
            self.server.journal.counts().cut += 1;
            return ControlFlow::Break(());
        }
        let ending = faults.goaway.as_ref().filter(|ending| nth(Some(ending.every)));
        let goodbye = ending.map(|ending| ending.reason.clone());
        let slow = faults.slow;
        let ordered = faults.next_answer();
        drop(faults);

        self.server.journal.counts().taken += 1;
        self.last = respond.stream_id().as_u32();
        let (parts, body) = request.into_parts();
        let time = SystemTime::now();
        let verdict = match ordered {
            Some(answer) => {
                if answer.reason == "ExpiredProviderToken" {
                    self.bearer.forget();
                }
                Err(answer)
            }
            None => self.judge(&parts, time),
        };
        let authentication = match &self.certificate {
            Some(_) => "certificate",
            None if parts.headers.contains_key(AUTHORIZATION) => "token",
            None => "none",
        };
        let (server, connection) = (Arc::clone(&self.server), self.number);
        let pending =
            Pending { server, connection, time, parts, body, respond, authentication, verdict, slow };
        // Nearly always the payload is there already, and the request is done at once. If not, the task asks
        // again, and that is when it is told whom to wake.
        let mut serving = Box::pin(pending.serve());
        if serving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.pending.spawn(serving);
        }
        if let Some(reason) = goodbye {
            self.say_goodbye(&reason);
        }
        ControlFlow::Continue(())
    }

    fn judge(&mut self, parts: &Parts, now: SystemTime) -> Result<(), Answer> {
        let (topics, one_topic) = match &self.certificate {
            Some(certificate) if certificate.topics.is_empty() => {
                return Err(Answer::forbidden("BadCertificate"));
            }
            Some(certificate) if !certificate.production => {
                return Err(Answer::forbidden("BadCertificateEnvironment"));
            }
            Some(certificate) => (&certificate.topics, certificate.topics.len() == 1),
            None => {
                self.bearer.judge(&parts.headers, &self.server, now)?;
                self.trusted = true;
                (&self.server.topics, false)
            }
        };
        rules::judge(parts, topics, one_topic, &self.server.faults().devices)
    }

    fn wants_width(&self) -> bool {
        self.narrow && self.trusted && self.pending.is_empty()
    }

    /// Allows all streams to a client that has shown a good provider token, and was answered.
    fn widen(&mut self, h2: &mut H2<Stream, Bytes>) {
        // h2 sends the SETTINGS that ours goes into, and refuses while the client has not acknowledged the one
        // before; it does not tell when that is.
        if self.wants_width() && h2.set_initial_window_size(STREAM_WINDOW).is_ok() {
            self.additions.streams_in_next_settings(self.streams);
            self.narrow = false;
        }
    }

    /// Sends GOAWAY: what was taken will be answered, and the rest is for another connection.
    fn say_goodbye(&mut self, reason: &str) {
        if !self.goodbye {
            self.goodbye = true;
            self.additions.goaway(self.last, json!({ "reason": reason }).to_string().as_bytes());
            self.server.journal.note(self.number, format_args!("GOAWAY {reason}"));
        }
    }
}

/// Closes after a handshake that failed, but not before the client has: closing with its first frames unread would
/// take away the alert that tells it what was wrong.
async fn hang_up(mut socket: Gated<TcpStream>) {
    let drained = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // An error: it has closed, or does not mean to.
    let _ = tokio::time::timeout(FAREWELL, drained).await;
}

/// The next request. Answers go out together when no request is left.
fn poll_incoming(
    additions: &Additions,
    h2: &mut H2<Stream, Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Incoming, h2::Error>>> {
    additions.cork(true);
    if let Poll::Ready(incoming) = h2.poll_accept(cx) {
        return Poll::Ready(incoming);
    }
    additions.cork(false);
    h2.poll_accept(cx)
}
