//! Freezing: a connection of which neither end hears anything, while TCP stays open.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

/// A stream that neither reads nor writes while frozen. What the peer sends fills the kernel's buffers, as it
/// does when a process hangs.
pub(crate) struct Gated<S> {
    inner: S,
    frozen: watch::Receiver<bool>,
    /// Present while it waits to be thawed.
    thaw: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Gated<S> {
    pub(crate) fn new(inner: S, frozen: watch::Receiver<bool>) -> Self {
        Self { inner, frozen, thaw: None }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.thaw.is_none() && !*self.frozen.borrow() {
            return Poll::Ready(());
        }
        let frozen = &self.frozen;
        let thaw = self.thaw.get_or_insert_with(|| {
            let mut frozen = frozen.clone();
            Box::pin(async move {
                // An error: the simulator ends.
                let _ = frozen.wait_for(|frozen| !frozen).await;
            })
        });
        ready!(thaw.as_mut().poll(cx));
        self.thaw = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx));
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
