//! What plugins say happened.

use super::{ACCOUNT, TOKEN, config, register, say};
use crate::support::{Apns, Site};

const JO: &str = "jo@example.org";

fn notify(site: &Site, mailbox: &str, events: &str) {
    let line = format!("NOTIFY dovecot-username=\"{JO}\"\tdovecot-mailbox=\"{mailbox}\"{events}");
    assert_eq!(say(site, &line), "OK \n");
}

#[test]
fn a_hint_for_a_watched_maildir_is_not_pushed_again() {
    let site = Site::new();
    let jo = site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let daemon = site.start(&config(&site, &apns));
    register(&site, JO, TOKEN, ACCOUNT);
    daemon.wait_log("registered: device");
    // A delivery is the fence: the watch is armed, and the hint comes after it.
    jo.deliver();
    apns.wait_for(1);
    notify(&site, "INBOX", "\tevents=(\"FlagsSet\")");
    notify(&site, "INBOX", "");
    jo.deliver();
    apns.wait_for(2);
    // A change would have been pushed after 300 ms of quiet, and is before this one.
    jo.deliver();
    apns.wait_for(3);
    assert!(apns.received().iter().all(|request| request.priority.is_none()), "only the deliveries");
}

#[test]
fn a_maildir_without_events_is_pushed_by_hints() {
    let site = Site::new();
    site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    // Polled so rarely that only the hints can have told.
    let config = config(&site, &apns).set("watch.backend", "poll").set("watch.poll-interval", "1h");
    let _daemon = site.start(&config);
    register(&site, JO, TOKEN, ACCOUNT);
    notify(&site, "INBOX", "\tevents=(\"MessageNew\")");
    assert_eq!(apns.nth(1).priority, None, "new mail");
    notify(&site, "Archive", "\tevents=(\"MessageNew\")");
    notify(&site, "inbox", "\tevents=(\"FlagsSet\",\"MessageRead\")");
    assert_eq!(
        apns.nth(2).priority.as_deref(),
        Some("5"),
        "a change, and nothing of a folder that no phone knows"
    );
}
