//! The examples, and what `check` says to them.

use std::collections::BTreeSet;

use tempfile::TempDir;
use toml::{Table, Value};

use super::*;

/// The exit status for a configuration that is refused.
const CONFIGURATION_INVALID: i32 = 78;

/// The examples: each name and its text.
fn examples() -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(project_file("examples"))
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("an example");
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, text)
        })
        .collect();
    found.sort();
    found
}

/// `pushmaild check` of a file with this text.
fn check(text: &str) -> (Option<i32>, String) {
    let folder = TempDir::new().expect("a temporary directory");
    let path = folder.path().join("pushmaild.toml");
    fs::write(&path, text).expect("the temporary directory can be written");
    let output = Command::new(PUSHMAILD)
        .args(["check", "-c"])
        .arg(&path)
        .output()
        .expect("the program that was just built runs");
    (output.status.code(), said(&output))
}

/// Every table in `table`, by its path, and every key that is not a table. Whoever is listed
/// in `mailboxes.users` is a name and no key, so that is one key.
fn walk(table: &Table, path: &str, tables: &mut BTreeSet<String>, keys: &mut BTreeSet<String>) {
    tables.insert(path.to_owned());
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) if path != "mailboxes.users" => {
                walk(inner, &path, tables, keys);
            }
            _ => {
                keys.insert(path);
            }
        }
    }
}

/// The paths of all tables and of all keys of an example.
#[track_caller]
fn tables_and_keys(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut tables, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let table: Table = text.parse().expect("the example is TOML");
    walk(&table, "", &mut tables, &mut keys);
    (tables, keys)
}

/// The example with a key that does not exist in the table at `path`, and the line where it is.
#[track_caller]
fn with_stray_key(text: &str, path: &str) -> (String, usize) {
    let header = format!("[{path}]");
    let name = path.rsplit('.').next().expect("split gives at least one");
    let inline = format!("{name} = {{ ");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let line = if path.is_empty() {
        lines.insert(0, "stray-key = true".to_owned());
        0
    } else if let Some(at) = lines.iter().position(|line| *line == header) {
        lines.insert(at + 1, "stray-key = true".to_owned());
        at + 1
    } else if let Some(at) = lines.iter().position(|line| line.starts_with(&inline)) {
        lines[at] = lines[at].replacen(&inline, &format!("{inline}stray-key = true, "), 1);
        at
    } else if let Some(at) = lines.iter().position(|line| line.starts_with(&format!("[{path}."))) {
        // A table that is there only because of the one inside it.
        lines.splice(at..at, [header, "stray-key = true".to_owned()]);
        at + 1
    } else {
        panic!("no table {path} in {text}");
    };
    (lines.join("\n"), line + 1)
}

#[test]
fn check_accepts_every_example() {
    let examples = examples();
    let names: Vec<_> = examples.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "everything.toml",
            "exec.toml",
            "family-mac.toml",
            "linux-apns.toml",
            "linux-dovecot.toml",
            "os-x-server.toml"
        ]
    );
    for (name, text) in &examples {
        let (status, said) = check(text);
        // 1: it is valid, but the folders and sockets in it are not on this machine.
        assert!(matches!(status, Some(0 | 1)), "{name}: {status:?}: {said}");
    }
}

#[test]
fn check_refuses_a_stray_key_in_every_table_of_every_example() {
    for (name, text) in &examples() {
        for table in tables_and_keys(text).0 {
            let (text, line) = with_stray_key(text, &table);
            let stray = if table.is_empty() { "stray-key".to_owned() } else { format!("{table}.stray-key") };
            assert!(tables_and_keys(&text).1.contains(&stray), "{name} has {stray}");

            let (status, said) = check(&text);
            assert_eq!(status, Some(CONFIGURATION_INVALID), "{name}, {stray}: {said}");
            assert!(said.contains("stray-key"), "{name}, {stray}: {said}");
            let place = format!("pushmaild.toml:{line}:");
            assert!(said.contains(&place), "{name}, {stray}, no `{place}`: {said}");
        }
    }
}

/// The lines of the default configuration that an administrator changes are right as soon as their `#` is gone.
#[test]
fn the_default_configuration_can_be_edited_as_it_says() {
    let default = project_text("packaging/pushmaild.toml");
    let edit = |lines: &[(&str, &str)]| {
        let mut text = default.clone();
        for (before, after) in lines {
            assert_eq!(text.matches(before).count(), 1, "one `{before}`");
            text = text.replace(before, after);
        }
        text
    };
    let apns = ("\n[apns]\ncertificate = \"apns.pem\"\n", "\n");
    let listen = ("\n[listen]\nxaps-http = \"127.0.0.1:11619\"\n", "\n");
    for (what, text) in [
        ("as it is", edit(&[])),
        ("virtual users", edit(&[("# mail-location", "mail-location"), ("\npasswd", "\n# passwd")])),
        ("no certificate", edit(&[("\ncertificate", "\n# certificate"), ("# topic =", "topic =")])),
        (
            "no Apple",
            edit(&[
                apns,
                listen,
                ("# [push-notify]\n", "[push-notify]\n"),
                ("# socket", "socket"),
                ("# dialect", "dialect"),
            ]),
        ),
    ] {
        let (status, said) = check(&text);
        // Neither certificate, nor virtual users, nor a receiver are on this machine, so it cannot work; but it is valid.
        assert_eq!(status, Some(1), "{what}: {said}");
    }
}

#[test]
fn everything_has_every_key() {
    let (_, keys) = tables_and_keys(&project_text("examples/everything.toml"));
    let expected = [
        "apns.ca-file",
        "apns.certificate",
        "apns.change-priority",
        "apns.endpoint",
        "apns.environment",
        "apns.key",
        "apns.new-mail-priority",
        "apns.password-file",
        "apns.proxy",
        "apns.topic",
        "control.group",
        "control.http",
        "control.socket",
        "control.token-file",
        "debounce.catch-up-rate",
        "debounce.change-max-wait",
        "debounce.change-quiet",
        "debounce.new-mail-interval",
        "exec.command",
        "exec.concurrency",
        "exec.timeout",
        "listen.allow-remote",
        "listen.group",
        "listen.mode",
        "listen.peers",
        "listen.push-notify-datagram",
        "listen.push-notify-stream",
        "listen.xaps-http",
        "listen.xaps-socket",
        "mailboxes.doveadm.command",
        "mailboxes.doveadm.refresh",
        "mailboxes.mail-location",
        "mailboxes.map-file",
        "mailboxes.os-x-server",
        "mailboxes.passwd.maildir",
        "mailboxes.passwd.max-uid",
        "mailboxes.passwd.min-uid",
        "mailboxes.username-format",
        "mailboxes.users",
        "push-notify.dialect",
        "push-notify.socket",
        "registry.devices-per-user",
        "registry.expire",
        "registry.url",
        "watch.backend",
        "watch.mailboxes",
        "watch.poll-interval",
        "watch.sweep-interval",
    ];
    assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
