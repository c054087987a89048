//! What is particular to the SQLite file: its schema, its copies, its mode, and the file that is another one all of a sudden.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{ffi::OsString, fs, io, thread};

use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Registration, Store, StoreError};
use rusqlite::Connection;

use super::contract::{Place, Sqlite, put, write};
use super::{DAY, all, key, registration};

fn of(name: &str) -> Registration {
    registration(key(name, "aa", "id"), DAY)
}

fn database(place: &Sqlite) -> PathBuf {
    place.0.path().join("registry.db")
}

fn execute(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("SQLite opens it");
    connection.execute_batch(sql).expect("good SQL");
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_newer_schema_is_refused_with_its_version_and_left_alone() {
    let place = Sqlite::fresh();
    put(place.open().as_mut(), &[of("a")]);
    let path = database(&place);
    execute(&path, "PRAGMA user_version = 7");
    for opened in [SqliteStore::open(&path), SqliteStore::open_read_only(&path)] {
        let error = opened.expect_err("refused");
        assert!(matches!(error, StoreError::Newer { found: 7, known: 2, .. }), "{error:?}");
        assert!(error.to_string().contains("schema version 7"), "{error}");
        assert!(error.hint().contains("that version"), "{}", error.hint());
    }
    execute(&path, "PRAGMA user_version = 2");
    assert_eq!(all(place.open().as_mut()), [of("a")]);
}

#[test]
fn a_database_of_the_first_version_keeps_what_it_has() {
    let place = Sqlite::fresh();
    let path = database(&place);
    execute(&path, include_str!("../../../src/registry/migrations/1.sql"));
    execute(
        &path,
        "PRAGMA application_id = 0x706d6c64; PRAGMA user_version = 1; \
         INSERT INTO registration VALUES ('a', x'01', 'acc', '', NULL, '[]', '[]', 1, 2, NULL, NULL, 0, NULL, NULL); \
         INSERT INTO opted_out VALUES ('b');",
    );
    let mut store = place.open();
    assert_eq!(all(store.as_mut()).len(), 1);
    assert!(store.is_opted_out(&super::user("b")).expect("readable"));
    let kept = store.records(&mut |_, _| ()).expect("readable");
    assert!(!kept, "records are kept from now on, and were not before");
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    for sql in ["CREATE TABLE registration (a)", "PRAGMA user_version = 1", "PRAGMA user_version = -1"] {
        let place = Sqlite::fresh();
        let path = database(&place);
        execute(&path, sql);
        let error = SqliteStore::open(&path).expect_err("refused");
        assert!(matches!(error, StoreError::Foreign(_)), "{sql}: {error:?}");
        assert!(error.hint().contains("url"), "{}", error.hint());
    }
}

#[test]
fn a_file_with_nothing_in_it_is_brought_up_to_date() {
    for sql in ["", "PRAGMA application_id = 0x706d6c64", "PRAGMA journal_mode = DELETE; VACUUM"] {
        let place = Sqlite::fresh();
        execute(&database(&place), sql);
        put(place.open().as_mut(), &[of("a")]);
        assert_eq!(all(place.open().as_mut()), [of("a")], "{sql}");
    }
}

#[test]
fn to_read_it_makes_nothing() {
    let place = Sqlite::fresh();
    assert!(matches!(SqliteStore::open_read_only(&database(&place)), Err(StoreError::Io { .. })));
    assert_eq!(fs::read_dir(place.0.path()).expect("readable").count(), 0);
    put(place.open().as_mut(), &[of("a")]);
    let mut reader = SqliteStore::open_read_only(&database(&place)).expect("readable");
    assert_eq!(all(&mut reader), [of("a")]);
    assert!(reader.transaction(&mut |it| it.put(&of("b"))).is_err());
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let place = Sqlite::fresh();
    let path = place.0.path().join("missing").join("registry.db");
    let error = SqliteStore::open(&path).expect_err("no folder");
    assert!(error.hint().contains("missing` does not exist"), "{}: {}", error, error.hint());
}

/// Tokens are nobody else's affair: neither in the database, nor in what SQLite makes beside it, nor in a copy.
#[test]
fn the_files_are_not_for_everybody() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    put(store.as_mut(), &[of("a")]);
    let path = database(&place);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        assert_eq!(mode(&name) & 0o007, 0, "{}: {:o}", name.display(), mode(&name));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    let copy = place.0.path().join("copy.db");
    store.backup(&copy).expect("a copy");
    assert_eq!(mode(&copy), 0o600);
}

