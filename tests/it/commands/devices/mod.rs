//! `pushmaild devices`: the registry, as people see and change it.

mod argon;
mod import;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{keys, on_a_terminal, with_config};
use crate::support::{Config, Run, Site, pushmaild};

const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";
const OTHER: &str = "a66216ad1683d48b9933cdcc3b98a833ee1a968143f41ea494187da54715da66";
const ACCOUNT: &str = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";

/// A site with a registry of its own.
fn config(site: &Site) -> Config {
    fs::create_dir_all(site.path("vmail")).expect("a folder can be made");
    site.config().set("registry.url", "sqlite:registry.db")
}

#[track_caller]
fn devices(config: &Config, words: &[&str]) -> Run {
    with_config(config, &[&["devices"], words].concat())
}

#[track_caller]
fn good(config: &Config, words: &[&str]) -> Run {
    let run = devices(config, words);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{words:?}: {run:?}");
    run
}

/// All that is registered, with whole tokens.
#[track_caller]
fn listed(config: &Config) -> Vec<Value> {
    let document = good(config, &["list", "--json", "--tokens"]).json();
    document["devices"].as_array().expect("a list").clone()
}

#[track_caller]
fn users(config: &Config) -> Vec<String> {
    let user = |row: &Value| row["user"].as_str().expect("a name").to_owned();
    listed(config).iter().map(user).collect()
}

