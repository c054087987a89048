//! The hot path after the watcher: what changed → debouncer → sinks. Plain calls on one thread.

use std::time::Instant;

use tracing::{debug, info};

use super::records::Records;
use crate::{
    classifier::{Classifier, Kind, Op},
    debouncer::{Debouncer, Intervals, MailboxReady},
    mailbox::{MailboxId, MailboxMap},
    maildir::Part,
    sink::{Outcome, Sink, apns::ApnsSink, push_notify::PushNotifySink},
};

/// Classifier, debouncer and sinks, with the map that they share.
pub(super) struct Pipeline {
    pub(super) map: MailboxMap,
    pub(super) records: Records,
    classifier: Classifier,
    pub(super) debouncer: Debouncer,
    pub(super) push_notify: Option<PushNotifySink>,
    pub(super) apns: Option<ApnsSink>,
    /// Are only mailboxes of interest whose users have a device?
    pub(super) only_registered: bool,
    /// Mailboxes with events since the last read that found nothing more: their records are out of date.
    touched: Vec<MailboxId>,
}

impl Pipeline {
    pub(super) fn new(
        intervals: Intervals,
        push_notify: Option<PushNotifySink>,
        apns: Option<ApnsSink>,
        only_registered: bool,
    ) -> Self {
        Self {
            map: MailboxMap::default(),
            records: Records::default(),
            classifier: Classifier::default(),
            debouncer: Debouncer::new(intervals),
            push_notify,
            apns,
            only_registered,
            touched: Vec::new(),
        }
    }

    /// All sinks, and the map that they are given.
    fn sinks(&mut self) -> (impl Iterator<Item = &mut dyn Sink>, &MailboxMap) {
        let push_notify = self.push_notify.as_mut().map(|sink| sink as &mut dyn Sink);
        let apns = self.apns.as_mut().map(|sink| sink as &mut dyn Sink);
        (push_notify.into_iter().chain(apns), &self.map)
    }

    /// Is the mailbox to be watched?
    pub(super) fn is_wanted(&self, id: MailboxId) -> bool {
        !self.only_registered || self.apns.as_ref().is_none_or(|apns| apns.has_device(id, &self.map))
    }

    /// One event in `new/` or `cur/`.
    pub(super) fn event(&mut self, (id, part): (MailboxId, Part), op: Op, name: &[u8], now: Instant) {
        self.touch(id, part);
        // One event tells of two mailboxes at most: a message that went from one to the other.
        let mut found = [None; 2];
        let mut count = 0;
        self.classifier.event(id, part, op, name, &mut |id, kind| {
            found[count] = Some((id, kind));
            count += 1;
        });
        for (id, kind) in found.into_iter().flatten() {
            self.note(id, kind, now);
        }
    }

    /// A read that had events is over.
    pub(super) fn end_of_read(&mut self, now: Instant) {
        let mut found = Vec::new();
        self.classifier.end_of_read(now, &mut |id, kind| found.push((id, kind)));
        self.note_all(found, now);
    }

    /// Something happened to a mailbox: push, or wait for more.
    pub(super) fn note(&mut self, id: MailboxId, kind: Kind, now: Instant) {
        if self.map.maildir(id).is_none() {
            return;
        }
        if let Some(apns) = &mut self.apns {
            apns.note_inbox(id);
        }
        if let Some(ready) = self.debouncer.note(id, kind, now) {
            self.push(ready, now);
        }
    }

    /// Something happened to other folders of a mailbox, which only a device that was told their names can be told of.
    pub(super) fn note_others(&mut self, id: MailboxId, others: Vec<String>, now: Instant) {
        let inbox_pending = self.debouncer.is_pending(id);
        let Some(apns) = self.apns.as_mut().filter(|_| self.map.maildir(id).is_some()) else { return };
        apns.note_others(id, others, inbox_pending);
        if let Some(ready) = self.debouncer.note(id, Kind::Change, now) {
            self.push(ready, now);
        }
    }

    pub(super) fn note_all(&mut self, found: impl IntoIterator<Item = (MailboxId, Kind)>, now: Instant) {
        for (id, kind) in found {
            self.note(id, kind, now);
        }
    }

    /// When [`Self::on_time`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.classifier.deadline(), self.debouncer.deadline(), self.push_notify.as_ref().and_then(Sink::due)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.classifier.deadline().is_some_and(|deadline| deadline <= now) {
            self.release_halves(now);
        }
        // As many as a receiver's queue takes many times over, then the watcher gets its turn.
        for _ in 0..512 {
            let Some(ready) = self.debouncer.pop_due(now) else { break };
            self.push(ready, now);
        }
        let (sinks, map) = self.sinks();
        for sink in sinks {
            if sink.due().is_some_and(|due| due <= now) {
                sink.retry(map, now);
            }
        }
    }

    /// Ends the wait for second halves of renames.
    pub(super) fn release_halves(&mut self, now: Instant) {
        let mut found = Vec::new();
        self.classifier.release(&mut |id, kind| found.push((id, kind)));
        self.note_all(found, now);
    }

    /// For an orderly stop: everything that is pending goes out now, or into the sinks' sets.
    pub(super) fn flush(&mut self, now: Instant) {
        self.release_halves(now);
        for ready in self.debouncer.flush() {
            self.push(ready, now);
        }
    }

    /// How many mailboxes wait in sinks.
    pub(super) fn waiting(&self) -> usize {
        let count = |sink: &dyn Sink| sink.waiting();
        self.push_notify.as_ref().map_or(0, |sink| count(sink))
            + self.apns.as_ref().map_or(0, |sink| count(sink))
    }

    /// Drops everything about a mailbox that is no more.
    pub(super) fn forget(&mut self, id: MailboxId) {
        self.debouncer.forget(id);
        self.sinks().0.for_each(|sink| sink.forget(id));
    }

    /// Notes that a directory changed.
    pub(super) fn touch(&mut self, id: MailboxId, part: Part) {
        if self.records.mark_dirty(id, part) {
            self.touched.push(id);
        }
    }

    /// The mailboxes that were touched since the last call.
    pub(super) fn take_touched(&mut self) -> Vec<MailboxId> {
        std::mem::take(&mut self.touched)
    }

    fn push(&mut self, ready: MailboxReady, now: Instant) {
        let (sinks, map) = self.sinks();
        for sink in sinks {
            let outcome = sink.offer(&ready, map, now);
            let sink = sink.name();
            let MailboxReady { mailbox, kind, since, events } = ready;
            let user = || map.names(mailbox).next().map_or("", |name| name.as_str());
            let kind = kind.as_str();
            let age = now.duration_since(since);
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            match outcome {
                Outcome::Delivered => {
                    info!(
                        user = user(),
                        kind,
                        age_ms,
                        events,
                        sink,
                        "pushed {}: {kind}, {events} in {:.3} s",
                        user(),
                        age.as_secs_f64()
                    );
                }
                Outcome::Handed => {}
                Outcome::Waiting => {
                    debug!(
                        user = user(),
                        kind,
                        age_ms,
                        events,
                        sink,
                        "the push of {} waits for the receiver: {kind}",
                        user()
                    );
                }
            }
        }
    }
}