#[test]
fn a_copy_is_consistent_while_another_connection_writes() {
    let place = Sqlite::fresh();
    let stop = AtomicBool::new(false);
    place.open();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut store = place.open();
            let mut pairs = 0;
            while !stop.load(Ordering::Relaxed) {
                // Both or none of them.
                put(store.as_mut(), &[of(&format!("one{pairs}")), of(&format!("two{pairs}"))]);
                pairs += 1;
            }
            pairs
        });
        let mut store = place.open();
        let mut sizes = Vec::new();
        while sizes.last().is_none_or(|last| *last < 20) {
            let copy = place.0.path().join(format!("copy{}", sizes.len()));
            store.backup(&copy).expect("a copy");
            let copied = all(&mut SqliteStore::open(&copy).expect("a copy is a database like any other"));
            let ones = copied.iter().filter(|it| it.key.user.as_str().starts_with("one")).count();
            assert_eq!(copied.len(), 2 * ones, "half a transaction");
            sizes.push(ones);
        }
        stop.store(true, Ordering::Relaxed);
        let pairs = writer.join().expect("no panic");
        assert!(sizes.is_sorted() && sizes.iter().all(|size| *size <= pairs), "{sizes:?}");
        assert_eq!(all(store.as_mut()).len(), 2 * pairs);
    });
}

#[test]
fn a_copy_replaces_nothing() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    put(store.as_mut(), &[of("a")]);
    let path = |name: &str| place.0.path().join(name);
    fs::write(path("file"), "precious").expect("writable");
    fs::write(path("empty"), "").expect("writable");
    std::os::unix::fs::symlink("nothing", path("link")).expect("a link");
    for target in [path("file"), path("empty"), path("link"), database(&place), place.0.path().to_owned()] {
        let refused = store.backup(&target);
        let Err(StoreError::Io { error, path }) = refused else {
            panic!("{}: {refused:?}", target.display())
        };
        assert_eq!((error.kind(), path), (io::ErrorKind::AlreadyExists, target));
    }
    assert_eq!(fs::read(path("file")).expect("readable"), b"precious");
    assert!(!path("nothing").exists());
    assert_eq!(all(store.as_mut()), [of("a")]);
}

#[test]
fn a_copy_that_cannot_be_made_leaves_nothing() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    let not_utf8 = place.0.path().join(OsString::from_vec(b"copy\xff".to_vec()));
    assert!(store.backup(&not_utf8).is_err());
    assert!(store.backup(&place.0.path().join("missing/copy")).is_err());
    let many: Vec<_> = (0..500).map(|number| of(&format!("user{number}"))).collect();
    put(store.as_mut(), &many);
    drop(store);
    // Damaged where it is noticed only in the midst of copying.
    let len = fs::metadata(database(&place)).expect("there").len();
    let file = fs::OpenOptions::new().write(true).open(database(&place)).expect("writable");
    file.write_all_at(&[0xa5; 4096], len / 2 / 4096 * 4096).expect("writable");
    let mut store = SqliteStore::open_read_only(&database(&place)).expect("not looked at yet");
    let copy = place.0.path().join("copy");
    assert!(store.backup(&copy).is_err());
    let left: Vec<_> =
        fs::read_dir(place.0.path()).expect("readable").map(|it| it.expect("readable").file_name()).collect();
    assert!(!left.contains(&"copy".into()), "{left:?}");
}

/// SQLite would go on in the file that has no name any more, and what it wrote there would be gone with the process.
#[test]
fn what_is_written_to_a_file_that_was_removed_or_replaced_is_not_taken_for_stored() {
    let place = Sqlite::fresh();
    let path = database(&place);
    for replace in [false, true] {
        let mut store = place.open();
        put(store.as_mut(), &[of("before")]);
        for suffix in ["-wal", "-shm", ""] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            fs::remove_file(name).expect("it is there");
        }
        if replace {
            put(place.open().as_mut(), &[of("other")]);
        }
        let written = store.transaction(&mut |it| it.put(&of("after")));
        assert!(matches!(written, Err(StoreError::Moved(_))), "{written:?}");
        let looked = store.was_changed_by_another();
        assert!(matches!(looked, Err(StoreError::Moved(_))), "{looked:?}");
        // The old one, on its way out, must not touch what has its name now.
        let mut new = place.open();
        put(new.as_mut(), &[of("new")]);
        drop((store, new));
        let expected = if replace { vec![of("new"), of("other")] } else { vec![of("new")] };
        assert_eq!(all(place.open().as_mut()), expected);
        fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn to_touch_it_changes_nothing_but_is_written() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    put(store.as_mut(), &[of("a")]);
    let mut other = place.open();
    write(store.as_mut(), |it| it.touch().expect("writable"));
    assert!(other.was_changed_by_another().expect("readable"), "a commit of its own");
    assert_eq!(all(place.open().as_mut()), [of("a")]);
}
