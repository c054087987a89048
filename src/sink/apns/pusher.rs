//! The task that pushes: takes what changed, looks up the devices, and sees each push through to its answer.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::HeaderValue;
use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, error, info, warn};

use super::{
    answer::{self, Verdict},
    circuit::{Allowed, Circuit},
    connection::Reply,
    connections::{Connections, Event},
    counters::Counters,
    credential::Credential,
    dial::Dial,
    guard::Guard,
    pending::{Pending, PushId},
    push::{self, Authority, Changed, Priorities, Push},
};
use crate::{
    backoff::Backoff,
    handover::Handover,
    mailbox::Username,
    registry::{
        Key, Registration, Timestamp,
        change::Change,
        life::Answer,
        service::{NotStored, Registry},
    },
};

/// Pushes on the wire at once. More bring little: 100 fill a connection.
const IN_FLIGHT: usize = 200;
/// Apple answers within some hundred milliseconds.
const ANSWER: Duration = Duration::from_secs(10);
/// The first and the longest wait of a push whose answer was "later".
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So many answers of "unavailable" in a row are Apple's trouble and not the push's, and everything waits a while.
const UNAVAILABLE: u32 = 3;
/// Names in one question to the registry.
const LOOKUP: usize = 512;
/// What went well is written to the registry so often, or when there are so many.
const NOTE_PUSHED: (Duration, usize) = (Duration::from_secs(1), 4096);
/// A registry that cannot be read is asked again after this time.
const LOOKUP_AGAIN: Duration = Duration::from_secs(1);

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

type Found = (Vec<(Vec<Username>, Changed)>, Result<Vec<Registration>, NotStored>);

/// The task.
pub struct Pusher<D: Dial> {
    settings: Settings<D>,
    registry: Registry,
    changes: Arc<Changes>,
    counters: Arc<Counters>,
    connections: Connections<D>,
    pending: Pending,
    circuit: Circuit,
    guard: Guard,
    in_flight: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// What changed and was not looked up yet.
    to_look_up: HashMap<Username, (Vec<Username>, Changed)>,
    looking_up: Option<BoxFuture<'static, Found>>,
    look_up_at: Instant,
    pushed: Vec<(Key, Timestamp)>,
    note_at: Option<Instant>,
    unavailable: u32,
    pause: Backoff,
    paused_until: Option<Instant>,
    /// Topics that were complained about.
    other_topics: HashSet<String>,
    mass_failure: bool,
}

impl<D: Dial + Clone> Pusher<D> {
    /// Nothing to push yet. `seen` is what an earlier process pushed within the last hour, and whether the token was called bad.
    pub fn new(
        settings: Settings<D>,
        registry: Registry,
        changes: Arc<Changes>,
        counters: Arc<Counters>,
        guard: Guard,
    ) -> Self {
        Self {
            connections: Connections::new(settings.way()),
            settings,
            registry,
            changes,
            counters,
            pending: Pending::default(),
            circuit: Circuit::default(),
            guard,
            in_flight: FuturesUnordered::new(),
            to_look_up: HashMap::new(),
            looking_up: None,
            look_up_at: now(),
            pushed: Vec::new(),
            note_at: None,
            unavailable: 0,
            pause: Backoff::new(RETRY.0, RETRY.1),
            paused_until: None,
            other_topics: HashSet::new(),
            mass_failure: false,
        }
    }

