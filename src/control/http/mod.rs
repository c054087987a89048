//! `[control] http`: metrics, health, and the status page.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /status.json` | the status, as `pushmaild status --json` shows it, without the single users |
//! | `GET /metrics` | the same for Prometheus |
//! | `GET /healthz` | 200 while the thread that watches answers; else 503 |
//! | `GET /readyz` | 200 when everything is watched, as the service manager was told; before, and during a reload, 503 |
//! | another path, another method | 404, 405 |
//! | by another name, from another site's page, without the secret | 421, 403, 401: see [`gate`] |
//!
//! A sink in trouble does not make us unready: what cannot be pushed now is kept, and a restart would not help.
//!
//! A connection is for one request, and has some seconds for all of it. So a client that says nothing, or never reads, costs a place
//! for that long, and there is nothing else to be bounded. On a loopback interface a connection costs less than the answer.

pub(super) mod gate;

use std::{convert::Infallible, net, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
        REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tracing::{debug, error};

use self::gate::{Gate, Refusal};
use super::{
    clients,
    desk::{Desk, NoAnswer},
    metrics, page,
    status::Status,
};
use crate::sink::tally::Tally;

/// Connections at a time; others wait in the kernel's backlog.
const CONNECTIONS: usize = 32;
/// The most of a request's head, and of what hyper reads ahead.
const MAX_HEAD: usize = 16 * 1024;
/// A request has to arrive within this time.
const HEAD: Duration = Duration::from_secs(5);
/// And a connection has to be over within this time. The desk may need ten seconds when the machine is in a bad way.
const WHOLE: Duration = Duration::from_secs(15);
/// Clients are shown a status that is no older. So a client that asks in a loop does not keep the other thread from its work.
const FRESH: Duration = Duration::from_millis(200);
/// What the kernel keeps of an answer for a client that does not read; Linux would keep megabytes.
const BUFFER: usize = 64 * 1024;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers clients of the port.
#[derive(Debug)]
pub(super) struct Http {
    desk: Desk,
    tally: Arc<Tally>,
    gate: Gate,
}

impl Http {
    pub(super) fn new(desk: Desk, tally: Arc<Tally>, gate: Gate) -> Self {
        Self { desk, tally, gate }
    }

    /// Until it is dropped.
    pub(super) async fn serve(self, listener: net::TcpListener) {
        // Connections inherit it.
        let _ = SockRef::from(&listener).set_send_buffer_size(BUFFER);
        let listener = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return error!(%error, "the status page cannot be served: {error}"),
        };
        let this = Arc::new(self);
        let accept = async || Ok(listener.accept().await?.0);
        let serve = |stream| {
            let this = Arc::clone(&this);
            async move {
                if timeout(WHOLE, this.converse(stream)).await.is_err() {
                    debug!("a client of the status page was too slow, and its connection is ended");
                }
            }
        };
        clients::let_in(CONNECTIONS, accept, serve).await;
    }

    async fn converse(&self, stream: TcpStream) {
        let service = service_fn(|request| async {
            let mut response = self.respond(request).await;
            guard(response.headers_mut());
            Ok::<_, Infallible>(response)
        });
        let mut http = http1::Builder::new();
        http.keep_alive(false).max_buf_size(MAX_HEAD).timer(TokioTimer::new()).header_read_timeout(HEAD);
        // A client that has gone, or speaks no HTTP, is nobody's trouble but its own.
        if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
            debug!(%error, "a client of the status page: {error}");
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Err(refusal) = self.gate.admit(request.uri(), request.headers()) {
            debug!(%refusal, path = request.uri().path(), "a client of the status page is refused: {refusal}");
            return refused(refusal);
        }
        let path = request.uri().path();
        if !matches!(path, "/" | "/metrics" | "/healthz" | "/readyz" | "/status.json") {
            return text(
                StatusCode::NOT_FOUND,
                "there are /, /metrics, /healthz, /readyz and /status.json\n",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "the methods are GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if path == "/healthz" {
            return match self.desk.is_alive().await {
                true => text(StatusCode::OK, "ok\n"),
                false => no_answer(NoAnswer::Busy),
            };
        }
        match self.desk.status(FRESH).await {
            Ok(status) => self.show(path, &status),
            Err(error) => no_answer(error),
        }
    }

    fn show(&self, path: &str, status: &Status) -> Response<Full<Bytes>> {
        match path {
            "/metrics" => match metrics::text(status, &self.tally) {
                Ok(metrics) => {
                    with_type(metrics, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/readyz" if status.ready => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not everything is watched yet\n"),
            "/status.json" => match serde_json::to_vec(status) {
                Ok(json) => with_type(json, HeaderValue::from_static("application/json")),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            _ => {
                let mut response =
                    with_type(page::page(status), HeaderValue::from_static("text/html; charset=utf-8"));
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, page::policy());
                response
            }
        }
    }
}

/// What holds for every answer: it is for this moment, and for whoever asked.
fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    let status = match refusal {
        Refusal::NoHost => StatusCode::BAD_REQUEST,
        Refusal::WrongHost => StatusCode::MISDIRECTED_REQUEST,
        Refusal::NoToken => StatusCode::UNAUTHORIZED,
        Refusal::OtherSite => StatusCode::FORBIDDEN,
    };
    let mut response = text(status, format!("{refusal}\n"));
    if refusal == Refusal::NoToken {
        // Browsers take the one that they know, and ask for a password.
        for scheme in ["Bearer realm=\"pushmaild\"", "Basic realm=\"pushmaild\", charset=\"UTF-8\""] {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
    }
    response
}

fn no_answer(error: NoAnswer) -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = with_type(body, TEXT);
    *response.status_mut() = status;
    response
}

fn with_type(body: impl Into<Bytes>, content_type: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
