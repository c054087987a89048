//! fanotify on the file systems that people have mail on, in mount namespaces of their own, and what happens where it cannot be had.
#![cfg(target_os = "linux")]

mod file_systems;
mod refusals;

use std::process::Command;

use crate::support::{Daemon, Site, fanotify_is_refused};

const JESSE: &str = "jesse@example.org";

/// Runs `script` where it may mount something, and then the daemon, with "$@".
fn after_mounting(script: &str) -> [String; 6] {
    ["unshare", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"].map(ToOwned::to_owned)
}

/// Runs a script where the daemon is.
#[track_caller]
fn beside(daemon: &Daemon, script: &str) {
    let pid = daemon.pid().to_string();
    let status = Command::new("nsenter")
        .args(["--mount", "--target", &pid, "sh", "-ec", script])
        .status()
        .expect("nsenter is there");
    assert!(status.success(), "{script}: {status}");
}

/// Makes the Maildir of a user in a script.
fn make_maildir(site: &Site, user: &str) -> String {
    let maildir = site.maildir_path(user);
    let maildir = maildir.display();
    format!("mkdir -p '{maildir}/new' '{maildir}/cur' '{maildir}/tmp'")
}

/// Delivers in a script.
fn deliver(site: &Site, user: &str, name: &str) -> String {
    let maildir = site.maildir_path(user);
    format!("cd '{}' && echo > tmp/{name} && mv tmp/{name} new/{name}", maildir.display())
}
