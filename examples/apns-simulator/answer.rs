//! What the service answers: a status, and unless it is 200 a reason.

use std::borrow::Cow;

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// A status with its reason. Only refusals have one; `None` in a `Result<(), Answer>` is "accepted".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) reason: Cow<'static, str>,
    /// Since when a token is dead, in milliseconds: comes with 410 only.
    pub(crate) timestamp: Option<u64>,
    /// Seconds. Apple documents no such header, and clients should bear one.
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), timestamp: None, retry_after: None }
    }

    /// 400, by far the most of them.
    pub(crate) fn bad(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 403: something is wrong with the credential.
    pub(crate) fn forbidden(reason: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason)
    }

    fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            reason: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            timestamp: Option<u64>,
        }
        // A string and a number are always serialisable.
        serde_json::to_vec(&Body { reason: &self.reason, timestamp: self.timestamp }).unwrap_or_default()
    }
}

/// Sends the verdict. An error means that the client has given the stream up.
pub(crate) fn send(
    respond: &mut SendResponse<Bytes>,
    verdict: &Result<(), Answer>,
    apns_id: HeaderValue,
) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    response.headers_mut().insert("apns-id", apns_id);
    let Err(answer) = verdict else {
        return respond.send_response(response, true).map(drop);
    };
    *response.status_mut() = answer.status;
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let mut body: SendStream<Bytes> = respond.send_response(response, false)?;
    body.send_data(answer.body().into(), true)
}
