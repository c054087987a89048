//! What has happened: a line for each request, and the counts of everything.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use http::{StatusCode, request::Parts};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{answer::Answer, rules};

/// Counts, and prints unless it has to be quiet.
pub(crate) struct Journal {
    counts: Mutex<Counts>,
    /// The requests answered so far; somebody may wait for a number of them.
    requests: watch::Sender<u64>,
    quiet: AtomicBool,
}

/// What `stats` answers.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Accepted by TCP; the kernel does not tell which it refused.
    pub(crate) connections: u64,
    /// Of these, those that are there now.
    pub(crate) open: u64,
    /// By the order `accept-then-close`.
    pub(crate) closed_at_once: u64,
    pub(crate) handshakes_failed: u64,
    /// Requests whose headers were read and judged; their answers may still be to come.
    pub(crate) taken: u64,
    /// Requests that were answered.
    pub(crate) requests: u64,
    pub(crate) answered_200: u64,
    statuses: BTreeMap<u16, u64>,
    /// Streams that were refused by order.
    pub(crate) refused_streams: u64,
    /// Streams that came after a GOAWAY.
    pub(crate) not_processed: u64,
    /// Connections that were broken by order.
    pub(crate) cut: u64,
    /// Distinct device tokens of the requests answered with 200.
    #[serde(serialize_with = "length")]
    tokens: HashSet<Box<str>>,
    /// Distinct `apns-id`s of the requests answered with 200, of those that had one.
    #[serde(serialize_with = "length")]
    apns_ids: HashSet<Box<[u8]>>,
    /// Distinct provider tokens with a good signature.
    #[serde(serialize_with = "length")]
    provider_tokens: HashSet<Box<str>>,
}

fn length<T, S: serde::Serializer>(set: &HashSet<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(set.len() as u64)
}

/// A request that was answered.
pub(crate) struct Entry<'a> {
    pub(crate) time: SystemTime,
    pub(crate) connection: u64,
    pub(crate) stream: u32,
    pub(crate) parts: &'a Parts,
    pub(crate) payload: &'a [u8],
    pub(crate) authentication: &'static str,
    pub(crate) verdict: &'a Result<(), Answer>,
}

/// The same, as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    connection: u64,
    stream: u32,
    method: &'a str,
    path: &'a str,
    token: Option<&'a str>,
    topic: Option<&'a str>,
    push_type: Option<&'a str>,
    priority: Option<&'a str>,
    expiration: Option<&'a str>,
    collapse_id: Option<&'a str>,
    apns_id: Option<&'a str>,
    payload: Value,
    authentication: &'static str,
    status: u16,
    reason: Option<&'a str>,
}

impl Journal {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { counts: Mutex::default(), requests: watch::Sender::new(0), quiet: AtomicBool::new(quiet) }
    }

    /// The counts, to change or to read; not to be held over an `.await`.
    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a provider token.
    pub(crate) fn provider_token(&self, token: &str) {
        self.counts().provider_tokens.insert(token.into());
    }

    /// Waits until so many requests were answered.
    pub(crate) async fn wait_for(&self, requests: u64) -> u64 {
        let mut answered = self.requests.subscribe();
        // An error: the simulator ends.
        answered.wait_for(|&answered| answered >= requests).await.map_or(0, |answered| *answered)
    }

    /// Counts a request, and prints it.
    pub(crate) fn record(&self, entry: &Entry<'_>) {
        let mut counts = self.counts();
        counts.requests += 1;
        let status = entry.status();
        *counts.statuses.entry(status.as_u16()).or_default() += 1;
        if entry.verdict.is_ok() {
            counts.answered_200 += 1;
            let token = rules::token(entry.parts.uri.path()).unwrap_or_default();
            if !counts.tokens.contains(token) {
                counts.tokens.insert(token.into());
            }
            if let Some(id) = entry.parts.headers.get("apns-id") {
                counts.apns_ids.insert(id.as_bytes().into());
            }
        }
        let requests = counts.requests;
        drop(counts);
        if !self.quiet.load(Ordering::Relaxed) && entry.print().is_err() {
            // Nobody reads any more: that is no reason to end, clients may still be served.
            self.quiet.store(true, Ordering::Relaxed);
        }
        // Most of the time nobody waits. Whoever comes now sees the number.
        let awaited = self.requests.receiver_count() > 0;
        self.requests.send_if_modified(|answered| {
            *answered = requests;
            awaited
        });
    }

    /// Says on stderr what happens to a connection.
    pub(crate) fn note(&self, connection: u64, what: impl std::fmt::Display) {
        if !self.quiet.load(Ordering::Relaxed) {
            // Without a stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "connection {connection}: {what}");
        }
    }
}

impl Entry<'_> {
    fn status(&self) -> StatusCode {
        self.verdict.as_ref().map_or_else(|answer| answer.status, |()| StatusCode::OK)
    }

    fn print(&self) -> io::Result<()> {
        let header = |name| self.parts.headers.get(name).and_then(|value| value.to_str().ok());
        let path = self.parts.uri.path();
        let line = Line {
            time: humantime::format_rfc3339_micros(self.time).to_string(),
            connection: self.connection,
            stream: self.stream,
            method: self.parts.method.as_str(),
            path,
            token: rules::token(path),
            topic: header("apns-topic"),
            push_type: header("apns-push-type"),
            priority: header("apns-priority"),
            expiration: header("apns-expiration"),
            collapse_id: header("apns-collapse-id"),
            apns_id: header("apns-id"),
            payload: serde_json::from_slice(self.payload)
                .unwrap_or_else(|_| String::from_utf8_lossy(self.payload).into()),
            authentication: self.authentication,
            status: self.status().as_u16(),
            reason: self.verdict.as_ref().err().map(|answer| &*answer.reason),
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text)?;
        stdout.flush()
    }
}
