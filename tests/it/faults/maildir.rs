//! Maildirs and the folders above them are removed, restored, replaced and made while the daemon
//! runs. Each test ends with a Maildir like any other: one push for a delivery.
//!
//! Most run without a sweep, so that only what is watched can have found the change.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Users, deliver_to_all, make_users_of, names};
use crate::support::{Config, Fence, Maildir, Receiver, Site};

const JESSE: &str = "jesse@example.org";

fn without_sweep(site: &Site) -> Config {
    site.config().set("watch.sweep-interval", "off")
}

fn with_sweep(site: &Site) -> Config {
    site.config().set("watch.sweep-interval", "1s")
}

/// Copies with all times, owners and modes, as a restore from a backup does.
fn copy_all(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.expect("cp is there").success(), "cp -a {} {}", from.display(), to.display());
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap_or_else(|e| panic!("{} to {}: {e}", from.display(), to.display()));
}

/// Asserts that jesse's Maildir is watched like any other: each thing that happens is one push.
#[track_caller]
fn assert_watched(maildir: &Maildir, fence: &Fence, receiver: &Receiver) {
    // What the test did to the Maildir may still be on its way, or give one push too many.
    fence.after_changes(receiver);
    fence.after_changes(receiver);
    let message = maildir.deliver();
    receiver.expect(JESSE);
    maildir.open_mailbox();
    fence.assert_silent(receiver);
    maildir.set_flags(&message, "S");
    receiver.expect(JESSE);
    maildir.expunge(&message);
    receiver.expect(JESSE);
    fence.assert_silent(receiver);
}

#[test]
fn removed_and_restored_from_a_backup() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    jesse.deliver();
    jesse.deliver_into_cur("S");
    let backup = site.path("backup");
    copy_all(jesse.root(), &backup);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    jesse.remove();
    receiver.expect(JESSE);
    fence.assert_silent(&receiver);
    copy_all(&backup, jesse.root());
    // The phone has to look at what is back, though its times are those of the backup.
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

/// So fast that the daemon sees the end of it only.
#[test]
fn removed_and_restored_before_the_daemon_looks() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    jesse.deliver();
    let backup = site.path("backup");
    copy_all(jesse.root(), &backup);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&without_sweep(&site));

    daemon.pause();
    jesse.remove();
    copy_all(&backup, jesse.root());
    daemon.resume();
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

#[test]
fn removed_and_made_again_empty() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    for _ in 0..3 {
        jesse.remove();
        site.maildir(JESSE);
        jesse.deliver();
        receiver.expect(JESSE);
        assert_watched(&jesse, &fence, &receiver);
    }
}

/// Nothing that is watched changes: the watches go on with the old directories, and the folder in
/// which it happens is that of one user. This is what the sweep is for.
#[test]
fn replaced_by_rename_is_found_by_the_sweep() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let new = Maildir::create(site.path("Maildir.new"));
    let old = Maildir::at(site.path("Maildir.old"));
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&with_sweep(&site));

    rename(jesse.root(), old.root());
    rename(new.root(), jesse.root());
    // Before the sweep: nobody sees it come.
    jesse.deliver();
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);

    // The old one is nobody's Maildir any more.
    old.deliver();
    fence.assert_silent(&receiver);
}

/// As before, with a Maildir in which nothing is to be seen but that it is another one.
#[test]
fn replaced_by_an_older_copy_is_found_by_the_sweep() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    jesse.deliver_into_cur("S");
    let copy = site.path("Maildir.new");
    copy_all(jesse.root(), &copy);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&with_sweep(&site));

    rename(jesse.root(), &site.path("Maildir.old"));
    rename(&copy, jesse.root());
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

/// The folder of a domain is watched for new users, and tells at once of one that was replaced.
#[test]
fn a_replaced_user_folder_is_found_at_once() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let new = Maildir::create(site.path("jesse.new/Maildir"));
    new.deliver();
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    let folder = site.path("vmail/example.org/jesse");
    rename(&folder, &site.path("jesse.old"));
    rename(&site.path("jesse.new"), &folder);
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);

    Maildir::at(site.path("jesse.old/Maildir")).deliver();
    fence.assert_silent(&receiver);
}

/// Two folders change places with one system call, and so no name is ever missing.
#[test]
#[cfg(target_os = "linux")]
fn exchanged_user_folders_are_found_at_once() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let site = Site::new();
    let jesse = site.maildir(JESSE);
    Maildir::create(site.path("jesse.new/Maildir")).deliver();
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    let folder = site.path("vmail/example.org/jesse");
    renameat_with(CWD, &folder, CWD, site.path("jesse.new"), RenameFlags::EXCHANGE)
        .expect("two folders can be exchanged");
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

