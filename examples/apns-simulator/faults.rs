//! What was ordered to go wrong.

use std::{collections::HashMap, time::Duration};

use http::StatusCode;

use crate::answer::Answer;

/// No device has it; clients push to it to learn whether their credential is accepted.
const NO_DEVICE: [u8; 64] = [b'0'; 64];

/// All faults but those of the port and the freezing, which are not the affair of one request.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Each n-th request of a connection is the last.
    pub(crate) goaway: Option<Ending>,
    /// Each n-th request of a connection breaks it.
    pub(crate) drop_every: Option<u64>,
    /// Each n-th request of a connection is refused unread.
    pub(crate) refuse_streams_every: Option<u64>,
    /// How late answers are.
    pub(crate) slow: Duration,
    /// Connections end before TLS begins.
    pub(crate) accept_then_close: bool,
    /// For new connections, instead of the option's.
    pub(crate) streams: Option<u32>,
    pub(crate) devices: Devices,
    pub(crate) answer: Option<Ordered>,
}

/// GOAWAY after each n-th request, with this reason.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) every: u64,
    pub(crate) reason: String,
}

/// An answer to all requests, or to the next `left` ones.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) answer: Answer,
    pub(crate) left: Option<u64>,
}

impl Faults {
    /// What to answer against all rules, if anything.
    pub(crate) fn next_answer(&mut self) -> Option<Answer> {
        let ordered = self.answer.as_mut()?;
        let answer = ordered.answer.clone();
        if let Some(left) = &mut ordered.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.answer = None;
            }
        }
        Some(answer)
    }
}

/// What is known of devices; the others are all good.
#[derive(Debug, Default)]
pub(crate) struct Devices(HashMap<String, Answer>);

impl Devices {
    pub(crate) fn list(&mut self, token: &str, answer: Answer) {
        self.0.insert(token.to_ascii_lowercase(), answer);
    }

    pub(crate) fn forget(&mut self, token: &str) -> bool {
        self.0.remove(&token.to_ascii_lowercase()).is_some()
    }

    pub(crate) fn judge(&self, token: &str) -> Result<(), Answer> {
        if token.as_bytes() == NO_DEVICE {
            return Err(Answer::bad("BadDeviceToken"));
        }
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.get(&token.to_ascii_lowercase()).map_or(Ok(()), |answer| Err(answer.clone()))
    }
}

/// The device is gone since then, in milliseconds.
pub(crate) fn gone(reason: &'static str, timestamp: u64) -> Answer {
    Answer { timestamp: Some(timestamp), ..Answer::new(StatusCode::GONE, reason) }
}

/// Too many pushes for one device.
pub(crate) fn throttled(retry_after: Option<u64>) -> Answer {
    Answer { retry_after, ..Answer::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests") }
}
