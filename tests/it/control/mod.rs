//! The control socket, and `pushmaild status`, which asks it.

mod clients;
mod http;
mod watch;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::Value;

use crate::support::{Config, Daemon, Run, Site, eventually, pushmaild};

const JESSE: &str = "jesse@example.org";
const JO: &str = "jo@example.org";

fn status(config: &Config, more: &[&str]) -> Run {
    let file = config.path().to_str().expect("the path is text");
    pushmaild(["status", "-c", file].iter().chain(more))
}

/// The status as JSON.
#[track_caller]
fn json(config: &Config) -> Value {
    let run = status(config, &["--json"]);
    assert_eq!(run.stderr, "");
    run.json()
}

/// The entry of a user among all of them.
#[track_caller]
fn user<'a>(status: &'a Value, name: &str) -> &'a Value {
    let users = status["users"].as_array().expect("there are users");
    users.iter().find(|user| user["users"][0] == name).unwrap_or_else(|| panic!("no {name}: {users:#?}"))
}

#[test]
fn a_push_is_seen_by_people_and_by_programs() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    site.maildir(JO);
    let receiver = site.receiver();
    let config = site.config();
    let daemon = site.start(&config);

    let before = json(&config);
    assert_eq!(before["pushes"], Value::Array(Vec::new()), "{before:#}");
    assert_eq!(user(&before, JESSE)["last_push"], Value::Null);
    assert!(status(&config, &[]).stdout.contains("no push yet"));

    jesse.deliver();
    receiver.expect(JESSE);
    let after = json(&config);
    let push = &after["pushes"][0];
    for (key, value) in
        [("user", JESSE), ("kind", "new-mail"), ("sink", "push-notify"), ("outcome", "delivered")]
    {
        assert_eq!(push[key], value, "{key}: {push:#}");
    }
    assert_eq!((&push["events"], &push["answer"]), (&Value::from(1), &Value::Null));
    assert_eq!(after["pid"], daemon.pid());
    assert_eq!(after["ready"], true);
    let mailboxes = &after["mailboxes"];
    assert_eq!((&mailboxes["total"], &mailboxes["watched"]), (&Value::from(2), &Value::from(2)));
    let sink = &after["sinks"][0];
    assert_eq!((&sink["state"], &sink["delivered"]), (&Value::from("ok"), &Value::from(1)), "{sink:#}");
    assert_eq!(sink["target"], site.socket().to_str().expect("the path is text"));
    assert!(after["watch"]["events"].as_u64().expect("a count") >= 1);
    assert!(user(&after, JESSE)["last_push"].is_string() && user(&after, JO)["last_push"].is_null());

    let run = status(&config, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    for part in ["2 of 2 watched", "push-notify ok: 1 pushed", JESSE, "new-mail", "delivered"] {
        assert!(run.stdout.contains(part), "no {part:?}:\n{}", run.stdout);
    }
    assert!(!run.stdout.contains('\x1b'), "no colours where nobody sees them");
}

#[test]
fn the_directories_that_are_armed_are_those_on_disk() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let config = site.config();
    let _daemon = site.start(&config);
    let status = json(&config);
    let entry = user(&status, JESSE);
    assert_eq!(entry["state"], "watched", "{entry:#}");
    assert_eq!(entry["maildir"], jesse.root().to_str().expect("the path is text"));
    for (part, name) in entry["parts"].as_array().expect("a list").iter().zip(["new", "cur"]) {
        let found = fs::metadata(jesse.path(name)).expect("it is there");
        assert_eq!((&part["name"], &part["armed"]), (&Value::from(name), &Value::from(true)));
        assert_eq!(part["inode"], found.ino(), "{part:#}");
        assert_eq!(part["device"], found.dev(), "{part:#}");
    }
}

#[test]
fn a_change_that_waits_for_quiet_is_pending() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let unique = jesse.deliver_into_cur("S");
    let config = site.config().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    let _daemon = site.start(&config);
    jesse.set_flags(&unique, "FS");
    let status = eventually("the change is pending", || {
        let status = json(&config);
        (status["pending"]["debounced"] == 1).then_some(status)
    });
    let pending = &user(&status, JESSE)["pending"];
    let due = pending["due_in_ms"].as_f64().expect("a number");
    assert!((1.0..=3_600_000.0).contains(&due), "{pending:#}");
    assert!(pending["events"].as_u64().expect("a count") >= 1, "{pending:#}");
}

#[test]
fn mailboxes_in_trouble_are_named_with_the_reason() {
    let site = Site::new();
    site.maildir(JESSE);
    let jo = site.maildir(JO);
    let elsewhere = site.path("elsewhere");
    fs::rename(jo.path("new"), &elsewhere).expect("it can be moved");
    symlink(&elsewhere, jo.path("new")).expect("a link can be made");
    let missing = site.path("missing/Maildir");
    let users = format!("{{ missing = {missing:?} }}");
    let config = site.config().set_raw("mailboxes.users", &users);
    let _daemon = site.start(&config);

    let run = status(&config, &["--json"]);
    assert_eq!(run.code, 1, "a mailbox that cannot be watched is a failure");
    let status_json = run.json();
    let mailboxes = &status_json["mailboxes"];
    assert_eq!((&mailboxes["in_trouble"], &mailboxes["missing"]), (&Value::from(1), &Value::from(1)));
    let troubles = status_json["troubles"].as_array().expect("a list");
    assert_eq!(troubles[0]["user"], JO, "what is wrong comes before what is not there yet: {troubles:#?}");
    assert!(troubles[0]["reason"].as_str().expect("text").contains("symbolic link"), "{troubles:#?}");
    assert_eq!(troubles[1]["user"], "missing");
    assert_eq!(user(&status_json, JO)["state"], "trouble");
    assert_eq!(user(&status_json, "missing")["state"], "missing");
    let text = status(&config, &[]).stdout;
    assert!(text.contains("1 in trouble") && text.contains("symbolic link"), "{text}");
}

