//! The load tool, which other tests and operators believe: it has to notice who is not told.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pushmaild::proto::push_notify::{Dialect, Message};
use serde_json::Value;

use crate::load::{Ledger, Listener, Tree};
use crate::support::{Config, Run, Site, eventually, example};

fn load(arguments: &[&str]) -> Run {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let output = Command::new(PROGRAM.get_or_init(|| example("load")))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the tool can be started");
    Run {
        code: output.status.code().expect("no signal ends the tool"),
        stdout: String::from_utf8(output.stdout).expect("all output is text"),
        stderr: String::from_utf8(output.stderr).expect("all output is text"),
    }
}

/// Sends a push for a user as the daemon would.
fn push(site: &Site, user: usize, dialect: Dialect) {
    let mut record = Vec::new();
    let name = Tree::name(user);
    Message::Notify { user: &name, mailbox: None }.encode(dialect, &mut record).expect("a short name");
    let socket = UnixDatagram::unbound().expect("a socket can be had");
    socket.send_to(&record, site.socket()).expect("the listener is there");
}

#[test]
fn a_push_counts_if_it_was_sent_after_the_change_and_not_if_it_was_read_after_it() {
    let site = Site::new();
    let ledger = Arc::new(Ledger::new(3));
    let listener = Listener::bind(&site.socket(), Arc::clone(&ledger)).expect("a socket can be bound");
    // One datagram may still be taken.
    listener.hold();
    push(&site, 0, Dialect::Osx108);
    push(&site, 1, Dialect::Osx108);
    push(&site, 1, Dialect::Osx108);
    ledger.change(1, || Ok::<_, ()>(())).expect("nothing can fail");
    listener.release();
    eventually("three pushes", || (ledger.pushes() == 3).then_some(()));
    if cfg!(target_os = "linux") {
        assert_eq!(ledger.untold().collect::<Vec<_>>(), [1]);
    }

    for (number, dialect) in
        [Dialect::Osx108, Dialect::Osx107, Dialect::Osx107Ilp32, Dialect::Short].into_iter().enumerate()
    {
        ledger.change(2, || Ok::<_, ()>(())).expect("nothing can fail");
        assert_eq!(ledger.untold().last(), Some(2));
        push(&site, 2, dialect);
        eventually("a push", || (ledger.pushes() == 4 + number as u64).then_some(()));
        assert_ne!(ledger.untold().last(), Some(2));
    }
    push(&site, 1, Dialect::Osx108);
    ledger.settle(Duration::from_secs(30), || {});
    assert_eq!(ledger.untold().count(), 0);
    // What does not succeed is no change.
    ledger.change(0, || Err(())).expect_err("it fails");
    assert_eq!((ledger.untold().count(), ledger.users_changed()), (0, 2));
}

#[test]
fn names_and_numbers_of_users() {
    for user in [0, 1, 25, 26, 675, 676, 123_456, 9_999_999] {
        assert_eq!(Tree::number(&Tree::name(user)), Some(user));
    }
    for stranger in
        ["", "a", "é", "aa000000@example.com", "ab000000@example.org", "aa0@example.org", "jesse@example.org"]
    {
        assert_eq!(Tree::number(stranger), None, "{stranger}");
    }
}

#[test]
fn the_tool_tells_a_daemon_that_works_from_one_that_is_not_there() {
    let site = Site::new();
    let dir = site.path("load").to_str().expect("the path is text").to_owned();
    let made = load(&["make", &dir, "--users", "50"]);
    assert_eq!(made.code, 0, "{made:?}");
    // Again, and more.
    let made = load(&["make", &dir, "--users", "80"]);
    assert!(made.stdout.starts_with("80 mailboxes"), "{made:?}");

    let run = |settle| {
        load(&["run", &dir, "--rate", "0", "--events", "300", "--seed", "5", "--settle", settle, "--json"])
    };
    let nobody = run("0s");
    assert_eq!(nobody.code, 1, "{nobody:?}");
    let report = nobody.json();
    assert_eq!((&report["mailboxes"], &report["told"]), (&Value::from(80), &Value::from(0)), "{report}");
    assert_eq!(report["untold"], report["users_changed"], "{report}");
    assert_eq!(report["untold_users"].as_array().map(Vec::len), Some(10), "{report}");

    // The configuration that the tool has written is one that the daemon takes.
    let config = Config::empty(site.path("load/pushmaild.toml"));
    let _daemon = site.launch(&config).without_writing().start();
    let all = run("60s");
    assert_eq!(all.code, 0, "{all:?}");
    let report = all.json();
    assert_eq!(report["told"], report["users_changed"], "{report}");
    assert_eq!((&report["untold"], &report["strangers"]), (&Value::from(0), &Value::from(0)), "{report}");
}

#[test]
fn the_tool_says_what_is_missing() {
    let site = Site::new();
    let dir = site.path("nothing").to_str().expect("the path is text").to_owned();
    let run = load(&["run", &dir]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("there are no mailboxes in"), "{run:?}");
    let run = load(&["run", &dir, "--mix", "sleep=1"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("`sleep=1` is no ACTION=WEIGHT"), "{run:?}");
}
