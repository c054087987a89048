//! XAPS over HTTP, 1.0 and 1.1.
//!
//! | request | answer |
//! |---|---|
//! | `POST /register` | 200 with the topic and NULs behind it, see [`reply::body`] |
//! | `POST /notify` | 200, even if nobody knows the user: the plugin writes an error into the mail log for anything else |
//! | no such request | 400 with the reason; 413 if it is too large |
//! | another path, another method | 404, 405 |
//! | one that is not for this client to make | 403 |
//! | one that we cannot serve now | 503 |
//!
//! For a registration, the plugin (seen in freswa's) shows the phone a topic only after a 2xx, and writes the status into the mail log
//! otherwise; the phone is then told nothing usable, and comes back after 23 hours. So there is no 5xx as long as there is a topic and
//! memory. There is no `Retry-After` either: it is the user's IMAP session that would wait.
//!
//! Pipelined requests are served one after the other, as hyper does it: Dovecot's client opens more connections instead.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, ORIGIN},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    accept::Connection,
    counters::{Asked, Listener},
    desk::{Desk, is_ours},
    intake::IntakeError,
    peer::Speaker,
    seats::Seat,
};
use crate::proto::xaps::{BodyError, MAX_BODY, parse_notify, parse_register, reply};

const ON: Listener = Listener::XapsHttp;
/// The most of a request's head, and of what hyper reads ahead. The plugin's heads have 200 bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Up to here, a body that is too large is read to its end and forgotten, for a client that is still writing often misses an answer.
const PATIENTLY: u64 = 1024 * 1024;

/// Serves a connection until its end.
pub(super) async fn serve(connection: Connection<TcpStream>) {
    let Connection { stream, speaker, seat, desk, stop } = connection;
    let io = TokioIo::new(Noted { stream, seat: Arc::clone(&seat) });
    let service = service_fn(|request| {
        let (seat, desk) = (Arc::clone(&seat), Arc::clone(&desk));
        async move {
            let response = respond(&desk, speaker, &seat, request).await;
            // The answer fits into the socket's buffer; from hyper's point of view it is yet to be written.
            seat.idle();
            Ok::<_, Infallible>(response)
        }
    });
    // No timer of hyper's: its header timeout also runs while a connection is idle. The seat has both times.
    let mut http = http1::Builder::new();
    http.half_close(true).header_read_timeout(None).max_buf_size(MAX_HEAD);
    let mut served = std::pin::pin!(http.serve_connection(io, service));
    // What ends a connection is a client that has gone or speaks no HTTP, which hyper has answered with 400.
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended
        && (error.is_parse() || error.is_parse_too_large())
    {
        desk.malformed(ON, speaker, Asked::Unknown, &error);
    }
}

async fn respond(
    desk: &Desk,
    speaker: Speaker,
    seat: &Seat,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    // The head may have come with the one before.
    seat.receiving();
    desk.in_turn(speaker).await;
    if request.headers().contains_key(ORIGIN) {
        // A page in a browser on this machine must not register the device of whoever wrote it.
        desk.malformed(ON, speaker, Asked::Unknown, &"it comes from a web page");
        return plain(StatusCode::FORBIDDEN, "not for web pages\n");
    }
    let asked = match request.uri().path() {
        "/register" => Asked::Register,
        "/notify" => Asked::Notify,
        _ => {
            desk.malformed(ON, speaker, Asked::Unknown, &"the path is neither /register nor /notify");
            return plain(StatusCode::NOT_FOUND, "the paths are /register and /notify\n");
        }
    };
    if request.method() != Method::POST {
        desk.malformed(ON, speaker, asked, &"the method is not POST");
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "the method is POST\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let body = match whole(request.into_body()).await {
        Ok(body) => body,
        Err(error) => {
            desk.malformed(ON, speaker, asked, &error);
            return error.response();
        }
    };
    seat.answering();
    let answered = if asked == Asked::Register {
        match parse_register(&body) {
            Ok(request) => desk.register(ON, speaker, request).await.map(|topic| reply::body(&topic)),
            Err(error) => return bad_body(desk, speaker, asked, &error),
        }
    } else {
        match parse_notify(&body) {
            Ok(request) => desk.notify(ON, speaker, &request).await.map(|()| Vec::new()),
            Err(error) => return bad_body(desk, speaker, asked, &error),
        }
    };
    match answered {
        Ok(body) => plain(StatusCode::OK, body),
        Err(error) => plain(status(&error), format!("{error}\n")),
    }
}

const fn status(error: &IntakeError) -> StatusCode {
    if is_ours(error) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if error.is_bad_request() && !matches!(error, IntakeError::NotOwner { .. }) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::FORBIDDEN
    }
}

fn bad_body(desk: &Desk, speaker: Speaker, asked: Asked, error: &BodyError) -> Response<Full<Bytes>> {
    desk.malformed(ON, speaker, asked, error);
    plain(StatusCode::BAD_REQUEST, format!("{error}\n"))
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Why a body is not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("the body has more than {MAX_BODY} bytes")]
    TooLarge,
    /// So large that it is not even read to be forgotten.
    #[error("the body has more than {MAX_BODY} bytes, and far more")]
    FarTooLarge,
    #[error("the body has no end")]
    Broken,
}

impl Unread {
    fn response(&self) -> Response<Full<Bytes>> {
        let status = match self {
            Self::TooLarge | Self::FarTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
        };
        let mut response = plain(status, format!("{self}\n"));
        if !matches!(self, Self::TooLarge) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, Unread> {
    if body.size_hint().lower() > PATIENTLY {
        // Before hyper says `100 Continue`.
        return Err(Unread::FarTooLarge);
    }
    let mut whole = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        length += data.len() as u64;
        if length > PATIENTLY {
            return Err(Unread::FarTooLarge);
        }
        if length <= MAX_BODY as u64 {
            whole.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY as u64 { Err(Unread::TooLarge) } else { Ok(whole) }
}

/// Tells the seat when a request begins to arrive, which hyper keeps to itself.
struct Noted {
    stream: TcpStream,
    seat: Arc<Seat>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.seat.receiving();
        }
        polled
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
