//! The connections: one, kept for days; another one when it fails; a second only when the server offers fewer streams than are wanted.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

use super::{
    connection::{Connection, Driver, End},
    dial::{Dial, DialError},
};
use crate::backoff::Backoff;

/// Connections at once. Rapid connecting counts as an attack, and one carries a hundred thousand pushes a second.
const MOST: usize = 2;
/// The first and the longest wait between two dials that came to nothing.
const DIAL_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));
/// A connection that lived for so long has earned another one at once.
const LIVED: Duration = Duration::from_secs(60);
/// So many answers that do not come in time make a connection a dead one.
const TIMEOUTS: u32 = 2;
/// A connection that refuses streams is as good as any other while it answers at least one push in this time.
const REFUSES: Duration = Duration::from_secs(10);

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// There is a connection.
    Connected,
    /// A dial failed, or a connection ended. What was said of the credential, if that is why.
    Failed(Option<String>),
}

/// A connection, or in words what went wrong, what to do about it, and what was said of the credential.
type Dialed = Result<(Connection, Driver), (String, String, Option<String>)>;

/// The set of them.
pub struct Connections<D: Dial> {
    /// How, and whether with one stream before the first answer. None without a credential.
    way: Option<(Arc<D>, bool)>,
    open: Vec<Connection>,
    drivers: JoinSet<(u64, End)>,
    dialing: JoinSet<Dialed>,
    number: u64,
    /// The last connection that was dialed with an older credential.
    outdated: u64,
    backoff: Backoff,
    next_dial: Instant,
    /// Since when nothing works, and what was last said about it.
    outage: Option<(Instant, String)>,
    dials: u64,
}

impl<D: Dial> Connections<D> {
    /// None yet.
    pub fn new(way: Option<(D, bool)>) -> Self {
        Self {
            way: way.map(|(dial, one_at_first)| (Arc::new(dial), one_at_first)),
            open: Vec::new(),
            drivers: JoinSet::new(),
            dialing: JoinSet::new(),
            number: 0,
            outdated: 0,
            backoff: Backoff::new(DIAL_AGAIN.0, DIAL_AGAIN.1),
            next_dial: Instant::now(),
            outage: None,
            dials: 0,
        }
    }

    /// Another credential or endpoint: the connections that there are take nothing more, and end when all is answered.
    pub fn renew(&mut self, way: Option<(D, bool)>) {
        self.way = way.map(|(dial, one_at_first)| (Arc::new(dial), one_at_first));
        self.dialing.abort_all();
        self.dialing = JoinSet::new();
        self.open.iter_mut().for_each(|connection| connection.is_open = false);
        self.drop_unused();
        self.outdated = self.number;
        self.backoff.reset();
        self.next_dial = Instant::now();
    }

    /// Was this connection made with the credential that is in use now? What is answered on others says nothing about that.
    #[must_use]
    pub const fn is_current(&self, number: u64) -> bool {
        number > self.outdated
    }

    /// Is a connection being made?
    #[must_use]
    pub fn is_dialing(&self) -> bool {
        !self.dialing.is_empty()
    }

    /// How many dials there have been.
    #[must_use]
    pub const fn dials(&self) -> u64 {
        self.dials
    }

    /// Why nothing can be sent, and since when.
    #[must_use]
    pub const fn outage(&self) -> Option<&(Instant, String)> {
        self.outage.as_ref()
    }

    /// A connection with room for one more push.
    pub fn with_room(&mut self) -> Option<&mut Connection> {
        self.open.iter_mut().find(|connection| connection.room() > 0)
    }

    /// Dials if another connection is wanted and may be made now.
    pub fn dial_if_wanted(&mut self) {
        let open = self.open.iter().filter(|connection| connection.is_open);
        let (count, all_settled) = open.fold((0, true), |(n, all), it| (n + 1, all && it.is_settled()));
        let is_wanted = count == 0 || count < MOST && all_settled;
        if !is_wanted || !self.dialing.is_empty() || Instant::now() < self.next_dial {
            return;
        }
        let Some((dial, one_at_first)) = self.way.clone() else { return };
        self.number += 1;
        self.dials += 1;
        let number = self.number;
        self.dialing.spawn(async move {
            match dial.dial().await {
                Ok(io) => Connection::open(io, number, one_at_first)
                    .await
                    .map_err(|end| (end.text, "see the error above".to_owned(), end.credential)),
                Err(error) => Err(explain(&error)),
            }
        });
    }

