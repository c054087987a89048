//! The hot path after the watcher: planner → sinks. Plain calls on one thread.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tracing::{Level, debug, enabled, info};

use super::keeper::Unpushed;
use crate::{
    classifier::{Kind, Nothing, Op},
    debouncer::{Intervals, MailboxReady},
    growth,
    mailbox::{MailboxId, MailboxMap},
    maildir::Part,
    planner::{Noted, Planner},
    sink::{
        Outcome, Sink,
        apns::ApnsSink,
        exec::ExecSink,
        milliseconds,
        push_notify::PushNotifySink,
        tally::{Fate, Pushed, Tally, Via},
    },
    stamp::Stamp,
};

/// Planner and sinks, with the map that they share.
pub(super) struct Pipeline {
    /// Shared with a job while that compares it with a new listing; nothing is added to it then.
    pub(super) map: Arc<MailboxMap>,
    pub(super) planner: Planner,
    pub(super) sinks: Sinks,
    /// Are only mailboxes of interest whose users have a device?
    pub(super) only_registered: bool,
}

/// Where pushes go.
pub(super) struct Sinks {
    pub(super) push_notify: Option<PushNotifySink>,
    pub(super) apns: Option<ApnsSink>,
    pub(super) exec: Option<ExecSink>,
    /// What became of pushes.
    pub(super) tally: Arc<Tally>,
    /// When each mailbox was last pushed, as seconds since the daemon began, and one more; none for never. By number.
    last_pushes: Vec<Option<NonZeroU32>>,
    began: Instant,
}

impl Sinks {
    fn each(&mut self) -> impl Iterator<Item = &mut dyn Sink> {
        let push_notify = self.push_notify.as_mut().map(|sink| sink as &mut dyn Sink);
        let apns = self.apns.as_mut().map(|sink| sink as &mut dyn Sink);
        let exec = self.exec.as_mut().map(|sink| sink as &mut dyn Sink);
        push_notify.into_iter().chain(apns).chain(exec)
    }

    pub(super) fn new(
        push_notify: Option<PushNotifySink>,
        apns: Option<ApnsSink>,
        exec: Option<ExecSink>,
        tally: Arc<Tally>,
    ) -> Self {
        Self { push_notify, apns, exec, tally, last_pushes: Vec::new(), began: Instant::now() }
    }

    /// All of them, to look at.
    pub(super) fn all(&self) -> impl Iterator<Item = &dyn Sink> {
        let push_notify = self.push_notify.as_ref().map(|sink| sink as &dyn Sink);
        let apns = self.apns.as_ref().map(|sink| sink as &dyn Sink);
        let exec = self.exec.as_ref().map(|sink| sink as &dyn Sink);
        push_notify.into_iter().chain(apns).chain(exec)
    }

    /// The sinks in which the mailbox waits, as far as is known to this thread.
    pub(super) fn holding(&self, id: MailboxId, map: &MailboxMap) -> impl Iterator<Item = Via> + use<> {
        let push_notify = self.push_notify.as_ref().is_some_and(|sink| sink.has(id));
        let apns = self.apns.as_ref().is_some_and(|sink| sink.is_early(id));
        let exec = self.exec.as_ref().is_some_and(|sink| sink.has(id, map));
        let holding =
            [push_notify.then_some(Via::PushNotify), apns.then_some(Via::Apns), exec.then_some(Via::Exec)];
        holding.into_iter().flatten()
    }

    /// How long ago the mailbox was last pushed.
    pub(super) fn last_push(&self, id: MailboxId) -> Option<Duration> {
        let at = self.last_pushes.get(id.index()).copied().flatten()?;
        let at = Duration::from_secs(u64::from(at.get() - 1));
        Some(self.began.elapsed().saturating_sub(at))
    }

    fn note_push(&mut self, id: MailboxId, now: Instant) {
        let seconds = now.saturating_duration_since(self.began).as_secs();
        growth::at_least(&mut self.last_pushes, id.index() + 1, None);
        self.last_pushes[id.index()] = NonZeroU32::new(u32::try_from(seconds + 1).unwrap_or(u32::MAX));
    }

    fn push(&mut self, ready: &MailboxReady, map: &MailboxMap, now: Instant) {
        // What is gone has nobody to tell, and may have had an event just before.
        if map.maildir(ready.mailbox).is_none() {
            debug!(reason = "gone", "nothing to push: the mailbox is no more");
            return;
        }
        let (mut delivered, mut is_run) = (None, false);
        for sink in self.each() {
            match sink.offer(ready, map, now) {
                Outcome::Delivered => delivered = Some(sink.via()),
                // Another thread says what becomes of it.
                Outcome::Handed => is_run |= sink.via() == Via::Exec,
                Outcome::Waiting => tell_waiting(sink.via(), ready, map, now),
            }
        }
        if let Some(via) = delivered {
            self.delivered(via, ready, map, now);
        } else if is_run {
            self.note_push(ready.mailbox, now);
        }
    }