fn sqlite3(database: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(database).arg(sql).output().expect("sqlite3 can be started");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A narrow one shows the columns that it has room for, and says which ones it has not.
#[test]
fn the_list_has_room_on_a_terminal() {
    let site = Site::new();
    let config = config(&site);
    let topic = "com.apple.mobilemail.push.org.example";
    good(&config, &["add", "jo@example.org", "--token", TOKEN, "--account", ACCOUNT, "--topic", topic]);
    let list = |columns| on_a_terminal(columns, &config, &["devices", "list"]);
    let whole = good(&config, &["list"]).stdout;
    assert!(
        whole.lines().all(|line| line.len() > 120) && whole.contains(ACCOUNT),
        "for programs all: {whole}"
    );
    assert_eq!(list(200), whole);

    let narrow = list(80);
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    let titles = narrow.lines().next().expect("titles").split("  ").filter(|title| !title.is_empty());
    let titles: Vec<_> = titles.map(str::trim).collect();
    assert_eq!(titles, ["USER", "TOKEN", "STATE", "REGISTERED", "LAST PUSH", "LAST ANSWER"]);
    assert!(narrow.ends_with("\nthere is no room here for ACCOUNT, TOPIC; `--json` has all\n"), "{narrow}");
}

#[test]
fn add_list_and_remove() {
    let site = Site::new();
    site.maildir("jo@example.org");
    let config = config(&site);
    let run = good(
        &config,
        &[
            "add",
            "Jo@Example.org",
            "--token",
            &TOKEN.to_uppercase(),
            "--account",
            "ID-1",
            "--topic",
            "com.apple.mail.x",
            "--mailbox",
            "INBOX",
            "--mailbox",
            "Entwürfe",
            "--acknowledged",
            "Entwürfe",
        ],
    );
    assert_eq!(run.stdout, "registered 29183902… of jo@example.org, account ID-1\ntopic: com.apple.mail.x\n");
    let run = good(&config, &["add", "late@example.org", "--token", OTHER, "--account", "ID-2"]);
    assert!(run.stdout.contains("note: late@example.org is not in the map yet"), "{run:?}");
    let run = good(&config, &["add", "jo@example.org", "--token", OTHER, "--account", "ID-2"]);
    assert!(!run.stdout.contains("note:"), "{run:?}");
    assert_eq!(fs::metadata(site.path("registry.db")).unwrap().permissions().mode() & 0o777, 0o640);

    let run = good(&config, &["list"]);
    assert!(!run.stdout.contains(TOKEN) && run.stdout.contains("29183902…"), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{run:?}");
    assert!(lines[0].starts_with("USER ") && lines[0].ends_with("LAST ANSWER"), "{run:?}");

    let run = good(&config, &["list", "JO@example.org", "--json"]);
    assert!(!run.stdout.contains(TOKEN), "{run:?}");
    let document = run.json();
    assert_eq!(keys(&document), ["devices", "opted_out"]);
    let rows = document["devices"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows.iter().find(|row| row["account"] == "ID-1").unwrap();
    assert_eq!(
        keys(row),
        [
            "account",
            "acknowledged",
            "bad_answers",
            "first_registered",
            "last_answer",
            "last_push",
            "last_registered",
            "mailboxes",
            "state",
            "subtopic",
            "superseded_since",
            "suspended_because",
            "token",
            "topic",
            "user"
        ]
    );
    assert_eq!((&row["state"], &row["topic"]), (&json!("active"), &json!("com.apple.mail.x")));
    assert_eq!(
        (&row["mailboxes"], &row["acknowledged"]),
        (&json!(["INBOX", "Entwürfe"]), &json!(["Entwürfe"]))
    );
    assert!(listed(&config).iter().any(|row| row["token"] == TOKEN));

    let run = good(&config, &["remove", "jo@example.org", "--token", TOKEN]);
    assert_eq!(run.stdout, "removed 1 registration of jo@example.org\n");
    let run = devices(&config, &["remove", "jo@example.org", "--account", "ID-1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("jo@example.org has no such device") && run.stderr.contains("\nhint: "),
        "{run:?}"
    );
    good(&config, &["remove", "jo@example.org"]);
    assert_eq!(users(&config), ["late@example.org"]);
}

#[test]
fn who_opts_out_is_not_registered() {
    let site = Site::new();
    let config = config(&site);
    good(&config, &["add", "jo", "--token", TOKEN, "--account", "ID"]);
    let run = good(&config, &["opt-out", "Jo"]);
    assert_eq!(run.stdout, "jo is opted out; removed 1 registration\n");
    assert_eq!(good(&config, &["opt-out", "jo"]).stdout, "jo was opted out already\n");
    let run = devices(&config, &["add", "jo", "--token", TOKEN, "--account", "ID"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("jo is opted out") && run.stderr.contains("opt-in"), "{run:?}");
    let run = good(&config, &["list", "jo", "--json"]);
    assert_eq!(run.json(), json!({ "devices": [], "opted_out": true }));
    assert!(good(&config, &["list", "jo"]).stdout.contains("jo is opted out"));

    fs::write(site.path("store"), format!("jo:ID,{TOKEN},s\nal:ID,{TOKEN},s\n")).unwrap();
    let run = good(&config, &["import", site.path("store").to_str().unwrap()]);
    assert!(run.stdout.contains("the user is opted out:\n    line 1\n"), "{run:?}");
    good(&config, &["opt-in", "jo"]);
    good(&config, &["add", "jo", "--token", TOKEN, "--account", "ID"]);
    assert_eq!(users(&config), ["al", "jo"]);
}

#[test]
fn what_is_wrong_is_said_with_the_right_status() {
    let site = Site::new();
    let config = config(&site);
    for (words, said) in [
        (&["add", "jo", "--token", "abc", "--account", "ID"][..], "not an even number of hexadecimal digits"),
        (&["add", "jo", "--token", "ab", "--account", "a b"], "not 1 to 64 printable ASCII characters"),
        (&["add", "jo", "--token", "ab", "--account", "ID", "--topic", ""], "--topic"),
        (&["add", "jo", "--account", "ID"], "--token"),
        (&["add", "", "--token", "ab", "--account", "ID"], "a user name cannot be empty"),
        (&["remove"], "USER"),
        (&["import"], "FILE"),
    ] {
        let run = devices(&config, words);
        assert_eq!(run.code, 2, "{words:?}: {run:?}");
        assert!(run.stderr.contains(said), "{words:?}: {run:?}");
    }
    assert!(!site.path("registry.db").exists(), "nothing was changed");
    for words in [&["list"][..], &["remove", "jo"], &["backup", "copy"]] {
        let run = devices(&config, words);
        assert_eq!(run.code, 1, "{words:?}: {run:?}");
        assert!(run.stderr.contains("there is no registry") && run.stderr.contains("\nhint: "), "{run:?}");
    }
    let run = devices(&config.clone().set("registry.url", "sqlite:none/registry.db"), &["opt-out", "jo"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("none` does not exist"), "{run:?}");
    fs::write(
        site.path("registry.db"),
        "no database at all, and longer than its header would be: ".repeat(10),
    )
    .unwrap();
    let run = devices(&config, &["add", "jo", "--token", "ab", "--account", "ID"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("not a database") && run.stderr.contains("devices backup"), "{run:?}");
    let run = pushmaild(["devices", "list", "-c", site.path("other.toml").to_str().unwrap()]);
    assert_eq!(run.code, 78, "{run:?}");
}

/// A file with so many registrations, and so many lines that are none.
fn large(path: &Path, registrations: usize, wrong: usize) {
    let mut lines = String::new();
    for number in 0..registrations {
        writeln!(lines, "user-{number}:ID,{number:064x},com.apple.mobilemail").unwrap();
    }
    lines.push_str(&"nonsense\n".repeat(wrong));
    fs::write(path, lines).unwrap();
}

#[test]
fn a_backup_is_whole_while_another_process_writes() {
    let site = Site::new();
    let config = config(&site);
    good(&config, &["add", "jo", "--token", TOKEN, "--account", "ID"]);
    large(&site.path("store"), 20_000, 0);
    let (store, import_config) = (site.path("store"), config.clone().at(site.path("import.toml")));
    let import = thread::spawn(move || good(&import_config, &["import", store.to_str().unwrap()]));
    for number in 0.. {
        let is_last = import.is_finished();
        let copy = site.path(format!("copy-{number}.db"));
        good(&config, &["backup", copy.to_str().unwrap()]);
        assert_eq!(sqlite3(&copy, "PRAGMA integrity_check"), "ok");
        let count: usize = sqlite3(&copy, "SELECT count(*) FROM registration").parse().unwrap();
        assert_eq!(count % 1000, 1, "whole transactions");
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o640);
        if is_last {
            assert_eq!(count, 20_001);
            break;
        }
    }
    import.join().expect("the import is good");
    // The copy is a registry like the original.
    let first = config.clone().set("registry.url", "sqlite:copy-0.db");
    assert!(listed(&first).iter().any(|row| row["token"] == TOKEN));

    fs::write(site.path("there"), "").unwrap();
    std::os::unix::fs::symlink(site.path("dangling"), site.path("link")).unwrap();
    for name in ["there", "link", "registry.db"] {
        let run = devices(&config, &["backup", site.path(name).to_str().unwrap()]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("already") && run.stderr.contains("\nhint: "), "{run:?}");
    }
    assert!(!site.path("dangling").exists());
}

/// Root may change the registry before the daemon, which is somebody else, has ever started.
#[test]
fn what_root_makes_belongs_to_whom_the_folder_belongs() {
    let site = Site::new();
    let folder = site.path("lib");
    fs::create_dir(&folder).unwrap();
    let config = config(&site).set("registry.url", "sqlite:lib/registry.db");
    let owner = if geteuid().is_root() { 65534 } else { geteuid().as_raw() };
    chown(&folder, Some(owner), None).unwrap();
    fs::set_permissions(site.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    large(&site.path("store"), 5000, 0);
    let (store, import_config) = (site.path("store"), config.clone());
    let import = thread::spawn(move || good(&import_config, &["import", store.to_str().unwrap()]));
    let mut seen = 0;
    let mut look = || {
        for file in fs::read_dir(&folder).unwrap().flatten() {
            // Made and given away in two steps, as long as it is empty.
            if let Some(found) = file.metadata().ok().filter(|found| found.len() > 0) {
                assert_eq!(found.uid(), owner, "{}", file.path().display());
                seen += 1;
            }
        }
    };
    while !import.is_finished() {
        look();
    }
    import.join().expect("the import is good");
    look();
    assert!(seen > 0);
    let (uid, database) = (owner.to_string(), folder.join("registry.db"));
    if geteuid().is_root() {
        let daemon = ["--reuid", &uid, "--regid", &uid, "--clear-groups", "sqlite3"];
        let output = Command::new("setpriv")
            .args(daemon)
            .arg(&database)
            .arg("DELETE FROM registration WHERE user != 'user-7'")
            .output()
            .expect("setpriv can be started");
        assert!(output.status.success(), "{output:?}");
    } else {
        sqlite3(&database, "DELETE FROM registration WHERE user != 'user-7'");
    }
    assert_eq!(users(&config), ["user-7"]);
    // Looking leaves SQLite's two files behind.
    for file in fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(file.metadata().unwrap().uid(), owner, "{}", file.path().display());
    }
}
