//! XAPS over the Unix socket: lines in, lines out, in the same order.
//!
//! ```text
//! C: REGISTER aps-account-id="…" … CRLF        S: OK topic LF
//! C: NOTIFY dovecot-username="…" … CRLF        S: OK SP LF
//! C: anything else CRLF                        S: ERROR SP message LF
//! ```
//!
//! The plugin by st3fan sends one line, and gives up after a second.

use std::{future::Future, sync::Arc};

use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::yield_now,
};

use super::{
    accept::Connection,
    counters::{Asked, Listener},
    desk::Desk,
    peer::Speaker,
};
use crate::proto::xaps::{
    LineError, MAX_LINE, Request, parse_line,
    reply::{DONE_LINE, error_line, ok_line},
};

const ON: Listener = Listener::XapsSocket;
/// Requests of one connection that are worked on at a time. What takes time is the disk, which takes many registrations in one
/// go: one after the other, a client that sends many over one connection would wait for a commit each. Together they have
/// [`MAX_LINE`] bytes or are two.
const AT_ONCE: usize = 64;
/// How much is read at a time.
const CHUNK: usize = 4096;

/// A line that is worked on becomes its answer, and its length.
struct Answer {
    text: String,
    line: usize,
}

/// What came and is no whole line yet, or waits for others before it.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins, and up to where it has no LF. 0 <= begin <= looked_at <= buffer.len()
    begin: usize,
    looked_at: usize,
}

impl Lines {
    /// The next line, with its end. One that can only be too long comes without.
    fn next(&mut self) -> Option<&[u8]> {
        let end = match self.buffer[self.looked_at..].iter().position(|&byte| byte == b'\n') {
            Some(at) => self.looked_at + at + 1,
            None if self.is_too_long() => self.buffer.len(),
            None => {
                self.looked_at = self.buffer.len();
                return None;
            }
        };
        let line = &self.buffer[self.begin..end];
        (self.begin, self.looked_at) = (end, end);
        Some(line)
    }

    fn is_empty(&self) -> bool {
        self.begin == self.buffer.len()
    }

    fn is_too_long(&self) -> bool {
        self.buffer.len() - self.begin > MAX_LINE
    }

    /// The buffer, to append what comes.
    fn room(&mut self) -> &mut Vec<u8> {
        if self.begin > 0 {
            self.buffer.drain(..self.begin);
            self.looked_at -= self.begin;
            self.begin = 0;
            // A long line is no reason to keep its room while the connection is idle.
            self.buffer.shrink_to(2 * CHUNK);
        }
        self.buffer.reserve(CHUNK);
        &mut self.buffer
    }
}

/// Serves a connection until its end.
pub(super) async fn serve(connection: Connection<UnixStream>) {
    // A client that does not read its answers any more, or has gone, is nobody's trouble but its own.
    let _ = converse(connection).await;
}

async fn converse(connection: Connection<UnixStream>) -> std::io::Result<()> {
    let Connection { mut stream, speaker, seat, desk, stop } = connection;
    let (mut reader, mut writer) = stream.split();
    // Without trust, the order in which two requests take effect would be left to chance: each asks first whose the Maildir is.
    let at_once = if speaker.is_trusted() { AT_ONCE } else { 1 };
    let mut lines = Lines::default();
    let mut answers = FuturesOrdered::new();
    let mut under_way = 0;
    let mut has_ended = false;
    loop {
        let mut may_have_more = true;
        while answers.len() < at_once && under_way <= MAX_LINE {
            let Some(line) = lines.next() else {
                may_have_more = false;
                break;
            };
            // There is no telling where the next request begins.
            has_ended |= line.last() != Some(&b'\n');
            under_way += line.len();
            answers.push_back(answer(Arc::clone(&desk), speaker, line));
            seat.answering();
        }
        if answers.is_empty() {
            if has_ended {
                break;
            }
            if lines.is_empty() { seat.idle() } else { seat.receiving() }
        }
        let wants_more = !has_ended && !may_have_more;
        tokio::select! {
            Some(first) = answers.next() => {
                let mut text = first.text;
                under_way -= first.line;
                // What else is ready goes out with it.
                while let Some(Some(next)) = answers.next().now_or_never() {
                    text.push_str(&next.text);
                    under_way -= next.line;
                }
                writer.write_all(text.as_bytes()).await?;
                seat.answering();
            }
            read = reader.read_buf(lines.room()), if wants_more => {
                if read? == 0 {
                    has_ended = true;
                    if !lines.is_empty() {
                        // Half a request could be one that asks for something else.
                        desk.malformed(ON, speaker, Asked::Unknown, &"the line has no end");
                    }
                }
            }
            () = stop.cancelled(), if !has_ended => {
                // What the client has sent already is under way, once the runtime has looked for it.
                yield_now().await;
                while !lines.is_too_long() && reader.try_read_buf(lines.room()).is_ok_and(|read| read > 0) {}
                has_ended = true;
            }
        }
    }
    writer.shutdown().await
}

/// The line is read at once, and so in the order of the lines; then it is worked on.
fn answer(desk: Arc<Desk>, speaker: Speaker, line: &[u8]) -> impl Future<Output = Answer> + Send + use<> {
    let request = parse_line(line);
    let line = line.len();
    async move {
        desk.in_turn(speaker).await;
        Answer { text: respond(&desk, speaker, request).await, line }
    }
}

async fn respond(desk: &Desk, speaker: Speaker, request: Result<Request, LineError>) -> String {
    let answered = match request {
        Ok(Request::Register(request)) => {
            desk.register(ON, speaker, request).await.map(|topic| ok_line(&topic))
        }
        Ok(Request::Notify(request)) => {
            desk.notify(ON, speaker, &request).await.map(|()| DONE_LINE.to_owned())
        }
        Err(error) => {
            desk.malformed(ON, speaker, Asked::Unknown, &error);
            return error_line(&error.to_string());
        }
    };
    answered.unwrap_or_else(|error| error_line(&error.to_string()))
}