    /// Pushes until `control` is closed. What waits then is not pushed.
    pub async fn run(mut self, mut control: mpsc::Receiver<Control<D>>) {
        loop {
            let time = now();
            self.look_up(time);
            self.send(time);
            self.note_pushed(time);
            self.counters.pending.store(self.pending.len() + self.to_look_up.len(), Relaxed);
            let wake = self.deadline(time);
            tokio::select! {
                Some(landed) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.landed(landed);
                    // All that have come, before the next is sent: a wake-up each would cost more than the push.
                    while let Some(Some(landed)) = self.in_flight.next().now_or_never() {
                        self.landed(landed);
                    }
                }
                changed = self.changes.take() => self.changed(changed),
                found = async { self.looking_up.as_mut().expect("checked").await }, if self.looking_up.is_some() => {
                    self.looking_up = None;
                    self.found(found);
                }
                event = self.connections.next() => match event {
                    Event::Connected => {}
                    Event::Failed(None) => self.show_trouble(),
                    Event::Failed(Some(reason)) => self.refused(&reason),
                },
                told = control.recv() => match told {
                    Some(Control::Renew(settings)) => self.renew(*settings),
                    Some(Control::Gone(users)) => self.forget(|user| users.contains(user)),
                    Some(Control::Only(users)) => self.forget(|user| !users.contains(user)),
                    None => break,
                },
                () = sleep_until(wake) => {}
            }
        }
        self.note_at = Some(now());
        self.note_pushed(now());
    }

    fn changed(&mut self, changed: impl IntoIterator<Item = (Username, (Vec<Username>, Changed))>) {
        for (user, changed) in changed {
            match self.to_look_up.entry(user) {
                std::collections::hash_map::Entry::Occupied(mut entry) => join(entry.get_mut(), changed),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(changed);
                }
            }
        }
    }

    fn look_up(&mut self, time: Instant) {
        if self.looking_up.is_some() || self.to_look_up.is_empty() || time < self.look_up_at {
            return;
        }
        let asked: Vec<_> = if self.to_look_up.len() <= LOOKUP {
            mem::take(&mut self.to_look_up).into_values().collect()
        } else {
            let some: Vec<_> = self.to_look_up.keys().take(LOOKUP).cloned().collect();
            some.iter().filter_map(|user| self.to_look_up.remove(user)).collect()
        };
        let names = asked.iter().flat_map(|(names, _)| names.iter().cloned()).collect();
        let registry = self.registry.clone();
        self.looking_up = Some(async move { (asked, registry.of_users(names).await) }.boxed());
    }

    fn found(&mut self, (asked, found): Found) {
        let Ok(registrations) = found else {
            // Kept by user, and so bounded, until the registry can be read.
            self.look_up_at = now() + LOOKUP_AGAIN;
            self.changed(
                asked
                    .into_iter()
                    .filter_map(|(names, changed)| Some((names.first()?.clone(), (names, changed)))),
            );
            return;
        };
        let mut of_user: HashMap<&Username, Vec<&Registration>> = HashMap::new();
        for registration in &registrations {
            of_user.entry(&registration.key.user).or_default().push(registration);
        }
        for (names, changed) in &asked {
            // A device may have registered under two names of one mailbox.
            let mut devices = HashSet::new();
            for registration in names.iter().filter_map(|name| of_user.get(name)).flatten() {
                let Key { token, account, .. } = &registration.key;
                if registration.state.is_live()
                    && devices.insert((token, account))
                    && let Some(push) = Push::new(registration, changed)
                {
                    self.pending.add(push);
                }
            }
        }
    }

    /// Sends what may be sent.
    fn send(&mut self, time: Instant) {
        if self.paused_until.is_some_and(|until| time < until) {
            return;
        }
        while self.in_flight.len() < IN_FLIGHT && self.pending.has_ready(time) {
            let allowed = self.circuit.allows(time);
            match allowed {
                Allowed::All => {}
                Allowed::Probe if self.in_flight.is_empty() => {}
                Allowed::Probe | Allowed::NotBefore(_) => return,
            }
            let credential = match &self.settings.link {
                Ok((_, credential)) => Arc::clone(credential),
                Err(reason) => return self.refused(&reason.clone()),
            };
            if let Some(problem) = credential.problem_at(SystemTime::now()) {
                return self.refused(&problem.to_string());
            }
            let Some(connection) = self.connections.with_room() else {
                return self.connections.dial_if_wanted();
            };
            let Some((id, push)) = self.pending.next(time) else { return };
            if time.saturating_duration_since(push.since) >= push::EXPIRES {
                Counters::add(&self.counters.expired);
                self.pending.done(id);
                continue;
            }
            let Some(topic) = topic_of(&push, &self.settings).map(ToOwned::to_owned) else {
                self.on_other_topic(&push);
                self.pending.done(id);
                continue;
            };
            let apns_id = push::new_id();
            let Settings { priorities, authority, .. } = &self.settings;
            let clock = SystemTime::now();
            let authorization = credential.authorization(clock);
            let request =
                push::request(&push, &topic, *priorities, authority, authorization.clone(), &apns_id, clock);
            let (request, body) = match request {
                Ok(request) => request,
                Err(error) => {
                    error!(user = %push.key.user, %error, "a push for {} cannot be written and is dropped: {error}", push.key.user);
                    Counters::add(&self.counters.dropped);
                    self.pending.done(id);
                    continue;
                }
            };
            connection.in_flight += 1;
            let number = connection.number;
            let exchange = connection.exchange(request, body);
            self.in_flight.push(
                async move {
                    let reply = timeout(ANSWER, exchange).await.ok();
                    Landed { id, push, connection: number, sent: clock.into(), apns_id, authorization, reply }
                }
                .boxed(),
            );
            self.circuit.probing(time);
        }
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { id, push, connection, sent, apns_id, authorization, reply } = landed;
        let time = now();
        let verdict = match reply {
            None => {
                self.connections.timed_out(connection);
                Counters::add(&self.counters.retried);
                return self.pending.retry(id, time, wait_at_least(None));
            }
            Some(Err(error)) => {
                self.connections.lost(connection, &error.to_string());
                Counters::add(&self.counters.retried);
                return self.pending.put_back(id);
            }
            Some(Ok(reply)) => {
                self.connections.answered(connection);
                answer::judge(reply.status, &reply.body, reply.retry_after, Timestamp::now())
            }
        };
        let (user, token) = (&push.key.user, &push.key.token);
        if !matches!(verdict, Verdict::Credential(_)) && self.circuit.close() {
            info!("Apple accepts the credential again, and what waited is pushed");
        }
        if !matches!(verdict, Verdict::Unavailable(_)) {
            self.unavailable = 0;
            self.pause.reset();
        }
        match verdict {
            Verdict::Accepted => {
                self.pending.done(id);
                self.guard.note(token, false, sent);
                Counters::add(&self.counters.accepted);
                let kind = push.kind.as_str();
                let age = time.saturating_duration_since(push.since).as_secs_f64();
                info!(user = %user, kind, age_ms = age * 1000.0, token = %token, sink = "apns", apns_id, "pushed {user} to device {token}: {kind} in {age:.3} s");
                self.pushed.push((Arc::unwrap_or_clone(Arc::clone(&push.key)), sent));
                self.note_at.get_or_insert(time + NOTE_PUSHED.0);
            }
            Verdict::Registration(answer) => self.about_registration(id, &push, sent, answer),
            Verdict::Throttled(after) => {
                debug!(user = %user, token = %token, "Apple wants fewer pushes to device {token} of {user}; this one waits");
                Counters::add(&self.counters.retried);
                self.pending.retry(id, time, wait_at_least(after));
            }
            Verdict::Unavailable(after) => {
                Counters::add(&self.counters.retried);
                self.unavailable += 1;
                if self.unavailable >= UNAVAILABLE {
                    let wait = self.pause.failed(fastrand::f64()).max(after.unwrap_or_default());
                    if self.unavailable == UNAVAILABLE {
                        warn!("Apple's service is not available, and everything waits for it");
                    }
                    self.paused_until = Some(self.paused_until.unwrap_or(time).max(time + wait));
                }
                self.pending.retry(id, time, wait_at_least(after));
            }
            Verdict::ProviderToken => {
                if let Ok((_, credential)) = &self.settings.link
                    && let (Some(tokens), Some(authorization)) = (credential.tokens(), authorization)
                {
                    tokens.rejected(&authorization);
                }
                Counters::add(&self.counters.retried);
                self.pending.retry(id, time, wait_at_least(None));
            }
            Verdict::Credential(reason) => {
                self.pending.put_back(id);
                self.refused(&reason);
            }
            Verdict::OurBug(text) => {
                error!(user = %user, token = %token, apns_id, "Apple answers {text} to the push for {user}, which is a fault of pushmaild; it is dropped");
                Counters::add(&self.counters.dropped);
                self.pending.done(id);
                self.submit(Change::Answered {
                    key: Arc::unwrap_or_clone(Arc::clone(&push.key)),
                    answer: Answer::Other(text),
                    sent,
                    is_mass_failure: false,
                });
            }
        }
        self.show_trouble();
    }

    fn about_registration(&mut self, id: PushId, push: &Push, sent: Timestamp, answer: Answer) {
        let (user, token, text) = (&push.key.user, &push.key.token, answer.text());
        self.pending.done(id);
        Counters::add(&self.counters.refused);
        let is_bad = matches!(answer, Answer::BadToken | Answer::NotForTopic);
        self.guard.note(token, is_bad, sent);
        let is_mass_failure = is_bad && self.guard.is_mass_failure(sent);
        if is_mass_failure && !self.mass_failure {
            let (bad, all) = self.guard.counts();
            let hint =
                "is the certificate for the other environment, or for another topic? See `pushmaild check`";
            error!(
                bad,
                all,
                hint,
                "Apple refuses {bad} of the {all} device tokens of the last hour, so the fault is not theirs: none is removed; hint: {hint}"
            );
        }
        if is_bad {
            self.mass_failure = is_mass_failure;
        }
        info!(user = %user, token = %token, answer = text, "Apple answers {text} for device {token} of {user}");
        let key = Arc::unwrap_or_clone(Arc::clone(&push.key));
        self.submit(Change::Answered { key, answer, sent, is_mass_failure });
    }

    /// The credential is refused: nothing is sent but a probe, and nothing is lost.
    fn refused(&mut self, reason: &str) {
        if self.circuit.refused(reason, now()) {
            let waiting = self.pending.len();
            let hint = "see `pushmaild check`; a renewed certificate is taken up by itself";
            error!(
                reason,
                waiting,
                hint,
                "Apple does not accept the credential: {reason}; pushes are kept, and one a minute is tried; hint: {hint}"
            );
        }
        self.show_trouble();
    }

    fn on_other_topic(&mut self, push: &Push) {
        Counters::add(&self.counters.other_topic);
        let topic = push.topic.as_ref().map_or("", |topic| topic.as_str());
        if self.other_topics.insert(topic.to_owned()) {
            let ours = self.settings.topic.as_deref().unwrap_or("none");
            warn!(
                topic,
                ours,
                "devices that were told the topic `{topic}` get no push, for the credential is for `{ours}`; each gets them again when it comes back, within a day if it is used"
            );
        }
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
        self.counters.set_trouble(reason.map(ToOwned::to_owned));
        self.counters.dials.store(self.connections.dials(), Relaxed);
    }

    fn note_pushed(&mut self, time: Instant) {
        if self.note_at.is_some_and(|at| at <= time) || self.pushed.len() >= NOTE_PUSHED.1 {
            self.note_at = None;
            // If the disk cannot follow, "last push" is a little older than it was: nobody loses anything.
            let pushed = mem::take(&mut self.pushed);
            self.submit(Change::Pushed(pushed));
        }
    }

    fn submit(&self, change: Change) {
        if self.registry.submit(change).is_err() {
            debug!("the registry has too much to do to note an answer");
        }
    }

    fn deadline(&self, time: Instant) -> Option<Instant> {
        let lookup = (!self.to_look_up.is_empty() && self.looking_up.is_none()).then_some(self.look_up_at);
        let send = if self.in_flight.len() >= IN_FLIGHT || self.pending.len() == self.in_flight.len() {
            None
        } else {
            let ready = if self.pending.has_ready(time) { Some(time) } else { self.pending.deadline() };
            let allowed = match self.circuit.allows(time) {
                Allowed::All => None,
                Allowed::Probe => (!self.in_flight.is_empty()).then(|| time + RETRY.0),
                Allowed::NotBefore(at) => Some(at),
            };
            let connect = self.connections.deadline().map(tokio::time::Instant::into_std);
            // What is ready and yet was not sent waits for one of these, or for an event.
            let gate = [self.paused_until, allowed, connect].into_iter().flatten().max();
            match (ready, gate) {
                (Some(ready), Some(gate)) => Some(ready.max(gate)),
                // A server that offers no stream at all tells nobody when it does.
                (Some(ready), None) => Some(ready.max(time + RETRY.0)),
                (None, _) => None,
            }
        };
        [lookup, send, self.note_at].into_iter().flatten().min()
    }
}

