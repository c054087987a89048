//! SIGTERM and SIGINT: what is pending is pushed now, and then the daemon ends well.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Config, Daemon, Maildir, PATIENCE, Receiver, Site};

/// What is promised to whoever waits for the end (`TimeoutStopSec=`, launchd's ExitTimeOut).
const PROMISED: Duration = Duration::from_secs(5);

/// A configuration in which nothing that waits comes due by itself.
fn unhurried(site: &Site) -> Config {
    site.config()
        .set("debounce.new-mail-interval", "1h")
        .set("debounce.change-quiet", "1h")
        .set("debounce.change-max-wait", "1h")
        .set("watch.sweep-interval", "off")
}

fn users(site: &Site, count: usize) -> Vec<(String, Maildir)> {
    let names = (0..count).map(|number| format!("user-{number:03}@example.org"));
    names.map(|name| (name.clone(), site.maildir(&name))).collect()
}

/// Lets the daemon end, which has been told to, and asserts that its last pushes are exactly one
/// for each user.
#[track_caller]
fn assert_ends_with_one_each(mut daemon: Daemon, receiver: &Receiver, users: &[(String, Maildir)]) {
    let mut pushed = receiver.read_during(|| {
        assert!(daemon.wait_exit(PATIENCE).success());
    });
    pushed.extend(receiver.drain());
    let mut pushed: Vec<String> = pushed.into_iter().map(|push| push.user).collect();
    pushed.sort();
    let expected: Vec<&String> = users.iter().map(|(user, _)| user).collect();
    assert_eq!(pushed.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn changes_that_wait_for_quiet_are_pushed() {
    let site = Site::new();
    let users = users(&site, 30);
    let messages: Vec<_> = users.iter().map(|(_, maildir)| maildir.deliver_into_cur("")).collect();
    let receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));

    for ((_, maildir), message) in users.iter().zip(&messages) {
        maildir.set_flags(message, "S");
    }
    daemon.signal(Signal::TERM);
    assert_ends_with_one_each(daemon, &receiver, &users);
}

#[test]
fn new_mail_within_the_interval_is_pushed() {
    let site = Site::new();
    let users = users(&site, 3);
    let receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));

    for (user, maildir) in &users {
        maildir.deliver();
        receiver.expect(user);
        maildir.deliver();
        maildir.deliver();
    }
    daemon.signal(Signal::TERM);
    assert_ends_with_one_each(daemon, &receiver, &users);
}

/// Far more events than one read takes, none of which the daemon has seen when it is told to stop.
#[test]
fn what_happened_just_before_the_signal_is_pushed() {
    let site = Site::new();
    let users = users(&site, 400);
    let messages: Vec<_> = users.iter().map(|(_, maildir)| maildir.deliver_into_cur("")).collect();
    let receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));

    daemon.pause();
    for flags in ["F", "FS", "S", "RS", "R", "FRS"] {
        for ((_, maildir), message) in users.iter().zip(&messages) {
            maildir.set_flags(message, flags);
        }
    }
    daemon.signal(Signal::TERM);
    daemon.resume();
    assert_ends_with_one_each(daemon, &receiver, &users);
}

/// The kernel dropped events while the daemon stood still, and the first that it hears after that is the
/// signal. What they told is looked for before the end: the next start takes all as it is.
#[test]
#[cfg(target_os = "linux")]
fn what_an_overflow_hides_is_pushed() {
    let site = Site::new();
    let flooded = site.maildir("flooded@example.org");
    let messages: Vec<_> = (0..100).map(|_| flooded.deliver_into_cur("")).collect();
    let late = site.maildir("late@example.org");
    let receiver = site.receiver();
    let mut daemon = site.start(&unhurried(&site));

    daemon.pause();
    // 20,000 renames, each of which is two events; the queue holds 16,384.
    for flags in ["F", "FS", "S", "RS"].into_iter().cycle().take(200) {
        for message in &messages {
            flooded.set_flags(message, flags);
        }
    }
    late.deliver();
    daemon.signal(Signal::TERM);
    daemon.resume();
    receiver.expect_each(["flooded@example.org", "late@example.org"]);
    assert!(daemon.wait_exit(PATIENCE).success());
    daemon.wait_log("events were dropped");
}

