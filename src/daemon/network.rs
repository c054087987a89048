//! The other thread: registrations and hints that come in, pushes that go to Apple. It has its own runtime, so that neither TLS nor a
//! hundred clients hold up the thread that watches Maildirs; between the two there are only hand-overs that are bounded by users.

use std::{
    collections::HashSet,
    hash::RandomState,
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    config::{self, Config},
    handover::Handover,
    listener::{
        self,
        intake::{Hint, Intake, MaildirOf},
    },
    mailbox::{Username, username_format::UsernameFormat},
    registry::{
        Store, Timestamp, Topic,
        change::Change,
        service::{Events, Live, Registry, Settings, Threads, spill_path},
        sqlite::SqliteStore,
    },
    sink::apns::{
        ApnsSink,
        counters::Counters,
        credential::Credential,
        dial::TlsDial,
        guard::Guard,
        pusher::{self, Changes, Control, Pusher},
        settings::{self, Loaded, Lookout, Unusable},
    },
    sink::tally::Tally,
};

/// Questions on their way to the thread that has the map; more than that many clients wait for their turn.
const QUESTIONS: usize = 256;
/// How long the first clients wait for a credential that is on a slow disk, before they are answered with the last topic that is known.
const FIRST_TOPIC: Duration = Duration::from_millis(800);
/// How long the thread may take to end: answers to clients, which cut themselves off after a second, and what is on the wire.
const END: Duration = Duration::from_millis(1200);

/// What the thread is told.
enum Told {
    /// A new configuration.
    Reload(Box<Config>),
    /// These users have no device any more.
    Gone(HashSet<Username>),
    /// These are all the users with devices.
    Only(HashSet<Username>),
    /// Who has something that is not pushed yet?
    Unpushed(RandomState, oneshot::Sender<HashSet<u64>>),
}

/// What the thread has to tell.
pub(super) enum FromNetwork {
    /// Who has a device has changed.
    Live(FxHashMap<Option<Username>, Live>),
    /// Plugins say that something happened.
    Hints(FxHashMap<Username, Hint>),
    /// Somebody asks where a Maildir is.
    Question(MaildirOf),
}

/// The thread, seen from the one that watches Maildirs.
pub(super) struct Network {
    events: Arc<Events>,
    hints: Arc<Handover<Username, Hint>>,
    questions: mpsc::Receiver<MaildirOf>,
    told: mpsc::UnboundedSender<Told>,
    username_format: watch::Sender<UsernameFormat>,
    requests: Arc<listener::counters::Counters>,
    thread: thread::JoinHandle<()>,
}

/// The registry of devices, and of records of mailboxes.
pub(super) struct OpenRegistry {
    pub(super) registry: Registry,
    pub(super) events: Arc<Events>,
    pub(super) threads: Threads,
}

