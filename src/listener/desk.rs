//! What all listeners do with a request: the limits, the intake, the counts and the log.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    counters::{Asked, Counters, Listener, Outcome},
    intake::{Intake, IntakeError, RegisterRequest},
    limits::{Limits, Rate},
    peer::{Peers, Speaker},
    seats::Seats,
};
use crate::{
    classifier::Kind,
    mailbox::mailbox_name,
    proto::{push_notify::Message, xaps},
    registry::{Topic, service::RegisterError},
};

/// Lines in the log about the refusals of one listener, before the rest of a period is only counted.
const LINES: u64 = 10;
/// That period.
const PERIOD: Duration = Duration::from_secs(60);

/// What the tasks of all listeners share.
#[derive(Debug)]
pub(super) struct Desk {
    intake: Intake,
    pub(super) peers: Peers,
    pub(super) limits: Limits,
    pub(super) seats: Arc<Seats>,
    pub(super) counters: Arc<Counters>,
    rate: Rate,
    /// Locked to write a line of the log.
    refusals: Mutex<[Refusals; Listener::ALL.len()]>,
}

/// Could the request be taken, if only we were all right?
pub(super) const fn is_ours(error: &IntakeError) -> bool {
    matches!(error, IntakeError::NoTopic | IntakeError::Register(RegisterError::TooManyWait))
}

/// The refusals of a listener in this period.
#[derive(Debug, Default)]
struct Refusals {
    since: Option<Instant>,
    count: u64,
}

impl Refusals {
    /// Counts one. Is it to have a line in the log?
    fn add(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.count += 1;
        self.count <= LINES
    }

    /// At the end of a period: how many had no line.
    fn end(&mut self, now: Instant) -> Option<u64> {
        self.since.take_if(|since| now.saturating_duration_since(*since) >= PERIOD)?;
        let untold = self.count.saturating_sub(LINES);
        self.count = 0;
        (untold > 0).then_some(untold)
    }
}

impl Desk {
    pub(super) fn new(intake: Intake, peers: Peers, limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            intake,
            peers,
            seats: Arc::new(Seats::new(limits.clone())),
            counters,
            rate: Rate::new(&limits),
            limits,
            refusals: Mutex::default(),
        }
    }

    /// Slows down one who asks too often. Nobody is refused for that: a client that is late has more use of an answer than one that
    /// was turned away, and until it is read, its next request waits in its own buffers.
    pub(super) async fn in_turn(&self, speaker: Speaker) {
        let wait = self.rate.take(speaker, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// The same for datagrams, whose sender cannot be slowed down without all others.
    pub(super) fn is_in_time(&self, speaker: Speaker) -> bool {
        self.rate.is_in_time(speaker, Instant::now())
    }

    /// Registers a device, and tells the topic for the answer.
    pub(super) async fn register(
        &self,
        on: Listener,
        speaker: Speaker,
        request: xaps::Register,
    ) -> Result<Topic, IntakeError> {
        let registered = self
            .intake
            .register(
                speaker.peer(),
                RegisterRequest {
                    user: &request.username,
                    account_id: &request.account_id,
                    device_token: &request.device_token,
                    subtopic: &request.subtopic,
                    mailboxes: request.mailboxes,
                    is_answered: true,
                },
            )
            .await
            .and_then(|topic| topic.ok_or(IntakeError::NoTopic));
        self.done(on, speaker, Asked::Register, &request.username, registered)
    }

    /// Takes a notification.
    pub(super) async fn notify(
        &self,
        on: Listener,
        speaker: Speaker,
        request: &xaps::Notify,
    ) -> Result<(), IntakeError> {
        let kind = if request.is_new_mail() { Kind::NewMail } else { Kind::Change };
        let taken = self.intake.hint(speaker.peer(), &request.username, &request.mailbox, kind).await;
        self.done(on, speaker, Asked::Notify, &request.username, taken)
    }

    /// Does what a push_notify record says. There is no answer.
    pub(super) async fn record(&self, on: Listener, speaker: Speaker, message: Message<'_>) {
        let peer = speaker.peer();
        let (asked, taken) = match message {
            Message::Create { .. } => (Asked::Create, Ok(())),
            Message::Register { user, account_id, device_token, subtopic } => {
                let request = RegisterRequest {
                    user,
                    account_id,
                    device_token,
                    subtopic,
                    mailboxes: Vec::new(),
                    is_answered: false,
                };
                (Asked::Register, self.intake.register(peer, request).await.map(drop))
            }
            // The record does not say what happened. Its senders are what delivers mail, and argon's plugin with its event for
            // new messages; and if it was something else, a push too soon costs less than new mail that is held back.
            Message::Notify { user, mailbox } => {
                let mailbox = mailbox
                    .map_or_else(|| "INBOX".to_owned(), |name| mailbox_name::decode_or_keep(name.to_owned()));
                (Asked::Notify, self.intake.hint(peer, user, &mailbox, Kind::NewMail).await)
            }
            Message::Subscribe { user, account_id, device_token, mailbox } => {
                let mailbox = mailbox_name::decode_or_keep(mailbox.to_owned());
                let taken = self.intake.subscribe(peer, user, account_id, device_token, &mailbox).await;
                (Asked::Subscribe, taken)
            }
        };
        // Counted and logged there.
        let _ = self.done(on, speaker, asked, message.user(), taken);
    }

    fn done<T>(
        &self,
        on: Listener,
        speaker: Speaker,
        asked: Asked,
        user: &str,
        result: Result<T, IntakeError>,
    ) -> Result<T, IntakeError> {
        match &result {
            Ok(_) => {
                self.counters.count(on, asked, Outcome::Taken);
                debug!(listener = %on, user = %user.escape_debug(), "{on} took a {asked} for {} from {speaker}", user.escape_debug());
            }
            Err(error) => {
                let outcome = if is_ours(error) { Outcome::Failed } else { Outcome::Refused };
                self.refuse(on, speaker, asked, outcome, error);
            }
        }
        result
    }

    /// Counts and logs what is no request. `error` must not repeat what the peer sent.
    pub(super) fn malformed(&self, on: Listener, speaker: Speaker, asked: Asked, error: &dyn Display) {
        self.refuse(on, speaker, asked, Outcome::Refused, error);
    }

    fn refuse(&self, on: Listener, speaker: Speaker, asked: Asked, outcome: Outcome, error: &dyn Display) {
        self.counters.count(on, asked, outcome);
        // Whoever may connect can have himself refused as often as he likes, and must not fill the disk with that.
        let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if all[on as usize].add(Instant::now()) {
            warn!(listener = %on, peer = %speaker, %error, "{on} {} a {asked} from {speaker}: {error}", outcome.as_str());
        }
    }

    /// Tells of the refusals that had no line of their own, until it is dropped.
    pub(super) async fn sum_up(&self) {
        loop {
            sleep(PERIOD / 2).await;
            let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            for (refusals, on) in all.iter_mut().zip(Listener::ALL) {
                if let Some(untold) = refusals.end(Instant::now()) {
                    warn!(listener = %on, count = untold, "{on}: and {untold} more requests that were refused or failed in the last minute");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusals_have_a_line_each_and_the_others_one_together() {
        let (mut refusals, mut now) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.end(now), None);
        for _ in 0..2 {
            assert_eq!((0..130).filter(|_| refusals.add(now)).count(), 10);
            assert_eq!(refusals.end(now + PERIOD / 2), None);
            now += PERIOD;
            assert_eq!(refusals.end(now), Some(120));
        }
        assert!(refusals.add(now));
        assert_eq!(refusals.end(now + PERIOD), None, "all are told");
    }
}
