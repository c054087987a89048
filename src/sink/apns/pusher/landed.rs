//! What becomes of a push that has come back from the wire.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::{debug, error, info, warn};

use super::{Landed, NOTE_PUSHED, Pusher, RETRY, Shown, now};
use crate::{
    registry::{Timestamp, change::Change, life::Answer},
    sink::apns::{
        answer::{self, Verdict},
        counters::Counters,
        devices::Devices,
        dial::Dial,
        pending::PushId,
        push::Push,
    },
    sink::tally::{Fate, Pushed, Via},
};

/// So many answers of "unavailable" in a row are Apple's trouble and not the push's, and everything waits a while.
const UNAVAILABLE: u32 = 3;
/// A mass failure that lasts is told of again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(3600);
/// So many different answers that are our fault are told of.
const OUR_BUGS: usize = 32;

impl<D: Dial + Clone, R: Devices> Pusher<D, R> {
    pub(super) fn landed(&mut self, landed: Landed) {
        let Landed { id, push, connection, sent, apns_id, authorization, reply } = landed;
        let time = now();
        let verdict = match reply {
            None => {
                self.connections.timed_out(connection);
                Counters::add(&self.counters.retried);
                waits(&push, "Apple did not answer in time");
                return self.pending.retry(id, time, wait_at_least(None));
            }
            Some(Err(error)) => {
                waits(&push, &error);
                return self.not_answered(id, connection, &error);
            }
            Some(Ok(reply)) => {
                self.connections.answered(connection);
                answer::judge(reply.status, &reply.body, reply.retry_after, Timestamp::now())
            }
        };
        let is_current = self.connections.is_current(connection);
        let token = &push.key.token;
        let shows_credential =
            matches!(verdict, Verdict::Accepted | Verdict::Registration(_) | Verdict::Throttled(_));
        if is_current && shows_credential && self.circuit.close() {
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
                let Shown { user, token, kind, age, age_ms, events } = Shown::of(&push, time);
                let seconds = age.as_secs_f64();
                info!(%user, kind, age_ms, events, %token, sink = "apns", outcome = "pushed", apns_id, "pushed {user} to device {token}: {kind}, {events} in {seconds:.3} s");
                self.note(&push, Fate::Delivered, None);
                self.pushed.push((Arc::clone(&push.key), sent));
                self.note_at.get_or_insert(time + NOTE_PUSHED.0);
            }
            Verdict::Registration(answer) => self.about_registration(id, &push, sent, answer),
            Verdict::Throttled(after) => {
                waits(&push, "Apple wants fewer pushes to this device");
                Counters::add(&self.counters.retried);
                self.pending.retry(id, time, wait_at_least(after));
            }
            Verdict::Unavailable(after) => {
                Counters::add(&self.counters.retried);
                waits(&push, "Apple's service is not available");
                self.unavailable(after);
                self.pending.retry(id, time, wait_at_least(after));
            }
            Verdict::ProviderToken => {
                Counters::add(&self.counters.retried);
                let tokens = self.settings.link.as_ref().ok().and_then(|(_, credential)| credential.tokens());
                let is_renewed = tokens
                    .zip(authorization)
                    .is_some_and(|(tokens, old)| tokens.rejected(&old, SystemTime::now()));
                if is_renewed || !is_current {
                    self.pending.put_back(id);
                } else {
                    self.pending.put_last(id);
                    self.refused("403 ExpiredProviderToken, though it is a new one; is the clock right?");
                }
            }
            Verdict::Credential(reason) => {
                // Not the first again: it may be this one alone that is refused, and the next probe is for all.
                self.pending.put_last(id);
                if is_current {
                    self.refused(&reason);
                }
            }
            Verdict::OurBug(text) => self.our_bug(id, &push, sent, &apns_id, text),
        }
    }

    fn not_answered(&mut self, id: PushId, connection: u64, error: &h2::Error) {
        Counters::add(&self.counters.retried);
        if error.is_reset() && error.is_remote() {
            self.connections.stream_refused(connection);
            // At once the first time.
            let wait = wait_at_least(None);
            self.pending.retry(
                id,
                now(),
                |failures| if failures == 0 { Duration::ZERO } else { wait(failures) },
            );
        } else {
            self.pending.put_back(id);
            if let Some(reason) = self.connections.lost(connection, error) {
                self.refused(&reason);
            }
        }
    }

    fn unavailable(&mut self, after: Option<Duration>) {
        let time = now();
        self.unavailable += 1;
        if self.unavailable < UNAVAILABLE {
            return;
        }
        // The others on the wire were sent before the pause, and their answers are no news.
        if self.paused_until.is_none_or(|until| until <= time) {
            let wait = self.pause.failed(fastrand::f64()).max(after.unwrap_or_default());
            self.paused_until = Some(time + wait);
        }
        if self.unavailable == UNAVAILABLE {
            warn!("Apple's service is not available, and everything waits for it");
        }
    }

    fn our_bug(&mut self, id: PushId, push: &Push, sent: Timestamp, apns_id: &str, text: String) {
        let (user, token) = (&push.key.user, &push.key.token);
        if self.our_bugs.len() < OUR_BUGS && self.our_bugs.insert(text.clone()) {
            error!(user = %user, token = %token, apns_id, "Apple answers {text} to the push for {user}, which is a fault of pushmaild; it is dropped, and others like it");
        } else {
            debug!(user = %user, token = %token, apns_id, "Apple answers {text} to the push for {user}");
        }
        Counters::add(&self.counters.dropped);
        self.note(push, Fate::Failed, Some(text.clone()));
        self.pending.done(id);
        self.submit(Change::Answered {
            key: (*push.key).clone(),
            answer: Answer::Other(text),
            sent,
            is_mass_failure: false,
        });
    }

    fn about_registration(&mut self, id: PushId, push: &Push, sent: Timestamp, answer: Answer) {
        let (token, text) = (&push.key.token, answer.text());
        self.pending.done(id);
        Counters::add(&self.counters.refused);
        let is_bad = matches!(answer, Answer::BadToken | Answer::NotForTopic);
        self.guard.note(token, is_bad, sent);
        let is_mass_failure = is_bad && self.guard.is_mass_failure(sent);
        if is_mass_failure && self.mass_failure.is_none_or(|until| until <= now()) {
            self.mass_failure = Some(now() + TELL_AGAIN);
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
        self.note(push, Fate::Refused, Some(text.to_string()));
        let Shown { user, token, kind, age_ms, events, .. } = Shown::of(push, now());
        info!(%user, kind, age_ms, events, %token, sink = "apns", outcome = text, "Apple answers {text} for device {token} of {user}: {kind}");
        let key = (*push.key).clone();
        self.submit(Change::Answered { key, answer, sent, is_mass_failure });
    }

    /// A push has come to its end.
    fn note(&self, push: &Push, fate: Fate, answer: Option<String>) {
        self.counters.tally.note(Pushed {
            at: SystemTime::now(),
            user: push.key.user.to_string(),
            kind: push.kind,
            age: now().saturating_duration_since(push.since),
            events: push.events,
            via: Via::Apns,
            fate,
            answer,
        });
    }

    /// The credential is refused: nothing is sent but a probe, and nothing is lost.
    pub(super) fn refused(&mut self, reason: &str) {
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

    /// Nobody has asked Apple: there is nothing to ask with.
    pub(super) fn without_credential(&mut self, reason: &str) {
        if self.circuit.refused(reason, now()) {
            let waiting = self.pending.len();
            let hint = "see `pushmaild check`; a certificate that is put in its place is taken up by itself";
            error!(
                reason,
                waiting,
                hint,
                "there is no credential for Apple that can be used: {reason}; pushes are kept; hint: {hint}"
            );
        }
        self.show_trouble();
    }
}

/// Says why a push comes back from the wire and goes out once more.
fn waits(push: &Push, why: impl Display) {
    let (user, token) = (&push.key.user, &push.key.token);
    debug!(%user, %token, sink = "apns", reason = "waits", "the push to device {token} of {user} waits: {why}");
}

/// Doubling up to a minute, but not before Apple wants it.
fn wait_at_least(after: Option<Duration>) -> impl FnOnce(u32) -> Duration {
    move |failures| {
        let wait = RETRY.0.saturating_mul(1 << failures.min(16)).min(RETRY.1);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(after.unwrap_or_default())
    }
}