#[test]
fn a_receiver_that_is_gone_is_trouble_until_it_is_back() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let config = site.config();
    let _daemon = site.start(&config);
    jesse.deliver();
    let status_json = eventually("the push waits", || {
        let status = json(&config);
        (status["sinks"][0]["waiting"] == 1).then_some(status)
    });
    let sink = &status_json["sinks"][0];
    assert_eq!(sink["state"], "trouble", "{sink:#}");
    assert!(sink["trouble"].as_str().expect("text").contains("No such file"), "{sink:#}");
    assert_eq!(user(&status_json, JESSE)["waits_in"][0], "push-notify");
    let run = status(&config, &[]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("push-notify trouble: 0 pushed, 1 waiting"), "{}", run.stdout);

    let receiver = site.receiver();
    receiver.expect(JESSE);
    let status = eventually("the trouble is over", || {
        let status = json(&config);
        (status["sinks"][0]["state"] == "ok").then_some(status)
    });
    assert!(status["sinks"][0]["last_error"]["message"].as_str().expect("text").contains("No such file"));
}

#[test]
fn a_map_that_cannot_be_read_again_is_trouble() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let map = site.path("users");
    fs::write(&map, format!("{JESSE}: {}\n", jesse.root().display())).expect("it can be written");
    let config = site.config().set("mailboxes.map-file", "users").unset("mailboxes.mail-location");
    let _daemon = site.start(&config);
    assert_eq!(json(&config)["map"]["trouble"], Value::Null);
    fs::write(&map, "nonsense\n").expect("it can be written");
    let status_json = eventually("the trouble is told", || {
        let status = json(&config);
        status["map"]["trouble"].is_string().then_some(status)
    });
    assert!(status_json["map"]["trouble"].as_str().expect("text").contains("users:1"), "{status_json:#}");
    assert_eq!(status_json["mailboxes"]["total"], 1, "the old map stays");
    let run = status(&config, &[]);
    assert!(run.code == 1 && run.stdout.contains("the old one stays"), "{run:?}");
}

#[test]
fn without_a_daemon_there_is_a_hint() {
    let site = Site::new();
    let config = site.config();
    config.write();
    let run = status(&config, &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("no daemon answers") && run.stderr.contains("hint: is pushmaild running"));

    // Killed, it leaves its socket, which a next one replaces.
    let daemon = site.start(&config);
    drop::<Daemon>(daemon);
    let run = status(&config, &[]);
    assert!(run.code == 1 && run.stderr.contains("without removing its socket"), "{run:?}");
    let daemon = site.start(&config);
    assert_eq!(json(&config)["pid"], daemon.pid());
    let socket = site.path("control.sock");
    let mode = fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    daemon.stop();
    assert!(!socket.exists(), "an orderly end removes it");
}

#[test]
fn a_socket_that_is_taken_ends_the_start() {
    let site = Site::new();
    fs::write(site.path("control.sock"), "").expect("a file can be made");
    let mut daemon = site.launch(&site.config()).spawn();
    assert_eq!(daemon.wait_exit(crate::support::PATIENCE).code(), Some(1));
    assert!(daemon.log().contains("`socket` of [control]") && daemon.log().contains("is no socket"));
}

/// The number of a mailbox that is gone is given to another one.
#[test]
fn a_new_mailbox_has_not_the_pushes_of_one_that_is_gone() {
    let site = Site::new();
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let map = site.path("users");
    let write = |name: &str, maildir: &crate::support::Maildir| {
        fs::write(site.path("new"), format!("{name}: {}\n", maildir.root().display()))
            .expect("it can be written");
        fs::rename(site.path("new"), &map).expect("it can be renamed");
    };
    write(JESSE, &jesse);
    let receiver = site.receiver();
    let config = site.config().set("mailboxes.map-file", "users").unset("mailboxes.mail-location");
    let daemon = site.start(&config);
    jesse.deliver();
    receiver.expect(JESSE);
    assert!(user(&json(&config), JESSE)["last_push"].is_string());
    let mark = daemon.log_mark();
    fs::write(&map, "# nobody\n").expect("it can be written");
    daemon.wait_log_since(mark, "1 removed");
    write(JO, &jo);
    let status = eventually("the new one is watched", || {
        let status = json(&config);
        (status["mailboxes"]["watched"] == 1 && status["users"][0]["users"][0] == JO).then_some(status)
    });
    assert_eq!(user(&status, JO)["last_push"], Value::Null);
}

#[test]
fn a_daemon_that_ends_before_it_answers() {
    let site = Site::new();
    let config = site.config();
    config.write();
    let socket = std::os::unix::net::UnixListener::bind(site.path("control.sock")).expect("a socket");
    let ends = std::thread::spawn(move || {
        let (mut client, _) = socket.accept().expect("a client");
        client.read_exact(&mut [0; b"status\n".len()]).expect("a question");
    });
    let run = status(&config, &[]);
    ends.join().expect("it ends");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("the daemon ended before it answered"), "{run:?}");
}
