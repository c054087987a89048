//! The other end of a connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

use crate::support::PATIENCE;

#[track_caller]
pub(super) fn connect(path: &Path) -> Client<UnixStream> {
    Client::new(UnixStream::connect(path).unwrap())
}

/// What both kinds of streams can do.
pub(super) trait Stream: Read + Write {
    fn set_patience(&self);
    fn shut(&self);
}

impl Stream for TcpStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_nodelay(true).unwrap();
    }

    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// The other end of a connection.
pub(super) struct Client<S> {
    pub(super) stream: S,
    unread: Vec<u8>,
}

impl<S: Stream> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        stream.set_patience();
        Self { stream, unread: Vec::new() }
    }

    #[track_caller]
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub(super) fn end(&mut self) -> &mut Self {
        self.stream.shut();
        self
    }

    /// Reads up to and with `end`.
    #[track_caller]
    pub(super) fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.unread.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            assert!(self.more(), "the end instead of {end:?}: {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    #[track_caller]
    pub(super) fn line(&mut self) -> String {
        self.until("\n")
    }

    /// Reads so many bytes.
    #[track_caller]
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.more(), "the end too soon");
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads until the other end closes the connection.
    #[track_caller]
    pub(super) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    #[track_caller]
    pub(super) fn more(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(read) => {
                self.unread.extend_from_slice(&chunk[..read]);
                read > 0
            }
            // The other end closed it before it had read everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