impl Network {
    /// Binds the sockets and starts the thread; with it the sink, if there is one. None if the configuration has nothing for it to do.
    pub(super) fn start(
        config: &Config,
        open: Option<&OpenRegistry>,
        tally: &Arc<Tally>,
    ) -> Result<(Option<Self>, Option<ApnsSink>), super::DaemonError> {
        let has_work = config.apns.is_some() || config.listen.is_some();
        let Some(OpenRegistry { registry, events, .. }) = open.filter(|_| has_work) else {
            return Ok((None, None));
        };
        let (registry, events) = (registry.clone(), Arc::clone(events));
        let bound = config.listen.as_ref().map(listener::bind).transpose()?;
        if let Some(listen) = &config.listen {
            let sockets = listen.sockets().map(|(key, path)| format!("{key} `{}`", path.display()));
            let all: Vec<_> =
                listen.xaps_http.map(|at| format!("xaps-http {at}")).into_iter().chain(sockets).collect();
            let all = all.join(", ");
            info!(listeners = all, "registrations are taken at: {all}");
        }
        let changes = Arc::new(Changes::default());
        let counters = Arc::new(Counters::new(Arc::clone(tally)));
        let sink = config.apns.is_some().then(|| ApnsSink::new(Arc::clone(&changes), Arc::clone(&counters)));
        let hints = Arc::new(Handover::default());
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let (told, telling) = mpsc::unbounded_channel();
        let (username_format, format) = watch::channel(config.mailboxes.username_format.clone());
        let (topic, topic_now) = watch::channel(None);
        let intake = Intake {
            registry: registry.clone(),
            hints: Arc::clone(&hints),
            maildirs: ask,
            username_format: format,
            topic: topic_now,
        };
        let task = Task { apns: config.apns.clone(), registry, topic, changes, counters };
        let requests = Arc::new(listener::counters::Counters::default());
        let requests_too = Arc::clone(&requests);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build()?;
        let thread = thread::Builder::new().name("network".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let stop = CancellationToken::new();
                let (topic_is_set, topic) = oneshot::channel();
                let task = tokio::spawn(task.run(telling, topic_is_set));
                // The sockets are bound, and clients wait there. A phone that got an error would stay away for a day.
                let _ = tokio::time::timeout(FIRST_TOPIC, topic).await;
                let listeners = bound.map(|bound| bound.serve(intake, requests_too, &stop));
                if let Err(error) = task.await {
                    std::panic::resume_unwind(error.into_panic());
                }
                stop.cancel();
                match listeners {
                    Some(Ok(serving)) => {
                        let _ = tokio::time::timeout(END, serving.ended()).await;
                    }
                    Some(Err(error)) => error!(%error, "registrations cannot be taken: {error}"),
                    None => {}
                }
            });
            // A look at a disk that does not answer must not hold up the end.
            runtime.shutdown_background();
        })?;
        let network = Self { events, hints, questions, told, username_format, requests, thread };
        Ok((Some(network), sink))
    }

    /// Waits for what the thread has to tell. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> FromNetwork {
        tokio::select! {
            live = self.events.take() => {
                self.pass_on(&live);
                FromNetwork::Live(live)
            }
            hints = self.hints.take() => FromNetwork::Hints(hints),
            Some(question) = self.questions.recv() => FromNetwork::Question(question),
        }
    }

    /// Who has a device, if that has changed. A client has its answer after this is there, so whoever looks here before reading events
    /// knows of every device that registered before them.
    pub(super) fn live_now(&self) -> Option<FromNetwork> {
        let live = self.events.take_now();
        if live.is_empty() {
            return None;
        }
        self.pass_on(&live);
        Some(FromNetwork::Live(live))
    }

    /// What is pending for users without a device is dropped.
    fn pass_on(&self, live: &FxHashMap<Option<Username>, Live>) {
        if let Some(Live::All(users)) = live.get(&None) {
            let _ = self.told.send(Told::Only(users.iter().cloned().collect()));
        }
        let gone: HashSet<_> = live
            .iter()
            .filter_map(|(user, live)| user.as_ref().filter(|_| matches!(live, Live::User(false))).cloned())
            .collect();
        if !gone.is_empty() {
            let _ = self.told.send(Told::Gone(gone));
        }
    }

    /// Takes over a new configuration: the credential and how names are normalised.
    pub(super) fn reload(&self, config: &Config) {
        self.username_format.send_replace(config.mailboxes.username_format.clone());
        let _ = self.told.send(Told::Reload(Box::new(config.clone())));
    }

    /// Asks who has something that is not pushed yet.
    pub(super) fn ask_for_unpushed(&self, hasher: RandomState) -> oneshot::Receiver<HashSet<u64>> {
        let (reply, answer) = oneshot::channel();
        // A thread that has ended drops the question, and that is the answer.
        let _ = self.told.send(Told::Unpushed(hasher, reply));
        answer
    }

    /// What the listeners have done.
    pub(super) fn requests(&self) -> &listener::counters::Counters {
        &self.requests
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        let Self { told, questions, thread, .. } = self;
        drop((told, questions));
        let _ = thread.join();
    }
}

/// Starts the registry's threads.
pub(super) fn open_registry(config: &config::Registry, has_clients: bool) -> io::Result<OpenRegistry> {
    let settings = Settings {
        spill: spill_path(&config.database),
        devices_per_user: config.devices_per_user,
        expire: config.expire,
        has_clients,
    };
    let (path, again) = (config.database.clone(), config.database.clone());
    let (registry, events, threads) = Registry::start(
        Box::new(move || SqliteStore::open(&path).map(|store| Box::new(store) as Box<dyn Store>)),
        Box::new(move || SqliteStore::open_read_only(&again).map(|store| Box::new(store) as Box<dyn Store>)),
        &settings,
    )?;
    Ok(OpenRegistry { registry, events, threads })
}

/// What runs on the thread, beside the listeners.
struct Task {
    apns: Option<config::Apns>,
    registry: Registry,
    topic: watch::Sender<Option<Topic>>,
    changes: Arc<Changes>,
    counters: Arc<Counters>,
}

