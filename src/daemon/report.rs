//! Answers to the control socket: how the daemon is, and how a mailbox is. Looks, and changes nothing.

use std::{
    process,
    time::{Instant, SystemTime},
};

use super::{Daemon, watching::Survey};
use crate::{
    classifier::Kind,
    control::{
        Question,
        status::{
            ApnsStatus, LastError, ListenerStatus, MailboxState, Mailboxes, MapStatus, PartStatus, Pending,
            PendingPush, Push, RegistryStatus, SinkState, SinkStatus, Status, Trouble, UserStatus, Watch,
            milliseconds, time,
        },
    },
    listener::counters::{Asked, Listener, Outcome},
    mailbox::MailboxId,
    maildir::Part,
    sink::{Sink, tally::Fate},
    watcher::limits,
};

/// Mailboxes in one answer, and numbers that are nobody's: less than a millisecond of work.
const USERS: u32 = 256;
/// Mailboxes without a watch that are named.
const TROUBLES: usize = 100;
/// Pushes that are shown.
const PUSHES: usize = 100;
/// Seconds of a day.
const DAY: i64 = 24 * 3600;

impl Daemon {
    /// Answers a question. Whoever asked may be gone.
    pub(super) fn answer(&self, question: Question) {
        match question {
            Question::Alive(reply) => {
                let _ = reply.send(());
            }
            Question::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Question::User(user, reply) => {
                let id = self.pipeline.map.by_name(&user);
                let _ = reply.send(id.and_then(|id| self.mailbox_status(id)));
            }
            Question::Users(from, reply) => {
                let map = &self.pipeline.map;
                let end = u32::try_from(map.capacity()).unwrap_or(u32::MAX);
                let next = from.saturating_add(USERS).min(end);
                let users = (from..next).filter_map(|id| self.mailbox_status(MailboxId(id))).collect();
                let _ = reply.send((users, (next < end).then_some(next)));
            }
        }
    }

