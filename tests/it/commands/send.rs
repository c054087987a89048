//! `pushmaild send`: the old `pushmailnow`.

use std::io::Read;
use std::os::unix::net::UnixListener;

use super::{recorded, with_config};
use crate::support::{PATIENCE, Site};

/// The dialects that go as datagrams, each with the record that its receiver was seen to get.
///
/// The records with native integers are those of a little-endian machine.
const DATAGRAMS: [(&str, &str); 4] = [
    ("osx-10.8", "osx-10.8-notify"),
    #[cfg(target_endian = "little")]
    ("osx-10.7", "osx-10.7-notify"),
    #[cfg(target_endian = "little")]
    ("osx-10.7-32", "osx-10.7-ilp32-notify"),
    ("short", "short-notify"),
];

#[test]
fn sends_what_was_recorded_byte_for_byte() {
    let site = Site::new();
    let receiver = site.receiver();
    for (dialect, record) in DATAGRAMS {
        let run = with_config(&site.config().set("push-notify.dialect", dialect), &["send", "jesse"]);
        assert_eq!(run.code, 0, "{dialect}: {run:?}");
        let sent = receiver.next_bytes(PATIENCE);
        assert!(sent == Some(recorded(record)), "{dialect} is not as recorded: {sent:x?}");
        assert!(receiver.drain().is_empty(), "{dialect}: one datagram");
    }
}

#[test]
fn argon_gets_one_connection() {
    let site = Site::new();
    let listener = UnixListener::bind(site.socket()).expect("the socket can be bound");
    let run = with_config(&site.config().set("push-notify.dialect", "argon"), &["send", "jesse"]);
    assert_eq!(run.code, 0, "{run:?}");
    // The connection waits in the backlog; without one this would wait for ever, so ask first.
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let (mut connection, _) = listener.accept().expect("there is a connection");
    let mut sent = Vec::new();
    connection.read_to_end(&mut sent).expect("a connection can be read");
    assert!(sent == recorded("argon-notify"), "argon is not as recorded: {sent:x?}");
    assert!(listener.accept().is_err(), "there is no other connection");
}

#[test]
fn each_user_gets_a_datagram_under_the_normalised_name() {
    let site = Site::new();
    let receiver = site.receiver();
    let run = with_config(&site.config(), &["send", "Jesse@Example.org", "jo@example.org"]);
    assert_eq!(run.code, 0, "{run:?}");
    receiver.expect("jesse@example.org");
    receiver.expect("jo@example.org");
    assert!(run.stdout.contains("pushed jesse@example.org"), "{run:?}");
}

#[test]
fn nobody_is_pushed_to_when_one_name_is_wrong() {
    let site = Site::new();
    let receiver = site.receiver();
    let long = "x".repeat(128);
    for (dialect, wrong) in [
        ("osx-10.8", long.as_str()),
        ("osx-10.8", "jesse\nroot"),
        ("osx-10.8", ""),
        ("short", "jo@example.org"),
    ] {
        let config = site.config().set("push-notify.dialect", dialect);
        let run = with_config(&config, &["send", "jesse", wrong]);
        assert_eq!(run.code, 1, "{wrong:?}: {run:?}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains("\nhint: "), "{run:?}");
        assert!(receiver.drain().is_empty(), "{wrong:?}: jesse comes first and waits for the rest");
    }
}

#[test]
fn a_missing_receiver_is_an_error_with_a_hint() {
    let site = Site::new();
    let run = with_config(&site.config(), &["send", "jesse"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cannot push to `jesse`"), "{run:?}");
    assert!(run.stderr.contains("\nhint: is the push daemon running?"), "{run:?}");

    let mut receiver = site.receiver();
    receiver.crash();
    let run = with_config(&site.config(), &["send", "jesse"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("\nhint: the socket is there, but nobody listens"), "{run:?}");
}

/// The queue of a receiver holds some ten records; `send` waits a little for room.
#[test]
fn a_busy_receiver_is_waited_for() {
    let site = Site::new();
    let receiver = site.receiver();
    let users: Vec<String> = (0..600).map(|number| format!("user-{number:03}")).collect();
    let words: Vec<&str> = ["send"].into_iter().chain(users.iter().map(String::as_str)).collect();
    let config = site.config();
    let mut pushes = receiver.read_during(|| {
        assert_eq!(with_config(&config, &words).code, 0);
    });
    pushes.extend(receiver.drain());
    assert!(pushes.iter().map(|push| &push.user).eq(&users), "all of them, in order");
}
