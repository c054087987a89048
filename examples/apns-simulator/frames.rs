//! Frames that h2 does not send: a GOAWAY with debug data and any last stream, and a SETTINGS that changes the
//! number of streams of a connection that is open.
//!
//! h2 writes through [`Frames`], which keeps count of where one frame ends (RFC 9113, section 4.1) and puts our
//! own between them.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEADER: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// What may wait here before h2 has to wait.
const STAGED: usize = 64 * 1024;

/// Tells a [`Frames`] what to add; the other half of the connection has it.
#[derive(Clone, Default)]
pub(crate) struct Additions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    corked: AtomicBool,
}

#[derive(Default)]
struct Wanted {
    /// Whole frames, to go out before the next one of h2.
    frames: Vec<u8>,
    /// The first of them is put into the next SETTINGS frame.
    streams: VecDeque<u32>,
    /// Our GOAWAY was the last word: one of h2's would raise its last stream, which is forbidden.
    no_more_goaway: bool,
}

impl Additions {
    /// Holds back what h2 flushes, or no longer. It flushes after each answer, and a system call for each would
    /// cost more than the answer.
    pub(crate) fn cork(&self, corked: bool) {
        self.0.corked.store(corked, Ordering::Relaxed);
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says goodbye: streams above `last` are not processed, and may be sent again elsewhere.
    pub(crate) fn goaway(&self, last: u32, debug_data: &[u8]) {
        let mut wanted = self.wanted();
        let payload = [&last.to_be_bytes()[..], &0u32.to_be_bytes(), debug_data].concat();
        let header = header(payload.len(), GOAWAY);
        wanted.frames.extend_from_slice(&header);
        wanted.frames.extend_from_slice(&payload);
        wanted.no_more_goaway = true;
    }

    /// Puts this number of streams into the next SETTINGS frame that has none yet, after the number of h2: the
    /// last one counts.
    pub(crate) fn streams_in_next_settings(&self, streams: u32) {
        self.wanted().streams.push_back(streams);
    }
}

/// The first nine bytes of a frame without flags, on stream 0.
fn header(length: usize, kind: u8) -> [u8; HEADER] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c, kind, 0, 0, 0, 0, 0]
}

/// A stream with h2 above it.
pub(crate) struct Frames<S> {
    inner: S,
    additions: Additions,
    /// The header of the frame that h2 is writing: so many bytes of it are there.
    header: [u8; HEADER],
    have: usize,
    /// Of the frame's payload, once the header is there.
    left: usize,
    /// For the end of the frame.
    suffix: Vec<u8>,
    /// The frame does not go out.
    dropped: bool,
    staged: BytesMut,
}

impl<S> Frames<S> {
    pub(crate) fn new(inner: S, additions: Additions) -> Self {
        Self {
            inner,
            additions,
            header: [0; HEADER],
            have: 0,
            left: 0,
            suffix: Vec::new(),
            dropped: false,
            staged: BytesMut::new(),
        }
    }

    fn stage(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.have < HEADER {
                let taken = bytes.len().min(HEADER - self.have);
                self.header[self.have..][..taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < HEADER {
                    return;
                }
                self.begin();
            } else {
                let taken = bytes.len().min(self.left);
                if !self.dropped {
                    self.staged.extend_from_slice(&bytes[..taken]);
                }
                self.left -= taken;
                bytes = &bytes[taken..];
            }
            if self.left == 0 {
                self.staged.extend_from_slice(&self.suffix);
                self.suffix.clear();
                self.have = 0;
            }
        }
    }

    /// The header is complete.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.dropped = false;
        let mut length = self.left;
        if kind == GOAWAY || (kind == SETTINGS && flags & ACK == 0) {
            let mut wanted = self.additions.wanted();
            self.dropped = kind == GOAWAY && wanted.no_more_goaway;
            if kind == SETTINGS
                && let Some(streams) = wanted.streams.pop_front()
            {
                self.suffix.extend_from_slice(&MAX_CONCURRENT_STREAMS.to_be_bytes());
                self.suffix.extend_from_slice(&streams.to_be_bytes());
                length += self.suffix.len();
            }
        }
        self.header[..3].copy_from_slice(&header(length, kind)[..3]);
        if !self.dropped {
            self.staged.extend_from_slice(&self.header);
        }
    }
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.staged.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.staged))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.staged.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.staged.len() >= STAGED {
            ready!(self.poll_drain(cx))?;
        }
        self.stage(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.additions.0.corked.load(Ordering::Relaxed) && self.staged.len() < STAGED {
            return Poll::Ready(Ok(()));
        }
        if self.have == 0 {
            let mut wanted = self.additions.wanted();
            let frames = std::mem::take(&mut wanted.frames);
            drop(wanted);
            self.staged.extend_from_slice(&frames);
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
