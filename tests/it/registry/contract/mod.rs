//! What any store has to do. Each rule is a function of a place where a store can be opened, again and by several at once; a new kind
//! of store is a `Place`, and a line at the end.

mod memory;

use std::sync::Barrier;
use std::{io, os::unix::ffi::OsStrExt, path::PathBuf, thread};

use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Registration, State, Store, StoreError, Timestamp, Topic, Transaction};
use pushmaild::stamp::{Stamp, Stamps};
use tempfile::TempDir;

use super::{DAY, all, key, registration, user, users};

pub(super) use memory::Model;

/// Where a store is kept.
pub(super) trait Place: Sync {
    /// A place with nothing in it.
    fn fresh() -> Self;

    /// Opens the store there, as another process would.
    fn try_open(&self) -> Result<Box<dyn Store>, StoreError>;

    #[track_caller]
    fn open(&self) -> Box<dyn Store> {
        self.try_open().expect("the store can be opened")
    }
}

/// A folder for a SQLite file.
pub(super) struct Sqlite(pub(super) TempDir);

impl Place for Sqlite {
    fn fresh() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    fn try_open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(&self.0.path().join("registry.db"))?))
    }
}

#[track_caller]
pub(super) fn write(store: &mut dyn Store, mut work: impl FnMut(&mut dyn Transaction)) {
    let written = store.transaction(&mut |transaction| {
        work(transaction);
        Ok(())
    });
    written.expect("the store can be written");
}

#[track_caller]
pub(super) fn put(store: &mut dyn Store, registrations: &[Registration]) {
    write(store, |it| registrations.iter().for_each(|new| it.put(new).expect("the store can be written")));
}

fn of(name: &str) -> Registration {
    registration(key(name, "aa", "id"), DAY)
}

fn every_field_comes_back(place: &impl Place) {
    let plain = of("plain@example.org");
    let full = Registration {
        key: key("Ünï\"c'ödé%_@例え.jp", &"0f".repeat(128), &"~".repeat(64)),
        subtopic: "a\tsubtopic; with 'quotes'".to_owned(),
        topic: "t".repeat(255).parse().ok(),
        mailboxes: vec![
            String::new(),
            "Ent&w/8-rfe".to_owned(),
            "a \"b\", c\\".to_owned(),
            "\u{1}\n📬".to_owned(),
        ],
        acknowledged: vec!["Entwürfe".to_owned()],
        first_registered: Timestamp(-1),
        last_registered: Timestamp(i64::MAX),
        last_push: Some(Timestamp(0)),
        last_answer: Some("400 BadDeviceToken".to_owned()),
        bad_answers: u32::MAX,
        state: State::Suspended { reason: String::new() },
    };
    let bare = Registration {
        topic: None,
        subtopic: String::new(),
        mailboxes: Vec::new(),
        state: State::Superseded { since: Timestamp(i64::MIN) },
        ..of("bare")
    };
    let mut registrations = vec![plain, full, bare];
    registrations.sort_by(|one, other| one.key.cmp(&other.key));
    let mut store = place.open();
    put(store.as_mut(), &registrations);
    assert_eq!(all(store.as_mut()), registrations);
    drop(store);
    let mut store = place.open();
    assert_eq!(all(store.as_mut()), registrations, "after it was closed");
    for registration in registrations {
        assert_eq!(store.of_user(&registration.key.user).expect("readable"), [registration]);
    }
    assert_eq!(store.of_user(&user("nobody")).expect("readable"), []);
    assert_eq!(
        store.of_user(&user("PLAIN@example.org")).expect("readable"),
        [],
        "names are compared as they are"
    );
}

fn a_registration_is_known_by_user_token_and_account(place: &impl Place) {
    let mut store = place.open();
    let keys = [("a", "aa", "1"), ("a", "aa", "2"), ("a", "aa00", "1"), ("b", "aa", "1")];
    let mut registrations: Vec<_> = keys.map(|(a, b, c)| registration(key(a, b, c), DAY)).into();
    put(store.as_mut(), &registrations);
    let state = State::Suspended { reason: "why".to_owned() };
    registrations[1] = Registration { state, last_push: Some(Timestamp(7)), ..registrations[1].clone() };
    put(store.as_mut(), &registrations[1..2]);
    assert_eq!(all(store.as_mut()), registrations, "one is replaced as a whole");
    write(store.as_mut(), |it| {
        it.delete(&key("a", "aa", "2")).expect("writable");
        it.delete(&key("a", "bb", "1")).expect("none of that name is no error");
    });
    registrations.remove(1);
    assert_eq!(all(store.as_mut()), registrations);
}

