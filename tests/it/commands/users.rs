//! `pushmaild users`: the map, and where each user comes from.

use std::fs;

use serde_json::json;

use super::{keys, with_config};
use crate::support::{Maildir, Site};

/// A site with users of three sources, one of them twice and one without a Maildir.
fn config(site: &Site) -> crate::support::Config {
    site.maildir("jesse@example.org");
    let shared = Maildir::create(site.path("mail/shared"));
    let map = format!(
        "Info@Example.org: {0}\nsales@example.org: {0}\njesse@example.org: /elsewhere\n",
        shared.root().display()
    );
    fs::write(site.path("users"), map).expect("the map file can be written");
    site.config()
        .set("mailboxes.map-file", "users")
        .set_raw("mailboxes.users", "{ \"late@example.org\" = \"mail/late\" }")
}

#[test]
fn json_has_stable_keys() {
    let site = Site::new();
    let run = with_config(&config(&site), &["users", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let document = run.json();
    assert_eq!(keys(&document), ["notices", "users"]);
    let rows = document["users"].as_array().expect("users are a list");
    for row in rows {
        assert_eq!(keys(row), ["maildir", "shares_with", "source", "state", "user"], "{row}");
    }
    let row = |user: &str, maildir: &str, source: &str, state: &str, shares_with: &[&str]| json!({ "user": user, "maildir": maildir, "source": source, "state": state, "shares_with": shares_with });
    let at = |name: &str| site.path(name).display().to_string();
    assert_eq!(
        *rows,
        [
            row("info@example.org", &at("mail/shared"), "map-file", "ok", &["sales@example.org"]),
            // The map file is asked before the template.
            row("jesse@example.org", "/elsewhere", "map-file", "missing", &[]),
            row("late@example.org", &at("mail/late"), "users", "missing", &[]),
            row("sales@example.org", &at("mail/shared"), "map-file", "ok", &["info@example.org"]),
        ]
    );
}

#[test]
fn people_read_a_table() {
    let site = Site::new();
    let run = with_config(&config(&site), &["users"]);
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("USER ") && lines[0].contains("SOURCE"), "{run:?}");
    assert_eq!(lines.len(), 5, "a line for each user: {run:?}");
    assert!(lines[3].contains("late@example.org") && lines[3].contains("(not there yet)"), "{run:?}");
}

/// A map that cannot be read is no empty map.
#[test]
fn a_map_file_that_is_missing_is_an_error() {
    let site = Site::new();
    let run = with_config(&site.config().set("mailboxes.map-file", "users"), &["users"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cannot read the map file"), "{run:?}");
    assert!(run.stderr.contains("\nhint: "), "{run:?}");
    assert_eq!(run.stdout, "");
}
