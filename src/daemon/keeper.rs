//! Keeps the records of mailboxes on disk: reads at the start what the last process stored, and stores what the planner has settled.
//! One thing at a time, so that a disk that does not answer has one batch on its way and no more.

use std::{
    collections::HashSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info};

use super::pipeline::Pipeline;
use crate::{
    mailbox::MailboxId,
    planner::Arrival,
    registry::{
        change::{Applied, Change},
        reader::Stored,
        service::{NotStored, Registry},
    },
};

/// Records in one transaction: some 20 ms of work, for which registrations wait.
const BATCH: usize = 4096;
/// How long the start waits for the disk that has the records.
const PATIENCE: Duration = Duration::from_secs(10);

/// What waits for Apple, as fingerprints of users: see [`crate::sink::apns::ApnsSink::fingerprint`].
pub(crate) type Unpushed = HashSet<u64>;

/// Something that the keeper waited for.
pub(super) enum Kept {
    /// What the last process stored. None if records have never been kept.
    Read(Result<Option<Stored>, NotStored>),
    /// What waits for Apple.
    Unpushed(Option<Unpushed>),
    /// A batch is on disk, or is not.
    Written(bool),
    /// The store was opened anew: perhaps it is another one.
    Opened,
}

/// What the keeper is waiting for.
enum Waiting {
    Nothing,
    Read(BoxFuture<'static, Result<Option<Stored>, NotStored>>),
    Unpushed(oneshot::Receiver<Unpushed>),
    Written(Vec<MailboxId>, oneshot::Receiver<Result<Applied, NotStored>>),
}

pub(super) struct Keeper {
    /// None if there is nowhere to keep them.
    registry: Option<Registry>,
    waiting: Waiting,
    /// Good to be stored, unless something happens meanwhile.
    good: Vec<MailboxId>,
    unpushed: Unpushed,
    /// Maildirs that are no more.
    gone: Vec<PathBuf>,
    /// Could what the last process stored not be read at the start? Then that is tried again before anything takes its place.
    is_unread: bool,
    opened: Option<watch::Receiver<u64>>,
}

impl Keeper {
    /// Begins to read what the last process stored.
    pub(super) fn new(registry: Option<Registry>) -> Self {
        let waiting = match registry.clone() {
            None => Waiting::Nothing,
            Some(registry) => read(registry),
        };
        let opened = registry.as_ref().map(Registry::opened);
        Self {
            registry,
            waiting,
            good: Vec::new(),
            unpushed: Unpushed::new(),
            gone: Vec::new(),
            is_unread: false,
            opened,
        }
    }

    /// Are records kept at all?
    pub(super) const fn keeps(&self) -> bool {
        self.registry.is_some()
    }

