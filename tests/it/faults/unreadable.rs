//! Maildirs that the daemon may not look into: said with what blocks it, and tried again.
//!
//! The daemon runs as the owner of the mail, or as a root for whom modes count as well.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Fence, Maildir, Run, Site, bound_by_modes, pushmaild_in};

const JESSE: &str = "jesse@example.org";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
}

fn run(site: &Site, command: &[&str]) -> Run {
    let config = site.config();
    config.write();
    let file = config.path().to_str().expect("the path is text");
    pushmaild_in(&bound_by_modes(), command.iter().copied().chain(["-c", file]))
}

/// Closes `blocking`, and asserts that it is named by everything that reports, that it troubles
/// nobody else, and that jesse is pushed to when it is open again.
#[track_caller]
fn assert_reported_and_picked_up(site: &Site, jesse: &Maildir, blocking: &Path) {
    let other = site.maildir("other@example.org");
    let fence = Fence::new(site);
    let receiver = site.receiver();
    chmod(blocking, 0o000);

    let shown = format!("`{}`", blocking.display());
    let rows = run(site, &["users", "--json"]).json();
    let row = rows["users"].as_array().into_iter().flatten().find(|row| row["user"] == JESSE);
    let row = row.expect("an unreadable Maildir is still in the map");
    assert_eq!(row["state"], "unreadable", "{row}");
    assert!(row["reason"].to_string().contains(&shown), "the reason names {shown}: {row}");
    let check = run(site, &["check"]);
    assert_eq!(check.code, 1, "{check:?}");
    assert!(check.stdout.contains(&format!("hint: {shown}")), "the hint names {shown}: {check:?}");

    let config = site.config().set("watch.sweep-interval", "1s");
    let daemon = site.launch(&config).wrapped_in(bound_by_modes()).start();
    let line = daemon.wait_log("a mailbox cannot be watched");
    assert!(line.contains(&shown), "the log names {shown}: {line}");
    other.deliver();
    receiver.expect("other@example.org");
    fence.assert_silent(&receiver);

    chmod(blocking, 0o700);
    jesse.deliver();
    receiver.expect(JESSE);
    // It is watched now, and not looked at by each sweep.
    fence.after_changes(&receiver);
    jesse.deliver();
    receiver.expect(JESSE);
    fence.assert_silent(&receiver);
}

#[test]
fn a_closed_maildir() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    assert_reported_and_picked_up(&site, &jesse, jesse.root());
}

#[test]
fn a_closed_new() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    assert_reported_and_picked_up(&site, &jesse, &jesse.path("new"));
}

#[test]
fn a_closed_user_folder() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    assert_reported_and_picked_up(&site, &jesse, &site.path("vmail/example.org/jesse"));
}

/// One that is closed under the daemon's eyes goes on: the watch is on the directory and asks
/// nobody's leave.
#[test]
fn closed_while_watched() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config().set("watch.sweep-interval", "1s");
    let daemon = site.launch(&config).wrapped_in(bound_by_modes()).start();

    chmod(&site.path("vmail/example.org/jesse"), 0o000);
    for _ in 0..2 {
        let mark = daemon.log_mark();
        daemon.wait_log_since(mark, "sweep");
    }
    chmod(&site.path("vmail/example.org/jesse"), 0o700);
    fence.after_changes(&receiver);
    jesse.deliver();
    receiver.expect(JESSE);
    fence.assert_silent(&receiver);
}
