//! How a push goes out, or why it does not.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::{Landed, Pusher, Settings, Shown};
use crate::sink::apns::{
    circuit::Allowed,
    counters::Counters,
    devices::Devices,
    dial::Dial,
    push::{self, Push},
};

/// Pushes on the wire at once. More bring little: 100 fill a connection.
const IN_FLIGHT: usize = 200;
/// Apple answers within some hundred milliseconds.
const ANSWER: Duration = Duration::from_secs(10);
/// A server that offers no stream tells nobody when it does: it is asked so often.
const ASK_FOR_ROOM: Duration = Duration::from_secs(1);

impl<D: Dial + Clone, R: Devices> Pusher<D, R> {
    /// Sends what may be sent.
    pub(super) fn send(&mut self, time: Instant) {
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
                Err(reason) => return self.without_credential(&reason.clone()),
            };
            let clock = SystemTime::now();
            if let Some(problem) = credential.problem_at(clock) {
                return self.refused(&problem.to_string());
            }
            let Some(connection) = self.connections.with_room() else {
                return self.connections.dial_if_wanted();
            };
            let Some((id, push)) = self.pending.next(time) else { return };
            if time >= push.expires {
                Counters::add(&self.counters.expired);
                self.pending.done(id);
                let Shown { user, token, kind, age_ms, events, .. } = Shown::of(&push, time);
                info!(%user, kind, age_ms, events, %token, sink = "apns", outcome = "expired", "not pushed to device {token} of {user}: it is a day old, and the phone has looked of itself");
                continue;
            }
            let Some(topic) = topic_of(&push, &self.settings) else {
                self.on_other_topic(&push);
                self.pending.done(id);
                continue;
            };
            let apns_id = push::new_id();
            let Settings { priorities, authority, .. } = &self.settings;
            let authorization = credential.authorization(clock);
            let request =
                push::request(&push, topic, *priorities, authority, authorization.clone(), &apns_id, clock);
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
            // No `async` block, which would have room for the exchange twice.
            let landed = timeout(ANSWER, exchange).map(move |reply| {
                let (sent, reply) = (clock.into(), reply.ok());
                Landed { id, push, connection: number, sent, apns_id, authorization, reply }
            });
            self.in_flight.push(landed.boxed());
            self.circuit.probing(time);
        }
    }

    /// When there is something to send again, if nothing happens before.
    pub(super) fn send_deadline(&self, time: Instant) -> Option<Instant> {
        if self.in_flight.len() >= IN_FLIGHT || self.pending.len() == self.in_flight.len() {
            return None;
        }
        let ready = if self.pending.has_ready(time) { Some(time) } else { self.pending.deadline() };
        let allowed = match self.circuit.allows(time) {
            Allowed::All | Allowed::Probe => None,
            Allowed::NotBefore(at) => Some(at),
        };
        let connect = self.connections.deadline().map(tokio::time::Instant::into_std);
        // What is ready and yet was not sent waits for one of these, or for an event.
        let gate = [self.paused_until, allowed, connect].into_iter().flatten().max();
        match (ready, gate.filter(|gate| *gate > time)) {
            (Some(ready), Some(gate)) => Some(ready.max(gate)),
            (Some(ready), None) => Some(ready.max(time + ASK_FOR_ROOM)),
            (None, _) => None,
        }
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
        } else {
            let (user, token) = (&push.key.user, &push.key.token);
            debug!(%user, %token, topic, sink = "apns", reason = "other-topic", "not pushed to device {token} of {user}: it was told the topic `{topic}`");
        }
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
