//! Apple's end of a connection in memory: real HTTP/2, and does to each push what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use http::Response;
use tokio::io::DuplexStream;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

/// What is done to a push.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// Answers, after a while.
    Answer { status: u16, reason: &'static str, retry_after: Option<u64>, after: Duration },
    /// Resets the stream, as a server that has too many does.
    Refuse,
    /// Never answers this one.
    Ignore,
    /// Ends the TCP connection under all that is on it.
    Cut,
    /// Reads and writes nothing more on this connection, and does not end it.
    Freeze,
    /// Answers, and announces that it takes no more on this connection.
    Leave,
    /// Announces that this one and what came after the last answer is not looked at, and closes.
    Quit,
}

impl Does {
    pub(super) const ACCEPT: Self = Self::answer(200, "");

    pub(super) const fn answer(status: u16, reason: &'static str) -> Self {
        Self::Answer { status, reason, retry_after: None, after: Duration::ZERO }
    }

    pub(super) const fn accept_after(after: Duration) -> Self {
        Self::Answer { status: 200, reason: "", retry_after: None, after }
    }

    pub(super) const fn later(status: u16, reason: &'static str, retry_after: u64) -> Self {
        Self::Answer { status, reason, retry_after: Some(retry_after), after: Duration::ZERO }
    }
}

/// A push as Apple sees it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Which user's device, as `accounts::key` numbers them.
    pub(super) device: u64,
    /// How many pushes there have been, with this one.
    pub(super) count: usize,
    pub(super) connection: usize,
    pub(super) topic: String,
    pub(super) priority: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) at: Instant,
}

/// What is done to all connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Freeze,
    Cut,
}

type Script = Box<dyn FnMut(&Request) -> Does + Send>;

struct State {
    script: Script,
    requests: Vec<Request>,
    /// How often each device's push was answered with 200.
    accepted: BTreeMap<u64, u32>,
    /// On the wire now, by device.
    flying: BTreeSet<u64>,
    /// Devices with two pushes on the wire at once.
    twice: BTreeSet<u64>,
}

/// Apple.
#[derive(Clone)]
pub(super) struct Apple {
    state: Arc<Mutex<State>>,
    orders: broadcast::Sender<Order>,
}

impl Apple {
    pub(super) fn new(script: impl FnMut(&Request) -> Does + Send + 'static) -> Self {
        let state = State {
            script: Box::new(script),
            requests: Vec::new(),
            accepted: BTreeMap::new(),
            flying: BTreeSet::new(),
            twice: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), orders: broadcast::channel(4).0 }
    }

    /// Does something else from now on.
    pub(super) fn now_does(&self, script: impl FnMut(&Request) -> Does + Send + 'static) {
        self.state().script = Box::new(script);
    }

    pub(super) fn order(&self, order: Order) {
        // Nobody may be connected.
        let _ = self.orders.send(order);
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.state().requests.len()
    }

    pub(super) fn accepted(&self) -> BTreeMap<u64, u32> {
        self.state().accepted.clone()
    }

    /// Were there ever two pushes on the wire to one device?
    pub(super) fn twice_at_once(&self) -> BTreeSet<u64> {
        self.state().twice.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Serves one connection.
    pub(super) async fn serve(self, io: DuplexStream, number: usize, streams: u32) {
        let mut orders = self.orders.subscribe();
        let handshake = h2::server::Builder::new()
            .max_concurrent_streams(streams)
            .max_concurrent_reset_streams(10_000)
            .handshake::<_, Bytes>(io);
        let Ok(mut connection) = handshake.await else { return };
        let mut flying = Vec::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Ok(Order::Freeze) => break self.frozen(connection, &flying).await,
                    _ => break,
                },
                accepted = connection.accept() => {
                    let Some(Ok((request, respond))) = accepted else { break };
                    let request = self.note(&request, number);
                    flying.push(request.device);
                    let does = (self.state().script)(&request);
                    match does {
                        Does::Cut => break,
                        Does::Freeze => break self.frozen(connection, &flying).await,
                        Does::Quit => {
                            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                            // What is on the wire is answered no more.
                            let _ = poll_fn(|context| connection.poll_closed(context)).await;
                            break;
                        }
                        Does::Leave => {
                            connection.graceful_shutdown();
                            self.answer(request.device, respond, Does::ACCEPT);
                        }
                        does => self.answer(request.device, respond, does),
                    }
                }
            }
        }
        self.state().flying.retain(|device| !flying.contains(device));
    }

    fn note(&self, request: &http::Request<h2::RecvStream>, connection: usize) -> Request {
        let header =
            |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let token = request.uri().path().rsplit('/').next().unwrap();
        let device = u64::from_str_radix(&token[token.len() - 16..], 16).unwrap() - 1;
        let mut state = self.state();
        let request = Request {
            device,
            count: state.requests.len() + 1,
            connection,
            topic: header("apns-topic").unwrap_or_default(),
            priority: header("apns-priority"),
            authorization: header("authorization"),
            at: Instant::now(),
        };
        state.requests.push(request.clone());
        if !state.flying.insert(device) {
            state.twice.insert(device);
        }
        request
    }

    fn answer(&self, device: u64, mut respond: SendResponse<Bytes>, does: Does) {
        let apple = self.clone();
        match does {
            Does::Answer { status, reason, retry_after, after } if after.is_zero() => {
                apple.landed(device, status == 200);
                send(&mut respond, status, reason, retry_after);
            }
            Does::Answer { status, reason, retry_after, after } => {
                tokio::spawn(async move {
                    tokio::select! {
                        () = sleep(after) => {
                            apple.landed(device, status == 200);
                            send(&mut respond, status, reason, retry_after);
                        }
                        _ = poll_fn(|context| respond.poll_reset(context)) => apple.landed(device, false),
                    }
                });
            }
            Does::Refuse => {
                apple.landed(device, false);
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
            _ => {
                tokio::spawn(async move {
                    let _ = poll_fn(|context| respond.poll_reset(context)).await;
                    apple.landed(device, false);
                });
            }
        }
    }

    fn landed(&self, device: u64, is_accepted: bool) {
        let mut state = self.state();
        state.flying.remove(&device);
        if is_accepted {
            *state.accepted.entry(device).or_default() += 1;
        }
    }

    /// Holds a connection without a sign of life. What is on it is on the wire no more: only the client can find out.
    async fn frozen(&self, connection: Connection<DuplexStream, Bytes>, flying: &[u64]) {
        self.state().flying.retain(|device| !flying.contains(device));
        let _connection = connection;
        std::future::pending::<()>().await;
    }
}

/// The client may be gone; it sends again then.
fn send(respond: &mut SendResponse<Bytes>, status: u16, reason: &str, retry_after: Option<u64>) {
    let mut head = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        head = head.header("retry-after", seconds);
    }
    let Ok(mut stream) = respond.send_response(head.body(()).unwrap(), reason.is_empty()) else { return };
    if !reason.is_empty() {
        let body = serde_json::json!({ "reason": reason }).to_string();
        let _ = stream.send_data(body.into(), true);
    }
}
