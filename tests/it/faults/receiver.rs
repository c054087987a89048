//! The receiver of the datagrams is gone, restarted, slow, or does not read.

use std::fs;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::{Marker, deliver_to_all, make_users, make_users_of, names};
use crate::support::{Daemon, Fence, Maildir, PATIENCE, Receiver, Site};

/// More datagrams than a socket's queue holds anywhere (`net.unix.max_dgram_qlen` is 10 on most
/// systems, and 512 on some).
const MORE_THAN_A_QUEUE: usize = 600;

#[test]
fn each_user_gets_one_push_after_an_outage() {
    let site = Site::new();
    let users = make_users(&site, 200);
    let marker = Marker::new(&site);
    let fence = Fence::new(&site);
    let mut receiver = site.receiver();
    let daemon = site.start(&site.config());

    receiver.close();
    for _ in 0..3 {
        deliver_to_all(&users);
        marker.wait_until_all_wait(&daemon);
    }
    receiver.rebind();

    receiver.expect_set(names(&users).chain([Marker::USER]));
    fence.assert_silent(&receiver);
    // The outage is over: no push waits for a retry any more.
    deliver_to_all(&users);
    receiver.expect_set(names(&users));
}

/// A daemon that starts before the receiver, as at boot.
#[test]
fn a_receiver_that_starts_later_gets_everything() {
    let site = Site::new();
    let users = make_users(&site, 20);
    let marker = Marker::new(&site);
    let daemon = site.start(&site.config());

    deliver_to_all(&users);
    marker.wait_until_all_wait(&daemon);
    let log = daemon.wait_log("cannot push");
    assert!(log.contains("is the push daemon running?"), "the log says what to do: {log}");

    let receiver = site.receiver();
    receiver.expect_set(names(&users).chain([Marker::USER]));
}

#[test]
fn a_restarted_receiver_is_found() {
    let site = Site::new();
    let users = make_users(&site, 5);
    let mut receiver = site.receiver();
    let _daemon = site.start(&site.config());

    deliver_to_all(&users);
    receiver.expect_set(names(&users));

    // Unlinked and bound anew, between two pushes.
    receiver.close();
    receiver.rebind();
    deliver_to_all(&users);
    receiver.expect_set(names(&users));
}

/// Nothing tells the daemon that the path leads to another process now: the old one lives on,
/// and its queue would take more.
#[test]
fn a_receiver_that_took_the_path_over_gets_the_pushes() {
    let site = Site::new();
    let users = make_users(&site, 5);
    let fence = Fence::new(&site);
    let old = site.receiver();
    let _daemon = site.start(&site.config());
    deliver_to_all(&users);
    old.expect_set(names(&users));

    let new = Receiver::bind(site.path("push_notify.new"));
    fs::rename(new.path(), old.path()).expect("a socket file can be renamed");
    deliver_to_all(&users);
    new.expect_set(names(&users));
    fence.assert_silent(&new);
    assert!(old.drain().is_empty(), "the old receiver gets nothing");
}

/// A receiver that crashed leaves its socket file, and whoever sends there is refused.
#[test]
fn pushes_wait_out_a_crash() {
    let site = Site::new();
    let users = make_users(&site, 20);
    let marker = Marker::new(&site);
    let fence = Fence::new(&site);
    let mut receiver = site.receiver();
    let daemon = site.start(&site.config());

    receiver.crash();
    assert!(receiver.path().exists(), "the stale socket file is there");
    for _ in 0..2 {
        deliver_to_all(&users);
        marker.wait_until_all_wait(&daemon);
    }
    let log = daemon.wait_log("cannot push");
    assert!(log.contains("nobody listens"), "the log tells a stale socket from a missing one: {log}");

    receiver.rebind();
    receiver.expect_set(names(&users).chain([Marker::USER]));
    fence.assert_silent(&receiver);
}