    /// Lets the sinks send what waits and is due.
    fn retry(&mut self, map: &MailboxMap, now: Instant) {
        let mut sent = Vec::new();
        for sink in self.each() {
            if sink.due().is_some_and(|due| due <= now) {
                let via = sink.via();
                sink.retry(map, now, &mut |ready| sent.push((via, *ready)));
            }
        }
        for (via, ready) in sent {
            self.delivered(via, &ready, map, now);
        }
    }

    /// The receiver has a push, at once or after it has waited: its line, and its place in the tally.
    fn delivered(&mut self, via: Via, ready: &MailboxReady, map: &MailboxMap, now: Instant) {
        tell_pushed(via, ready, map, now);
        self.note_push(ready.mailbox, now);
        self.tally.note(pushed(via, ready, map, now));
    }

    /// Does one of the mailbox's users wait for Apple, as the network thread had it?
    pub(super) fn has_unpushed(&self, id: MailboxId, map: &MailboxMap, unpushed: &Unpushed) -> bool {
        let is_unpushed =
            |apns: &ApnsSink| map.names(id).any(|name| unpushed.contains(&apns.fingerprint(name)));
        !unpushed.is_empty() && self.apns.as_ref().is_some_and(is_unpushed)
    }

    /// Drops all that is known of a mailbox that is no more: its number may be another's next.
    fn forget(&mut self, id: MailboxId) {
        if let Some(last) = self.last_pushes.get_mut(id.index()) {
            *last = None;
        }
        self.each().for_each(|sink| sink.forget(id));
    }

    /// Does the mailbox wait in a sink, or does its program run? What waits for Apple is known to another thread.
    pub(super) fn has(&self, id: MailboxId, map: &MailboxMap) -> bool {
        self.holding(id, map).next().is_some()
    }
}

impl Pipeline {
    pub(super) fn new(
        (intervals, catch_up_rate): (Intervals, u32),
        stores: bool,
        sinks: Sinks,
        only_registered: bool,
    ) -> Self {
        let planner = Planner::new(intervals, catch_up_rate, stores);
        Self { map: Arc::default(), planner, sinks, only_registered }
    }

    /// Is the mailbox to be watched?
    pub(super) fn is_wanted(&self, id: MailboxId) -> bool {
        !self.only_registered || self.sinks.apns.as_ref().is_none_or(|apns| apns.has_device(id, &self.map))
    }

    /// The planner at work: `work` is given it, and what it pushes through.
    fn plan<T>(
        &mut self,
        now: Instant,
        work: impl FnOnce(&mut Planner, &mut dyn FnMut(MailboxReady)) -> T,
    ) -> T {
        let Self { map, planner, sinks, .. } = self;
        work(planner, &mut |ready| sinks.push(&ready, map, now))
    }

    /// Says why an event did not lead to a push. The way of a push does not come here.
    #[cold]
    fn tell_nothing(&self, (id, part): (MailboxId, Part), noted: Noted, name: &[u8]) {
        let user = self.map.names(id).next().unwrap_or_default();
        let part = part.dir_name();
        match noted {
            Noted::Pushed | Noted::Nothing(Nothing::Half) => {}
            Noted::Nothing(Nothing::NoMessage) => {
                let name = String::from_utf8_lossy(name);
                let name = name.escape_debug();
                debug!(
                    user,
                    part,
                    reason = "no-message",
                    "nothing to push for {user}: `{name}` in {part}/ is no message"
                );
            }
            Noted::Nothing(Nothing::Opened) => {
                debug!(
                    user,
                    part,
                    reason = "opened",
                    "nothing to push for {user}: a client opened the mailbox"
                );
            }
            Noted::Waits => self.tell_waits(id),
        }
    }

    #[cold]
    fn tell_waits(&self, id: MailboxId) {
        let user = self.map.names(id).next().unwrap_or_default();
        match self.planner.waiting(id).map_or(0, |(_, _, events)| events) {
            0 | 1 => debug!(user, events = 1, reason = "quiet", "the push of {user} waits for its time"),
            events => {
                debug!(
                    user,
                    events,
                    reason = "joined",
                    "joined to the push of {user} that waits: {events} events"
                );
            }
        }
    }

    /// One event in `new/` or `cur/`.
    pub(super) fn event(&mut self, target: (MailboxId, Part), op: Op, name: &[u8], now: Instant) {
        if let Some(apns) = &mut self.sinks.apns {
            apns.note_inbox(target.0);
        }
        let noted = self.plan(now, |planner, mut push| planner.event(target, op, name, now, &mut push));
        if noted != Noted::Pushed && enabled!(Level::DEBUG) {
            self.tell_nothing(target, noted, name);
        }
    }

