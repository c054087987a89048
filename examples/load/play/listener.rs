//! The other end of the push_notify socket: reads what comes, all the time, and notes it in the ledger.
//!
//! On Linux the kernel stamps each datagram when it is sent (`SO_TIMESTAMPNS`), however long it lies in the socket after that. Elsewhere
//! the time of reading has to do.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{MsgFlags, UnixAddr, recvmsg};
use pushmaild::{
    proto::push_notify::{Arrival, Message},
    unix_socket::{Access, BoundPath, bind_datagram},
};

use super::{Ledger, Moment};

/// How soon the listener notices that it is to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// Longer than any record, so that one that is too long is not cut to the right size.
const ROOM: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Read,
    Hold,
    End,
}

#[derive(Debug)]
struct Control {
    wish: Mutex<Wish>,
    changed: Condvar,
}

/// A bound socket and the thread that reads it. Dropped, both go.
#[derive(Debug)]
pub(crate) struct Listener {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
    _path: BoundPath,
}

impl Listener {
    /// Binds the socket. One that nobody listens to any more is replaced.
    pub(crate) fn bind(
        path: &Path,
        ledger: Arc<Ledger>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (socket, bound) = bind_datagram(path, Access::default())?;
        socket.set_read_timeout(Some(GLANCE))?;
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true)?;
        let control = Arc::new(Control { wish: Mutex::new(Wish::Read), changed: Condvar::new() });
        let thread = thread::Builder::new().name("listener".to_owned()).spawn({
            let control = Arc::clone(&control);
            move || read_all(&socket, &control, &ledger)
        })?;
        Ok(Self { control, thread: Some(thread), _path: bound })
    }

    /// Reads nothing any more, as a receiver that hangs. One datagram may still be taken.
    pub(crate) fn hold(&self) {
        self.wish(Wish::Hold);
    }

    /// Reads again.
    pub(crate) fn release(&self) {
        self.wish(Wish::Read);
    }

    fn wish(&self, wish: Wish) {
        *self.control.wish.lock().unwrap_or_else(PoisonError::into_inner) = wish;
        self.control.changed.notify_all();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.wish(Wish::End);
        if let Some(thread) = self.thread.take() {
            // An error: it has panicked, and said so.
            let _ = thread.join();
        }
    }
}

fn read_all(socket: &UnixDatagram, control: &Control, ledger: &Ledger) {
    loop {
        let wish = control.wish.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = control.changed.wait_while(wish, |wish| *wish == Wish::Hold);
        if *wish.unwrap_or_else(PoisonError::into_inner) == Wish::End {
            return;
        }
        match receive(socket) {
            Ok((record, sent)) => {
                let name = Message::decode(&record, Arrival::Datagram).map(|(_, message)| message.user());
                ledger.told(name.unwrap_or_default(), sent);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // The socket is ours and stays, so this is for ever.
            Err(_) => return,
        }
    }
}

/// The next datagram, and when it was sent.
fn receive(socket: &UnixDatagram) -> io::Result<(Vec<u8>, Moment)> {
    let mut record = vec![0; ROOM];
    let mut parts = [IoSliceMut::new(&mut record)];
    // What comes with each datagram: who sent it, and when.
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec, [u64; 4]);
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let length = message.bytes;
    #[cfg(target_os = "linux")]
    let sent = {
        use nix::sys::socket::ControlMessageOwned::ScmTimestampns;
        let stamp = message.cmsgs()?.find_map(|part| match part {
            ScmTimestampns(stamp) => Some(std::time::SystemTime::UNIX_EPOCH + Duration::from(stamp)),
            _ => None,
        });
        stamp.map(Moment::from)
    };
    #[cfg(not(target_os = "linux"))]
    let sent: Option<Moment> = None;
    record.truncate(length);
    Ok((record, sent.unwrap_or_else(Moment::now)))
}
