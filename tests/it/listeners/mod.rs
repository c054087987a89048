//! The listeners: real sockets in front of a real registry, in this process.

mod client;
mod disk;
mod http;
mod limits;
mod lines;
mod log;
mod peers;
mod records;
mod sockets;
mod stop;
mod transcripts;

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixStream},
    },
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use pushmaild::{
    config::Listen,
    handover::Handover,
    listener::{
        self, Bound,
        counters::{Asked, Counters, Listener, Outcome},
        intake::{Hint, Intake, MaildirOf},
        limits::Limits,
    },
    mailbox::{Username, username_format::UsernameFormat},
    registry::{
        Registration, Topic,
        service::{Open, Registry, Settings, Threads},
        sqlite::SqliteStore,
    },
};
use tempfile::TempDir;
use tokio::{
    runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use self::{
    client::{Client, connect},
    log::Log,
};
use crate::support::eventually;

const TOPIC: &str = "com.apple.mail.XServer.5fcc5d2f-3e5d-4b86-a8d3-8a1d3f7b1c55";
const ACCOUNT: &str = "0715A26B-CA09-4730-A419-793000CA982E";
const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";

/// How the listeners are to be.
struct Setup {
    dir: TempDir,
    listen: Listen,
    limits: Limits,
    topic: Option<Topic>,
    open: Option<Open>,
    open_reader: Option<Open>,
    log: Option<Log>,
}

impl Setup {
    /// All listeners, with the usual limits.
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pml-").tempdir().unwrap();
        // Other users come as far as the sockets.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let listen = Listen {
            xaps_http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            xaps_socket: Some(dir.path().join("xaps")),
            push_notify_datagram: Some(dir.path().join("datagram")),
            push_notify_stream: Some(dir.path().join("stream")),
            mode: 0o660,
            group: None,
            peers: Vec::new(),
        };
        Self {
            dir,
            listen,
            limits: Limits::default(),
            topic: Some(TOPIC.parse().unwrap()),
            open: None,
            open_reader: None,
            log: None,
        }
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("registry.db")
    }

    #[track_caller]
    fn start(self) -> Server {
        let bound = listener::bind(&self.listen).unwrap_or_else(|e| panic!("{e}: {}", e.hint()));
        Server::start(self, bound)
    }
}

/// The listeners at work, on a thread of their own.
struct Server {
    http: SocketAddr,
    registry: Registry,
    hints: Arc<Handover<Username, Hint>>,
    counters: Arc<Counters>,
    topic: watch::Sender<Option<Topic>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _threads: Threads,
    dir: TempDir,
}

impl Server {
    fn start(setup: Setup, bound: Bound) -> Self {
        let database = setup.database();
        let store = move || SqliteStore::open(&database).map(|it| Box::new(it) as Box<_>);
        let settings = Settings {
            spill: setup.dir.path().join("spill"),
            devices_per_user: 50,
            expire: Duration::from_secs(86400 * 14),
            has_clients: true,
        };
        let open = setup.open.unwrap_or_else(|| Box::new(store.clone()));
        let open_reader = setup.open_reader.unwrap_or_else(|| Box::new(store));
        let (registry, _events, threads) = Registry::start(open, open_reader, &settings).unwrap();
        let hints = Arc::new(Handover::default());
        let (maildirs, questions) = mpsc::channel(16);
        let (topic, topic_receiver) = watch::channel(setup.topic);
        // Dropping the sender leaves the receiver with what it has.
        let username_format = watch::channel(UsernameFormat::default()).1;
        let intake = Intake {
            registry: registry.clone(),
            hints: Arc::clone(&hints),
            maildirs,
            username_format,
            topic: topic_receiver,
        };
        let http = bound.http_address().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let stop = CancellationToken::new();
        let (started, counters) = std::sync::mpsc::channel();
        let thread = thread::spawn({
            let (stop, folder) = (stop.clone(), setup.dir.path().join("mail"));
            let log = setup.log;
            move || {
                let _log = log.map(|log| {
                    let lines =
                        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
                    tracing::subscriber::set_default(lines.with_writer(move || log.clone()).finish())
                });
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::spawn(tell_maildirs(questions, folder));
                    let counters = Arc::default();
                    let serving =
                        bound.limited(setup.limits).serve(intake, Arc::clone(&counters), &stop).unwrap();
                    started.send(counters).unwrap();
                    serving.ended().await;
                });
            }
        });
        let counters = counters.recv().unwrap();
        let thread = Some(thread);
        Self { http, registry, hints, counters, topic, stop, thread, _threads: threads, dir: setup.dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes the folder that tells whose mail it is.
    fn maildir(&self, user: &str, uid: u32) {
        let path = self.path("mail").join(user);
        std::fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(uid), None).unwrap();
    }

    #[track_caller]
    fn http(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.http).unwrap())
    }

    #[track_caller]
    fn line(&self) -> Client<UnixStream> {
        connect(&self.path("xaps"))
    }

    #[track_caller]
    fn stream(&self) -> Client<UnixStream> {
        connect(&self.path("stream"))
    }

    #[track_caller]
    fn datagram(&self, record: &[u8]) {
        UnixDatagram::unbound().unwrap().send_to(record, self.path("datagram")).unwrap();
    }

    /// Waits until the user's mail is hinted at.
    #[track_caller]
    fn hint(&self, user: &str) -> Hint {
        eventually("a hint", || {
            let mut hints = self.hints.take_now();
            let hint = hints.remove(&Username::new(user).unwrap());
            assert!(hints.is_empty(), "nobody else: {hints:?}");
            hint
        })
    }

    /// What is registered for a user now.
    fn registrations(&self, user: &str) -> Vec<Registration> {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.registry.of_users(vec![Username::new(user).unwrap()])).unwrap()
    }

    /// Waits until a user has a device.
    #[track_caller]
    fn registered(&self, user: &str) -> Registration {
        eventually("a registration", || self.registrations(user).pop())
    }

    fn count(&self, on: Listener, asked: Asked, outcome: Outcome) -> u64 {
        self.counters.requests(on, asked, outcome)
    }

    /// Waits until so many requests came to this end.
    #[track_caller]
    fn counted(&self, on: Listener, asked: Asked, outcome: Outcome, count: u64) {
        eventually("a count", || (self.count(on, asked, outcome) == count).then_some(()));
    }

    /// Stops, and waits for the end.
    fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn tell_maildirs(mut questions: mpsc::Receiver<MaildirOf>, folder: PathBuf) {
    while let Some(MaildirOf { user, reply }) = questions.recv().await {
        let _ = reply.send(Some(folder.join(user.as_str())));
    }
}

fn register_line(user: &str) -> String {
    format!(
        "REGISTER aps-account-id=\"{ACCOUNT}\"\taps-device-token=\"{TOKEN}\"\taps-subtopic=\"com.apple.mobilemail\"\tdovecot-username=\"{user}\"\tdovecot-mailboxes=(\"INBOX\")\r\n"
    )
}

fn notify_line(user: &str) -> String {
    format!("NOTIFY dovecot-username=\"{user}\"\tdovecot-mailbox=\"INBOX\"\tevents=(\"MessageNew\")\r\n")
}

fn ok() -> String {
    format!("OK {TOPIC}\n")
}
