//! Names that a record cannot hold, or that a receiver would misread: left out of the map with the
//! reason, and no trouble for anybody else.

use crate::support::{Fence, Site, pushmaild};

const JESSE: &str = "jesse@example.org";

/// A name of so many bytes.
fn long_name(bytes: usize) -> String {
    let domain = "@example.org";
    "x".repeat(bytes - domain.len()) + domain
}

/// The record has 128 bytes for the user, and the last one is the NUL that ends the name.
#[test]
fn a_name_as_long_as_the_field_is_refused() {
    let site = Site::new();
    let (fits, too_long) = (long_name(127), long_name(128));
    let fitting = site.maildir(&fits);
    let refused = site.maildir(&too_long);
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config();
    config.write();

    let check = pushmaild(["check".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    assert_eq!(check.code, 1, "somebody gets no pushes: {check:?}");
    let reason = "the name has 128 bytes, and the record has room for 127";
    assert!(check.stdout.contains(&too_long) && check.stdout.contains(reason), "{check:?}");
    assert!(check.stdout.contains("\nhint: "), "{check:?}");

    let daemon = site.start(&config);
    daemon.wait_log(reason);
    refused.deliver();
    fence.assert_silent(&receiver);
    fitting.deliver();
    receiver.expect(&fits);
    jesse.deliver();
    receiver.expect(JESSE);
}

/// The limit is in bytes and not in characters.
#[test]
fn a_name_is_measured_in_bytes() {
    let site = Site::new();
    let name = "ü".repeat(58) + "@example.org";
    assert_eq!((name.len(), name.chars().count()), (128, 70));
    site.maildir(&name);
    let config = site.config();
    config.write();
    let users = pushmaild(["users".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    assert!(users.stdout.contains("the name has 128 bytes"), "{users:?}");
}

/// pushnotify's inotify.pl would take the name apart; so in this dialect it is nobody's.
#[test]
fn short_refuses_what_its_receiver_would_misread() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence_free = format!("{{ jo = {:?} }}", site.path("mail/jo"));
    let jo = crate::support::Maildir::create(site.path("mail/jo"));
    let receiver = site.receiver();
    let config = site.config().set("push-notify.dialect", "short").set_raw("mailboxes.users", &fence_free);
    config.write();

    let check = pushmaild(["check".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    assert_eq!(check.code, 1, "{check:?}");
    let reason = "the user `jesse@example.org` is left out, for short cannot name it";
    assert!(check.stdout.contains(reason) && check.stdout.contains("\nhint: "), "{check:?}");

    let daemon = site.start(&config);
    daemon.wait_log(reason);
    jesse.deliver();
    jo.deliver();
    let record = receiver.next_bytes(crate::support::PATIENCE);
    assert_eq!(record.as_deref(), Some(&b"\0jo\0"[..]), "the plain name is pushed, and comes first");
}

/// One of the two receivers of this dialect takes the name, so it is a warning only.
#[test]
fn osx_10_7_warns_of_what_one_receiver_refuses() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config().set("push-notify.dialect", "osx-10.7");
    config.write();
    let check = pushmaild(["check".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    assert_eq!(check.code, 0, "{check:?}");
    let warning = "warning: pushnotify.pl, if that is the receiver, would refuse 1 user: `jesse@example.org`";
    assert!(check.stdout.contains(warning) && check.stdout.contains("\nhint: "), "{check:?}");
}

/// A folder whose name is a newline's way into logs and other people's files.
#[test]
fn folders_with_control_characters_are_nobodys() {
    let site = Site::new();
    site.maildir(JESSE);
    let evil = site.maildir("evil\nroot@example.org");
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config();
    let daemon = site.start(&config);
    evil.deliver();
    fence.assert_silent(&receiver);

    let users = pushmaild(["users".as_ref(), "-c".as_ref(), config.path().as_os_str()]);
    assert!(!users.stdout.contains("\nroot"), "{users:?}");
    assert!(!daemon.log().contains("\nroot"), "{}", daemon.log());
}
