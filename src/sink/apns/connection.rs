//! One HTTP/2 connection to Apple.
//!
//! h2 rather than hyper: how many streams the server offers, and what a GOAWAY says, is known only here.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, client::SendRequest};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{answer::goaway_blames_credential, dial::blames_certificate};

/// An idle connection is asked whether it still lives after this time …
const IDLE: Duration = Duration::from_secs(60);
/// … and has so long to answer. NATs and firewalls forget idle connections without a word.
const PONG: Duration = Duration::from_secs(10);
/// The handshake of HTTP/2 is two frames.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most bytes of an answer that are read: Apple's have some fifty.
const ANSWER_BODY: usize = 4096;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// In words.
    pub text: String,
    /// What was said of our credential, if that is why.
    pub credential: Option<String>,
}

impl End {
    /// What an error of the connection, or of a push on it, says.
    #[must_use]
    pub fn of(error: &h2::Error) -> Self {
        // h2 shows the debug data of a GOAWAY, in which Apple gives a reason, only here.
        let debug = format!("{error:?}");
        let alert = error.get_io().and_then(blames_certificate);
        let credential = alert.or_else(|| goaway_blames_credential(&debug).map(ToOwned::to_owned));
        Self { text: error.to_string(), credential }
    }

    /// An end that has nothing to do with the credential.
    #[must_use]
    pub fn with(text: &str) -> Self {
        Self { text: text.to_owned(), credential: None }
    }
}

/// What Apple answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, empty for 200.
    pub body: Vec<u8>,
    /// The header `retry-after`, in seconds.
    pub retry_after: Option<Duration>,
}

/// A connection that pushes can be sent on.
#[derive(Debug)]
pub struct Connection {
    /// Its number, for the logs and to tell it from others.
    pub number: u64,
    /// When it was made.
    pub since: Instant,
    /// Pushes on the wire.
    pub in_flight: usize,
    /// Answers that did not come in time, in a row.
    pub timeouts: u32,
    /// When something was answered last. Before that it is not known whether the certificate is accepted.
    pub last_answer: Option<Instant>,
    /// May it be used for more?
    pub is_open: bool,
    /// Has it ended, as the pushes on it are about to find out?
    pub has_ended: bool,
    send: SendRequest<Bytes>,
    answers: Arc<AtomicU64>,
    /// Only one stream before the first answer, as Apple asks of those who send provider tokens.
    one_at_first: bool,
    /// The task that drives it. Without it, what is on the wire fails at once.
    pub(super) driver: Option<AbortHandle>,
}

/// Drives a connection; see [`Connection::open`].
pub type Driver = Pin<Box<dyn Future<Output = End> + Send>>;

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Connection {
    /// Speaks HTTP/2 over a stream. The future that comes with the connection drives it, and ends with it.
    ///
    /// # Errors
    /// If the other end does not.
    pub async fn open<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        io: I,
        number: u64,
        one_at_first: bool,
    ) -> Result<(Self, Driver), End> {
        let handshake = h2::client::Builder::new()
            // Until the server says how many it takes.
            .initial_max_send_streams(1)
            .enable_push(false)
            .handshake::<I, Bytes>(io);
        let (send, mut connection) = match timeout(HANDSHAKE, handshake).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(End::of(&error)),
            Err(_) => return Err(End::with("no handshake of HTTP/2 in time")),
        };
        let answers = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&answers);
        let driver = async move {
            let pings = connection.ping_pong();
            tokio::select! {
                ended = connection => match ended {
                    Ok(()) => End::with("the server closed it"),
                    Err(error) => End::of(&error),
                },
                end = watch_idle(pings, &seen) => end,
            }
        };
        let connection = Self {
            number,
            since: Instant::now(),
            in_flight: 0,
            timeouts: 0,
            last_answer: None,
            is_open: true,
            has_ended: false,
            send,
            answers,
            one_at_first,
            driver: None,
        };
        Ok((connection, Box::pin(driver)))
    }

    /// How many more streams the server takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        let most = if self.one_at_first && self.last_answer.is_none() {
            1
        } else {
            self.send.current_max_send_streams()
        };
        if self.is_open && !self.has_ended { most.saturating_sub(self.in_flight) } else { 0 }
    }

    /// Does it offer all the streams that there will be? Not before the server has said how many.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.last_answer.is_some()
    }

    /// How long nothing has been answered.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.last_answer.unwrap_or(self.since).elapsed()
    }

    /// The exchange of one request, to be awaited elsewhere.
    pub fn exchange(
        &self,
        request: Request<()>,
        body: String,
    ) -> impl Future<Output = Result<Reply, h2::Error>> + Send + 'static {
        let send = self.send.clone();
        let answers = Arc::clone(&self.answers);
        async move {
            let mut send = send.ready().await?;
            let (response, mut stream) = send.send_request(request, false)?;
            stream.send_data(body.into(), true)?;
            let (head, mut body) = response.await?.into_parts();
            let mut read = Vec::new();
            while let Some(chunk) = body.data().await {
                let chunk = chunk?;
                body.flow_control().release_capacity(chunk.len())?;
                let rest = ANSWER_BODY - read.len();
                read.extend_from_slice(&chunk[..chunk.len().min(rest)]);
            }
            answers.fetch_add(1, Relaxed);
            let retry_after =
                head.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Reply {
                status: head.status.as_u16(),
                body: read,
                retry_after: retry_after.map(Duration::from_secs),
            })
        }
    }
}

/// Asks after an idle time whether the other end is still there. Ends when it is not.
async fn watch_idle(pings: Option<h2::PingPong>, answers: &AtomicU64) -> End {
    let Some(mut pings) = pings else { return std::future::pending().await };
    let mut seen = answers.load(Relaxed);
    loop {
        sleep(IDLE).await;
        if std::mem::replace(&mut seen, answers.load(Relaxed)) != answers.load(Relaxed) {
            continue;
        }
        if pings.send_ping(Ping::opaque()).is_err() {
            return End::with("no PING can be sent");
        }
        let pong = pin!(poll_fn(|context| pings.poll_pong(context)));
        match timeout(PONG, pong).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return End::of(&error),
            Err(_) => return End::with("no answer to a PING"),
        }
    }
}
