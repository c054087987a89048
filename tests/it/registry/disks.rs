//! Disks that hang, are full or read-only, and files that are damaged, removed or replaced: each client is answered, what it said
//! counts and is written when that is possible, and whoever looks after the daemon can see it.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use pushmaild::classifier::Kind;
use pushmaild::listener::intake::{Intake, Peer};
use pushmaild::mailbox::username_format::UsernameFormat;
use pushmaild::registry::change::Change;
use pushmaild::registry::service::{Live, NotStored, RegisterError, Registered, Registry};
use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Store, Timestamp};
use tokio::sync::{mpsc, watch};

use super::contract::{put, write};
use super::service::{Place, today};
use super::{DAY, SLACK, key, registration, user};

fn beside(database: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Closes the database, and makes one file of it.
fn as_one_file(place: &Place, names: &[&str]) {
    let registrations: Vec<_> =
        names.iter().map(|name| registration(key(name, "aa", "id"), Timestamp::now().0)).collect();
    put(&mut place.store(), &registrations);
    assert!(!beside(&place.database(), "-wal").exists(), "the last connection puts all into one file");
}

#[test]
fn while_a_commit_hangs_clients_are_answered_and_what_they_said_counts() {
    let place = Place::new();
    let service = place.start();
    service.register("before");
    place.disk.hangs();
    assert_eq!(service.register("jo"), Registered::Waiting);
    assert_eq!(service.register("al"), Registered::Waiting);
    service.wait_live(|user, live| {
        user.is_some_and(|user| user.as_str() == "al") && matches!(live, Live::User(true))
    });
    assert_eq!(service.find(&["jo", "al", "before", "nobody"]), ["jo", "al", "before"]);
    let spilt = fs::read_to_string(place.spill()).expect("there is a spill file");
    assert_eq!(spilt.lines().count(), 2, "{spilt}");
    assert_eq!(service.health().unwritten, 2);
    assert_eq!(place.users(), ["before"]);

    place.disk.is_good();
    service.wait_good();
    assert_eq!(place.users(), ["al", "before", "jo"]);
    assert_eq!(service.register("after"), Registered::Stored);
    assert_eq!(service.find(&["jo"]), ["jo"], "once");
    service.stop();
}

#[test]
fn one_who_opted_out_is_not_pushed_to_because_his_phone_came_while_the_disk_was_away() {
    let place = Place::new();
    let service = place.start();
    place.block_on(service.registry.change(Change::OptOut { user: user("jo"), out: true })).expect("written");
    assert_eq!(service.register("jo"), Registered::OptedOut);
    place.disk.hangs();
    assert_eq!(service.register("jo"), Registered::Waiting);
    assert_eq!(service.find(&["jo"]), [""; 0]);
    place.disk.is_good();
    service.wait_good();
    assert_eq!(service.find(&["jo"]), [""; 0]);
    service.stop();
}

#[test]
fn a_full_disk_is_told_of_until_it_takes_something_again() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("before"), Registered::Stored);
    place.disk.is_full();
    assert_eq!(service.register("jo"), Registered::Waiting);
    service.wait_trouble("full");
    assert_eq!(service.health().unwritten, 1);
    // Those who ask for something else are told that it was not done.
    let remove = Change::Remove { user: user("before"), token: None, account: None };
    let mut refused = 0;
    for _ in 0..3 {
        refused += usize::from(place.block_on(service.registry.change(remove.clone())) == Err(NotStored));
    }
    assert_eq!(refused, 3);
    service.wait_trouble("full");
    place.disk.is_good();
    service.wait_good();
    assert_eq!(place.users(), ["before", "jo"]);
    service.stop();
}

/// On some site nobody registers for hours: health must not wait for that.
#[test]
fn trouble_is_over_when_the_disk_is_good_and_not_with_the_next_registration() {
    let place = Place::new();
    place.disk.is_full();
    // Nothing can be written, and nothing waits.
    let service = place.start();
    let topic = Change::LastTopic(super::TOPIC.parse().expect("a topic"));
    assert_eq!(place.block_on(service.registry.change(topic)), Err(NotStored));
    service.wait_trouble("full");
    place.disk.is_good();
    service.wait_good();
    service.stop();

    // The same where the file cannot even be opened.
    let place = Place::new();
    fs::create_dir(place.database()).expect("a folder in its place");
    let service = place.start();
    service.wait_trouble("registry.db");
    fs::remove_dir(place.database()).expect("away with it");
    service.wait_good();
    service.stop();
}

