//! Reading a queue of events in the kernel: that of inotify, or of fanotify.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
};

use rustix::io::Errno;
use tokio::io::{Interest, unix::AsyncFd};

/// Makes tokio wait for the descriptor.
pub(super) fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // Deprecated because a type may close its descriptor behind tokio's back, which an OwnedFd does not; the new
    // function is `unsafe` for nothing.
    #[expect(deprecated, reason = "sound for OwnedFd")]
    AsyncFd::with_interest(Arc::new(descriptor), Interest::READABLE)
}

/// Reads once. Returns what came, and whether that is all that had happened before the call.
///
/// It is all if the kernel says that there is nothing, or leaves room for the largest event: it goes on for as long as the next one fits. Only
/// this answer of the kernel's counts. What tokio has or has not heard of is nothing to whoever relies on a read that got everything.
pub(super) fn read<'a, T: AsFd + AsRawFd>(
    descriptor: &AsyncFd<T>,
    buffer: &'a mut [u8],
    largest: usize,
) -> io::Result<(&'a [u8], bool)> {
    let mut answer = None;
    // Epoll tells of edges, and tokio keeps what it told until a closure like this says that there is nothing left. Then the next event is a
    // new edge, and one that was told since this began is not forgotten.
    let _ = descriptor.try_io(Interest::READABLE, |inner| {
        let got = rustix::io::read(inner, &mut *buffer);
        answer = Some(got);
        match is_all(got, buffer.len(), largest) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    // Tokio has not heard of anything.
    let answer = answer.unwrap_or_else(|| rustix::io::read(descriptor.get_ref(), &mut *buffer));
    let all = is_all(answer, buffer.len(), largest);
    match answer {
        Ok(length) => Ok((buffer.get(..length).unwrap_or_default(), all)),
        Err(Errno::AGAIN | Errno::INTR) => Ok((&[], all)),
        Err(error) => Err(error.into()),
    }
}

fn is_all(answer: Result<usize, Errno>, buffer: usize, largest: usize) -> bool {
    match answer {
        Ok(length) => buffer.saturating_sub(length) >= largest,
        Err(error) => error == Errno::AGAIN,
    }
}
