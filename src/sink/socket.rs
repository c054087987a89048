//! Handing one record to a Unix socket, without ever waiting.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::proto::push_notify::Dialect;

/// The sender's side of a push_notify socket.
///
/// A datagram goes to whoever is bound to the path at that moment, so a receiver that was restarted is found without anybody noticing
/// that the old one is gone. A connected socket would go on filling the queue of the old one for as long as that one lives.
#[derive(Debug)]
pub(super) struct RecordSocket {
    path: PathBuf,
    /// None for the dialect whose record is a connection.
    datagram: Option<UnixDatagram>,
}

impl RecordSocket {
    pub(super) fn new(path: &Path, dialect: Dialect) -> io::Result<Self> {
        let datagram = if dialect.is_stream() {
            None
        } else {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Some(socket)
        };
        Ok(Self { path: path.to_owned(), datagram })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends one record.
    ///
    /// # Errors
    /// `WouldBlock` when the receiver's buffer or backlog is full; else whatever the system says.
    pub(super) fn send(&self, record: &[u8]) -> io::Result<()> {
        let sent = match &self.datagram {
            Some(socket) => socket.send_to(record, &self.path),
            None => self.send_as_connection(record),
        };
        match sent {
            Ok(sent) if sent == record.len() => Ok(()),
            // The receiver reads until the end, finds half a record, and drops it.
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            // What the BSDs and macOS call a receiver's buffer that is full.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    fn send_as_connection(&self, record: &[u8]) -> io::Result<usize> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // A Unix socket connects at once or, with a full backlog, not at all.
        socket.connect(&SockAddr::unix(&self.path)?)?;
        // An empty connection's buffer has room for many records, so this is never a part of one.
        socket.send(record)
    }
}