/// Whoever set up the wrong dialect learns it from the log, and mends it without a restart.
#[test]
fn a_socket_of_the_other_type_is_named() {
    let site = Site::new();
    let users = make_users(&site, 3);
    let stream = UnixListener::bind(site.socket()).expect("a stream socket can be bound");
    let daemon = site.start(&site.config());

    deliver_to_all(&users);
    let log = daemon.wait_log("cannot push");
    assert!(log.contains("osx-10.8 wants a datagram socket"), "the log says what is wrong: {log}");

    drop(stream);
    let mut receiver = Receiver::bind(site.path("push_notify.new"));
    fs::rename(receiver.path(), site.socket()).expect("a socket file can be renamed");
    receiver.expect_set(names(&users));
    // Nothing is left at its own path to be removed.
    receiver.crash();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no wait for anything: this is how slow the receiver is")]
fn a_slow_receiver_gets_each_push_once() {
    let site = Site::new();
    let users = make_users(&site, 500);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    deliver_to_all(&users);
    let mut missing: Vec<&str> = names(&users).collect();
    while !missing.is_empty() {
        thread::sleep(Duration::from_millis(2));
        let push = receiver.next(PATIENCE);
        let push = push.unwrap_or_else(|| panic!("no push for {missing:?}"));
        let at = missing.iter().position(|user| *user == push.user);
        missing.swap_remove(at.unwrap_or_else(|| panic!("a second push for {}", push.user)));
    }
    fence.assert_silent(&receiver);
}

/// The receiver is there and does not read at all. What waits costs memory by users: of 20,000
/// changes nothing is kept but the 200 users that they were made for.
#[test]
#[cfg(target_os = "linux")]
fn what_waits_for_a_full_receiver_is_bounded() {
    let site = Site::new();
    let users = make_users(&site, 200);
    let fillers = make_users_of(&site, "filler.test", MORE_THAN_A_QUEUE);
    let marker = Marker::new(&site);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config());

    // The queue is full of pushes for others, so that each push for a user has to wait.
    deliver_to_all(&fillers);
    marker.wait_until_all_wait(&daemon);
    deliver_to_all(&users);
    marker.wait_until_all_wait(&daemon);

    let before = resident_kib(&daemon);
    for _ in 0..10 {
        for _ in 0..10 {
            deliver_to_all(&users);
        }
        // In between, the daemon catches up with its events: here not their queue is the subject.
        marker.wait_until_all_wait(&daemon);
    }
    let grown = resident_kib(&daemon).saturating_sub(before);
    // The records alone, if they were kept, would be 33 MB.
    assert!(grown < 8 * 1024, "the daemon grew by {grown} KiB");

    let all = names(&users).chain(names(&fillers));
    receiver.expect_set(all.chain([Marker::USER]));
    fence.assert_silent(&receiver);
}

/// The memory that a process has in use.
fn resident_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    let status = status.expect("a running process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|kib| kib.parse().ok()).expect("the status has a line VmRSS with a number")
}

/// A mailbox with two names needs two records, between which the queue may be full. Each of them
/// arrives, and none twice.
#[test]
fn both_records_of_two_names_arrive() {
    let site = Site::new();
    let fence = Fence::new(&site);
    let (mut mailboxes, mut users, mut lines) = (Vec::new(), Vec::new(), String::new());
    for number in 0..MORE_THAN_A_QUEUE / 2 {
        let maildir = Maildir::create(site.path(format!("mail/{number}")));
        for user in [format!("{number}@example.org"), format!("{number}@example.com")] {
            lines.push_str(&format!("{user}: {}\n", maildir.root().display()));
            users.push(user);
        }
        mailboxes.push(maildir);
    }
    fs::write(site.path("users"), lines).expect("the map file can be written");
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("mailboxes.map-file", "users"));

    for maildir in &mailboxes {
        maildir.deliver();
    }
    // A queue of 10 takes 11 records: the last mailbox in it has one of its two.
    daemon.wait_log("the receiver is busy");
    receiver.expect_set(users.iter().map(String::as_str));
    fence.assert_silent(&receiver);
}

/// A user who was removed during the outage is not pushed at its end.
#[test]
fn a_user_who_is_gone_waits_no_more() {
    let site = Site::new();
    let users = make_users(&site, 3);
    let marker = Marker::new(&site);
    let fence = Fence::new(&site);
    let mut receiver = site.receiver();
    let mut daemon = site.start(&site.config());

    receiver.close();
    deliver_to_all(&users);
    marker.wait_until_all_wait(&daemon);
    let gone = site.path("vmail/example.org/user-001");
    fs::remove_dir_all(gone).expect("a user's folder can be removed");
    // The map is read again now, and not by the next sweep.
    daemon.reload();
    receiver.rebind();

    receiver.expect_set(["user-000@example.org", "user-002@example.org", Marker::USER]);
    fence.assert_silent(&receiver);
    daemon.wait_log("the push_notify socket works again");
}
