//! `pushmaild devices import` of the files of other daemons.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{OTHER, TOKEN, config, devices, good, large, listed, users};
use crate::commands::keys;
use crate::support::Site;

const GUID: &str = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";

fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/import");
    folder.join(name).to_str().expect("the path is text").to_owned()
}

#[test]
fn imports_xapsd() {
    let site = Site::new();
    site.maildir("jo@example.org");
    let config = config(&site);
    let store = recorded("xapsd-database.json");
    let run = good(&config, &["import", &store, "--dry-run"]);
    assert!(run.stdout.starts_with("would take 3 registrations from "), "{run:?}");
    assert!(!site.path("registry.db").exists());

    let run = good(&config, &["import", &store, "--topic", "com.apple.mail.old"]);
    assert!(run.stdout.starts_with("took 3 registrations from "), "{run:?}");
    assert!(run.stdout.contains("topic: com.apple.mail.old\n"), "{run:?}");
    assert!(
        run.stdout.contains("not in the map yet") && run.stdout.contains("mixed.case@example.org"),
        "{run:?}"
    );
    let once = listed(&config);
    assert_eq!(users(&config), ["jo@example.org", "jo@example.org", "mixed.case@example.org"]);
    assert!(once.iter().all(|row| row["topic"] == "com.apple.mail.old" && row["state"] == "active"));
    let dated = once.iter().find(|row| row["account"] == "DB222D09-0BB8-4EE5-948C-9A1D7DCBA6CD").unwrap();
    assert_eq!(dated["first_registered"], "2023-04-29T19:36:40Z");
    assert_eq!(dated["mailboxes"], json!(["INBOX", "Open Orders", "Sent Messages"]));
    // It does not expire at once.
    assert!(dated["last_registered"].as_str().unwrap() > "2024", "{dated}");

    for words in [&["import", &store][..], &["import", &store, "--dry-run"]] {
        let run = good(&config, words);
        assert!(run.stdout.contains("already there: 3 registrations\n"), "{run:?}");
        assert_eq!(listed(&config), once, "the second time changes nothing");
    }
}

#[test]
fn imports_pushnotify_and_what_a_device_said_since_stays() {
    let site = Site::new();
    let config = config(&site);
    good(
        &config,
        &[
            "add",
            "stefan",
            "--token",
            TOKEN,
            "--account",
            "0715A26B-CA09-4730-A419-793000CA982E",
            "--topic",
            "com.new",
        ],
    );
    let before = listed(&config);
    let run = good(&config, &["import", &recorded("pushnotify-devices"), "--topic", "com.old", "--json"]);
    let report = run.json();
    assert_eq!(
        keys(&report),
        [
            "already_there",
            "dry_run",
            "format",
            "hints",
            "left_out",
            "new",
            "newer",
            "notes",
            "older_than_expire",
            "store",
            "topic",
            "unknown_mailboxes",
            "users_not_in_map",
            "without_time"
        ]
    );
    assert_eq!((&report["new"], &report["already_there"]), (&json!(2), &json!(1)));
    assert_eq!((&report["without_time"], &report["older_than_expire"]), (&json!(1), &json!(1)));
    assert_eq!(report["format"], "pushnotify");
    let after = listed(&config);
    assert!(after.contains(&before[0]), "{after:?}");
    assert!(after.iter().any(|row| row["user"] == "jesse" && row["topic"] == "com.old"), "{after:?}");
}

/// What is newest wins, also within one file, and two accounts of a device that were used in one week are both in use.
#[test]
fn times_of_a_store_count() {
    let site = Site::new();
    let config = config(&site);
    let day = |ago: u64| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago * 24 * 3600;
    let times = [day(3), day(20), day(5), day(4)];
    let [new, old, near, again] = times;
    let lines = format!(
        "jo:NEW,{TOKEN},s,{new}\njo:OLD,{TOKEN},s,{old}\njo:NEAR,{TOKEN},s,{near}\njo:OTHER,{OTHER},s,{old}\njo:OTHER,{OTHER},s,{again}\n"
    );
    fs::write(site.path("store"), lines).unwrap();
    let store = site.path("store");
    let import = ["import", store.to_str().unwrap()];
    let run = good(&config, &import);
    assert!(run.stdout.contains("of which the registry had 1, registered earlier"), "{run:?}");
    let all = listed(&config);
    let row = |account: &str| all.iter().find(|row| row["account"] == account).unwrap();
    let time = |at: u64| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string();
    for (account, state, at) in [
        ("NEW", "active", new),
        ("OLD", "superseded", old),
        ("NEAR", "active", near),
        ("OTHER", "active", again),
    ] {
        let row = row(account);
        assert_eq!((&row["state"], &row["last_registered"]), (&json!(state), &json!(time(at))), "{account}");
    }
    good(&config, &import);
    assert_eq!(listed(&config), all, "the second time changes nothing");
}