    /// See [`Planner::changed`].
    pub(super) fn changed(
        &mut self,
        target: (MailboxId, Part),
        kind: Kind,
        seen: Option<Stamp>,
        now: Instant,
    ) {
        if let Some(apns) = &mut self.sinks.apns {
            apns.note_inbox(target.0);
        }
        let noted = self.plan(now, |planner, mut push| planner.changed(target, kind, seen, now, &mut push));
        if noted == Noted::Waits && enabled!(Level::DEBUG) {
            self.tell_waits(target.0);
        }
    }

    /// A read that had events is over.
    pub(super) fn end_of_read(&mut self, now: Instant) {
        self.plan(now, |planner, mut push| planner.end_of_read(now, &mut push));
    }

    /// Somebody says that something happened to a mailbox.
    pub(super) fn note(&mut self, id: MailboxId, kind: Kind, now: Instant) {
        if self.map.maildir(id).is_none() {
            return;
        }
        if let Some(apns) = &mut self.sinks.apns {
            apns.note_inbox(id);
        }
        let noted = self.plan(now, |planner, mut push| planner.note(id, kind, now, &mut push));
        if noted == Noted::Waits && enabled!(Level::DEBUG) {
            self.tell_waits(id);
        }
    }

    /// Something happened to other folders of a mailbox, which only a device that was told their names can be told of.
    pub(super) fn note_others(&mut self, id: MailboxId, others: Vec<String>, now: Instant) {
        let inbox_pending = self.planner.is_pending(id);
        let is_there = self.map.maildir(id).is_some();
        let Some(apns) = self.sinks.apns.as_mut().filter(|_| is_there) else { return };
        apns.note_others(id, others, inbox_pending);
        let noted = self.plan(now, |planner, mut push| planner.note(id, Kind::Change, now, &mut push));
        if noted == Noted::Waits && enabled!(Level::DEBUG) {
            self.tell_waits(id);
        }
    }

    /// When [`Self::on_time`] has something to do next.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.sinks.all().map(Sink::due).chain([self.planner.deadline(now)]).flatten().min()
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.plan(now, |planner, mut push| planner.on_time(now, &mut push));
        self.sinks.retry(&self.map, now);
    }

    /// Ends the wait for second halves of renames.
    pub(super) fn release_halves(&mut self, now: Instant) {
        self.plan(now, |planner, mut push| planner.release_halves(now, &mut push));
    }

    /// For an orderly stop: everything that is pending goes out now, or into the sinks' sets.
    pub(super) fn flush(&mut self, now: Instant) {
        self.plan(now, |planner, mut push| planner.flush(now, &mut push));
    }

    /// How many mailboxes wait in sinks.
    pub(super) fn waiting(&self) -> usize {
        self.sinks.all().map(Sink::waiting).sum()
    }

    /// Drops everything about a mailbox that is no more.
    pub(super) fn forget(&mut self, id: MailboxId) {
        self.planner.forget(id);
        self.sinks.forget(id);
    }
}

/// A push that the receiver has, for the tally.
fn pushed(via: Via, ready: &MailboxReady, map: &MailboxMap, now: Instant) -> Pushed {
    Pushed {
        at: SystemTime::now(),
        user: map.names(ready.mailbox).next().unwrap_or_default().to_owned(),
        kind: ready.kind,
        age: now.saturating_duration_since(ready.since),
        events: ready.events,
        via,
        fate: Fate::Delivered,
        answer: None,
    }
}

/// Logs a push that the receiver has: a line for each name of the mailbox, whenever it went out.
fn tell_pushed(via: Via, ready: &MailboxReady, map: &MailboxMap, now: Instant) {
    let MailboxReady { mailbox, kind, since, events } = *ready;
    let (kind, sink) = (kind.as_str(), via.as_str());
    let age = now.saturating_duration_since(since);
    let (age_ms, seconds) = (milliseconds(age), age.as_secs_f64());
    for user in map.names(mailbox) {
        info!(
            user,
            kind,
            age_ms,
            events,
            sink,
            outcome = "pushed",
            "pushed {user}: {kind}, {events} in {seconds:.3} s"
        );
    }
}

/// Logs that a push waits in the sink.
fn tell_waiting(via: Via, ready: &MailboxReady, map: &MailboxMap, now: Instant) {
    let MailboxReady { mailbox, kind, since, events } = *ready;
    let user = map.names(mailbox).next().unwrap_or_default();
    let (kind, sink) = (kind.as_str(), via.as_str());
    let age_ms = milliseconds(now.saturating_duration_since(since));
    debug!(
        user,
        kind,
        age_ms,
        events,
        sink,
        reason = "waits",
        "the push of {user} waits for the receiver: {kind}"
    );
}