fn a_push_is_noted_of_what_is_there(place: &impl Place) {
    let mut store = place.open();
    let mut it = Registration { bad_answers: 1, last_answer: Some("400".to_owned()), ..of("a") };
    put(store.as_mut(), &[it.clone(), of("b")]);
    write(store.as_mut(), |transaction| {
        for name in ["a", "nobody"] {
            transaction.pushed(&key(name, "aa", "id"), Timestamp(5)).expect("writable");
        }
    });
    it = Registration {
        bad_answers: 0,
        last_answer: Some("200".to_owned()),
        last_push: Some(Timestamp(5)),
        ..it
    };
    assert_eq!(all(store.as_mut()), [it, of("b")]);
}

fn what_was_last_made_before_a_moment_expires(place: &impl Place) {
    let mut store = place.open();
    let at = |name: &str, token: &str, at| registration(key(name, token, "id"), at);
    put(
        store.as_mut(),
        &[at("a", "aa", 9), at("a", "bb", 8), at("a", "cc", 10), at("b", "aa", 10), at("c", "aa", 1)],
    );
    let mut gone = Vec::new();
    write(store.as_mut(), |it| gone = it.expire(Timestamp(10)).expect("writable"));
    gone.sort();
    gone.dedup();
    assert_eq!(gone, [user("a"), user("c")]);
    assert_eq!(all(store.as_mut()), [at("a", "cc", 10), at("b", "aa", 10)]);
}

fn a_user_is_out_until_he_is_in_again(place: &impl Place) {
    let mut store = place.open();
    let mut set = |out| {
        write(store.as_mut(), |it| {
            for _ in 0..2 {
                it.set_opted_out(&user("a"), out).expect("the second time, too");
                assert_eq!(it.is_opted_out(&user("a")).expect("readable"), out, "seen at once");
            }
        });
        assert_eq!(place.open().is_opted_out(&user("a")).expect("readable"), out);
        assert!(!place.open().is_opted_out(&user("b")).expect("readable"));
    };
    set(true);
    set(false);
}

fn the_last_topic_is_remembered(place: &impl Place) {
    let mut store = place.open();
    assert_eq!(store.last_topic().expect("readable"), None);
    for name in ["topic.one", "topic.two", "topic.two"] {
        let topic: Topic = name.parse().expect("a topic");
        write(store.as_mut(), |it| it.set_last_topic(&topic).expect("writable"));
        assert_eq!(place.open().last_topic().expect("readable"), Some(topic));
    }
}

fn a_transaction_that_fails_leaves_everything(place: &impl Place) {
    let mut store = place.open();
    put(store.as_mut(), &[of("a"), of("b")]);
    let failed = store.transaction(&mut |it| {
        it.put(&of("c"))?;
        it.delete(&of("a").key)?;
        it.pushed(&of("b").key, Timestamp(1))?;
        it.expire(Timestamp(i64::MAX))?;
        it.set_opted_out(&user("d"), true)?;
        it.set_last_topic(&"a.topic".parse().expect("a topic"))?;
        Err(StoreError::Io { path: "here".into(), error: io::ErrorKind::Other.into() })
    });
    assert!(matches!(failed, Err(StoreError::Io { .. })), "the caller's own error: {failed:?}");
    for store in [&mut store, &mut place.open()] {
        assert_eq!(all(store.as_mut()), [of("a"), of("b")]);
        assert!(!store.is_opted_out(&user("d")).expect("readable"));
        assert_eq!(store.last_topic().expect("readable"), None);
    }
    put(store.as_mut(), &[of("c")]);
    assert_eq!(users(store.as_mut()), ["a", "b", "c"], "and the next one works");
}

fn a_transaction_sees_what_it_did_and_nobody_else_does(place: &impl Place) {
    let mut store = place.open();
    let mut other = place.open();
    put(store.as_mut(), &[of("a")]);
    write(store.as_mut(), |it| {
        it.put(&of("b")).expect("writable");
        assert_eq!(it.of_user(&user("b")).expect("readable"), [of("b")]);
        it.delete(&of("a").key).expect("writable");
        assert_eq!(it.of_user(&user("a")).expect("readable"), []);
        it.touch().expect("writable");
        assert_eq!(users(other.as_mut()), ["a"], "not yet");
    });
    assert_eq!(users(other.as_mut()), ["b"]);
}

fn all_are_visited_in_the_order_of_their_users(place: &impl Place) {
    let mut store = place.open();
    let names = ["b", "é", "a", "B", "a@b", "a.b"];
    for name in names {
        put(store.as_mut(), &[of(name), registration(key(name, "bb", "id"), DAY)]);
    }
    let mut visited = Vec::new();
    store.for_each(&mut |it| visited.push(it.key.user.to_string())).expect("readable");
    assert_eq!(visited.len(), 2 * names.len());
    assert!(visited.is_sorted(), "{visited:?}");
}

