//! The source `doveadm`: the map from Dovecot itself, from the real one of this machine, from recordings of a newer one, and from programs that
//! are none.

mod capabilities;
mod faults;
mod newer;
mod real;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Config, Run, Site, pushmaild};

/// Puts a shell script into the site, to be called as `doveadm`.
fn script(site: &Site, text: &str) -> PathBuf {
    let path = site.path("doveadm");
    // In its place at once: a running daemon may start it at any time, and not while somebody writes it.
    let new = site.path("doveadm.new");
    fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("own files can be made programs");
    fs::rename(&new, &path).expect("own files can be renamed");
    path
}

/// A configuration whose users are those that this program lists.
fn config(site: &Site, command: &Path) -> Config {
    let doveadm = format!("{{ command = {} }}", Value::from(command.display().to_string()));
    site.config().unset("mailboxes.mail-location").set_raw("mailboxes.doveadm", &doveadm)
}

/// Writes the configuration, and runs a command with it.
#[track_caller]
fn run(config: &Config, command: &[&str]) -> Run {
    config.write();
    let file = config.path().to_str().expect("the path is text");
    pushmaild(command.iter().copied().chain(["-c", file]))
}

/// Names and Maildirs of `users --json`, which are all from doveadm.
#[track_caller]
fn users(run: &Run) -> Vec<(String, String)> {
    assert_eq!(run.code, 0, "{run:?}");
    let text = |row: &Value, key: &str| row[key].as_str().expect("it is text").to_owned();
    let document = run.json();
    let rows = document["users"].as_array().expect("users are a list");
    assert!(rows.iter().all(|row| row["source"] == "doveadm"), "{run:?}");
    rows.iter().map(|row| (text(row, "user"), text(row, "maildir"))).collect()
}

/// The messages of the notices of `users --json`, and how bad each is.
#[track_caller]
fn notices(run: &Run) -> Vec<(String, String)> {
    let document = run.json();
    let notices = document["notices"].as_array().expect("notices are a list");
    let text = |notice: &Value, key: &str| notice[key].as_str().expect("it is text").to_owned();
    notices.iter().map(|notice| (text(notice, "severity"), text(notice, "message"))).collect()
}