    fn status(&self) -> Status {
        let Self { watching, pipeline, upkeep, config, .. } = self;
        let survey = watching.survey(TROUBLES);
        let limit = limits::watch_limit().filter(|_| watching.backend.as_str() == "inotify");
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            time: time(SystemTime::now()),
            started: time(self.began.date()),
            ready: !self.ready_owed,
            config: config.path.display().to_string(),
            map: MapStatus {
                read_seconds_ago: upkeep.map_since().map(|since| since.elapsed().as_secs()),
                trouble: upkeep.map_trouble.clone(),
            },
            mailboxes: Mailboxes {
                total: pipeline.map.len(),
                watched: survey.watched,
                missing: survey.missing,
                in_trouble: survey.in_trouble,
                only_registered: pipeline.only_registered,
            },
            watch: Watch {
                backend: watching.backend.as_str().to_owned(),
                watches: survey.counts.watches,
                polled: survey.counts.polled,
                limit: limit.map(|limit| limit.watches),
                events: self.events,
                overflows: upkeep.overflows,
                rescans: upkeep.rescans,
            },
            pending: Pending {
                debounced: pipeline.planner.debounced(),
                catching_up: pipeline.planner.to_catch_up(),
            },
            sinks: pipeline.sinks.all().map(|sink| self.sink_status(sink)).collect(),
            apns: self.apns_status(),
            registry: self.registry.as_ref().map(|open| {
                let health = open.registry.health();
                // What is counted in the database is asked for by whoever serves the client.
                RegistryStatus {
                    unwritten: health.unwritten,
                    trouble: health.trouble,
                    devices: None,
                    suspended: None,
                }
            }),
            listeners: self.listener_status(),
            troubles: self.troubles(&survey),
            pushes: pipeline.sinks.tally.recent().iter().take(PUSHES).map(Push::from).collect(),
        }
    }

    fn sink_status(&self, sink: &dyn Sink) -> SinkStatus {
        let (health, waiting, via) = (sink.health(), sink.waiting(), sink.via());
        let tally = &self.pipeline.sinks.tally;
        let count =
            |fate| [Kind::Change, Kind::NewMail].map(|kind| tally.count(via, kind, fate)).iter().sum();
        SinkStatus {
            name: via.as_str().to_owned(),
            target: health.target,
            state: match health.trouble {
                Some(_) => SinkState::Trouble,
                None if waiting > 0 => SinkState::Busy,
                None => SinkState::Ok,
            },
            waiting,
            delivered: count(Fate::Delivered),
            refused: count(Fate::Refused),
            failed: count(Fate::Failed),
            trouble: health.trouble,
            last_error: health.last_error.map(|(at, message)| LastError { time: time(at), message }),
        }
    }

    fn apns_status(&self) -> Option<ApnsStatus> {
        let sink = self.pipeline.sinks.apns.as_ref()?;
        let counters = sink.counters();
        let facts = counters.facts();
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        Some(ApnsStatus {
            topic: facts.topic,
            environment: facts.environment,
            certificate_ends: facts.certificate_ends.map(time),
            certificate_seconds_left: facts.certificate_ends.map(seconds_until),
            certificate_days_left: facts.certificate_ends.map(|end| seconds_until(end).div_euclid(DAY)),
            users: sink.users(),
            other_topic: load(&counters.other_topic),
            retried: load(&counters.retried),
            connections: load(&counters.dials),
        })
    }

    fn listener_status(&self) -> Vec<ListenerStatus> {
        let (Some(listen), Some(network)) = (&self.config.listen, &self.network) else { return Vec::new() };
        let counters = network.requests();
        let is_on = |on: &Listener| {
            *on == Listener::XapsHttp && listen.xaps_http.is_some()
                || listen.sockets().any(|(key, _)| key == on.as_str())
        };
        let status = |on: Listener| {
            let count = |outcome| Asked::ALL.iter().map(|asked| counters.requests(on, *asked, outcome)).sum();
            ListenerStatus {
                name: on.as_str().to_owned(),
                taken: count(Outcome::Taken),
                refused: count(Outcome::Refused),
                failed: count(Outcome::Failed),
            }
        };
        Listener::ALL.into_iter().filter(is_on).map(status).collect()
    }

    fn troubles(&self, survey: &Survey) -> Vec<Trouble> {
        let trouble = |id: &MailboxId| {
            Some(Trouble {
                user: self.pipeline.map.names(*id).next()?.to_owned(),
                maildir: self.pipeline.map.maildir(*id)?.to_string(),
                reason: self.reason(*id)?,
            })
        };
        survey.examples.iter().filter_map(trouble).collect()
    }

    /// Why a mailbox is not watched.
    fn reason(&self, id: MailboxId) -> Option<String> {
        match self.watching.state(id) {
            MailboxState::Trouble => {
                Some(self.watching.reason(id).unwrap_or("it cannot be watched; the log has more").to_owned())
            }
            MailboxState::Missing => Some("it does not exist yet".to_owned()),
            _ => None,
        }
    }

    fn mailbox_status(&self, id: MailboxId) -> Option<UserStatus> {
        let Self { watching, pipeline, .. } = self;
        let maildir = pipeline.map.maildir(id)?.to_string();
        let now = Instant::now();
        let state = match watching.state(id) {
            MailboxState::Arming if !pipeline.is_wanted(id) => MailboxState::NotWanted,
            state => state,
        };
        let known = pipeline.planner.known(id);
        let parts = Part::ALL.into_iter().zip(watching.armed_parts(id)).zip(known);
        let part = |((part, armed), known): ((Part, bool), Option<crate::stamp::Stamp>)| {
            let known = known.filter(|_| armed);
            PartStatus {
                name: part.dir_name().to_owned(),
                armed,
                polled: watching.is_polled(id, part),
                device: known.map(|stamp| stamp.device()),
                inode: known.map(|stamp| stamp.inode()),
            }
        };
        let pending = pipeline.planner.waiting(id).map(|(since, due, events)| PendingPush {
            age_ms: milliseconds(now.saturating_duration_since(since)),
            due_in_ms: milliseconds(due.saturating_duration_since(now)),
            events,
        });
        Some(UserStatus {
            users: pipeline.map.names(id).map(str::to_owned).collect(),
            maildir,
            state,
            reason: self.reason(id),
            parts: parts.map(part).collect(),
            pending,
            waits_in: pipeline.sinks.holding(id, &pipeline.map).map(|via| via.as_str().to_owned()).collect(),
            has_device: pipeline.sinks.apns.as_ref().map(|apns| apns.has_device(id, &pipeline.map)),
            // Counted back from now: the clock may have been set since the start.
            last_push: pipeline
                .sinks
                .last_push(id)
                .and_then(|ago| SystemTime::now().checked_sub(ago))
                .map(time),
            // The registry has them, and is asked by whoever serves the client.
            devices: Vec::new(),
        })
    }
}

fn seconds_until(time: SystemTime) -> i64 {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::now()) {
        Ok(left) => seconds(left),
        Err(passed) => -seconds(passed.duration()) - 1,
    }
}
