//! The service manager's end of `NOTIFY_SOCKET`, as systemd would hold it: sd_notify(3).

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bound notify socket.
pub(super) struct ServiceManager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl ServiceManager {
    pub(super) fn bind(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("the notify socket can be bound");
        Self { path, socket }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next message: one assignment a line, such as `READY=1`.
    pub(super) fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).expect("the timeout is not zero");
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(String::from_utf8_lossy(&buffer[..len]).into_owned()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Err(e) => panic!("the notify socket cannot be read: {e}"),
        }
    }
}
