//! Databases that cannot be used: pushes go on, it is said once what is wrong, and records are kept as soon as that is possible.

use std::fs;
use std::path::Path;

use super::{DATABASE, config, old_mailbox, wait_recorded};
use crate::support::{Daemon, Receiver, Site};

const ARRIVAL: &str = "arrival@example.org";
const READER: &str = "reader@example.org";

fn remove(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // Errors: the last connection has removed them.
        let _ = fs::remove_file(format!("{}{suffix}", database.display()));
    }
}

/// Asserts that what is wrong with the database is said once, and with a hint.
#[track_caller]
fn assert_told_once(daemon: &Daemon, error: &str, hint: &str) {
    daemon.wait_log(error);
    let log = daemon.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("the registry cannot be used")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(error) && lines[0].contains(hint), "{}", lines[0]);
}

/// A database that is spoilt while the daemon is stopped.
fn is_survived(spoil: impl FnOnce(&Path), error: &str, hint: &str) {
    let site = Site::new();
    let database = site.path(DATABASE);
    let (arrival, _) = old_mailbox(&site, ARRIVAL);
    let (reader, message) = old_mailbox(&site, READER);
    let receiver: Receiver = site.receiver();
    site.start(&config(&site)).stop();
    spoil(&database);

    let daemon = site.start(&config(&site));
    arrival.deliver();
    receiver.expect(ARRIVAL);
    reader.set_flags(&message, "S");
    receiver.expect(READER);
    assert_told_once(&daemon, error, hint);
    // As the hint says.
    remove(&database);
    daemon.wait_log("the registry can be written again");
    reader.age();
    wait_recorded(&database, [&arrival, &reader]);
    daemon.stop();

    reader.set_flags(&message, "");
    let _daemon = site.start(&config(&site));
    receiver.read_until(READER);
}

#[test]
fn a_text_file() {
    let spoil = |database: &Path| {
        remove(database);
        fs::write(database, "this is no database, whatever it is called\n".repeat(1000))
            .expect("a file can be written");
    };
    is_survived(spoil, "not a database", "move `");
}

#[test]
fn flipped_bytes() {
    let spoil = |database: &Path| {
        // All of it into the one file.
        let connection = rusqlite::Connection::open(database).expect("a database");
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        checkpoint.expect("can be written");
        drop(connection);
        let mut bytes = fs::read(database).expect("there is a database");
        // All but the first page, which has the schema.
        bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x55);
        fs::write(database, bytes).expect("a file can be written");
    };
    is_survived(spoil, "malformed", "move `");
}

#[test]
fn a_later_version() {
    let spoil = |database: &Path| {
        let connection = rusqlite::Connection::open(database).expect("a database");
        connection.execute_batch("PRAGMA user_version = 99").expect("can be written");
    };
    is_survived(spoil, "schema version 99", "install that version");
}

/// Removed under the daemon, which notices with the next record: what was stored before is stored once more, or the next start would
/// know of one mailbox.
#[test]
fn one_that_is_removed_while_the_daemon_runs() {
    let site = Site::new();
    let database = site.path(DATABASE);
    let (reader, message) = old_mailbox(&site, READER);
    let (other, _) = old_mailbox(&site, "other@example.org");
    let receiver = site.receiver();
    let daemon = site.start(&config(&site));
    wait_recorded(&database, [&reader, &other]);
    remove(&database);
    other.deliver();
    receiver.expect("other@example.org");
    daemon.wait_log("the registry can be written again");
    wait_recorded(&database, [&reader, &other]);
    daemon.stop();

    reader.set_flags(&message, "S");
    let _daemon = site.start(&config(&site));
    receiver.expect(READER);
}

#[test]
fn none_anywhere() {
    // Where pushmaild is installed, there is the default one.
    if Path::new("/var/lib/pushmaild").is_dir() {
        return;
    }
    let site = Site::new();
    let (arrival, _) = old_mailbox(&site, ARRIVAL);
    let (reader, message) = old_mailbox(&site, READER);
    let receiver = site.receiver();
    let config = config(&site).without("registry");
    let daemon = site.start(&config);
    arrival.deliver();
    receiver.expect(ARRIVAL);
    reader.set_flags(&message, "S");
    receiver.expect(READER);
    // What waits at the end still goes out.
    reader.set_flags(&message, "");
    let pushes = daemon.stop_and_read(&receiver);
    assert_eq!(pushes.iter().map(|push| push.user.as_str()).collect::<Vec<_>>(), [READER]);

    let mut daemon = site.start(&config);
    daemon.reload();
    arrival.deliver();
    receiver.expect(ARRIVAL);
    let log = daemon.stop();
    assert_eq!(log.lines().filter(|line| line.contains("nowhere to keep records")).count(), 1, "{log}");
}