#[test]
fn imports_os_x_server_with_the_names_of_guids() {
    let site = Site::new();
    let config = config(&site);
    let store = recorded("guid_device_maps.plist");
    let run = devices(&config, &["import", &store]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains("nobody knows whose GUID it is:")
            && run.stdout.contains("hint: name the users with `--map FILE`"),
        "{run:?}"
    );
    assert!(run.stdout.contains("switched the device off on 2013-05-01T12:00:00Z"), "{run:?}");

    fs::write(site.path("guids"), format!("# all\nJesse: {GUID}\n")).unwrap();
    let map = site.path("guids");
    good(&config, &["import", &store, "--map", map.to_str().unwrap()]);
    assert_eq!(users(&config), ["jesse"]);
    fs::write(&map, "jesse: /var/mail/jesse\n").unwrap();
    let run = devices(&config, &["import", &store, "--map", map.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("guids:1: there is no GUID after the user"), "{run:?}");

    // A Maildir that has the GUID as its name says it, too.
    let config = config
        .set("registry.url", "sqlite:other.db")
        .set_raw("mailboxes.users", &format!("{{ jo = \"/mail/{}\" }}", GUID.to_lowercase()));
    good(&config, &["import", &store]);
    assert_eq!(users(&config), ["jo"]);
}

#[test]
fn a_file_that_is_no_store_changes_nothing() {
    let site = Site::new();
    let config = config(&site);
    let file = site.path("store");
    let name = file.to_str().unwrap();
    for (content, said) in [
        (&b""[..], "the file is empty"),
        (b"[mailboxes]\nusers = 1\n", "is not whole as JSON"),
        (b"jo: /var/mail/jo\n", "none of the stores"),
        (b"{\"Users\":{\"jo\":{\"Accounts\":{\"ID\":{\"DeviceToken\":\"ab\"}", "is not whole as JSON"),
        (b"<plist><dict>", "is not whole as a property list"),
        (b"SQLite format 3\0", "none of the stores"),
    ] {
        fs::write(&file, content).unwrap();
        let run = devices(&config, &["import", name]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(said) && run.stderr.contains("\nhint: "), "{said}: {run:?}");
    }
    for store in ["/nowhere/at/all", "/", "redis://", "rediss://localhost"] {
        let run = devices(&config, &["import", store]);
        assert_eq!(run.code, 1, "{store}: {run:?}");
        assert!(run.stderr.contains("\nhint: "), "{store}: {run:?}");
    }
    assert!(!site.path("registry.db").exists());
}

#[test]
fn what_is_left_out_is_grouped() {
    let site = Site::new();
    let config = config(&site);
    large(&site.path("store"), 12, 25);
    let run = good(&config, &["import", site.path("store").to_str().unwrap()]);
    assert!(
        run.stdout.contains("left out: 25 entries\n")
            && run.stdout.contains("\n    line 22\n    and 15 more\n"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("12 users are not in the map yet") && run.stdout.contains(" and 2 more\n"),
        "{run:?}"
    );
    // Too many for one user.
    let lines: String = (0..5).map(|number| format!("jo:ID,{number:02x},s\n")).collect();
    fs::write(site.path("store"), lines).unwrap();
    let config = config.set_raw("registry.devices-per-user", "3");
    for dry in [&["--dry-run"][..], &[]] {
        let store = site.path("store");
        let run = good(&config, &[&["import", store.to_str().unwrap()], dry].concat());
        assert!(run.stdout.contains("take 3 reg") || run.stdout.contains("took 3 reg"), "{run:?}");
        assert!(run.stdout.contains("the user has 3 registered devices already"), "{run:?}");
        assert!(run.stdout.contains("hint: `devices-per-user`"), "{run:?}");
    }
}
