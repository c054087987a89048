//! One request, from its headers to its answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderValue, request::Parts};

use crate::{
    answer::{self, Answer},
    journal::Entry,
    rules,
    server::Server,
};

/// A request whose headers have been judged.
pub(crate) struct Pending {
    pub(crate) server: Arc<Server>,
    pub(crate) connection: u64,
    pub(crate) time: SystemTime,
    pub(crate) parts: Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    pub(crate) authentication: &'static str,
    pub(crate) verdict: Result<(), Answer>,
    /// How late to answer.
    pub(crate) slow: Duration,
}

impl Pending {
    /// Reads the payload, judges it, answers, and writes it down.
    pub(crate) async fn serve(mut self) {
        // An error: the client has given the stream up, or the connection is gone.
        let Ok(payload) = self.payload().await else { return };
        if !self.slow.is_zero() {
            tokio::time::sleep(self.slow).await;
        }
        let verdict = self.verdict.and_then(|()| rules::judge_payload(payload.len(), &self.parts.headers));
        if answer::send(&mut self.respond, &verdict, apns_id(&self.parts)).is_err() {
            return;
        }
        self.server.journal.record(&Entry {
            time: self.time,
            connection: self.connection,
            stream: self.respond.stream_id().as_u32(),
            parts: &self.parts,
            payload: &payload,
            authentication: self.authentication,
            verdict: &verdict,
        });
    }

    /// The payload; of one that is too large, enough to see it.
    async fn payload(&mut self) -> Result<Bytes, h2::Error> {
        let mut payload = Bytes::new();
        let mut parts = BytesMut::new();
        while let Some(data) = self.body.data().await {
            let data = data?;
            self.body.flow_control().release_capacity(data.len())?;
            // Nearly all payloads come in one piece.
            if payload.is_empty() && parts.is_empty() {
                payload = data;
                continue;
            }
            if parts.is_empty() {
                parts.extend_from_slice(&payload);
            }
            // The rest is read and not kept: a stream that is reset before its end takes the answer with it.
            let room = rules::ENOUGH_PAYLOAD.saturating_sub(parts.len());
            parts.extend_from_slice(&data[..data.len().min(room)]);
        }
        Ok(if parts.is_empty() { payload } else { parts.freeze() })
    }
}

/// The client's own, or else one that is made up.
fn apns_id(parts: &Parts) -> HeaderValue {
    match parts.headers.get("apns-id") {
        Some(id) if rules::is_uuid(id.as_bytes()) => id.clone(),
        _ => {
            let (a, b) = (fastrand::u64(..), fastrand::u64(..));
            let id = format!(
                "{:08X}-{:04X}-4{:03X}-{:04X}-{:012X}",
                a >> 32,
                a >> 16 & 0xffff,
                a & 0xfff,
                0x8000 | b >> 50,
                b & 0xffff_ffff_ffff
            );
            // Digits, letters and hyphens.
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
        }
    }
}
