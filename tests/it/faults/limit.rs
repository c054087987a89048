//! The kernel refuses more watches: an error with the remedy, and polling for those left over.
#![cfg(target_os = "linux")]

use super::{Users, deliver_to_all, make_users, names};
use crate::support::{Daemon, PATIENCE, Receiver, Site, with_20_watches};

/// 60 watches and those of the folders above, where there is room for 20.
const USERS: usize = 30;

fn start(site: &Site, poll_interval: &str) -> (Users, Receiver, Daemon) {
    let users = make_users(site, USERS);
    let receiver = site.receiver();
    let config = site.config().set("watch.poll-interval", poll_interval);
    let daemon = site.launch(&config).wrapped_in(with_20_watches()).start();
    (users, receiver, daemon)
}

#[test]
fn the_log_names_the_limit_and_the_remedy() {
    let site = Site::new();
    let (_users, _receiver, daemon) = start(&site, "200ms");

    let line = daemon.wait_log("the limit of watches is reached");
    assert!(line.contains("ERROR"), "pushes are late, so somebody has to act: {line}");
    assert!(line.contains("sysctl user.max_inotify_watches="), "the remedy is spelled out: {line}");
    assert!(line.contains(": 20 are armed"), "all the room is used: {line}");
}

#[test]
fn the_rest_is_polled() {
    let site = Site::new();
    let (users, receiver, _daemon) = start(&site, "200ms");

    // Where a directory changed just before a look, polling may give one push too many.
    deliver_to_all(&users);
    receiver.expect_each(names(&users));
    receiver.drain();
    for maildir in users.values() {
        for message in maildir.names("new") {
            maildir.set_flags(&message, "S");
        }
    }
    receiver.expect_each(names(&users));
}

/// Nobody polls within the time of this test, so what is pushed was told by events.
#[test]
fn those_that_fit_are_pushed_at_once() {
    let site = Site::new();
    let (users, receiver, _daemon) = start(&site, "1h");

    deliver_to_all(&users);
    assert!(receiver.next(PATIENCE).is_some(), "somebody is pushed");
}

/// Whoever comes when there is no room is polled like the others.
#[test]
fn a_new_user_beyond_the_limit_is_found() {
    let site = Site::new();
    let (_users, receiver, mut daemon) = start(&site, "200ms");

    let late = site.maildir("late@example.org");
    daemon.reload();
    late.deliver();
    receiver.read_until("late@example.org");
}

/// Each sweep tries again, and the error is not said each time.
#[test]
fn the_error_is_not_repeated_by_each_sweep() {
    let site = Site::new();
    let _users = make_users(&site, USERS);
    let config = site.config().set("watch.sweep-interval", "1s");
    let daemon = site.launch(&config).wrapped_in(with_20_watches()).start();
    for _ in 0..3 {
        let mark = daemon.log_mark();
        daemon.wait_log_since(mark, "sweep");
    }
    let log = daemon.stop();
    assert_eq!(log.matches("the limit of watches is reached").count(), 1, "{log}");
}
