//! What waits for its time or for the receiver when the daemon ends, however it does.

use super::{DATABASE, config, kill, old_mailbox, recorded};
use crate::support::{Fence, Site, eventually};

const READER: &str = "reader@example.org";

/// The push waits for quiet.
#[test]
fn killed_while_a_change_waits_for_quiet() {
    let site = Site::new();
    let (reader, message) = old_mailbox(&site, READER);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = config(&site);
    let patient = config.clone().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    site.start(&config).stop();

    let daemon = site.start(&patient);
    reader.set_flags(&message, "S");
    assert!(fence.after_new_mail(&receiver).is_empty(), "the change waits");
    kill(daemon);
    let _daemon = site.start(&config);
    // The fence's own last delivery may be told once more.
    receiver.expect_each([READER, "fence@fence.test"]);
}

/// Its user had come while the daemon ran, and has read the first message by then: without a record nothing in `new/` would be no news.
#[test]
fn killed_while_the_first_change_of_a_new_user_waits() {
    let site = Site::new();
    old_mailbox(&site, "other@example.org");
    let receiver = site.receiver();
    let config = config(&site);
    let patient = config.clone().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    site.start(&config).stop();

    let daemon = site.start(&patient);
    let reader = site.maildir(READER);
    let message = reader.deliver();
    receiver.read_until(READER);
    reader.set_flags(&message, "S");
    let maildir = reader.root().as_os_str().as_encoded_bytes();
    eventually("a record of any kind", || {
        recorded(&site.path(DATABASE), |_| true)?.contains(maildir).then_some(())
    });
    kill(daemon);
    receiver.drain();
    let _daemon = site.start(&config);
    receiver.expect(READER);
}

#[test]
fn killed_while_the_receiver_is_away() {
    let site = Site::new();
    let (arrival, _) = old_mailbox(&site, "arrival@example.org");
    let (reader, message) = old_mailbox(&site, READER);
    let config = config(&site);
    site.start(&config).stop();

    let daemon = site.start(&config);
    arrival.deliver();
    reader.set_flags(&message, "S");
    daemon.wait_log("cannot push");
    kill(daemon);
    let receiver = site.receiver();
    let _daemon = site.start(&config);
    receiver.expect_set(["arrival@example.org", READER]);
}