fn a_live_user_has_a_device_and_is_not_out(place: &impl Place) {
    let mut store = place.open();
    let suspended = State::Suspended { reason: "why".to_owned() };
    let with = |name: &str, token: &str, state: &State| Registration {
        state: state.clone(),
        ..registration(key(name, token, "id"), DAY)
    };
    put(
        store.as_mut(),
        &[
            with("suspended", "aa", &suspended),
            with("half", "aa", &suspended),
            with("half", "bb", &State::Active),
            with("two", "aa", &State::Active),
            with("two", "bb", &State::Active),
            with("superseded", "aa", &State::Superseded { since: Timestamp(1) }),
            with("out", "aa", &State::Active),
        ],
    );
    write(store.as_mut(), |it| it.set_opted_out(&user("out"), true).expect("writable"));
    let mut live = Vec::new();
    store.live_users(&mut |user| live.push(user.to_string())).expect("readable");
    live.sort();
    assert_eq!(live, ["half", "superseded", "two"]);
}

fn changes_of_others_are_told_once_and_own_ones_not(place: &impl Place) {
    let mut store = place.open();
    let mut other = place.open();
    let changed = |store: &mut Box<dyn Store>| store.was_changed_by_another().expect("readable");
    changed(&mut store);
    put(store.as_mut(), &[of("a")]);
    assert!(!changed(&mut store), "its own");
    put(other.as_mut(), &[of("b")]);
    other.of_user(&user("a")).expect("readable");
    assert!(changed(&mut store));
    assert!(!changed(&mut store), "told once");
    assert_eq!(users(store.as_mut()), ["a", "b"]);
    assert!(!changed(&mut store), "reading is no change");
}

fn records_come_back_and_it_is_known_whether_there_were_any(place: &impl Place) {
    let records = |store: &mut dyn Store| {
        let mut all = Vec::new();
        let visit = &mut |maildir: &[u8], stamps: Stamps| all.push((maildir.to_vec(), stamps));
        store.records(visit).expect("readable").then_some(all)
    };
    let keep = |store: &mut dyn Store, kept: &[(PathBuf, Stamps)], gone: &[PathBuf]| {
        store.transaction(&mut |it| it.keep_records(kept, gone)).expect("writable");
    };
    let mut store = place.open();
    assert_eq!(records(store.as_mut()), None, "never");
    keep(store.as_mut(), &[], &[]);
    assert_eq!(records(store.as_mut()), Some(Vec::new()), "but nobody has a mailbox");

    let clean = Some(Stamp::kept(u64::MAX, 1 << 63, -1, false));
    let racy = Some(Stamp::kept(1, 2, 0, true));
    let [one, other] = ["/mail/b", "/mail/a\n\u{fe}"].map(PathBuf::from);
    keep(store.as_mut(), &[(one.clone(), [clean, racy]), (other.clone(), [None, clean])], &[]);
    keep(store.as_mut(), &[(other.clone(), [clean, None])], &[]);
    drop(store);
    let mut store = place.open();
    let mut all = records(store.as_mut()).expect("kept");
    all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let path = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
    assert_eq!(all, [(path(&other), [clean, None]), (path(&one), [clean, racy])]);
    assert!(all[1].1[1].is_some_and(|stamp| stamp.is_racy()), "an unknown mtime stays unknown");
    keep(store.as_mut(), &[], &[one, PathBuf::from("/mail/never-there")]);
    assert_eq!(records(store.as_mut()).map(|all| all.len()), Some(1));
}

fn many_can_open_a_new_store_at_once(place: &impl Place) {
    const MANY: usize = 8;
    let start = Barrier::new(MANY);
    thread::scope(|scope| {
        for number in 0..MANY {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let mut store = place.open();
                put(store.as_mut(), &[of(&format!("user{number}"))]);
            });
        }
    });
    assert_eq!(all(place.open().as_mut()).len(), MANY);
}

macro_rules! contract {
    ($($name:ident: $place:ty,)*) => { $(
        mod $name {
            contract!(@rules $place:
                every_field_comes_back a_registration_is_known_by_user_token_and_account
                a_push_is_noted_of_what_is_there what_was_last_made_before_a_moment_expires
                a_user_is_out_until_he_is_in_again the_last_topic_is_remembered
                a_transaction_that_fails_leaves_everything a_transaction_sees_what_it_did_and_nobody_else_does
                all_are_visited_in_the_order_of_their_users a_live_user_has_a_device_and_is_not_out
                records_come_back_and_it_is_known_whether_there_were_any
                changes_of_others_are_told_once_and_own_ones_not many_can_open_a_new_store_at_once);
        }
    )* };
    (@rules $place:ty: $($rule:ident)*) => { $(
        #[test]
        fn $rule() {
            super::$rule(&<$place as super::Place>::fresh());
        }
    )* };
}

contract! {
    sqlite: super::Sqlite,
    model: super::Model,
}
