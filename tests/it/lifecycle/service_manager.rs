//! What the daemon tells systemd: sd_notify(3).

use rustix::process::Signal;

use crate::support::{PATIENCE, Site};

const JESSE: &str = "jesse@example.org";

fn lines(message: &str) -> Vec<&str> {
    message.lines().collect()
}

#[test]
fn ready_when_everything_is_watched() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let mut daemon = site.launch(&site.config()).spawn();

    let message = daemon.wait_notify("READY=1");
    assert!(lines(&message).contains(&"STATUS=watching 1 mailbox with inotify"), "{message}");
    jesse.deliver();
    receiver.expect(JESSE);
}

/// systemd takes `RELOADING=1` for good only with the time at which it was sent.
#[test]
fn a_reload_begins_and_ends() {
    let site = Site::new();
    site.maildir(JESSE);
    let mut daemon = site.start(&site.config());

    daemon.signal(Signal::HUP);
    let message = daemon.wait_notify("RELOADING=1");
    let time = lines(&message).into_iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let time = time.unwrap_or_else(|| panic!("no time: {message}"));
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{message}");
    daemon.wait_notify("READY=1");
}

#[test]
fn stopping_is_told_before_the_end() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    // Nobody takes the push, so the daemon is seen while it stops.
    let mut daemon = site.start(&site.config());
    jesse.deliver();
    daemon.wait_log("cannot push");
    daemon.signal(Signal::TERM);
    daemon.wait_notify("STOPPING=1");
    assert_eq!(daemon.exit_status(), None, "it still tries");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(PATIENCE).success());
}

#[test]
fn the_watchdog_is_fed() {
    let site = Site::new();
    site.maildir(JESSE);
    let launch = site.launch(&site.config()).env("WATCHDOG_USEC", "200000");
    let mut daemon = launch.start();
    for _ in 0..5 {
        daemon.wait_notify("WATCHDOG=1");
    }
    daemon.stop();
}

/// Another process's watchdog, inherited with the environment, is none of ours.
#[test]
fn the_watchdog_of_another_process_is_left_alone() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let launch = site.launch(&site.config()).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let daemon = launch.start();
    for _ in 0..5 {
        jesse.deliver();
        receiver.expect(JESSE);
    }
    assert!(!daemon.notified().iter().any(|message| message.contains("WATCHDOG=1")));
}
