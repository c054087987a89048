//! The dialect whose record is a connection: a receiver that is gone, or accepts nobody for a
//! while, gets one connection for each user all the same.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use rustix::net::listen;

use super::{Marker, deliver_to_all, make_users, names};
use crate::support::{Config, PATIENCE, Site};

/// The size of argon's record.
const RECORD_LEN: usize = 1672;

/// A bound stream socket that accepts only when asked.
struct StreamReceiver {
    path: PathBuf,
    listener: UnixListener,
}

impl StreamReceiver {
    fn bind(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("the push_notify socket can be bound");
        // As short a backlog as receivers have that call listen(fd, 5).
        listen(&listener, 5).expect("a bound socket can listen");
        Self { path, listener }
    }

    fn close(self) {
        fs::remove_file(&self.path).expect("the socket file can be removed");
    }

    /// Accepts connections until each of `users` has had exactly one.
    #[track_caller]
    fn expect_set<'a>(&self, users: impl IntoIterator<Item = &'a str>) {
        let mut missing: BTreeSet<&str> = users.into_iter().collect();
        // Standard sockets have no timeout for accept(2), so another thread waits.
        let (sender, records) = mpsc::channel();
        let listener = self.listener.try_clone().expect("a socket can be duplicated");
        let wanted = missing.len();
        thread::spawn(move || {
            for _ in 0..wanted {
                let (mut connection, _) = listener.accept().expect("a connection can be accepted");
                let mut record = Vec::new();
                connection.read_to_end(&mut record).expect("a connection can be read");
                if sender.send(record).is_err() {
                    return;
                }
            }
        });
        while !missing.is_empty() {
            let record = match records.recv_timeout(PATIENCE) {
                Ok(record) => record,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no connection within {PATIENCE:?} for: {missing:?}")
                }
            };
            let user = decode(&record);
            assert!(missing.remove(user.as_str()), "a second connection for {user}, or one too many");
        }
    }
}

/// Reads the user out of argon's notify record, and checks all of the rest.
#[track_caller]
fn decode(record: &[u8]) -> String {
    let mut expected = vec![0; RECORD_LEN];
    assert_eq!(record.len(), RECORD_LEN, "the size of the record");
    expected[0] = 3;
    expected[136..141].copy_from_slice(b"INBOX");
    // The header's second half is a process id, which is of no use to the receiver.
    expected[4..8].copy_from_slice(&record[4..8]);
    let user: Vec<u8> = record[8..136].iter().copied().take_while(|&byte| byte != 0).collect();
    expected[8..8 + user.len()].copy_from_slice(&user);
    assert_eq!(record, expected, "argon's record for a new message in INBOX");
    String::from_utf8(user).expect("the users of the tests are UTF-8")
}

fn config(site: &Site) -> Config {
    site.config().set("push-notify.dialect", "argon")
}

#[test]
fn each_push_is_one_connection() {
    let site = Site::new();
    let users = make_users(&site, 20);
    let receiver = StreamReceiver::bind(site.socket());
    let _daemon = site.start(&config(&site));

    for _ in 0..2 {
        deliver_to_all(&users);
        receiver.expect_set(names(&users));
    }
}

#[test]
fn each_user_gets_one_connection_after_an_outage() {
    let site = Site::new();
    let users = make_users(&site, 50);
    let marker = Marker::new(&site);
    let receiver = StreamReceiver::bind(site.socket());
    let daemon = site.start(&config(&site));
    deliver_to_all(&users);
    receiver.expect_set(names(&users));

    receiver.close();
    for _ in 0..3 {
        deliver_to_all(&users);
        marker.wait_until_all_wait(&daemon);
    }
    let receiver = StreamReceiver::bind(site.socket());
    receiver.expect_set(names(&users).chain([Marker::USER]));
    // Had anybody a second one, it would come before the next round.
    deliver_to_all(&users);
    receiver.expect_set(names(&users));
}

#[test]
fn a_full_backlog_is_waited_out() {
    let site = Site::new();
    let users = make_users(&site, 100);
    let receiver = StreamReceiver::bind(site.socket());
    let daemon = site.start(&config(&site));

    deliver_to_all(&users);
    daemon.wait_log("the receiver is busy");
    receiver.expect_set(names(&users));
}