/// The topic that a push goes out on. None if the phone expects another one than the credential has.
fn topic_of<'a, D>(push: &'a Push, settings: &'a Settings<D>) -> Option<&'a str> {
    let ours = settings.topic.as_deref();
    match &push.topic {
        None => ours,
        Some(topic) => {
            let topic = topic.as_str();
            let of_credential = settings.link.as_ref().map_or(&[][..], |(_, credential)| credential.topics());
            let is_ours = ours == Some(topic) || of_credential.iter().any(|it| it == topic);
            is_ours.then_some(topic)
        }
    }
}

/// Joins what changed to what waits for the same user.
pub fn join(waiting: &mut (Vec<Username>, Changed), (names, new): (Vec<Username>, Changed)) {
    let (old_names, old) = waiting;
    *old_names = names;
    old.inbox |= new.inbox;
    old.kind = old.kind.max(new.kind);
    old.since = old.since.min(new.since);
    for other in new.others {
        if !old.others.contains(&other) {
            old.others.push(other);
        }
    }
}

/// Doubling from a second to a minute, but not before Apple wants it.
fn wait_at_least(after: Option<Duration>) -> impl FnOnce(u32) -> Duration {
    move |failures| {
        let wait = RETRY.0.saturating_mul(1 << failures.min(16)).min(RETRY.1);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(after.unwrap_or_default())
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
