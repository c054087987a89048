//! The registry as the daemon runs it, on stores that a test can hold up, break and count.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pushmaild::mailbox::Username;
use pushmaild::registry::service::{Events, Health, Live, Registered, Registry, Settings, Threads};
use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{
    NewRegistration, Registration, Store, StoreError, Timestamp, Topic, Transaction, VisitRecord,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{DAY, SLACK, key, new, user};
use crate::support::{PATIENCE, eventually};

/// What a test does to the disk of the stores that it wraps.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    /// Transactions that were committed.
    commits: AtomicUsize,
    /// Transactions that are held up, or were.
    held: AtomicUsize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Good,
    /// Nothing comes back until it is something else.
    Hangs,
    /// SQLite's code for a full disk, at each write.
    Full,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state() = state;
        self.0.changed.notify_all();
    }

    pub(super) fn hangs(&self) {
        self.set(State::Hangs);
    }

    pub(super) fn is_full(&self) {
        self.set(State::Full);
    }

    pub(super) fn is_good(&self) {
        self.set(State::Good);
    }

    pub(super) fn commits(&self) -> usize {
        self.0.commits.load(Ordering::Relaxed)
    }

    /// Waits until a transaction is held up.
    pub(super) fn wait_held(&self) {
        eventually("a commit that hangs", || (self.0.held.load(Ordering::Relaxed) > 0).then_some(()));
    }

    /// What a write to the disk comes to.
    fn write(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if *state == State::Hangs {
            self.0.held.fetch_add(1, Ordering::Relaxed);
        }
        while *state == State::Hangs {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match *state {
            State::Full => Err(StoreError::Sqlite {
                path: "registry.db".into(),
                error: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(13), None),
            }),
            _ => Ok(()),
        }
    }
}

/// A store on such a disk. Reading works at all times, as it does with SQLite while another connection commits.
struct OnDisk {
    store: SqliteStore,
    disk: Disk,
}

impl Store for OnDisk {
    fn transaction(
        &mut self,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let disk = &self.disk;
        self.store.transaction(&mut |transaction| {
            work(transaction)?;
            disk.write()
        })?;
        self.disk.0.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
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

/// A folder for the database and the spill file of one service after another.
pub(super) struct Place {
    dir: TempDir,
    pub(super) disk: Disk,
    runtime: Runtime,
}

/// A service that runs.
pub(super) struct Service<'a> {
    pub(super) place: &'a Place,
    pub(super) registry: Registry,
    pub(super) events: Arc<Events>,
    threads: Threads,
}

impl Place {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            dir: tempfile::tempdir().expect("a temporary directory can be made"),
            disk: Disk::default(),
            runtime: runtime.expect("there are threads to be had"),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path("registry.db")
    }