#[test]
fn what_only_the_spill_file_had_is_in_the_database_after_a_restart() {
    let place = Place::new();
    let service = place.start();
    place.disk.hangs();
    for name in ["jo", "al"] {
        assert_eq!(service.register(name), Registered::Waiting);
    }
    let spill = fs::read(place.spill()).expect("there is a spill file");
    place.disk.is_full();
    // At its end it may try once more, and cannot.
    service.stop();
    assert_eq!(fs::read(place.spill()).expect("still there"), spill);
    assert_eq!(place.users(), [""; 0]);

    place.disk.is_good();
    let service = place.start();
    assert_eq!(service.find(&["jo", "al"]), ["jo", "al"], "from the first moment on");
    service.wait_good();
    assert_eq!(place.users(), ["al", "jo"]);
    service.stop();
}

/// The rest of the daemon has an end to come to; the registrations are in the spill file.
#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let place = Place::new();
    let service = place.start();
    place.disk.hangs();
    assert_eq!(service.register("jo"), Registered::Waiting);
    place.disk.wait_held();
    let start = Instant::now();
    service.stop();
    assert!(start.elapsed() < 2 * SLACK, "{:?}", start.elapsed());
    assert!(place.spill().exists());
    place.disk.is_good();
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    const MOST: usize = 100_000;
    let place = Place::new();
    // As a process before this one left it.
    let mut lines = String::new();
    for number in 0..MOST {
        lines.push_str(&format!(
            "{{\"user\":\"u{number}\",\"token\":\"aa\",\"account\":\"id\",\"subtopic\":\"\",\"topic\":null,\"mailboxes\":[],\"acknowledged\":[],\"at\":1}}\n"
        ));
    }
    fs::write(place.spill(), lines).expect("written");
    fs::create_dir(place.database()).expect("a folder in its place");
    let service = place.start();
    assert_eq!(service.health().unwritten, MOST);
    let refused = place.block_on(service.registry.register(today("one-too-many")));
    assert!(matches!(refused, Err(RegisterError::TooManyWait)), "{refused:?}");
    let mut known = today("u7");
    known.key = key("u7", "aa", "id");
    let known = place.block_on(service.registry.register(known)).expect("it has its place already");
    assert_eq!((known, service.health().unwritten), (Registered::Waiting, MOST));
    service.stop();
}

/// What SQLite says, and what was done to the file.
type Damage = (&'static str, fn(&Path));

/// Damaged in ways that SQLite notices.
#[test]
fn a_file_that_is_damaged_is_left_alone_until_a_good_one_is_in_its_place() {
    let names: Vec<_> = (0..200).map(|number| format!("user{number}@example.org")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let damages: [Damage; 4] = [
        ("malformed", |path| {
            let mut file = OpenOptions::new().write(true).open(path).expect("there");
            let len = file.metadata().expect("there").len();
            for page in 1..len / 4096 {
                file.seek(SeekFrom::Start(page * 4096)).expect("inside");
                file.write_all(&[0xa5; 512]).expect("writable");
            }
        }),
        ("malformed", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("there");
            file.set_len(2 * 4096).expect("truncated");
        }),
        ("not a database", |path| fs::write(path, "Registrations, as of today: none.\n").expect("writable")),
        ("not a database", |path| {
            let mut file = OpenOptions::new().write(true).open(path).expect("there");
            file.write_all(&[0xa5; 4096]).expect("writable");
        }),
    ];
    for (number, (trouble, damage)) in damages.into_iter().enumerate() {
        let place = Place::new();
        as_one_file(&place, &names);
        let good = place.path("good");
        fs::copy(place.database(), &good).expect("a copy");
        damage(&place.database());
        let damaged = fs::read(place.database()).expect("readable");
        let hint = SqliteStore::open(&place.database())
            .and_then(|mut store| store.live_users(&mut |_| ()))
            .expect_err("it is noticed at the start")
            .hint();
        assert!(hint.contains("devices backup") && hint.contains("away"), "{number}: {hint}");

        let service = place.start();
        service.wait_trouble(trouble);
        assert_eq!(service.register("jo"), Registered::Waiting, "{number}");
        assert_eq!(
            fs::read(place.database()).expect("readable").len(),
            damaged.len(),
            "{number}: left alone"
        );
        // As the hint says.
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&place.database(), suffix));
        }
        fs::rename(&good, place.database()).expect("in its place");
        service.wait_good();
        assert_eq!(place.users().len(), names.len() + 1, "{number}");
        assert_eq!(service.find(&["jo", names[7]]), ["jo", names[7]], "{number}");
        service.stop();
    }
}

