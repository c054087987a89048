//! Configurations that are wrong: each is refused with its place, what is wrong and what to do,
//! before anything has been started.
//!
//! The cases are files, `tests/cases/bad_config/*.toml`; a new one needs no code. Each begins with
//! what is expected of it:
//!
//! ```text
//! # at 5:12                     line and column; `file` where something is missing as a whole
//! # says unknown key `sweep`    words of the message
//! # hint did you mean           words of the hint
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{PATIENCE, Run, Site, pushmaild};

/// The status for an invalid configuration, sysexits(3)'s `EX_CONFIG`.
const BAD_CONFIG: i32 = 78;

struct Case {
    name: String,
    text: Vec<u8>,
    at: String,
    says: String,
    hint: String,
}

impl Case {
    fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a case can be read");
        let expected = |number: usize, label: &str| {
            let line = text.lines().nth(number).and_then(|line| line.strip_prefix(label));
            line.unwrap_or_else(|| panic!("{}: no line `{label}…`", path.display())).to_owned()
        };
        Self {
            name: path.file_stem().expect("it is a file").to_string_lossy().into_owned(),
            at: expected(0, "# at "),
            says: expected(1, "# says "),
            hint: expected(2, "# hint "),
            text: text.into_bytes(),
        }
    }

    /// What is wrong with the answer to this case; nothing when it is as expected.
    fn complaints(&self, config: &Path, run: &Run) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut expect = |is_good: bool, what: String| {
            if !is_good {
                complaints.push(what);
            }
        };
        let place = match self.at.as_str() {
            "file" => format!("error: {}: ", config.display()),
            at => format!("error: {}:{at}: ", config.display()),
        };
        let lines: Vec<&str> = run.stderr.lines().collect();
        let message = lines.first().and_then(|line| line.strip_prefix(&place));
        let hint = lines.get(1).and_then(|line| line.strip_prefix("hint: "));
        expect(run.code == BAD_CONFIG, format!("exit status {}", run.code));
        expect(
            message.is_some_and(|message| message.contains(&self.says)),
            format!("not {place}{}", self.says),
        );
        expect(hint.is_some_and(|hint| hint.contains(&self.hint)), format!("not hint: {}", self.hint));
        expect(lines.len() <= 2 && run.stdout.is_empty(), "more output than two lines".to_owned());
        complaints
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bad_config");
    let entries = fs::read_dir(folder).expect("the cases are there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the cases can be listed").path()).collect();
    paths.sort();
    let mut cases: Vec<Case> = paths.iter().map(|path| Case::load(path)).collect();
    // No editor would keep this one as a file.
    cases.push(Case {
        name: "not UTF-8".to_owned(),
        text: b"[mailboxes]\n# caf\xc3\xa9\nmap-file = \"us\xe9rs\"\n".to_vec(),
        at: "3:15".to_owned(),
        says: "not UTF-8".to_owned(),
        hint: "save it as UTF-8".to_owned(),
    });
    cases
}

/// The commands that refuse the case in the same words. A configuration without a sink is good
/// enough for `users`, and the others have more to say about it.
fn commands(case: &Case) -> &'static [&'static [&'static str]] {
    match case.name.as_str() {
        "no-sink" => &[&["run"]],
        _ => &[&["run"], &["check"], &["users"], &["send", "jesse"]],
    }
}

#[test]
fn each_mistake_is_named_with_its_place_and_a_hint() {
    let cases = cases();
    assert!(cases.len() > 60, "the cases are found");
    let site = Site::new();
    let config = site.path("pushmaild.toml");
    let mut complaints = Vec::new();
    for case in &cases {
        fs::write(&config, &case.text).expect("the configuration can be written");
        for command in commands(case) {
            let run = pushmaild(command.iter().map(AsRef::as_ref).chain(["-c".as_ref(), config.as_os_str()]));
            let found = case.complaints(&config, &run);
            if !found.is_empty() {
                complaints.push(format!("{} ({}): {found:?}\n{}", case.name, command[0], run.stderr));
            }
        }
    }
    assert!(complaints.is_empty(), "{} wrong:\n{}", complaints.len(), complaints.join("\n"));
}

