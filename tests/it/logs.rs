//! What an administrator reads: one line for each push, whenever and by whatever way it went out, and at debug why there was none.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::{Daemon, Fence, PATIENCE, Site};

const JESSE: &str = "jesse@example.org";
const JO: &str = "jo@example.org";

/// The lines of the log about pushes to this user that went out.
fn pushed(log: &str, user: &str) -> Vec<String> {
    let start = format!(" INFO pushed {user}: ");
    log.lines().filter(|line| line.contains(&start)).map(ToOwned::to_owned).collect()
}

/// The line that says that nothing is pushed, or not now.
#[track_caller]
fn wait_debug(daemon: &Daemon, mark: usize, text: &str) {
    let line = daemon.wait_log_since(mark, text);
    assert!(line.contains("DEBUG "), "{line}");
}

#[test]
fn a_push_has_one_line_for_each_name() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let users = format!("{{ second = {:?} }}", jesse.root());
    let daemon = site.start(&site.config().set_raw("mailboxes.users", &users));
    jesse.deliver();
    receiver.expect_set([JESSE, "second"]);
    let log = daemon.stop();
    for name in [JESSE, "second"] {
        let lines = pushed(&log, name);
        assert!(lines.len() == 1 && lines[0].contains(": new mail, 1 in 0."), "{log}");
    }
}

/// What waited for the receiver is a push like any other when it goes out.
#[test]
fn a_push_that_waited_has_its_line_too() {
    let site = Site::new();
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let message = jo.deliver_into_cur("");
    jo.age();
    let daemon = site.start(&site.config());
    for _ in 0..2 {
        let mark = daemon.log_mark();
        jesse.deliver();
        wait_debug(&daemon, mark, "the push of jesse@example.org waits for the receiver: new mail");
    }
    jo.set_flags(&message, "S");
    daemon.wait_log("the push of jo@example.org waits for the receiver: change");
    assert_eq!(pushed(&daemon.log(), JESSE), Vec::<String>::new(), "nobody has it yet");

    let receiver = site.receiver();
    receiver.expect_set([JESSE, JO]);
    daemon.wait_log("the push_notify socket works again");
    let log = daemon.stop();
    let (jesse, jo) = (pushed(&log, JESSE), pushed(&log, JO));
    assert!(jesse.len() == 1 && jesse[0].contains(": new mail, 2 in "), "{log}");
    assert!(jo.len() == 1 && jo[0].contains(": change, 1 in "), "{log}");
}

#[test]
fn why_nothing_is_pushed() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config());
    jesse.deliver();
    receiver.expect(JESSE);

    let mark = daemon.log_mark();
    jesse.open_mailbox();
    wait_debug(&daemon, mark, "nothing to push for jesse@example.org: a client opened the mailbox");
    fs::write(jesse.path("cur/dovecot.\u{1b}index"), "").expect("a file can be written");
    wait_debug(
        &daemon,
        mark,
        "nothing to push for jesse@example.org: `dovecot.\\u{1b}index` in cur/ is no message",
    );
    fence.assert_silent(&receiver);
    assert_eq!(pushed(&daemon.log(), JESSE).len(), 1);
}

#[test]
fn what_waits_and_what_is_joined_to_it() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let message = jesse.deliver_into_cur("");
    jesse.age();
    let receiver = site.receiver();
    let slow = site.config().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    let daemon = site.start(&slow);
    let mark = daemon.log_mark();
    jesse.set_flags(&message, "F");
    wait_debug(&daemon, mark, "the push of jesse@example.org waits for its time");
    jesse.set_flags(&message, "FS");
    wait_debug(&daemon, mark, "joined to the push of jesse@example.org that waits: 2 events");
    // New mail takes them along.
    jesse.deliver();
    receiver.expect(JESSE);
    let log = daemon.stop();
    let lines = pushed(&log, JESSE);
    assert!(lines.len() == 1 && lines[0].contains(": new mail, 3 in "), "{log}");
}

/// Nothing of this costs a line where nobody asked for it.
#[test]
fn at_info_there_are_only_the_pushes() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let daemon = site.launch(&site.config()).env("PUSHMAILD_LOG", "info").start();
    jesse.deliver();
    receiver.expect(JESSE);
    jesse.open_mailbox();
    fs::write(jesse.path("cur/dovecot.index"), "").expect("a file can be written");
    jesse.deliver();
    receiver.expect(JESSE);
    let log = daemon.stop();
    assert_eq!(pushed(&log, JESSE).len(), 2, "{log}");
    assert!(!log.contains("DEBUG ") && !log.contains("nothing to push"), "{log}");
}

#[test]
fn nobody_has_a_device() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let config = site
        .config()
        .without("push-notify")
        .set("apns.topic", "com.apple.mobilemail.push.org.example")
        .set("watch.mailboxes", "all");
    let daemon = site.start(&config);
    jesse.deliver();
    wait_debug(&daemon, 0, "nothing to push to jesse@example.org through Apple: no device is registered");
    daemon.stop();
}

