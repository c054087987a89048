//! The other end of the `push_notify` socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// The size of an `osx-10.8` record, to the byte: Apple's receiver drops any other.
const RECORD_LEN: usize = 1680;

/// Where the user stands in an `osx-10.8` record.
const USER: std::ops::Range<usize> = 16..144;

/// One push as it came: the user, and when the test saw it.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) user: String,
    pub(crate) at: Instant,
}

/// A bound `push_notify` socket that reads only when asked, so that a test can also let it fill.
///
/// Datagrams wait in the kernel (ten of them on an ordinary Linux); after that the daemon has to
/// keep the rest.
pub(crate) struct Receiver {
    path: PathBuf,
    /// `None` while closed.
    socket: Option<UnixDatagram>,
}

impl Receiver {
    pub(crate) fn bind(path: impl Into<PathBuf>) -> Self {
        let mut receiver = Self { path: path.into(), socket: None };
        receiver.rebind();
        receiver
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the socket and removes its file: the receiver was shut down in good order.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        fs::remove_file(&self.path).expect("the socket file can be removed");
    }

    /// Closes the socket and leaves its file: the receiver crashed, and senders are refused.
    pub(crate) fn crash(&mut self) {
        self.socket = None;
    }

    /// Binds the path anew, after [`close`](Self::close), [`crash`](Self::crash) or neither.
    ///
    /// What the old socket still held is lost, as with any receiver that is restarted.
    pub(crate) fn rebind(&mut self) {
        self.socket = None;
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => panic!("the old socket file cannot be removed: {e}"),
        }
        let socket = UnixDatagram::bind(&self.path).expect("the push_notify socket can be bound");
        self.socket = Some(socket);
    }

    /// The next datagram, whatever it holds; `None` when there was none for so long.
    pub(crate) fn next_bytes(&self, within: Duration) -> Option<Vec<u8>> {
        let socket = self.socket.as_ref().expect("the receiver is bound");
        let deadline = Instant::now() + within;
        // Longer than any record, so that one that is too long is not cut to the right size.
        let mut buffer = vec![0; 2 * RECORD_LEN];
        loop {
            // A timeout of zero means none to the system.
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = left.max(Duration::from_millis(1));
            let set = socket.set_read_timeout(Some(timeout));
            set.expect("the timeout is not zero");
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Some(buffer);
                }
                // A receive with a timeout is interrupted even where no signal is handled, such as
                // when the process is stopped and continued: signal(7).
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => panic!("the push_notify socket cannot be read: {e}"),
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    /// The next push in the `osx-10.8` dialect, each byte of it checked.
    #[track_caller]
    pub(crate) fn next(&self, within: Duration) -> Option<Push> {
        let bytes = self.next_bytes(within)?;
        Some(Push { user: decode(&bytes), at: Instant::now() })
    }

    /// Asserts that the next push is one for `user`, and waits for it as long as it takes.
    #[track_caller]
    pub(crate) fn expect(&self, user: &str) -> Push {
        self.expect_within(user, PATIENCE)
    }

    #[track_caller]
    pub(crate) fn expect_within(&self, user: &str, within: Duration) -> Push {
        let push = self.next(within);
        let push = push.unwrap_or_else(|| panic!("no push for {user} within {within:?}"));
        assert_eq!(push.user, user, "the next push is for somebody else");
        push
    }

    /// Asserts that the next pushes are exactly one for each of `users`, in any order.
    #[track_caller]
    pub(crate) fn expect_set<'a>(&self, users: impl IntoIterator<Item = &'a str>) {
        let mut missing: BTreeSet<&str> = users.into_iter().collect();
        while !missing.is_empty() {
            let Some(push) = self.next(PATIENCE) else {
                panic!("no push within {PATIENCE:?} for: {missing:?}");
            };
            assert!(missing.remove(push.user.as_str()), "a second push for {}, or one too many", push.user);
        }
    }

    /// Waits for at least one push for each of `users`, and asserts that there is none for
    /// anybody else until then.
    #[track_caller]
    pub(crate) fn expect_each<'a>(&self, users: impl IntoIterator<Item = &'a str>) {
        let users: BTreeSet<&str> = users.into_iter().collect();
        let mut missing = users.clone();
        while !missing.is_empty() {
            let Some(push) = self.next(PATIENCE) else {
                panic!("no push within {PATIENCE:?} for: {missing:?}");
            };
            assert!(users.contains(push.user.as_str()), "a push for {}", push.user);
            missing.remove(push.user.as_str());
        }
    }

    /// All pushes up to the next one for `user`, and that one last.
    #[track_caller]
    pub(crate) fn read_until(&self, user: &str) -> Vec<Push> {
        let mut pushes = Vec::new();
        loop {
            let Some(push) = self.next(PATIENCE) else {
                panic!("no push for {user} within {PATIENCE:?}, but: {pushes:?}");
            };
            let found = push.user == user;
            pushes.push(push);
            if found {
                return pushes;
            }
        }
    }

    /// Does `work` in another thread, and returns the pushes that arrive in the meantime, so that
    /// the daemon never meets a full socket. Those caused last may still be to come.
    #[track_caller]
    pub(crate) fn read_during(&self, work: impl FnOnce() + Send) -> Vec<Push> {
        thread::scope(|scope| {
            let worker = scope.spawn(work);
            let mut pushes = Vec::new();
            while !worker.is_finished() {
                pushes.extend(self.next(Duration::from_millis(20)));
            }
            if let Err(panic) = worker.join() {
                panic::resume_unwind(panic);
            }
            pushes
        })
    }

    /// What has arrived so far and was not read. Says nothing about what is still to come: for
    /// that there is the [`Fence`](super::Fence).
    #[track_caller]
    pub(crate) fn drain(&self) -> Vec<Push> {
        std::iter::from_fn(|| self.next(Duration::ZERO)).collect()
    }
}

/// Reads the user out of an `osx-10.8` notify record, and checks all that a strict receiver would.
#[track_caller]
pub(crate) fn decode(record: &[u8]) -> String {
    assert_eq!(record.len(), RECORD_LEN, "the size of the record");
    assert_eq!(record[0], b'3', "the message type");
    let zero = |range: &[u8]| range.iter().all(|&byte| byte == 0);
    assert!(zero(&record[1..USER.start]), "bytes 1..16 are zero");
    assert!(zero(&record[USER.end..]), "all after the user is zero");

    let field = &record[USER];
    let len = field.iter().position(|&byte| byte == 0);
    let len = len.expect("the user ends with a NUL");
    assert!(len > 0, "the user is not empty");
    assert!(zero(&field[len..]), "the user's field is padded with NUL");
    String::from_utf8(field[..len].to_vec()).expect("the users of the tests are UTF-8")
}
