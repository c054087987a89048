//! The task that pushes: takes what changed, looks up the devices, and sees each push through to its answer.
//!
//! Here is what the task knows, and the loop; the way of a push is in `look_up.rs`, `send.rs` and `landed.rs`.

mod landed;
mod look_up;
mod send;

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{
    circuit::Circuit,
    connection::Reply,
    connections::{Connections, Event},
    counters::Counters,
    credential::Credential,
    devices::Devices,
    dial::Dial,
    guard::Guard,
    pending::{Pending, PushId},
    push::{Authority, Changed, Priorities, Push},
};
use crate::{
    backoff::Backoff,
    handover::Handover,
    mailbox::Username,
    registry::{DeviceToken, Key, Timestamp, Topic, change::Change, service::Registry},
    sink::milliseconds,
};

use look_up::Found;

pub use look_up::join;

/// Answers in one turn. With all of them in one, the server would have nothing to do meanwhile, and nor would we afterwards.
const TURN: usize = 32;
/// The first and the longest wait of a push whose answer was "later". Each is shortened by up to a half, so it is never less than a second.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// At the end, what is on its way may take so long.
const END: Duration = Duration::from_millis(800);
/// What went well is written to the registry so often, or when there are so many.
const NOTE_PUSHED: (Duration, usize) = (Duration::from_secs(1), 16_384);

/// What the sink is told of a user's mailbox: all of the user's names, and what changed.
pub type Changes = Handover<Username, (Vec<Username>, Changed)>;

/// How to push.
pub struct Settings<D> {
    /// How to connect, and what proves who we are. Or why there is no such thing: devices register all the same, and pushes wait.
    pub link: Result<(D, Arc<Credential>), String>,
    /// For phones that were told none, and for provider tokens.
    pub topic: Option<String>,
    /// The host that requests name.
    pub authority: Authority,
    /// See [`Priorities`].
    pub priorities: Priorities,
}

impl<D: Clone> Settings<D> {
    /// How to connect, and whether with one stream before the first answer, as Apple asks of those who send provider tokens.
    fn way(&self) -> Option<(D, bool)> {
        let (dial, credential) = self.link.as_ref().ok()?;
        Some((dial.clone(), credential.tokens().is_some()))
    }
}

/// What the task is told.
pub enum Control<D> {
    /// The configuration or the credential's files have changed.
    Renew(Box<Settings<D>>),
    /// These users have no device any more.
    Gone(HashSet<Username>),
    /// These are all the users with devices.
    Only(HashSet<Username>),
    /// Somebody wants to know who has something that is not pushed yet.
    Unpushed(RandomState, oneshot::Sender<HashSet<u64>>),
}

/// A push that has come back from the wire.
struct Landed {
    id: PushId,
    push: Arc<Push>,
    connection: u64,
    sent: Timestamp,
    apns_id: String,
    /// The provider token that it went out with.
    authorization: Option<HeaderValue>,
    /// None if there was no answer in time.
    reply: Option<Result<Reply, h2::Error>>,
}

/// The task.
pub struct Pusher<D: Dial, R: Devices = Registry> {
    settings: Settings<D>,
    devices: R,
    changes: Arc<Changes>,
    counters: Arc<Counters>,
    connections: Connections<D>,
    pending: Pending,
    /// The topic of the push that was added last.
    topic: Option<Arc<Topic>>,
    circuit: Circuit,
    guard: Guard,
    in_flight: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// What changed and was not looked up yet.
    to_look_up: HashMap<Username, (Vec<Username>, Changed)>,
    /// A look-up on its way, and how many mailboxes it is about.
    looking_up: Option<(usize, BoxFuture<'static, Found>)>,
    /// See [`Control::Unpushed`].
    questions: Vec<(RandomState, oneshot::Sender<HashSet<u64>>)>,
    look_up_at: Instant,
    pushed: Vec<(Arc<Key>, Timestamp)>,
    note_at: Option<Instant>,
    unavailable: u32,
    pause: Backoff,
    paused_until: Option<Instant>,
    /// Topics that were complained about.
    other_topics: HashSet<String>,
    /// Answers to what we should not have sent that were complained about.
    our_bugs: HashSet<String>,
    /// Until when a mass failure is known, and not told again.
    mass_failure: Option<Instant>,
}

impl<D: Dial + Clone, R: Devices> Pusher<D, R> {
    /// Nothing to push yet. `seen` is what an earlier process pushed within the last hour, and whether the token was called bad.
    pub fn new(
        settings: Settings<D>,
        devices: R,
        changes: Arc<Changes>,
        counters: Arc<Counters>,
        guard: Guard,
    ) -> Self {
        Self {
            connections: Connections::new(settings.way()),
            settings,
            devices,
            changes,
            counters,
            pending: Pending::default(),
            topic: None,
            circuit: Circuit::default(),
            guard,
            in_flight: FuturesUnordered::new(),
            to_look_up: HashMap::new(),
            looking_up: None,
            questions: Vec::new(),
            look_up_at: now(),
            pushed: Vec::new(),
            note_at: None,
            unavailable: 0,
            pause: Backoff::new(RETRY.0, RETRY.1),
            paused_until: None,
            other_topics: HashSet::new(),
            our_bugs: HashSet::new(),
            mass_failure: None,
        }
    }