/// A map that cannot be read is said once and not at each sweep, and so is that it can be read again.
#[test]
fn a_map_that_stays_bad_is_told_once() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let map = site.path("users");
    fs::write(&map, "other: /nowhere\n").expect("the map file can be written");
    let config = site.config().set("mailboxes.map-file", "users").set("watch.sweep-interval", "1s");
    let daemon = site.start(&config);
    fs::write(&map, "a line without a path\n").expect("the map file can be written");
    daemon.wait_log("the map of mailboxes still cannot be read");
    let mark = daemon.log_mark();
    daemon.wait_log_since(mark, "the map of mailboxes still cannot be read");
    assert_eq!(daemon.log().matches("the map of mailboxes cannot be read").count(), 1, "{}", daemon.log());
    fs::write(&map, "other: /nowhere\n").expect("the map file can be written");
    daemon.wait_log("the map of mailboxes can be read again");
    jesse.deliver();
    receiver.expect(JESSE);
    daemon.stop();
}

/// What journald gets, field by field: `journalctl PUSHMAILD_USER=…` finds a user's pushes.
#[test]
#[cfg(target_os = "linux")]
fn the_fields_in_the_journal() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let folder = site.path("journal");
    fs::create_dir(&folder).expect("a folder can be made");
    let journal = UnixDatagram::bind(folder.join("socket")).expect("a socket can be bound");
    // journald's socket is where it always is, in a mount namespace of the daemon's own.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind '{}' /run/systemd/journal && \
         export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) && exec \"$@\"",
        folder.display()
    );
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"];
    let daemon = site.launch(&site.config()).wrapped_in(wrapper).start();
    jesse.deliver();
    receiver.expect(JESSE);
    jesse.open_mailbox();

    let pushed = next_entry(&journal, "pushed jesse@example.org: new mail, 1 in 0.");
    for (field, value) in [
        ("PUSHMAILD_USER", JESSE),
        ("PUSHMAILD_KIND", "new mail"),
        ("PUSHMAILD_EVENTS", "1"),
        ("PUSHMAILD_SINK", "push-notify"),
        ("PUSHMAILD_OUTCOME", "pushed"),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "pushmaild"),
    ] {
        assert_eq!(pushed.get(field).map(String::as_str), Some(value), "{field}: {pushed:?}");
    }
    let age: u64 = pushed["PUSHMAILD_AGE_MS"].parse().expect("whole milliseconds");
    assert!(age < 60_000, "{pushed:?}");
    let opened = next_entry(&journal, "a client opened the mailbox");
    assert_eq!((opened["PUSHMAILD_REASON"].as_str(), opened["PRIORITY"].as_str()), ("opened", "6"));
    assert_eq!(daemon.log(), "", "nothing is said twice");
}

/// The next entry whose message begins or ends so.
#[track_caller]
fn next_entry(journal: &UnixDatagram, message: &str) -> BTreeMap<String, String> {
    journal.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = journal.recv(&mut buffer).unwrap_or_else(|error| panic!("no `{message}`: {error}"));
        let entry = fields(&buffer[..length]);
        if entry.get("MESSAGE").is_some_and(|text| text.contains(message)) {
            return entry;
        }
    }
}

/// journald's protocol: `NAME=value`, or the name alone, eight bytes of length, and the value.
fn fields(mut rest: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all is text");
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            rest = after;
        } else {
            let length = u64::from_le_bytes(after[..8].try_into().expect("eight bytes"));
            let length = usize::try_from(length).expect("it fits");
            fields.insert(text(line), text(&after[8..8 + length]));
            rest = &after[8 + length + 1..];
        }
    }
    fields
}

/// `docs/logs.md` has every message of these levels, as the sources have it.
#[test]
fn every_message_is_in_the_document() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(project.join("docs/logs.md")).expect("the document can be read");
    let sources = walkdir::WalkDir::new(project.join("src")).into_iter().map(|file| file.expect("a file"));
    let rust = sources.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
    let mut missing = Vec::new();
    let mut count = 0;
    for file in rust {
        let text = fs::read_to_string(file.path()).expect("a source can be read");
        for message in messages(&text) {
            count += 1;
            // What varies is an ellipsis there, and what comes of the hint is left out.
            for words in message.split(['{', '}']).step_by(2).flat_map(|words| words.split("; hint: ")) {
                if words.trim().len() > 8 && !document.contains(words.trim_matches(['`', ' '])) {
                    missing.push(format!("{}: {words}", file.path().display()));
                }
            }
        }
    }
    assert!(count > 70, "the messages are found: {count}");
    assert!(missing.is_empty(), "not in docs/logs.md:\n{}", missing.join("\n"));
}

/// The longest text in each call of the macros for the levels above debug.
fn messages(source: &str) -> Vec<String> {
    let calls = ["info!(", "warn!(", "error!("].into_iter();
    let starts = calls.flat_map(|call| source.match_indices(call).map(move |(at, _)| at + call.len()));
    starts.map(|at| longest_text(&source[at..])).filter(|text| text.contains(' ')).collect()
}

/// The longest string literal up to the parenthesis that closes.
fn longest_text(call: &str) -> String {
    let (mut depth, mut longest) = (1, String::new());
    let mut characters = call.chars();
    while let Some(character) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                let mut text = String::new();
                while let Some(character) = characters.next().filter(|it| *it != '"') {
                    // A line that goes on, and whatever else is escaped.
                    if character == '\\' {
                        characters.next();
                        text.truncate(text.trim_end().len());
                        text.push('{');
                        text.push('}');
                    } else {
                        text.push(character);
                    }
                }
                if text.len() > longest.len() {
                    longest = text;
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    longest
}
