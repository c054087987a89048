//! A pusher at work, and all that is around it.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pushmaild::classifier::Kind;
use pushmaild::mailbox::Username;
use pushmaild::registry::Registration;
use pushmaild::sink::apns::counters::Counters;
use pushmaild::sink::apns::credential::Credential;
use pushmaild::sink::apns::guard::Guard;
use pushmaild::sink::apns::push::{Authority, Changed, Priorities};
use pushmaild::sink::apns::pusher::{Changes, Control, Pusher, Settings, join};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::subscriber::DefaultGuard;

use super::accounts::{TOPIC, certificate, registration, user};
use super::apple::{Apple, Does, Request};
use super::devices::Shelf;
use super::wire::Wire;

/// More turns than that of the task, without end, are a loop that does not wait.
const TURNS: u64 = 3_000_000;

/// A pusher in its task, with the users 0, 1, 2, … who have one device each.
pub(super) struct Desk {
    pub(super) apple: Apple,
    pub(super) wire: Wire,
    pub(super) shelf: Shelf,
    pub(super) counters: Arc<Counters>,
    changes: Arc<Changes>,
    control: Option<mpsc::Sender<Control<Wire>>>,
    task: JoinHandle<()>,
    turns: Arc<AtomicU64>,
    log: Log,
    _logging: DefaultGuard,
}

impl Desk {
    pub(super) fn new(users: u64, script: impl FnMut(&Request) -> Does + Send + 'static) -> Self {
        Self::with(certificate(), (0..users).map(registration), script)
    }

    pub(super) fn with(
        credential: Arc<Credential>,
        registrations: impl IntoIterator<Item = Registration>,
        script: impl FnMut(&Request) -> Does + Send + 'static,
    ) -> Self {
        let shelf = Shelf::new();
        shelf.put(registrations);
        Self::of(shelf, credential, script)
    }

    pub(super) fn of(
        shelf: Shelf,
        credential: Arc<Credential>,
        script: impl FnMut(&Request) -> Does + Send + 'static,
    ) -> Self {
        let apple = Apple::new(script);
        let wire = Wire::new(&apple);
        let (changes, counters) = (Arc::new(Changes::default()), Arc::new(Counters::default()));
        let pusher = Pusher::new(
            settings(&wire, Ok(credential), TOPIC),
            shelf.clone(),
            Arc::clone(&changes),
            Arc::clone(&counters),
            Guard::default(),
        );
        let (control, controls) = mpsc::channel(16);
        let turns = Arc::new(AtomicU64::new(0));
        let turned = Arc::clone(&turns);
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let task = tokio::spawn(async move {
            let mut run = pin!(pusher.run(controls));
            poll_fn(|context| {
                assert!(turned.fetch_add(1, Relaxed) < TURNS, "the task does not wait");
                run.as_mut().poll(context)
            })
            .await;
        });
        let control = Some(control);
        Self { apple, wire, shelf, counters, changes, control, task, turns, log, _logging: logging }
    }

    /// Something changed in the mail of these users.
    pub(super) fn change(&self, users: impl IntoIterator<Item = u64>, kind: Kind) {
        for number in users {
            let since = Instant::now().into_std();
            let changed = Changed { inbox: true, others: Vec::new(), kind, since, events: 1 };
            self.changes.put(user(number), (vec![user(number)], changed), join);
        }
    }

    pub(super) fn new_mail(&self, users: impl IntoIterator<Item = u64>) {
        self.change(users, Kind::NewMail);
    }

    pub(super) async fn tell(&self, control: Control<Wire>) {
        let sender = self.control.as_ref().unwrap();
        assert!(sender.send(control).await.is_ok());
        self.until("told", || sender.capacity() == sender.max_capacity()).await;
    }

    pub(super) async fn renew(&self, credential: Result<Arc<Credential>, String>, topic: &str) {
        self.tell(Control::Renew(Box::new(settings(&self.wire, credential, topic)))).await;
    }

    pub(super) async fn gone(&self, users: impl IntoIterator<Item = u64>) {
        self.tell(Control::Gone(users.into_iter().map(user).collect())).await;
    }

    pub(super) fn pending(&self) -> usize {
        self.counters.pending.load(Relaxed) + self.changes.len()
    }

    /// How often the task was woken up.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// Waits until this is so, for an hour of the clock.
    #[track_caller]
    pub(super) fn until(&self, what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let wait = async {
                while !is_so() {
                    assert!(!self.task.is_finished(), "the pusher has ended");
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let waited = timeout(Duration::from_secs(3600), wait).await;
            assert!(waited.is_ok(), "{caller}: not {what} within an hour; log:\n{}", self.log.text());
        }
    }

    /// Waits until nothing is pending, and says how long it took.
    #[track_caller]
    pub(super) fn done(&self) -> impl Future<Output = Duration> {
        let start = Instant::now();
        let wait = self.until("done", || self.pending() == 0);
        async move {
            wait.await;
            start.elapsed()
        }
    }

    /// Each of the users has heard at least once, by Apple's account and by ours, and never twice at once.
    #[track_caller]
    pub(super) fn nobody_is_lost(&self, users: u64) {
        let accepted = self.apple.accepted();
        let lost: Vec<_> = (0..users).filter(|user| !accepted.contains_key(user)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}; log:\n{}", self.log.text());
        assert_eq!(self.counters.accepted.load(Relaxed), users, "each push is answered once");
        assert!(self.apple.twice_at_once().is_empty(), "twice at once: {:?}", self.apple.twice_at_once());
    }

    /// Each of the users has heard exactly once.
    #[track_caller]
    pub(super) fn each_exactly_once(&self, users: u64) {
        self.nobody_is_lost(users);
        let more: Vec<_> = self.apple.accepted().into_iter().filter(|(_, count)| *count != 1).collect();
        assert!(more.is_empty(), "more than once: {more:?}");
    }

    pub(super) fn dials(&self) -> usize {
        self.wire.dials().len()
    }

    pub(super) fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        counter(&self.counters).load(Relaxed)
    }

    /// The lines of the log with this text.
    pub(super) fn logged(&self, text: &str) -> Vec<String> {
        self.log.text().lines().filter(|line| line.contains(text)).map(ToOwned::to_owned).collect()
    }

    /// Lets go of the pusher, and waits for its end.
    pub(super) async fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.control = None;
        (&mut self.task).await.unwrap();
        start.elapsed()
    }

    /// Waits a while. Nothing is waited for: it is the time itself that does something.
    pub(super) async fn let_pass(&self, time: Duration) {
        sleep(time).await;
        assert!(!self.task.is_finished(), "the pusher has ended");
    }
}

pub(super) fn settings(
    wire: &Wire,
    credential: Result<Arc<Credential>, String>,
    topic: &str,
) -> Settings<Wire> {
    Settings {
        link: credential.map(|credential| (wire.clone(), credential)),
        topic: Some(topic.to_owned()),
        authority: Authority("api.push.apple.com".parse().unwrap()),
        priorities: Priorities::default(),
    }
}

/// All users in a set, for [`Control::Only`].
pub(super) fn users(numbers: impl IntoIterator<Item = u64>) -> std::collections::HashSet<Username> {
    numbers.into_iter().map(user).collect()
}

/// What the task logs. All of a test runs on one thread, and so does its log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