    /// Pushes until `control` is closed, and then a moment longer what can be pushed at once. What waits is not pushed.
    pub async fn run(mut self, mut control: mpsc::Receiver<Control<D>>) {
        let mut end = None;
        loop {
            let time = now();
            self.answer_questions();
            self.look_up(time);
            self.send(time);
            self.note_pushed(time);
            let looking_up = self.looking_up.as_ref().map_or(0, |(mailboxes, _)| *mailboxes);
            let pending = self.pending.len() + self.to_look_up.len() + looking_up;
            self.counters.pending.store(pending, Relaxed);
            self.counters.dials.store(self.connections.dials(), Relaxed);
            if end.is_some_and(|end| end <= time || !self.is_busy(time)) {
                break;
            }
            let wake = [self.deadline(time), end].into_iter().flatten().min();
            tokio::select! {
                Some(landed) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.landed(landed);
                    // Many at a time: a wake-up each would cost more than the push.
                    for _ in 1..TURN {
                        let Some(Some(landed)) = self.in_flight.next().now_or_never() else { break };
                        self.landed(landed);
                    }
                    self.show_trouble();
                    // The connection writes these while the rest lands.
                    self.send(now());
                    tokio::task::yield_now().await;
                }
                changed = self.changes.take() => self.changed(changed),
                found = async { (&mut self.looking_up.as_mut().expect("checked").1).await }, if self.looking_up.is_some() => {
                    self.looking_up = None;
                    self.found(found);
                }
                event = self.connections.next() => match event {
                    Event::Connected => {}
                    Event::Failed(None) => self.show_trouble(),
                    Event::Failed(Some(reason)) => self.refused(&reason),
                },
                told = control.recv(), if end.is_none() => match told {
                    Some(Control::Renew(settings)) => self.renew(*settings),
                    Some(Control::Gone(users)) => self.forget(|user| users.contains(user)),
                    Some(Control::Only(users)) => self.forget(|user| !users.contains(user)),
                    Some(Control::Unpushed(hasher, reply)) => self.questions.push((hasher, reply)),
                    None => {
                        end = Some(now() + END);
                        let changed = self.changes.take_now();
                        self.changed(changed);
                    }
                },
                () = sleep_until(wake) => {}
            }
        }
        self.note_at = Some(now());
        self.note_pushed(now());
    }

    /// Tells who has something that is not pushed yet. What is being looked up at the moment is nobody's for a while, so that is waited for.
    fn answer_questions(&mut self) {
        if self.looking_up.is_some() {
            return;
        }
        for (hasher, reply) in self.questions.drain(..) {
            let mut unpushed = HashSet::new();
            let mut add = |user: &Username| {
                unpushed.insert(hasher.hash_one(user.as_str()));
            };
            self.changes.for_each_key(&mut add);
            self.to_look_up.values().flat_map(|(names, _)| names).for_each(&mut add);
            self.pending.users().for_each(&mut add);
            // Whoever asked may be gone.
            let _ = reply.send(unpushed);
        }
    }

    /// Is anything on its way that may be over in a moment?
    fn is_busy(&self, time: Instant) -> bool {
        let is_looking_up = self.looking_up.is_some() || !self.to_look_up.is_empty();
        let is_connecting = self.pending.has_ready(time) && self.connections.is_dialing();
        is_looking_up || !self.in_flight.is_empty() || is_connecting
    }

    fn renew(&mut self, settings: Settings<D>) {
        self.connections.renew(settings.way());
        self.settings = settings;
        self.other_topics.clear();
        self.circuit.close();
        self.paused_until = None;
        self.show_trouble();
    }

    fn forget(&mut self, is_gone: impl Fn(&Username) -> bool) {
        self.pending.forget(is_gone);
    }

    fn show_trouble(&self) {
        let reason = self.circuit.reason().or(self.connections.outage().map(|(_, text)| text.as_str()));
        self.counters.trouble.set(reason.map(ToOwned::to_owned));
    }

    fn note_pushed(&mut self, time: Instant) {
        if self.note_at.is_some_and(|at| at <= time) || self.pushed.len() >= NOTE_PUSHED.1 {
            self.note_at = None;
            // If the disk cannot follow, "last push" is a little older than it was: nobody loses anything.
            let mut pushed = mem::take(&mut self.pushed);
            // In the order of the table, so that each of its pages is written once.
            pushed.sort_unstable();
            self.submit(Change::Pushed(pushed));
        }
    }

    fn submit(&self, change: Change) {
        if self.devices.submit(change).is_err() {
            debug!("the registry has too much to do to note an answer");
        }
    }

    fn deadline(&self, time: Instant) -> Option<Instant> {
        let lookup = (!self.to_look_up.is_empty() && self.looking_up.is_none()).then_some(self.look_up_at);
        [lookup, self.send_deadline(time), self.note_at].into_iter().flatten().min()
    }
}

/// What log lines show of a push.
struct Shown<'a> {
    user: &'a Username,
    token: &'a DeviceToken,
    kind: &'static str,
    age: Duration,
    age_ms: u64,
    events: u32,
}

impl<'a> Shown<'a> {
    fn of(push: &'a Push, time: Instant) -> Self {
        let Push { key, kind, since, events, .. } = push;
        let age = time.saturating_duration_since(*since);
        let (kind, age_ms) = (kind.as_str(), milliseconds(age));
        Self { user: &key.user, token: &key.token, kind, age, age_ms, events: *events }
    }
}

/// The clock of tokio, which stands still in tests.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
