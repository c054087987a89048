//! `pushmaild devices`: the registry, and what comes into it from other daemons.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{keys, with_config};
use crate::support::{Config, Run, Site, eventually, pushmaild};

const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";
const OTHER: &str = "a66216ad1683d48b9933cdcc3b98a833ee1a968143f41ea494187da54715da66";
const GUID: &str = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";

/// A site with a registry of its own.
fn config(site: &Site) -> Config {
    fs::create_dir_all(site.path("vmail")).expect("a folder can be made");
    site.config().set("registry.url", "sqlite:registry.db")
}

fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/import");
    folder.join(name).to_str().expect("the path is text").to_owned()
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

/// A real Redis server, in a folder of its own.
struct Redis {
    server: Child,
    port: u16,
}

impl Redis {
    fn start(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--requirepass", "s3same/", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        eventually("the server answers", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { server, port }
    }

    /// Says these lines to the server, as one types them.
    fn say(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let lines = format!("AUTH s3same/\n{lines}\nQUIT\n").replace('\n', "\r\n");
        stream.write_all(lines.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.contains("-ERR"), "{answer}");
        answer
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn imports_argons_redis() {
    let site = Site::new();
    let config = config(&site);
    let redis = Redis::start(site.path("redis"));
    let inbox = "7e33429f656f1e6e9d79b29c3f82c57e";
    let mut lines = format!(
        "SELECT 3\nSADD pn:jo@example.org:device {TOKEN}:ID-1 {OTHER}:ID-2\nSADD pn:a:b:device {OTHER}:ID-3 broken\n\
         SADD pn:jo@example.org:{TOKEN}:ID-1:subscriptions {inbox} 00000000000000000000000000000000\n\
         SET pn:text:device x\nSADD other:jo:device {TOKEN}:ID\n"
    );
    // More than one answer to SCAN.
    for number in 0..2500 {
        writeln!(lines, "SADD pn:user-{number}:device {TOKEN}:ID").unwrap();
    }
    redis.say(lines.trim_end());
    let before = redis.say("SELECT 3\nDBSIZE");
    let url = format!("redis://:s3same%2F@127.0.0.1:{}/3", redis.port);
    let run = good(&config, &["import", &url, "--json"]);
    assert!(!run.stdout.contains("s3same"), "{run:?}");
    let report = run.json();
    assert_eq!(
        (&report["new"], &report["format"], &report["unknown_mailboxes"]),
        (&json!(2503), &json!("argon"), &json!(1))
    );
    assert_eq!(
        report["left_out"],
        json!([
        { "what": "key `pn:text:device`", "why": "the key is not a set" },
                    { "what": "key `pn:a:b:device`", "why": "a member is not `<token>:<account-id>`" },
                ])
    );
    let all = listed(&config);
    let row = |account: &str| all.iter().find(|row| row["account"] == account).unwrap();
    assert_eq!((&row("ID-1")["mailboxes"], &row("ID-3")["user"]), (&json!(["INBOX"]), &json!("a:b")));
    assert_eq!(redis.say("SELECT 3\nDBSIZE"), before, "nothing is written there");
    let run = good(&config, &["import", &url]);
    assert!(
        run.stdout.contains("already there: 2503 registrations\n") && !run.stdout.contains("s3same"),
        "{run:?}"
    );
    assert_eq!(listed(&config), all);

    for (url, said) in [
        (format!("redis://127.0.0.1:{}", redis.port), "NOAUTH"),
        (format!("redis://:wrong@127.0.0.1:{}", redis.port), "WRONGPASS"),
    ] {
        let run = devices(&config, &["import", &url]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(said) && run.stderr.contains("hint: give the password"), "{run:?}");
        assert!(!run.stderr.contains(":wrong"), "{run:?}");
    }
    let url = format!("redis://127.0.0.1:{}", redis.port);
    drop(redis);
    let run = devices(&config, &["import", &url]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cannot connect to redis://127.0.0.1"), "{run:?}");
}