    /// When a dial is possible again, if that is what is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let has_room = self.open.iter().any(|connection| connection.room() > 0);
        (!has_room && self.dialing.is_empty() && self.next_dial > Instant::now()).then_some(self.next_dial)
    }

    /// A push that was on this connection has been answered.
    pub fn answered(&mut self, number: u64) {
        if let Some((since, _)) = self.outage.take() {
            let seconds = since.elapsed().as_secs_f64();
            info!(seconds, "Apple can be reached again after {seconds:.1} s, and what waited is pushed");
        }
        self.backoff.reset();
        if let Some(connection) = self.find(number) {
            connection.in_flight -= 1;
            connection.timeouts = 0;
            connection.last_answer = Some(Instant::now());
        }
        self.drop_unused();
    }

    /// A push on this connection has had no answer in time.
    pub fn timed_out(&mut self, number: u64) {
        let Some(connection) = self.find(number) else { return };
        connection.in_flight -= 1;
        connection.timeouts += 1;
        if connection.timeouts >= TIMEOUTS {
            self.retire(number, &End::with("answers do not come"));
            self.open.retain(|connection| connection.number != number);
        }
        self.drop_unused();
    }

    /// The server refused the stream of a push. That says little about the connection, as long as others are answered.
    pub fn stream_refused(&mut self, number: u64) {
        let Some(connection) = self.find(number) else { return };
        connection.in_flight -= 1;
        if connection.silence() >= REFUSES {
            self.retire(number, &End::with("the server refuses all streams"));
        }
        self.drop_unused();
    }

    /// A push was on this connection when all of it failed. It is used for no more. Returns what was said of the credential, if that is why.
    pub fn lost(&mut self, number: u64, error: &h2::Error) -> Option<String> {
        let connection = self.find(number)?;
        connection.in_flight -= 1;
        let end = End::of(error);
        let is_news = self.retire(number, &end);
        self.drop_unused();
        end.credential.filter(|_| is_news)
    }

    /// Takes no more pushes on this connection; what is on the wire may still be answered. True if it took some until now.
    fn retire(&mut self, number: u64, end: &End) -> bool {
        let Some(connection) = self.find(number) else { return false };
        let (since, was_open) = (connection.since, std::mem::take(&mut connection.is_open));
        if was_open && connection.last_answer.is_some() {
            debug!(connection = number, "connection {number} takes no more: {}", end.text);
            self.wait_before_dial(since);
        } else if was_open {
            // Before the first answer, it is as if there had been no connection.
            self.failed(&end.text, "see the error above", end.credential.is_none());
        }
        was_open
    }

    /// Waits for something to happen; for ever if nothing can.
    pub async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(dialed) = self.dialing.join_next(), if !self.dialing.is_empty() => match dialed {
                    Ok(Ok((mut connection, driver))) => {
                        let number = connection.number;
                        debug!(connection = number, "connection {number} to Apple");
                        connection.driver = Some(self.drivers.spawn(async move { (number, driver.await) }));
                        self.open.push(connection);
                        return Event::Connected;
                    }
                    Ok(Err((text, hint, credential))) => {
                        self.failed(&text, &hint, credential.is_none());
                        return Event::Failed(credential);
                    }
                    // It was called off.
                    Err(_) => {}
                },
                Some(ended) = self.drivers.join_next(), if !self.drivers.is_empty() => {
                    // One that we ended ourselves has nothing to tell.
                    let Ok((number, end)) = ended else { continue };
                    let Some(connection) = self.find(number) else { continue };
                    // The pushes on it are about to land, and know more: h2 tells the reason of a GOAWAY without an error only to them.
                    if connection.in_flight > 0 && end.credential.is_none() {
                        connection.has_ended = true;
                        continue;
                    }
                    let was_open = self.retire(number, &end);
                    self.open.retain(|connection| connection.number != number);
                    if was_open {
                        return Event::Failed(end.credential);
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn find(&mut self, number: u64) -> Option<&mut Connection> {
        self.open.iter_mut().find(|connection| connection.number == number)
    }

    fn drop_unused(&mut self) {
        let is_over = |it: &&Connection| it.is_open && it.has_ended && it.in_flight == 0;
        while let Some(number) = self.open.iter().find(is_over).map(|it| it.number) {
            self.retire(number, &End::with("the server closed it"));
        }
        self.open.retain(|connection| connection.is_open || connection.in_flight > 0);
    }

    /// After a connection that worked. The backoff is reset by an answer and not by the connect: with TLS 1.3 a refused certificate shows
    /// only afterwards.
    fn wait_before_dial(&mut self, since: Instant) {
        let wait =
            if since.elapsed() >= LIVED { Duration::ZERO } else { self.backoff.failed(fastrand::f64()) };
        self.next_dial = self.next_dial.max(Instant::now() + wait);
    }

    fn failed(&mut self, text: &str, hint: &str, tell: bool) {
        let wait = self.backoff.failed(fastrand::f64());
        self.next_dial = Instant::now() + wait;
        let (_, said) = self.outage.get_or_insert((Instant::now(), String::new()));
        // Once for each kind of trouble; the circuit has its own words for a refused credential.
        if said != text {
            text.clone_into(said);
            if tell {
                warn!(
                    error = text,
                    hint,
                    "cannot push through Apple: {text}; each device's push is kept and tried again; hint: {hint}"
                );
            }
        }
    }
}

fn explain(error: &DialError) -> (String, String, Option<String>) {
    (error.to_string(), error.hint().to_owned(), error.blames_credential())
}