/// A user whom the map has before there is anything on the disk, not even the folder above.
#[test]
fn made_after_the_user() {
    let site = Site::new();
    let jesse = Maildir::at(site.path("home/users/jesse/mail/Maildir"));
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let users = format!("{{ {JESSE:?} = {:?} }}", jesse.root());
    let daemon = site.start(&without_sweep(&site).set_raw("mailboxes.users", &users));
    daemon.wait_log("not there yet");

    // As Dovecot does it for the first message: all at once, the message included.
    Maildir::create(jesse.root());
    jesse.deliver();
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

/// The same in steps, each of which the daemon sees by itself.
#[test]
fn made_after_the_user_step_by_step() {
    let site = Site::new();
    let jesse = Maildir::at(site.path("home/jesse/Maildir"));
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let users = format!("{{ {JESSE:?} = {:?} }}", jesse.root());
    let _daemon = site.start(&without_sweep(&site).set_raw("mailboxes.users", &users));

    for folder in ["home", "home/jesse", "home/jesse/Maildir", "home/jesse/Maildir/cur"] {
        fs::create_dir(site.path(folder)).expect("a folder can be made");
        fence.assert_silent(&receiver);
    }
    // One half is watched before the other one is there.
    fs::create_dir(jesse.path("tmp")).expect("a folder can be made");
    jesse.deliver_into_cur("");
    receiver.expect(JESSE);
    fs::create_dir(jesse.path("new")).expect("a folder can be made");
    assert_watched(&jesse, &fence, &receiver);
}

#[test]
fn only_cur_is_made_again() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    fs::remove_dir(jesse.path("cur")).expect("an empty folder can be removed");
    fence.after_changes(&receiver);
    jesse.deliver();
    receiver.expect(JESSE);
    fs::create_dir(jesse.path("cur")).expect("a folder can be made");
    jesse.deliver_into_cur("");
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

#[test]
fn a_domain_is_moved_in_with_its_users() {
    let site = Site::new();
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));

    // Made beside the template's root, as a migration would.
    let users: Users = make_users_of(&site, "moved.test", 5);
    let aside = site.path("moved.test");
    rename(&site.path("vmail/moved.test"), &aside);
    fence.after_changes(&receiver);
    for user in names(&users) {
        let local = user.split('@').next().expect("users have the form local@domain");
        Maildir::at(aside.join(local).join("Maildir")).deliver();
    }
    rename(&aside, &site.path("vmail/moved.test"));

    receiver.expect_set(names(&users));
    fence.assert_silent(&receiver);
    deliver_to_all(&users);
    receiver.expect_set(names(&users));
}

/// No message, no push; and then each of them is watched.
#[test]
fn a_domain_is_moved_in_with_empty_maildirs() {
    let site = Site::new();
    let fence = Fence::new(&site);
    let users: Users = make_users_of(&site, "moved.test", 5);
    let aside = site.path("moved.test");
    rename(&site.path("vmail/moved.test"), &aside);
    let receiver = site.receiver();
    let daemon = site.start(&without_sweep(&site));

    rename(&aside, &site.path("vmail/moved.test"));
    daemon.wait_log("new mailbox");
    fence.assert_silent(&receiver);
    deliver_to_all(&users);
    receiver.expect_set(names(&users));
}

#[test]
fn a_user_is_removed_and_made_again() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let other = site.maildir("other@example.org");
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&without_sweep(&site));
    jesse.deliver();
    receiver.expect(JESSE);

    fs::remove_dir_all(site.path("vmail/example.org/jesse")).expect("a user can be removed");
    fence.after_changes(&receiver);
    other.deliver();
    receiver.expect("other@example.org");

    site.maildir(JESSE);
    jesse.deliver();
    receiver.expect(JESSE);
    assert_watched(&jesse, &fence, &receiver);
}

/// The root itself, as when its disk is mounted after the start.
#[test]
fn the_root_appears_after_the_start() {
    let site = Site::new();
    let aside = Site::new();
    // The folder above the root is there; a root that is missing with all above it is another case
    // for the sweep.
    let receiver = site.receiver();
    let daemon = site.start(&without_sweep(&site));
    daemon.wait_log("there is no such folder");

    let jesse = aside.maildir(JESSE);
    jesse.deliver();
    // Copied and not renamed: the folders appear one after the other, the message last.
    copy_all(&aside.path("vmail"), &site.path("vmail"));
    receiver.expect(JESSE);
    site.maildir(JESSE).deliver();
    receiver.expect(JESSE);
}
