//! The source `os-x-server`: folders named by GUID, and links with names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Config, Maildir, Run, Site, eventually, pushmaild};

const JESSE: &str = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";
const JO: &str = "8C088880-2DA0-4752-AE11-719BAF76FF87";
const NOBODY: &str = "5E1E2AC8-91D2-4B0D-9B4B-5E6B6C7E9A10";

/// A partition with the folder of links, and a partition map that names it.
fn server(site: &Site) -> Config {
    fs::create_dir_all(site.path("mail/users")).expect("folders can be made");
    let map = format!("default:{}\n", site.path("mail").display());
    fs::write(site.path("partition_map.conf"), map).expect("a file can be written");
    site.config().unset("mailboxes.mail-location").set("mailboxes.os-x-server", "partition_map.conf")
}

fn maildir(site: &Site, guid: &str) -> Maildir {
    Maildir::create(site.path("mail").join(guid))
}

/// Makes a link in `users`, as the server has them.
fn name(site: &Site, user: &str, target: &str) -> PathBuf {
    let link = site.path("mail/users").join(user);
    symlink(target, &link).expect("a link can be made");
    link
}

fn run(config: &Config, command: &[&str]) -> Run {
    config.write();
    let file = config.path().to_str().expect("the path is text");
    pushmaild(command.iter().copied().chain(["-c", file]))
}

/// Name, Maildir, and other names of each row of `users --json`.
fn rows(run: &Run) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let document = run.json();
    let rows = document["users"].as_array().expect("users are a list").clone();
    assert!(rows.iter().all(|row| row["source"] == "os-x-server"), "{run:?}");
    rows.iter()
        .map(|row| {
            let others = row["shares_with"].as_array().expect("a list").iter().map(text).collect();
            (text(&row["user"]), text(&row["maildir"]), others)
        })
        .collect()
}

