//! `pushmaild check`: good, and the ways in which a valid configuration cannot work here.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{keys, on_a_terminal, with_config, with_config_in};
use crate::support::{Run, Site, bound_by_modes};

const JESSE: &str = "jesse@example.org";

/// Asserts that a problem was found, which this is a part of, and that its next line is a hint.
#[track_caller]
fn assert_problem(run: &Run, problem: &str, hint: &str) {
    assert_eq!(run.code, 1, "{run:?}");
    let mut lines =
        run.stdout.lines().skip_while(|line| !(line.starts_with("problem: ") && line.contains(problem)));
    assert!(lines.next().is_some(), "no problem: {problem}: {run:?}");
    let next = lines.next().and_then(|line| line.strip_prefix("hint: "));
    assert!(next.is_some_and(|next| next.contains(hint)), "no hint: {hint}: {run:?}");
    assert!(run.stdout.ends_with("\nnot good\n"), "{run:?}");
}

#[test]
fn on_a_terminal_long_lines_are_folded_below_their_column() {
    let site = Site::new();
    site.maildir(JESSE);
    let config = site.config();
    config.write();
    let text = on_a_terminal(60, &config, &["check"]);
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    let folded = text.lines().skip_while(|line| !line.starts_with("watching  ")).nth(1);
    assert!(folded.is_some_and(|line| line.starts_with("               ")), "{text}");
    assert!(
        with_config(&config, &["check"]).stdout.lines().any(|line| line.len() > 60),
        "for programs nothing is"
    );
}

#[test]
fn a_good_configuration() {
    let site = Site::new();
    site.maildir(JESSE);
    let receiver = site.receiver();
    let run = with_config(&site.config(), &["check"]);
    assert_eq!(run.code, 0, "{run:?}");
    for line in ["mail-location: 1 user", "1 of 1 user", "(auto: ", "reachable", "\ngood\n"] {
        assert!(run.stdout.contains(line), "no {line}: {run:?}");
    }
    assert!(!run.stdout.contains("hint: "), "nothing to do: {run:?}");
    assert!(receiver.drain().is_empty(), "nobody is pushed to");
    // Only what was there before: no lock, no probe's socket.
    let mut entries: Vec<_> = fs::read_dir(site.dir())
        .expect("the site can be listed")
        .map(|entry| entry.expect("the site can be listed").file_name())
        .collect();
    entries.sort();
    assert_eq!(entries, ["push_notify", "pushmaild.toml", "vmail"]);
}

#[test]
fn a_missing_root() {
    let site = Site::new();
    let _receiver = site.receiver();
    let run = with_config(&site.config(), &["check"]);
    let root = site.path("vmail");
    assert_problem(&run, &format!("cannot look for users in `{}`", root.display()), "must exist");
}

#[test]
fn an_unreachable_socket() {
    let site = Site::new();
    site.maildir(JESSE);
    let run = with_config(&site.config(), &["check"]);
    assert_problem(&run, "the push_notify socket", "is the push daemon running?");

    // A file that its receiver left behind.
    site.receiver().crash();
    let run = with_config(&site.config(), &["check"]);
    assert_problem(&run, "the push_notify socket", "nobody listens");
}

#[test]
fn a_socket_of_the_other_type() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let run = with_config(&site.config().set("push-notify.dialect", "argon"), &["check"]);
    assert_problem(&run, "the push_notify socket", "argon wants a stream socket");
}

#[test]
fn an_unreadable_maildir() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let _receiver = site.receiver();
    fs::set_permissions(jesse.root(), Permissions::from_mode(0o000)).expect("a mode can be set");
    let run = with_config_in(&bound_by_modes(), &site.config(), &["check"]);
    let closed = format!("`{}` (mode 0000", jesse.root().display());
    assert_problem(&run, "the Maildir of `jesse@example.org` cannot be watched", &closed);
}

#[test]
#[cfg(target_os = "linux")]
fn too_few_watches() {
    let site = Site::new();
    for number in 0..20 {
        site.maildir(&format!("user-{number}@example.org"));
    }
    let _receiver = site.receiver();
    let run = with_config_in(&crate::support::with_20_watches(), &site.config(), &["check"]);
    assert_problem(&run, "user.max_inotify_watches allows 20", "`sysctl user.max_inotify_watches=");
}

#[test]
fn a_bad_line_of_the_map_file() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    fs::write(site.path("users"), "# a comment\njesse /var/vmail/jesse\n").expect("it can be written");
    let run = with_config(&site.config().set("mailboxes.map-file", "users"), &["check"]);
    let place = format!("{}:2:1: no `user:` before the path", site.path("users").display());
    assert_problem(&run, &place, "write a line as `jesse: ");
}

#[test]
fn no_sink() {
    let site = Site::new();
    site.maildir(JESSE);
    fs::write(
        site.path("pushmaild.toml"),
        format!("[mailboxes]\nmail-location = {:?}\n", site.mail_location()),
    )
    .expect("the configuration can be written");
    let run =
        crate::support::pushmaild(["check".as_ref(), "-c".as_ref(), site.path("pushmaild.toml").as_os_str()]);
    assert_problem(&run, "there is no sink to push to", "[push-notify]");
}

/// A Maildir that is not there yet is no problem: the first delivery makes it.
#[test]
fn a_maildir_that_is_not_there_yet_is_a_warning() {
    let site = Site::new();
    site.maildir(JESSE);
    fs::create_dir(site.path("vmail/example.org/new")).expect("a folder can be made");
    let _receiver = site.receiver();
    let run = with_config(&site.config(), &["check"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("\nwarning: 1 Maildir not there yet: `new@example.org`\nhint: "), "{run:?}");
}

#[test]
fn json_has_stable_keys() {
    let site = Site::new();
    site.maildir(JESSE);
    let run = with_config(&site.config(), &["check", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let report = run.json();
    assert_eq!(
        keys(&report),
        [
            "config",
            "findings",
            "mailboxes",
            "missing",
            "ok",
            "registry",
            "running",
            "sinks",
            "sources",
            "users",
            "watch"
        ]
    );
    assert_eq!(report["ok"], false);
    assert_eq!(report["users"], 1);
    assert_eq!(keys(&report["sources"][0]), ["source", "users"]);
    assert_eq!(keys(&report["sinks"][0]), ["dialect", "reachable", "sink", "socket"]);
    assert_eq!(keys(&report["findings"][0]), ["hint", "message", "severity"]);
    assert_eq!(report["findings"][0]["severity"], "problem");
    #[cfg(target_os = "linux")]
    assert_eq!(keys(&report["watch"]), ["backend", "watch_limit", "watches_needed", "why"]);
}