    /// Is nothing on its way, so that a turn of settling may give it more?
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.waiting, Waiting::Nothing)
    }

    /// Waits for what is on its way; if that is nothing, until the store is opened anew. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Kept {
        match &mut self.waiting {
            Waiting::Nothing => {
                if let Some(opened) = &mut self.opened
                    && opened.changed().await.is_ok()
                {
                    return Kept::Opened;
                }
                std::future::pending().await
            }
            Waiting::Read(read) => Kept::Read(read.await),
            // A network thread that has ended has nothing waiting that anybody could push.
            Waiting::Unpushed(answer) => Kept::Unpushed(answer.await.ok()),
            Waiting::Written(_, answer) => Kept::Written(matches!(answer.await, Ok(Ok(_)))),
        }
    }

    /// What the last process stored has been read.
    pub(super) fn is_read(&mut self) {
        self.waiting = Waiting::Nothing;
        if let Some(opened) = &mut self.opened {
            opened.mark_unchanged();
        }
    }

    /// Gives the planner what the last process stored. Returns what a mailbox without a record is.
    pub(super) fn load(
        &mut self,
        read: Result<Option<Stored>, NotStored>,
        pipeline: &mut Pipeline,
    ) -> Arrival {
        let stored = match read {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                // Even without a single mailbox: from now on those that come are news.
                self.write(Vec::new(), pipeline, Instant::now());
                return Arrival::Old;
            }
            Err(NotStored) => {
                error!(
                    "the records of the mailboxes cannot be read: each mailbox with new mail gets a push, as if it had come just now"
                );
                self.is_unread = true;
                return Arrival::Unrecorded;
            }
        };
        let mut count = 0_usize;
        for (maildir, stamps) in stored.iter() {
            match pipeline.map.by_path(maildir) {
                Some(id) => {
                    count += 1;
                    pipeline.planner.load(id, stamps);
                }
                None => self.gone.push(maildir.to_owned()),
            }
        }
        let gone = self.gone.len();
        debug!(count, gone, "records of mailboxes: {count}, and {gone} of mailboxes that are no more");
        Arrival::Unrecorded
    }

    /// The mailbox is no more, or nobody is to be told of it.
    pub(super) fn forget(&mut self, maildir: PathBuf) {
        if self.keeps() {
            self.gone.push(maildir);
        }
    }

    /// Takes what a turn of settling found good, and begins to store it.
    pub(super) fn store(
        &mut self,
        good: Vec<MailboxId>,
        ask: Option<impl FnOnce() -> oneshot::Receiver<Unpushed>>,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        if self.is_unread {
            self.waiting = self.registry.clone().map_or(Waiting::Nothing, read);
            return;
        }
        self.good = good;
        match ask {
            Some(ask) if !self.good.is_empty() => self.waiting = Waiting::Unpushed(ask()),
            _ => self.write_next(pipeline, now),
        }
    }

    /// Takes in what was waited for, and goes on.
    pub(super) fn kept(&mut self, kept: Kept, pipeline: &mut Pipeline, now: Instant) {
        match (std::mem::replace(&mut self.waiting, Waiting::Nothing), kept) {
            (_, Kept::Unpushed(Some(unpushed))) => self.unpushed = unpushed,
            // Nobody knows what waits there, so nothing is stored.
            (_, Kept::Unpushed(None)) => self.good.clear(),
            (Waiting::Written(mailboxes, _), Kept::Written(false)) => {
                // The registry says what is wrong. The next turn tries again.
                pipeline.planner.not_stored(mailboxes, now);
                self.good.clear();
            }
            (_, Kept::Read(read)) => self.load_late(read, pipeline),
            (_, Kept::Opened) => pipeline.planner.store_again(pipeline.map.ids(), now),
            (_, Kept::Written(_)) => {}
        }
        self.write_next(pipeline, now);
    }

    /// What could not be read at the start can be read now, or is lost.
    fn load_late(&mut self, read: Result<Option<Stored>, NotStored>, pipeline: &mut Pipeline) {
        match read {
            Ok(stored) => {
                for (maildir, stamps) in stored.iter().flat_map(Stored::iter) {
                    if let Some(id) = pipeline.map.by_path(maildir) {
                        pipeline.planner.load_late(id, stamps);
                    }
                }
                info!("the records of the mailboxes could be read after all");
                self.is_unread = false;
            }
            // The disk is good, so they are what is bad.
            Err(NotStored) => self.is_unread = self.trouble(),
        }
    }

    /// Is the registry's disk out?
    fn trouble(&self) -> bool {
        self.registry.as_ref().is_some_and(|registry| registry.health().trouble.is_some())
    }

    fn write_next(&mut self, pipeline: &mut Pipeline, now: Instant) {
        if self.good.is_empty() && self.gone.is_empty() {
            self.good = Vec::new();
            self.unpushed = Unpushed::new();
            return;
        }
        let some = self.good.split_off(self.good.len().saturating_sub(BATCH));
        self.write(some, pipeline, now);
    }

    fn write(&mut self, mailboxes: Vec<MailboxId>, pipeline: &mut Pipeline, now: Instant) {
        let Some(registry) = &self.registry else { return };
        let Pipeline { map, planner, sinks, .. } = pipeline;
        let waits = |id| sinks.has(id, map) || sinks.has_unpushed(id, map, &self.unpushed);
        let records = planner.take_records(mailboxes, waits);
        let stored: Vec<MailboxId> = records.iter().map(|(id, _)| *id).collect();
        let mut kept: Vec<_> = records
            .into_iter()
            .filter_map(|(id, stamps)| Some((map.maildir(id)?.to_path_buf(), stamps)))
            .collect();
        // In the order of the table, so that each of its pages is written once.
        kept.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut gone = self.gone.split_off(self.gone.len().saturating_sub(BATCH));
        // One that is back may have its new record on disk already.
        gone.retain(|maildir| !map.by_path(maildir).is_some_and(|id| planner.is_known(id)));
        match registry.ask(Change::Records { kept, gone }) {
            Ok(answer) => self.waiting = Waiting::Written(stored, answer),
            Err(NotStored) => planner.not_stored(stored, now),
        }
    }
}

fn read(registry: Registry) -> Waiting {
    let read = async move {
        let read = tokio::time::timeout(PATIENCE, registry.records()).await;
        read.unwrap_or(Err(NotStored))
    };
    Waiting::Read(read.boxed())
}
