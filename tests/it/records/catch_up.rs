//! After a long outage: everybody is told, but not all at once, and nobody twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config;
use crate::support::{Config, Daemon, Maildir, PATIENCE, Push, Receiver, Site};

const FRESH: &str = "fresh@example.net";

fn user(number: usize) -> String {
    format!("user-{number:04}@example.org")
}

/// So many mailboxes in which something was read while the daemon was stopped, and one without such a change.
fn after_an_outage(site: &Site, config: &Config, count: usize) -> Maildir {
    let mailboxes: Vec<_> = (0..count).map(|number| super::old_mailbox(site, &user(number))).collect();
    let (fresh, _) = super::old_mailbox(site, FRESH);
    site.start(config).stop();
    for (maildir, message) in &mailboxes {
        maildir.set_flags(message, "S");
        // Not just before the look, and still at another time than before.
        maildir.age();
    }
    fresh
}

fn start(site: &Site, config: &Config, receiver: &Receiver) -> (Daemon, Vec<Push>) {
    let mut daemon = None;
    let pushes = receiver.read_during(|| daemon = Some(site.start(config)));
    (daemon.expect("started"), pushes)
}

fn read(receiver: &Receiver, pushes: &mut Vec<Push>, count: usize) {
    while pushes.len() < count {
        pushes.push(receiver.next(PATIENCE).expect("more pushes"));
    }
}

/// How often each user was told.
fn counts(pushes: &[Push]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for push in pushes {
        *counts.entry(push.user.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn a_long_outage_is_told_at_the_rate_and_new_mail_at_once() {
    const COUNT: usize = 1000;
    let site = Site::new();
    let config = config(&site).set_raw("debounce.catch-up-rate", "200");
    let receiver = site.receiver();
    let fresh = after_an_outage(&site, &config, COUNT);

    let (_daemon, mut pushes) = start(&site, &config, &receiver);
    let before = pushes.len().max(1);
    read(&receiver, &mut pushes, before);
    fresh.deliver();
    read(&receiver, &mut pushes, COUNT + 1);
    let counts = counts(&pushes);
    assert!(counts.len() == COUNT + 1 && counts.values().all(|count| *count == 1), "{counts:?}");
    // Five seconds, unless the test had no processor for half of it.
    let took = pushes[COUNT].at.duration_since(pushes[0].at);
    assert!(took > Duration::from_millis(2500), "all within {took:?}");
    let at = pushes.iter().position(|push| push.user == FRESH).expect("told");
    assert!(at < COUNT / 2, "the new mail was the {at}th of {COUNT}, delivered after {before}");
}

#[test]
fn those_who_wait_at_the_stop_are_told_by_the_next_start() {
    const COUNT: usize = 400;
    let site = Site::new();
    let slow = config(&site).set_raw("debounce.catch-up-rate", "50");
    let receiver = site.receiver();
    after_an_outage(&site, &slow, COUNT);

    let (daemon, mut pushes) = start(&site, &slow, &receiver);
    let before = pushes.len().max(20);
    read(&receiver, &mut pushes, before);
    pushes.extend(daemon.stop_and_read(&receiver));
    assert!(pushes.len() < COUNT, "somebody waits");

    let fast = config(&site).set_raw("debounce.catch-up-rate", "5000");
    let (daemon, more) = start(&site, &fast, &receiver);
    pushes.extend(more);
    read(&receiver, &mut pushes, COUNT);
    pushes.extend(daemon.stop_and_read(&receiver));
    let counts = counts(&pushes);
    assert!(counts.len() == COUNT && counts.values().all(|count| *count == 1), "{counts:?}");
    let (daemon, more) = start(&site, &fast, &receiver);
    assert!(more.is_empty() && daemon.stop_and_read(&receiver).is_empty(), "everybody was told");
}