#[test]
fn a_database_that_is_removed_under_the_daemon_is_made_anew() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("before"), Registered::Stored);
    assert_eq!(service.find(&["before"]), ["before"]);
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&place.database(), suffix)).expect("it is there");
    }
    // What it says is on disk has to be there for the next process.
    let registered = service.register("after");
    if registered == Registered::Stored {
        assert_eq!(place.users(), ["after"]);
    }
    service.wait_good();
    assert_eq!(place.users(), ["after"]);
    assert_eq!(service.register("later"), Registered::Stored);
    // Look-ups are of the new file, too.
    assert_eq!(service.find(&["before", "after", "later"]), ["after", "later"]);
    service.stop();
    assert_eq!(place.users(), ["after", "later"]);
}

/// Nobody registers, and it is noticed all the same: everybody is told who is left.
#[test]
fn a_database_that_is_replaced_under_the_daemon_is_read_again() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("before"), Registered::Stored);
    assert_eq!(service.find(&["before"]), ["before"]);
    let other = Place::new();
    as_one_file(&other, &["restored"]);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&place.database(), suffix)).expect("it is there");
    }
    let beside = place.path("restored");
    fs::copy(other.database(), &beside).expect("a copy");
    fs::rename(&beside, place.database()).expect("in its place");
    service.wait_live(|_, live| matches!(live, Live::All(users) if *users == [user("restored")]));
    service.wait_good();
    assert_eq!(service.find(&["before", "restored"]), ["restored"]);
    service.stop();
    assert_eq!(place.users(), ["restored"]);
}

#[test]
fn a_newer_schema_in_its_place_is_told_with_its_version_and_not_written() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("before"), Registered::Stored);
    // As a newer daemon would, by mistake, beside this one.
    let newer = |version: u32| {
        let connection = rusqlite::Connection::open(place.database()).expect("opened");
        connection.pragma_update(None, "user_version", version).expect("writable");
    };
    newer(9);
    service.wait_trouble("schema version 9");
    assert_eq!(service.register("jo"), Registered::Waiting);
    assert_eq!(service.health().unwritten, 1);
    let connection = rusqlite::Connection::open(place.database()).expect("opened");
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("readable");
    assert_eq!(count("SELECT count(*) FROM registration"), 1);
    drop(connection);
    newer(2);
    service.wait_good();
    assert_eq!(place.users(), ["before", "jo"]);
    service.stop();
}

#[test]
fn another_process_that_holds_the_database_is_waited_for_and_clients_are_not_held_up() {
    let place = Place::new();
    let service = place.start();
    service.register("before");
    let mut other = place.store();
    write(&mut other, |transaction| {
        transaction.put(&registration(key("import", "aa", "id"), DAY)).expect("writable");
        assert_eq!(service.register("jo"), Registered::Waiting);
    });
    service.wait_good();
    assert_eq!(place.users(), ["before", "import", "jo"]);
    service.stop();
}

/// A plugin's hint about a folder asks the registry who wants to hear of it. The IMAP process waits for the answer.
#[test]
fn a_hint_is_answered_while_the_registry_cannot_be_read() {
    let place = Place::new();
    let path = place.database();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (registry, _, threads) = Registry::start(
        Box::new(move || Ok(Box::new(SqliteStore::open(&path)?))),
        Box::new(move || {
            // A read that hangs.
            let _ = held.lock().expect("no panic").recv();
            Err(pushmaild::registry::StoreError::Moved("away".into()))
        }),
        &place.settings(),
    )
    .expect("there are threads to be had");
    let (_format, username_format) = watch::channel(UsernameFormat::default());
    let (_topic, topic) = watch::channel(None);
    let (maildirs, _questions) = mpsc::channel(1);
    let intake =
        Intake { registry: registry.clone(), hints: Default::default(), maildirs, username_format, topic };
    let start = Instant::now();
    place.block_on(intake.hint(Peer::Trusted, "jo", "Folder", Kind::NewMail)).expect("taken");
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
    drop((release, intake, registry));
    threads.join();
}
