//! What happens between an orderly stop and the next start is told by that start: once, and to nobody else.

use crate::support::{Config, Fence, Maildir, Site};

/// With a database for the records of this site.
fn config(site: &Site) -> Config {
    site.config().set("registry.url", "sqlite:registry.db").set("watch.sweep-interval", "off")
}

/// A mailbox with a message that came long ago and was opened, and another one that was not.
fn with_old_mail(site: &Site, user: &str) -> (Maildir, String) {
    let maildir = site.maildir(user);
    let message = maildir.deliver_into_cur("");
    maildir.deliver();
    maildir.age();
    (maildir, message)
}

#[test]
fn what_happened_meanwhile_gives_four_pushes_and_no_more() {
    let site = Site::new();
    let arrivals = ["a@example.org", "b@example.org", "c@example.org"].map(|user| with_old_mail(&site, user));
    let (reader, message) = with_old_mail(&site, "reader@example.org");
    for number in 0..20 {
        with_old_mail(&site, &format!("untouched-{number}@example.org"));
    }
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    site.start(&config(&site)).stop();

    for (maildir, _) in &arrivals {
        maildir.deliver();
    }
    reader.set_flags(&message, "S");
    let _daemon = site.start(&config(&site));
    receiver.expect_set(["a@example.org", "b@example.org", "c@example.org", "reader@example.org"]);
    fence.assert_silent(&receiver);
}

#[test]
fn what_a_start_has_told_the_next_one_does_not_tell_again() {
    let site = Site::new();
    let (arrival, _) = with_old_mail(&site, "arrival@example.org");
    let (reader, message) = with_old_mail(&site, "reader@example.org");
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    site.start(&config(&site)).stop();
    arrival.deliver();
    reader.set_flags(&message, "S");
    // Not just before the look, which leaves a doubt; and still at another time than before.
    arrival.age();
    reader.age();
    let daemon = site.start(&config(&site));
    receiver.expect_set(["arrival@example.org", "reader@example.org"]);
    daemon.stop();

    let _daemon = site.start(&config(&site));
    fence.assert_silent(&receiver);
}

#[test]
fn a_first_start_is_silent_whatever_is_there() {
    let site = Site::new();
    for number in 0..20 {
        with_old_mail(&site, &format!("user-{number}@example.org"));
    }
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&config(&site));
    fence.assert_silent(&receiver);
}

/// Nobody was there to take the pushes, neither before the end nor at it.
#[test]
fn what_could_not_be_sent_before_the_stop_is_sent_after_the_start() {
    let site = Site::new();
    let (arrival, _) = with_old_mail(&site, "arrival@example.org");
    let (reader, message) = with_old_mail(&site, "reader@example.org");
    with_old_mail(&site, "untouched@example.org");
    let fence = Fence::new(&site);
    let daemon = site.start(&config(&site));
    arrival.deliver();
    reader.set_flags(&message, "S");
    daemon.wait_log("cannot push");
    let log = daemon.stop();
    assert!(log.contains("could not be sent"), "{log}");

    let receiver = site.receiver();
    let _daemon = site.start(&config(&site));
    receiver.expect_set(["arrival@example.org", "reader@example.org"]);
    fence.assert_silent(&receiver);
}