impl Task {
    /// Until the other thread lets go.
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>, topic_is_set: oneshot::Sender<()>) {
        let Some(apns) = self.apns.clone() else {
            // Registrations are taken for the day when there is a credential.
            self.set_topic(None).await;
            let _ = topic_is_set.send(());
            while told.recv().await.is_some() {}
            return;
        };
        let mut lookout = Lookout::new(&apns);
        let (mut settings, loaded) = load(&apns).await;
        self.counters.set_facts(settings::facts(&apns, loaded.as_ref().ok(), settings.topic.clone()));
        self.set_topic(settings.topic.clone()).await;
        let _ = topic_is_set.send(());
        let mut credential = match loaded {
            Ok(loaded) => {
                settings::tell(&loaded, settings.topic.as_deref());
                Some(loaded.credential)
            }
            Err(Unusable { message, hint }) => {
                error!(hint, "pushes to Apple wait: {message}; hint: {hint}");
                self.counters.trouble.set(Some(message));
                None
            }
        };
        let guard = self.guard().await;
        settings.topic = self.topic.borrow().as_ref().map(ToString::to_string);
        let (control, controls) = mpsc::channel(16);
        let (changes, counters) = (Arc::clone(&self.changes), Arc::clone(&self.counters));
        let pusher = Pusher::new(settings, self.registry.clone(), changes, counters, guard);
        let pusher = tokio::spawn(pusher.run(controls));
        let mut look = tokio::time::interval(Lookout::INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let renew = tokio::select! {
                _ = look.tick() => {
                    if let Some(credential) = &credential {
                        lookout.warn_of_end(credential, SystemTime::now());
                    }
                    self.apns.as_ref().is_some_and(|apns| {
                        let changed = lookout.has_changed(apns);
                        if changed {
                            info!("the files of the credential for Apple have changed, and are read again");
                        }
                        changed
                    })
                }
                told = told.recv() => match told {
                    None => break,
                    Some(Told::Gone(users)) => {
                        let _ = control.send(Control::Gone(users)).await;
                        false
                    }
                    Some(Told::Only(users)) => {
                        let _ = control.send(Control::Only(users)).await;
                        false
                    }
                    Some(Told::Unpushed(hasher, reply)) => {
                        let _ = control.send(Control::Unpushed(hasher, reply)).await;
                        false
                    }
                    // The files are read again even if nothing else is new: that is what the administrator wants to see.
                    Some(Told::Reload(config)) => {
                        self.apns = config.apns.or(self.apns);
                        if let Some(apns) = &self.apns {
                            lookout = Lookout::new(apns);
                        }
                        true
                    }
                },
            };
            if let Some(apns) = self.apns.clone().filter(|_| renew) {
                let (mut settings, loaded) = load(&apns).await;
                let facts = settings::facts(&apns, loaded.as_ref().ok(), settings.topic.clone());
                match usable(loaded, credential.as_deref()) {
                    Ok(loaded) => {
                        settings::tell(&loaded, settings.topic.as_deref());
                        credential = Some(loaded.credential);
                    }
                    Err(Unusable { message, hint }) if credential.is_some() => {
                        error!(
                            hint,
                            "the new credential for Apple is not used, and the old one stays: {message}; hint: {hint}"
                        );
                        continue;
                    }
                    Err(Unusable { message, hint }) => {
                        error!(hint, "pushes to Apple wait: {message}; hint: {hint}");
                        self.counters.trouble.set(Some(message));
                    }
                }
                self.counters.set_facts(facts);
                self.set_topic(settings.topic.clone()).await;
                settings.topic = self.topic.borrow().as_ref().map(ToString::to_string);
                let _ = control.send(Control::Renew(Box::new(settings))).await;
            }
        }
        drop(control);
        let _ = tokio::time::timeout(END, pusher).await;
    }

    /// The topic that devices are told: the credential's, else the last one that is known.
    async fn set_topic(&self, topic: Option<String>) {
        let topic: Option<Topic> = topic.and_then(|topic| topic.parse().ok());
        match topic {
            Some(topic) => {
                let _ = self.registry.submit(Change::LastTopic(topic.clone()));
                self.topic.send_replace(Some(topic));
            }
            None if self.topic.borrow().is_none() => {
                let last = self.registry.last_topic().await.ok().flatten();
                if last.is_none() {
                    let hint = "set `topic` under [apns], or give a certificate that has one";
                    error!(hint, "no phone can register, for the APNs topic is not known; hint: {hint}");
                }
                self.topic.send_replace(last);
            }
            None => {}
        }
    }

    /// The guard as it would be if this process had made the pushes of the last hour.
    async fn guard(&self) -> Guard {
        let mut guard = Guard::default();
        let since = Timestamp(Timestamp::now().0 - 3_600_000);
        for (token, at, is_bad) in self.registry.pushed_since(since).await.unwrap_or_default() {
            guard.note(&token, is_bad, at);
        }
        guard
    }
}

/// A credential that is good now does not make room for one that is not.
fn usable(loaded: Result<Loaded, Unusable>, old: Option<&Credential>) -> Result<Loaded, Unusable> {
    let now = SystemTime::now();
    let loaded = loaded?;
    match loaded.credential.problem_at(now) {
        Some(problem) if old.is_some_and(|old| old.problem_at(now).is_none()) => {
            Err(Unusable { message: problem.to_string(), hint: problem.hint().to_owned() })
        }
        _ => Ok(loaded),
    }
}

/// Reads files and derives keys, so not on this thread.
async fn load(apns: &config::Apns) -> (pusher::Settings<TlsDial>, Result<Loaded, Unusable>) {
    let apns = apns.clone();
    tokio::task::spawn_blocking(move || settings::settings(&apns))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
