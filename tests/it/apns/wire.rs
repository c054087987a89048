//! The way to Apple, in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use pushmaild::sink::apns::dial::{Dial, DialError, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::apple::Apple;

/// What there is at the other end of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Apple, who offers so many streams.
    Streams(u32),
    /// Nobody.
    Refused,
    /// Nobody says so, for so long.
    Slow(Duration),
    /// Something that takes what is sent and says nothing.
    Mute,
    /// GOAWAY with this reason as soon as there is something to answer.
    GoAway(&'static str),
}

/// Dials to Apple.
#[derive(Clone)]
pub(super) struct Wire {
    apple: Apple,
    state: Arc<Mutex<State>>,
}

struct State {
    way: Box<dyn FnMut(usize) -> Way + Send>,
    dials: Vec<Instant>,
}

impl Wire {
    pub(super) fn new(apple: &Apple) -> Self {
        let state = State { way: Box::new(|_| Way::Streams(1000)), dials: Vec::new() };
        Self { apple: apple.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// What the dials lead to, which count from 1.
    pub(super) fn leads_to(&self, way: impl FnMut(usize) -> Way + Send + 'static) {
        self.state().way = Box::new(way);
    }

    /// When there was a dial.
    pub(super) fn dials(&self) -> Vec<Instant> {
        self.state().dials.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Dial for Wire {
    type Io = DuplexStream;

    async fn dial(&self) -> Result<Self::Io, DialError> {
        let (number, way) = {
            let mut state = self.state();
            state.dials.push(Instant::now());
            let number = state.dials.len();
            (number, (state.way)(number))
        };
        let endpoint = Endpoint { host: "api.push.apple.com".to_owned(), port: 443 };
        let (ours, theirs) = duplex(64 * 1024);
        match way {
            Way::Streams(streams) => {
                tokio::spawn(self.apple.clone().serve(theirs, number, streams));
            }
            Way::Refused => {
                let error = io::ErrorKind::ConnectionRefused.into();
                return Err(DialError::Connect { endpoint, error });
            }
            Way::Slow(wait) => {
                sleep(wait).await;
                return Err(DialError::Slow(endpoint));
            }
            Way::Mute => {
                tokio::spawn(mute(theirs));
            }
            Way::GoAway(reason) => {
                tokio::spawn(go_away(theirs, reason));
            }
        }
        Ok(ours)
    }
}

async fn mute(mut io: DuplexStream) {
    let mut buffer = [0; 4096];
    while io.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// h2 sends no GOAWAY with a reason in words, so these are its bytes: RFC 9113, sections 4.1, 6.5 and 6.8.
async fn go_away(mut io: DuplexStream, reason: &str) {
    let mut read = Vec::new();
    // The preface and the client's settings are less than 100 bytes, a request is more.
    while read.len() < 200 {
        let mut buffer = [0; 4096];
        match io.read(&mut buffer).await {
            Ok(count @ 1..) => read.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let debug = format!(r#"{{"reason":"{reason}"}}"#);
    let length = u8::try_from(8 + debug.len()).unwrap();
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend([0, 0, length, 7, 0, 0, 0, 0, 0]);
    frames.extend([0; 8]);
    frames.extend(debug.as_bytes());
    let _ = io.write_all(&frames).await;
    mute(io).await;
}