/// The receiver gets nothing, the service manager is not told that the daemon is ready, and
/// nothing lies about afterwards.
#[test]
fn nothing_is_half_started() {
    let site = Site::new();
    let receiver = site.receiver();
    let config = site.config();
    for case in cases() {
        fs::write(config.path(), &case.text).expect("the configuration can be written");
        let mut daemon = site.launch(&config).without_writing().spawn();
        let status = daemon.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(BAD_CONFIG), "{}", case.name);
        assert_eq!(daemon.notified(), Vec::<String>::new(), "{}: told the service manager", case.name);
        assert!(receiver.next_bytes(Duration::ZERO).is_none(), "{}: sent something", case.name);
        drop(daemon);
        let entries = fs::read_dir(site.dir()).expect("the site can be listed");
        for entry in entries {
            let name = entry.expect("the site can be listed").file_name();
            let name = name.to_string_lossy();
            let known = name == "pushmaild.toml" || name == "push_notify" || name.starts_with("notify-");
            assert!(known, "{}: left {name} behind", case.name);
        }
    }
}

#[test]
fn a_file_that_is_missing_or_no_file() {
    let site = Site::new();
    for (path, says) in [
        (site.path("missing.toml"), "No such file or directory"),
        (site.dir().to_owned(), "Is a directory"),
        (site.path("missing/pushmaild.toml"), "No such file or directory"),
    ] {
        for command in ["run", "check", "users"] {
            let run = pushmaild([command.as_ref(), "-c".as_ref(), path.as_os_str()]);
            assert_eq!(run.code, BAD_CONFIG, "{run:?}");
            assert!(run.stderr.contains(&format!("error: {}: ", path.display())), "{run:?}");
            assert!(run.stderr.contains(says), "{run:?}");
            assert!(run.stderr.contains("\nhint: "), "{run:?}");
        }
    }
}

#[test]
fn wrong_arguments_are_no_configuration_error() {
    for arguments in [&["send"][..], &["fly"], &["run", "--fast"], &["listen"], &[]] {
        let run = pushmaild(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("Usage: "), "{arguments:?}: {run:?}");
    }
}

/// A wrong filter would otherwise be noticed on the day when the log is needed.
#[test]
fn a_wrong_log_filter_is_refused() {
    let site = Site::new();
    let mut daemon = site.launch(&site.config()).env("PUSHMAILD_LOG", "pushmaild=loud").spawn();
    assert_eq!(daemon.wait_exit(PATIENCE).code(), Some(1));
    let log = daemon.log();
    assert!(log.contains("PUSHMAILD_LOG=`pushmaild=loud`") && log.contains("hint: "), "{log}");
}

/// Lines of the map file are configuration, too: the daemon does not start with half a map.
#[test]
fn a_bad_line_of_the_map_file_at_the_start() {
    for (text, at, says) in [
        ("a@example.org: /a\nb@example.org /b\n", "2:1", "no `user:` before the path"),
        ("a@example.org: /a\n\n  b@example.org:\n", "3:17", "no path after the user"),
        ("a@example.org: mail/a\n", "1:16", "is not absolute"),
        (": /a\n", "1:1", "a user name cannot be empty"),
        ("a\u{7}b: /a\n", "1:1", "control character"),
        ("a\0b: /a\n", "1:1", "control character"),
        ("a: /a\nb: /b\na: /c\n", "3:1", "the user `a` is in line 1 already"),
    ] {
        let site = Site::new();
        let map = site.path("users");
        fs::write(&map, text).expect("the map file can be written");
        let mut daemon = site.launch(&site.config().set("mailboxes.map-file", "users")).spawn();
        let status = daemon.wait_exit(PATIENCE);
        let log = daemon.log();
        assert_eq!(status.code(), Some(BAD_CONFIG), "{log}");
        assert!(log.contains(&format!("error: {}:{at}: ", map.display())), "{at}: {log}");
        assert!(log.contains(says), "{says}: {log}");
        assert!(log.contains("\nhint: "), "{log}");
    }
}