#[test]
fn a_user_who_appeared_just_before_the_signal_is_pushed() {
    let site = Site::new();
    site.maildir("jesse@example.org");
    let receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));

    daemon.pause();
    let new = [("new@example.org".to_owned(), site.maildir("new@example.org"))];
    new[0].1.deliver();
    daemon.signal(Signal::TERM);
    daemon.resume();
    assert_ends_with_one_each(daemon, &receiver, &new);
}

#[test]
fn sigint_is_the_same() {
    let site = Site::new();
    let users = users(&site, 3);
    let messages: Vec<_> = users.iter().map(|(_, maildir)| maildir.deliver_into_cur("")).collect();
    let receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));

    for ((_, maildir), message) in users.iter().zip(&messages) {
        maildir.expunge(message);
    }
    daemon.signal(Signal::INT);
    assert_ends_with_one_each(daemon, &receiver, &users);
}

/// The receiver is missing, so there is something to wait for. But not for ever.
#[test]
fn a_missing_receiver_delays_the_end_no_longer_than_promised() {
    let site = Site::new();
    let users = users(&site, 7);
    let mut daemon = site.start(&unhurried(&site));

    for (_, maildir) in &users {
        maildir.deliver();
    }
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    let status = daemon.wait_exit(PATIENCE);
    let took = start.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < PROMISED, "it took {took:?}");
    let line = daemon.wait_log("could not be sent");
    assert!(line.contains("7 pushes"), "the log says how many are lost: {line}");
}

/// The receiver is restarted together with the daemon, and comes back while the daemon waits.
#[test]
fn a_receiver_that_comes_back_meanwhile_gets_the_pushes() {
    let site = Site::new();
    let users = users(&site, 7);
    let mut daemon = site.start(&unhurried(&site));

    for (_, maildir) in &users {
        maildir.deliver();
    }
    daemon.wait_log("cannot push");
    daemon.signal(Signal::TERM);
    daemon.wait_notify("STOPPING=1");
    let receiver = site.receiver();
    receiver.expect_set(users.iter().map(|(user, _)| user.as_str()));
    assert!(daemon.wait_exit(PATIENCE).success());
    daemon.wait_log("every push is sent");
}

/// Somebody presses Ctrl-C once more, and means it.
#[test]
fn a_second_signal_ends_the_wait() {
    let site = Site::new();
    let users = users(&site, 3);
    let mut daemon = site.start(&unhurried(&site));
    for (_, maildir) in &users {
        maildir.deliver();
    }
    daemon.wait_log("cannot push");

    daemon.signal(Signal::TERM);
    daemon.wait_notify("STOPPING=1");
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    let status = daemon.wait_exit(PATIENCE);
    let took = start.elapsed();
    assert!(status.success(), "{status}");
    // The daemon would have tried for four seconds by itself.
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    let line = daemon.wait_log("could not be sent");
    assert!(line.contains("3 pushes"), "{line}");
}

/// With nothing to do it ends at once, and says that nothing is lost.
#[test]
fn an_idle_daemon_ends() {
    let site = Site::new();
    let _receiver = site.receiver();
    let daemon = site.start(&unhurried(&site));
    let log = daemon.stop();
    assert!(log.contains("every push is sent"), "{log}");
}

/// What a stop pushed is not pushed again by the next start, which takes the Maildirs as they are.
#[test]
fn the_next_start_is_silent() {
    let site = Site::new();
    let users = users(&site, 3);
    let receiver = site.receiver();
    let daemon = site.start(&site.config());
    for (_, maildir) in &users {
        maildir.deliver();
    }
    receiver.expect_set(users.iter().map(|(user, _)| user.as_str()));
    daemon.stop_and_read(&receiver);

    let fence = crate::support::Fence::new(&site);
    let _daemon = site.start(&site.config());
    fence.assert_silent(&receiver);
}
