//! Mailboxes that come, go, are renamed, replaced and restored, while the daemon runs and while it does not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{DATABASE, config, old_mailbox, recorded};
use crate::support::{Fence, Maildir, Site, eventually};

/// As from a backup: all times are those of the original.
#[track_caller]
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp is there");
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

#[track_caller]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap_or_else(|e| panic!("{} to {}: {e}", from.display(), to.display()));
}

#[test]
fn while_the_daemon_is_stopped() {
    let site = Site::new();
    let [replaced, renamed, gone, restored] = ["replaced", "renamed", "gone", "restored"]
        .map(|name| old_mailbox(&site, &format!("{name}@example.org")).0);
    for number in 0..10 {
        old_mailbox(&site, &format!("untouched-{number}@example.org"));
    }
    let backup = site.path("backup");
    copy(restored.root(), &backup);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&config(&site));
    restored.deliver();
    receiver.expect("restored@example.org");
    daemon.stop();

    // What a phone shows is no more.
    restored.remove();
    copy(&backup, restored.root());
    let old = site.path("old");
    rename(replaced.root(), &old);
    copy(&old, replaced.root());
    gone.remove();
    renamed.deliver();
    let folder = |user: &str| site.maildir_path(user).parent().expect("a folder").to_owned();
    rename(&folder("renamed@example.org"), &folder("other-name@example.org"));
    site.maildir("with-mail@example.org").deliver();
    let without = site.maildir("without@example.org");
    without.deliver_into_cur("");

    let _daemon = site.start(&config(&site));
    receiver.expect_set([
        "restored@example.org",
        "replaced@example.org",
        "other-name@example.org",
        "with-mail@example.org",
    ]);
    fence.assert_silent(&receiver);
}

/// After each accident a delivery, which is told whatever the watch is on by then.
#[test]
fn while_deliveries_flow() {
    const JESSE: &str = "jesse@example.org";
    let site = Site::new();
    let (jesse, _) = old_mailbox(&site, JESSE);
    let (busy, _) = old_mailbox(&site, "busy@example.org");
    let receiver = site.receiver();
    let config = config(&site).set("watch.sweep-interval", "2s");
    let daemon = site.start(&config);
    let backup = site.path("backup");
    copy(jesse.root(), &backup);
    let folder = jesse.root().parent().expect("a folder").to_owned();
    let is_over = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let deliveries = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let message = busy.deliver();
                busy.expunge(&message);
            }
        });
        for round in 0..15 {
            match round % 5 {
                // Away and back again.
                0 => {
                    rename(&folder, &site.path("away"));
                    rename(&site.path("away"), &folder);
                }
                // Restored.
                1 => {
                    jesse.remove();
                    copy(&backup, jesse.root());
                }
                2 => {
                    let new = site.path("new");
                    copy(&backup, &new);
                    rename(jesse.root(), &site.path(format!("old-{round}")));
                    rename(&new, jesse.root());
                }
                // A new one under the same name.
                3 => {
                    jesse.remove();
                    site.maildir(JESSE);
                }
                _ => {
                    fs::remove_dir_all(jesse.path("new")).expect("can be removed");
                    fs::create_dir(jesse.path("new")).expect("can be made");
                }
            }
            receiver.drain();
            jesse.deliver();
            receiver.read_until(JESSE);
        }
        is_over.store(true, Ordering::Relaxed);
        let pushes = receiver.read_during(|| deliveries.join().expect("no panic"));
        pushes.len()
    });
    assert!(last < 1000, "{last}");
    daemon.stop_and_read(&receiver);
    jesse.deliver();
    receiver.drain();
    let _daemon = site.start(&config);
    receiver.read_until(JESSE);
}

/// The file of the map loses most of its lines for a moment. What is stored of those who are back is not removed with those who went.
#[test]
fn users_who_leave_the_map_and_come_back_keep_their_records() {
    // More than are stored in one transaction.
    const USERS: usize = 5000;
    let site = Site::new();
    let maildir = |number: usize| Maildir::at(site.path(format!("mail/{number}")));
    let lines: Vec<_> = (0..USERS)
        .map(|number| {
            let root = Maildir::create(maildir(number).root()).root().display().to_string();
            format!("user-{number}@example.net: {root}\n")
        })
        .collect();
    let message = maildir(0).deliver_into_cur("");
    (0..USERS).for_each(|number| maildir(number).age());
    let file = site.path("users");
    let receiver = site.receiver();
    let config = config(&site).set("mailboxes.map-file", "users");
    fs::write(&file, lines.concat()).expect("a file can be written");
    let database = site.path(DATABASE);
    let all = || recorded(&database, |_| true).filter(|found| found.len() >= USERS);
    let mut daemon = site.start(&config);
    eventually("all records", all);

    fs::write(&file, lines[..10].concat()).expect("a file can be written");
    daemon.reload();
    fs::write(&file, lines.concat()).expect("a file can be written");
    daemon.reload();
    daemon.stop();
    assert_eq!(recorded(&database, |_| true).map_or(0, |found| found.len()), USERS);

    maildir(0).set_flags(&message, "S");
    let _daemon = site.start(&config);
    receiver.read_until("user-0@example.net");
}

/// The daemon has run without them meanwhile. Nobody is told what they know.
#[test]
fn users_who_come_back_while_the_daemon_is_stopped() {
    let site = Site::new();
    let fence = Fence::new(&site);
    let [changed, unchanged] = ["changed", "unchanged"].map(|name| Maildir::create(site.path(name)));
    for maildir in [&changed, &unchanged] {
        maildir.deliver_into_cur("");
        maildir.age();
    }
    let file = site.path("users");
    let receiver = site.receiver();
    let config = config(&site).set("mailboxes.map-file", "users");
    let [one, other] = [&changed, &unchanged].map(|maildir| maildir.root().display());
    let lines = format!("changed@x.test: {one}\nunchanged@x.test: {other}\n");
    fs::write(&file, &lines).expect("a file can be written");
    site.start(&config).stop();
    fs::write(&file, "").expect("a file can be written");
    let daemon = site.start(&config);
    changed.deliver();
    fence.assert_silent(&receiver);
    daemon.stop();
    fs::write(&file, &lines).expect("a file can be written");
    let _daemon = site.start(&config);
    receiver.read_until("changed@x.test");
    let pushes = fence.after_changes(&receiver);
    assert!(pushes.iter().all(|push| push.user != "unchanged@x.test"), "{pushes:?}");
}