#[test]
fn names_and_aliases_and_folders_of_nobody() {
    let site = Site::new();
    let config = server(&site);
    for guid in [JESSE, JO, NOBODY] {
        maildir(&site, guid);
    }
    name(&site, "jesse", &format!("../{JESSE}"));
    name(&site, "jesse.pinkman", &format!("../{JESSE}"));
    // Also by its whole path, and one whose folder is not there yet.
    name(&site, "jo", site.path("mail").join(JO).to_str().expect("text"));
    name(&site, "late", "../11111111-2222-3333-4444-555555555555");
    fs::write(site.path("mail/users/.DS_Store"), "").expect("a file can be written");

    let found = run(&config, &["users", "--json"]);
    let at = |guid: &str| site.path("mail").join(guid).display().to_string();
    let row = |user: &str, guid: &str, others: &[&str]| {
        (user.to_owned(), at(guid), others.iter().map(|&other| other.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        rows(&found),
        [
            row("jesse", JESSE, &["jesse.pinkman"]),
            row("jesse.pinkman", JESSE, &["jesse"]),
            row("jo", JO, &[]),
            row("late", "11111111-2222-3333-4444-555555555555", &[]),
        ]
    );
    let document = found.json();
    let notices = document["notices"].as_array().expect("a list");
    assert_eq!(notices.len(), 1, "{found:?}");
    let message = notices[0]["message"].as_str().expect("text");
    assert_eq!(message, format!("os-x-server: `{}` is nobody's: no link in `users` leads to it", at(NOBODY)));

    let _receiver = site.receiver();
    let check = run(&config, &["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        check.stdout.contains("source         os-x-server: 4 users") && check.stdout.contains(NOBODY),
        "{check:?}"
    );
    // Whoever is named elsewhere is not nobody.
    let named = config.set_raw("mailboxes.users", &format!("{{ mike = \"mail/{NOBODY}\" }}"));
    assert!(!run(&named, &["check"]).stdout.contains("nobody's"));
}

/// A link may lead to any partition, and nowhere else.
#[test]
fn links_that_lead_out_are_not_followed() {
    let site = Site::new();
    let config = server(&site);
    let outside = Maildir::create(site.path("outside").join(JO));
    let other = Maildir::create(site.path("other").join(JO));
    let map = format!("default:{0}/mail\nbig:{0}/other\n", site.dir().display());
    fs::write(site.path("partition_map.conf"), map).expect("a file can be written");
    name(&site, "jo", &format!("../../other/{JO}"));
    let bad = [
        name(&site, "evil", outside.root().to_str().expect("text")),
        name(&site, "above", "../.."),
        name(&site, "deeper", &format!("../../other/{JO}/new")),
        name(&site, "itself", "../users"),
        name(&site, "dangling", "../nowhere/at-all"),
    ];
    // A folder that is a link itself.
    symlink(outside.root(), site.path("mail").join(JESSE)).expect("a link can be made");
    name(&site, "second", &format!("../{JESSE}"));
    fs::create_dir(site.path("mail/users/folder")).expect("a folder can be made");

    let found = run(&config, &["users", "--json"]);
    assert_eq!(rows(&found), [("jo".to_owned(), other.root().display().to_string(), Vec::new())]);
    for link in bad {
        assert!(
            found.stdout.contains(&format!("`{}` is a link to", link.display())),
            "{}: {found:?}",
            link.display()
        );
    }
    assert!(found.stdout.contains(&format!("{JESSE}` is a link to")), "{found:?}");
    assert!(found.stdout.contains("mail/users/folder` is no link"), "{found:?}");
}

#[test]
fn a_map_that_is_missing_or_wrong() {
    let site = Site::new();
    let config = server(&site);
    maildir(&site, JESSE);
    name(&site, "jesse", &format!("../{JESSE}"));
    let map = format!("default:{}\nno colon\nfar:mail\ngone:/nowhere/at-all\n", site.path("mail").display());
    fs::write(site.path("partition_map.conf"), map).expect("a file can be written");
    let check = run(&config, &["check"]);
    assert_eq!(check.code, 1, "{check:?}");
    for said in [
        "os-x-server: 1 user",
        "partition_map.conf`: line 2 is not `tag:/path`",
        "line 3: the path `mail` is not absolute",
        "the partition `gone` is not there: `/nowhere/at-all`",
        "hint: is its disk mounted",
    ] {
        assert!(check.stdout.contains(said), "no {said:?} in {check:?}");
    }

    fs::remove_file(site.path("partition_map.conf")).expect("it is there");
    for command in ["users", "check", "run"] {
        let failed = run(&config, &[command]);
        assert_eq!(failed.code, 1, "{failed:?}");
        let said = format!("{}{}", failed.stdout, failed.stderr);
        assert!(said.contains("cannot read the partition map"), "{failed:?}");
        assert!(said.contains("does not exist; OS X Server keeps it in"), "{failed:?}");
    }
}

/// New people, new names, a new partition: all found without a word to the daemon.
#[test]
fn the_daemon_follows_the_links() {
    let site = Site::new();
    let config = server(&site).set("watch.sweep-interval", "off");
    let jesse = maildir(&site, JESSE);
    let jo = maildir(&site, JO);
    name(&site, "jesse", &format!("../{JESSE}"));
    let receiver = site.receiver();
    let daemon = site.start(&config);
    jesse.deliver();
    receiver.expect("jesse");

    name(&site, "jo", &format!("../{JO}"));
    daemon.wait_log("1 added, 0 removed");
    // A delivery while it is being armed may be told twice.
    eventually("jo is watched", || {
        let file = config.path().to_str().expect("the path is text");
        let status = pushmaild(["status", "-c", file, "--json"]).json();
        let users = status["users"].as_array().expect("a list").clone();
        users.iter().any(|user| user["users"][0] == "jo" && user["state"] == "watched").then_some(())
    });
    jo.deliver();
    receiver.expect("jo");

    // Another name of somebody who is known: both are told.
    name(&site, "heisenberg", &format!("../{JO}"));
    daemon.wait_log("1 with other names");
    jo.deliver();
    receiver.expect_set(["heisenberg", "jo"]);

    fs::remove_file(site.path("mail/users/jesse")).expect("it is there");
    daemon.wait_log("0 added, 1 removed");

    // A link whose folder comes later.
    let mark = daemon.log_mark();
    name(&site, "late", &format!("../{NOBODY}"));
    daemon.wait_log_since(mark, "1 added, 0 removed");
    let late = maildir(&site, NOBODY);
    late.deliver();
    receiver.expect("late");

    let other = Maildir::create(site.path("other").join(JESSE));
    fs::create_dir(site.path("other/users")).expect("a folder can be made");
    symlink(format!("../{JESSE}"), site.path("other/users/far")).expect("a link can be made");
    let map = format!("default:{0}/mail\nbig:{0}/other\n", site.dir().display());
    fs::write(site.path("new.conf"), map).expect("a file can be written");
    let mark = daemon.log_mark();
    fs::rename(site.path("new.conf"), site.path("partition_map.conf")).expect("own files can be renamed");
    daemon.wait_log_since(mark, "1 added, 0 removed");
    other.deliver();
    receiver.read_until("far");
    daemon.stop();
}

/// A partition of a disk that is not there yet.
#[test]
fn a_partition_that_comes_later() {
    let site = Site::new();
    let config = server(&site).set("watch.sweep-interval", "off");
    fs::remove_dir_all(site.path("mail")).expect("it is there");
    let receiver = site.receiver();
    let daemon = site.start(&config);
    daemon.wait_log("the partition `default` is not there");
    let jesse = Maildir::create(site.path("made").join(JESSE));
    fs::create_dir(site.path("made/users")).expect("a folder can be made");
    symlink(format!("../{JESSE}"), site.path("made/users/jesse")).expect("a link can be made");
    fs::rename(site.path("made"), site.path("mail")).expect("own folders can be renamed");
    daemon.wait_log("1 added, 0 removed");
    let jesse = Maildir::at(site.path("mail").join(jesse.root().file_name().expect("a name")));
    jesse.deliver();
    receiver.expect("jesse");
    daemon.stop();
}
