//! More happens than the kernel's queue holds while the daemon stands still. What the lost events
//! told is found by looking: a push for everybody who has a change, and for nobody else.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::Arc;

use super::{deliver_to_all, make_users, make_users_of, names};
use crate::load::{Ledger, Listener, Tree};
use crate::support::{Daemon, Fence, Maildir, PATIENCE, Site, from_environment};

/// Each of them is two events, and the queue holds 16,384 (`fs.inotify.max_queued_events`).
const RENAMES: usize = 20_000;

/// Fills the queue: what happens from now on until the daemon reads gives no event. Neighbouring
/// events that are equal would be merged, so each rename is of another name than the one before.
fn flood(maildirs: &[&Maildir]) {
    let messages: Vec<_> = maildirs.iter().map(|maildir| (maildir, maildir.names("cur"))).collect();
    let mut renames = 0;
    for flags in ["F", "FS", "S", "RS"].into_iter().cycle() {
        for (maildir, names) in &messages {
            for name in names {
                let unique = name.split(":2,").next().expect("split gives one part at least");
                maildir.set_flags(unique, flags);
                renames += 1;
            }
        }
        if renames >= RENAMES {
            return;
        }
    }
}

fn overflow_is_made_good(backend: &str) {
    let site = Site::new();
    let flooded = make_users(&site, 180);
    let late = make_users_of(&site, "late.test", 4);
    let untouched = make_users_of(&site, "untouched.test", 5);
    let [arrival, read, removal, moved] =
        [0, 1, 2, 3].map(|number| &late[&format!("user-00{number}@late.test")]);
    let messages = [read, removal, moved].map(|maildir| maildir.deliver_into_cur(""));
    for maildir in flooded.values() {
        maildir.deliver_into_cur("");
    }
    for maildir in untouched.values() {
        maildir.deliver();
        maildir.age();
    }
    let mapped = Maildir::create(site.path("mail/mapped"));
    fs::write(site.path("users"), "# nobody yet\n").expect("the map file can be written");
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site
        .config()
        .set("watch.backend", backend)
        .set("watch.sweep-interval", "off")
        .set("mailboxes.map-file", "users");
    let daemon = site.start(&config);

    daemon.pause();
    flood(&flooded.values().collect::<Vec<_>>());
    // Of what follows the kernel keeps nothing but the fact that something was lost.
    arrival.deliver();
    read.set_flags(&messages[0], "S");
    removal.expunge(&messages[1]);
    let elsewhere = Maildir::create(site.path("elsewhere"));
    moved.move_to(&messages[2], &elsewhere);
    let new_user = site.maildir("new@example.org");
    new_user.deliver();
    let new_domain = site.maildir("new@new-domain.test");
    new_domain.deliver();
    mapped.deliver();
    let line = format!("mapped@example.org: {}\n", mapped.root().display());
    fs::write(site.path("users"), line).expect("the map file can be written");
    daemon.resume();

    let new = ["new@example.org", "new@new-domain.test", "mapped@example.org"];
    receiver.expect_each(names(&flooded).chain(names(&late)).chain(new));
    assert_overflowed(&daemon);
    // One too many may come where it is not known whether a push told all.
    let more = fence.after_changes(&receiver);
    let for_untouched: Vec<_> = more.iter().filter(|push| untouched.contains_key(&push.user)).collect();
    assert!(for_untouched.is_empty(), "nothing happened to: {for_untouched:?}");
    fence.after_changes(&receiver);

    // All is as before, and the new ones belong to it.
    for users in [&flooded, &late, &untouched] {
        deliver_to_all(users);
        receiver.expect_set(names(users));
    }
    for (user, maildir) in new.into_iter().zip([&new_user, &new_domain, &mapped]) {
        maildir.deliver();
        receiver.expect(user);
    }
    fence.assert_silent(&receiver);
}

/// Without this line the test would have shown nothing.
#[track_caller]
fn assert_overflowed(daemon: &Daemon) {
    daemon.wait_log("events were dropped");
}

#[test]
fn inotify_overflow_is_made_good() {
    overflow_is_made_good("inotify");
}

#[test]
fn notify_overflow_is_made_good() {
    overflow_is_made_good("notify");
}

/// An opened mailbox gives no push, but what was lost after that does: the event that was read says
/// nothing about those that were not.
#[test]
fn a_change_behind_an_event_that_means_nothing_is_found() {
    let site = Site::new();
    let flooded = make_users(&site, 1);
    let flooded = flooded.values().next().expect("there is one");
    for _ in 0..100 {
        flooded.deliver_into_cur("");
    }
    let jesse = site.maildir("jesse@example.org");
    let message = jesse.deliver();
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("watch.sweep-interval", "off"));

    daemon.pause();
    jesse.open_mailbox();
    flood(&[flooded]);
    jesse.set_flags(&message, "S");
    daemon.resume();
    receiver.expect_each(["jesse@example.org", "user-000@example.org"]);
    assert_overflowed(&daemon);
}

/// Several overflows, one after the other, while the looks of the first may still be under way.
#[test]
fn overflow_upon_overflow() {
    let site = Site::new();
    let flooded = make_users(&site, 100);
    for maildir in flooded.values() {
        maildir.deliver_into_cur("");
    }
    let late = make_users_of(&site, "late.test", 3);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("watch.sweep-interval", "off"));

    for maildir in late.values() {
        daemon.pause();
        flood(&flooded.values().collect::<Vec<_>>());
        maildir.deliver();
        daemon.resume();
    }
    receiver.expect_each(names(&flooded).chain(names(&late)));
    assert_overflowed(&daemon);
    fence.after_changes(&receiver);
    fence.after_changes(&receiver);
    deliver_to_all(&late);
    receiver.expect_set(names(&late));
}

/// Deliveries to a thousand users, far more than the queue holds; `FLOOD` may ask for more. Only the first of them give events.
#[test]
fn a_flood_of_deliveries_to_a_stopped_process_leaves_nobody_untold() {
    const USERS: usize = 1000;
    let deliveries = from_environment("FLOOD").unwrap_or(40_000);
    let site = Site::new();
    let tree = Tree::new(site.path("mail"), USERS);
    tree.make(2, 0, &Default::default()).expect("mailboxes can be made");
    // They are links, which are made and removed faster than files; to those who watch they are deliveries.
    for user in 0..USERS {
        fs::write(tree.path(user).join("tmp/message"), "Subject: a flood\n\n")
            .expect("a message can be written");
    }
    let ledger = Arc::new(Ledger::new(USERS));
    let _listener = Listener::bind(&site.socket(), Arc::clone(&ledger)).expect("a socket can be bound");
    let config = site
        .config()
        .set("mailboxes.mail-location", &tree.mail_location())
        .set("watch.sweep-interval", "off");
    let daemon = site.start(&config);

    daemon.pause();
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..deliveries {
        let user = random.usize(..USERS);
        let maildir = tree.path(user);
        let delivered = ledger.change(user, || {
            fs::hard_link(
                maildir.join("tmp/message"),
                maildir.join(format!("new/1700000000.M{number}P1.flood")),
            )
        });
        delivered.expect("a message can be linked");
    }
    assert_eq!(ledger.pushes(), 0, "a process that is stopped pushes nothing");
    daemon.resume();

    ledger.settle(PATIENCE, || {});
    let untold: Vec<_> = ledger.untold().map(Tree::name).collect();
    assert!(untold.is_empty(), "{} of {} users: {untold:?}", untold.len(), ledger.users_changed());
    assert_overflowed(&daemon);
}
