//! While the registry's disk hangs, and while nobody knows the topic.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use pushmaild::{
    listener::counters::{Asked, Listener, Outcome},
    mailbox::Username,
    registry::{
        Registration, Store, StoreError, Topic, Transaction, VisitRecord, service::Open, sqlite::SqliteStore,
    },
};

use super::{Setup, TOPIC, http, notify_line, ok, register_line};
use crate::support::eventually;

/// A disk that can be made to hang.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    hangs: bool,
    waiting: usize,
}

impl Disk {
    pub(super) fn hang(&self, hangs: bool) {
        self.0.0.lock().unwrap().hangs = hangs;
        self.0.1.notify_all();
    }

    /// Waits until somebody waits for it.
    pub(super) fn is_waited_for(&self) {
        eventually("a write", || (self.0.0.lock().unwrap().waiting > 0).then_some(()));
    }

    fn wait(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.waiting += 1;
        state = self.0.1.wait_while(state, |state| state.hangs).unwrap();
        state.waiting -= 1;
    }

    pub(super) fn open(&self, database: &Path) -> Open {
        let (disk, database) = (self.clone(), database.to_owned());
        Box::new(move || {
            let store = SqliteStore::open(&database)?;
            Ok(Box::new(OnDisk { store, disk: disk.clone() }))
        })
    }
}

/// A server in front of a disk.
pub(super) fn setup() -> (Setup, Disk) {
    let (mut setup, disk) = (Setup::new(), Disk::default());
    setup.open = Some(disk.open(&setup.database()));
    (setup, disk)
}

struct OnDisk {
    store: SqliteStore,
    disk: Disk,
}

impl Store for OnDisk {
    fn transaction(
        &mut self,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.disk.wait();
        self.store.transaction(work)
    }

    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
        self.disk.wait();
        self.store.of_user(user)
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(Registration)) -> Result<(), StoreError> {
        self.store.for_each(visit)
    }

    fn live_users(&mut self, visit: &mut dyn FnMut(Username)) -> Result<(), StoreError> {
        self.store.live_users(visit)
    }

    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError> {
        self.store.is_opted_out(user)
    }

    fn last_topic(&mut self) -> Result<Option<Topic>, StoreError> {
        self.store.last_topic()
    }

    fn was_changed_by_another(&mut self) -> Result<bool, StoreError> {
        self.store.was_changed_by_another()
    }

    fn records(&mut self, visit: &mut VisitRecord<'_>) -> Result<bool, StoreError> {
        self.store.records(visit)
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        self.store.backup(to)
    }
}

/// The registry waits 250 ms for the disk. The client by st3fan gives up after a second.
const IN_TIME: Duration = Duration::from_millis(900);

#[test]
fn registrations_are_answered_while_the_disk_hangs_and_are_there_when_it_does_not() {
    let (setup, disk) = setup();
    let server = setup.start();
    let mut line = server.line();
    assert_eq!(line.send(register_line("before")).line(), ok());
    disk.hang(true);

    let begin = Instant::now();
    assert_eq!(line.send(register_line("jo")).line(), ok());
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());

    let begin = Instant::now();
    let mut client = server.http();
    assert_eq!(http::answer(client.send(http::register("anna"))).2, TOPIC);
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());

    // Pipelined ones wait together, and not for each other.
    let begin = Instant::now();
    line.send((0..40).map(|number| register_line(&format!("user{number}"))).collect::<String>());
    for _ in 0..40 {
        assert_eq!(line.line(), ok());
    }
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());

    // What needs no disk does not wait, neither on this connection nor on others.
    line.send(register_line("robin")).send(notify_line("robin"));
    assert_eq!(server.line().send(notify_line("tom")).line(), "OK \n");
    assert!(!server.hints.take_now().is_empty());
    assert_eq!((line.line(), line.line()), (ok(), "OK \n".to_owned()));

    disk.hang(false);
    for user in ["before", "jo", "anna", "user0", "user39", "robin"] {
        server.registered(user);
    }
    let expected = 1 + 1 + 40 + 1;
    assert_eq!(server.count(Listener::XapsSocket, Asked::Register, Outcome::Taken), expected);
}

#[test]
fn a_notification_of_another_folder_is_answered_while_the_disk_cannot_be_read() {
    let (mut setup, disk) = (Setup::new(), Disk::default());
    setup.open_reader = Some(disk.open(&setup.database()));
    let server = setup.start();
    let mut line = server.line();
    assert_eq!(line.send(register_line("jo")).line(), ok());
    disk.hang(true);
    let begin = Instant::now();
    assert_eq!(line.send(notify_line("jo").replace("INBOX", "Archive")).line(), "OK \n");
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
    disk.hang(false);
}

#[test]
fn without_a_topic_there_is_no_answer_to_give_and_with_one_there_is() {
    let mut setup = Setup::new();
    setup.topic = None;
    let server = setup.start();
    let (mut line, mut client) = (server.line(), server.http());
    let why = "the APNs topic is not known: set `topic` under [apns]\n";
    assert_eq!(line.send(register_line("jo")).line(), format!("ERROR {why}"));
    let (status, head, body) = http::answer(client.send(http::register("jo")));
    assert_eq!((status, body.as_str()), (503, why));
    assert!(!head.contains("retry-after"), "{head}");
    assert_eq!(server.count(Listener::XapsHttp, Asked::Register, Outcome::Failed), 1);
    assert!(server.registrations("jo").is_empty());
    // Notifications need none, nor do records that are not answered.
    assert_eq!(line.send(notify_line("jo")).line(), "OK \n");
    server.datagram(&super::records::register("jo", pushmaild::proto::push_notify::Dialect::Osx108));
    server.registered("jo");

    server.topic.send(Some(TOPIC.parse().unwrap())).unwrap();
    assert_eq!(line.send(register_line("jo")).line(), ok());
    assert_eq!(http::answer(client.send(http::register("jo"))).2, TOPIC);
}