    pub(super) fn spill(&self) -> PathBuf {
        self.path("spill")
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            spill: self.spill(),
            devices_per_user: 50,
            expire: Duration::from_secs(180 * 24 * 3600),
            has_clients: true,
        }
    }

    pub(super) fn start(&self) -> Service<'_> {
        let (path, again, disk) = (self.database(), self.database(), self.disk.clone());
        let (registry, events, threads) = Registry::start(
            Box::new(move || {
                let store = SqliteStore::open(&path)?;
                Ok(Box::new(OnDisk { store, disk: disk.clone() }))
            }),
            Box::new(move || Ok(Box::new(SqliteStore::open_read_only(&again)?))),
            &self.settings(),
        )
        .expect("there are threads to be had");
        Service { place: self, registry, events, threads }
    }

    /// The store as the next process finds it.
    #[track_caller]
    pub(super) fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.database()).expect("the database can be opened")
    }

    pub(super) fn users(&self) -> Vec<String> {
        super::users(&mut self.store())
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

/// A device of today.
pub(super) fn today(name: &str) -> NewRegistration {
    new(key(name, "aabb", "id"), Timestamp::now().0)
}

impl Service<'_> {
    /// Registers, and fails if the answer takes longer than it may.
    #[track_caller]
    pub(super) fn register(&self, name: &str) -> Registered {
        let start = Instant::now();
        let registered = self.place.block_on(self.registry.register(today(name))).expect("taken");
        let took = start.elapsed();
        assert!(took < pushmaild::registry::service::PATIENCE + SLACK, "{took:?}");
        registered
    }

    /// The names of those whose registrations are found.
    #[track_caller]
    pub(super) fn find(&self, names: &[&str]) -> Vec<String> {
        let asked = names.iter().map(|name| user(name)).collect();
        let found = self.place.block_on(self.registry.of_users(asked)).expect("the store can be read");
        found.into_iter().map(|it| it.key.user.to_string()).collect()
    }

    pub(super) fn health(&self) -> Health {
        self.registry.health()
    }

    #[track_caller]
    pub(super) fn wait_trouble(&self, text: &str) {
        let mut last = None;
        let found = crate::support::patiently(|| {
            last = self.health().trouble;
            last.as_ref().is_some_and(|trouble| trouble.contains(text)).then_some(())
        });
        assert!(found.is_some(), "no trouble with {text:?}, but {last:?}");
    }

    /// Waits until nothing is wrong and nothing waits, and no spill file is left.
    #[track_caller]
    pub(super) fn wait_good(&self) {
        let mut last = Health::default();
        let good = crate::support::patiently(|| {
            last = self.health();
            (last == Health::default() && !self.place.spill().exists()).then_some(())
        });
        assert!(good.is_some(), "still {last:?}, with a spill file: {}", self.place.spill().exists());
    }

    /// Waits for what everybody is told next of one user, or of all.
    #[track_caller]
    pub(super) fn wait_live(&self, mut is_it: impl FnMut(Option<&Username>, &Live) -> bool) {
        let waiting = async {
            loop {
                let live = self.events.take().await;
                if live.iter().any(|(user, live)| is_it(user.as_ref(), live)) {
                    return;
                }
            }
        };
        let waited = self.place.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
        waited.expect("told of it");
    }

    pub(super) fn stop(self) {
        let Self { registry, threads, .. } = self;
        drop(registry);
        threads.join();
    }
}

#[test]
fn a_registration_is_on_disk_before_its_answer_and_found_at_once() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("jo"), Registered::Stored);
    assert_eq!(place.users(), ["jo"]);
    assert_eq!(service.find(&["al", "jo"]), ["jo"]);
    service.wait_good();
    service.stop();
}

#[test]
fn what_has_not_come_back_for_180_days_is_removed_at_the_start() {
    let place = Place::new();
    let now = Timestamp::now().0;
    let at = |name: &str, days: i64| super::registration(key(name, "aa", "id"), now - days * DAY);
    super::contract::put(&mut place.store(), &[at("old", 181), at("quiet", 179)]);
    let service = place.start();
    service.wait_live(|user, live| {
        user.is_some_and(|user| user.as_str() == "old") && matches!(live, Live::User(false))
    });
    assert_eq!(place.users(), ["quiet"]);
    service.stop();
}

#[test]
fn what_another_process_changes_is_told() {
    let place = Place::new();
    let service = place.start();
    service.register("jo");
    service.wait_live(|user, _| user.is_some_and(|user| user.as_str() == "jo"));
    // As `devices import` would.
    super::contract::put(&mut place.store(), &[super::registration(key("al", "aa", "id"), DAY)]);
    service.wait_live(|_, live| matches!(live, Live::All(users) if *users == [user("al"), user("jo")]));
    // As `devices remove` would.
    super::contract::write(&mut place.store(), |it| it.delete(&key("al", "aa", "id")).expect("writable"));
    service.wait_live(|_, live| matches!(live, Live::All(users) if *users == [user("jo")]));
    service.stop();
}

/// What was true of a user before everything was read again must not be told after it.
#[test]
fn all_users_take_the_place_of_what_was_told_of_one_before() {
    let place = Place::new();
    let service = place.start();
    service.register("jo");
    let remove = pushmaild::registry::change::Change::Remove { user: user("jo"), token: None, account: None };
    place.block_on(service.registry.change(remove)).expect("written");
    // Nobody has taken that yet, and now another process brings the user back.
    super::contract::put(&mut place.store(), &[super::registration(key("jo", "aa", "id"), DAY)]);
    eventually("all users, and nothing else", || (service.events.len() == 1).then_some(()));
    let told = service.events.take_now();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(matches!(&told[&None], Live::All(users) if *users == [user("jo")]), "{told:?}");
    service.stop();
}
