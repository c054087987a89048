//! Keeps what is watched in step with what is there: the map that changes, mailboxes that come and go, and the comparison that finds
//! what no event told.

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    comparison::{Comparison, kind_of_change},
    jobs::{Done, Jobs, Why},
    pipeline::Pipeline,
    watching::Watching,
};
use crate::{
    classifier::Kind,
    mailbox::{
        MailboxId,
        source::{Listed, Listing, Notice, Source, Sources},
    },
    maildir::Part,
    watcher::ParentId,
};

/// Mailboxes armed in one go, before events and timers get their turn: a few milliseconds.
const ARM_BATCH: usize = 500;
/// A map file is read this long after the last sign that somebody writes it.
const MAP_FILE_QUIET: Duration = Duration::from_millis(300);
/// Notices logged one by one.
const NOTICES_LOGGED: usize = 10;

/// Something that events told and that is dealt with after the read.
#[derive(Debug)]
pub(super) enum Errand {
    /// A watch of a mailbox is gone.
    Lost(MailboxId, Part),
    /// A directory changed, and at most it is known whether something arrived in it.
    Touched(MailboxId, Part, Option<bool>),
    /// The watch of a parent is gone.
    ParentLost(ParentId),
    /// A parent changed, and nobody knows how.
    ParentTouched(ParentId),
    /// Something happened to an entry of a parent. `is_new`: there cannot have been another one in its place.
    InParent { parent: ParentId, name: Vec<u8>, is_new: bool },
}

pub(super) struct Upkeep {
    pub(super) sources: Arc<Sources>,
    pub(super) jobs: Jobs,
    sweep_interval: Option<Duration>,
    next_sweep: Option<Instant>,
    /// When and why the sources are to be read again.
    reading: Option<(Instant, Why)>,
    reading_runs: bool,
    reading_took: Duration,
    new_folders: Vec<PathBuf>,
    /// One job for new folders at a time: a disk that does not answer holds up one thread, and the folders wait as a list.
    new_folders_read: bool,
    /// What was found in new folders while the sources were being read: the reading may have passed there before.
    found_meanwhile: Vec<Listed>,
    to_arm: VecDeque<(MailboxId, bool)>,
    comparison: Comparison,
    logged: HashSet<String>,
}

impl Upkeep {
    pub(super) fn new(sources: Sources, sweep_interval: Option<Duration>, now: Instant) -> Self {
        Self {
            sources: Arc::new(sources),
            jobs: Jobs::new(),
            sweep_interval,
            next_sweep: sweep_interval.map(|interval| now + interval),
            reading: Some((now, Why::Start)),
            reading_runs: false,
            reading_took: Duration::ZERO,
            new_folders: Vec::new(),
            new_folders_read: false,
            found_meanwhile: Vec::new(),
            to_arm: VecDeque::new(),
            comparison: Comparison::default(),
            logged: HashSet::new(),
        }
    }

    /// Takes over the sources of a new configuration.
    pub(super) fn reload(&mut self, sources: Sources, sweep_interval: Option<Duration>, now: Instant) {
        self.sources = Arc::new(sources);
        self.sweep_interval = sweep_interval;
        self.next_sweep = sweep_interval.map(|interval| now + interval);
        self.read_sources(now, Why::Reload);
    }

    /// Is everything armed that the map had at the start or at the last reload?
    pub(super) fn is_settled(&self) -> bool {
        !self.reading_runs && self.reading.is_none_or(|(_, why)| why < Why::Reload) && self.to_arm.is_empty()
    }

    /// Is there nothing left to look at, to judge or to arm?
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_idle()
            && self.to_arm.is_empty()
            && self.new_folders.is_empty()
            && !self.comparison.wants_look(&self.jobs)
            && !self.wants_all_read()
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let reading = self.reading.map(|(at, _)| at).filter(|_| !self.reading_runs);
        let work = !self.to_arm.is_empty() || self.comparison.wants_look(&self.jobs);
        [self.next_sweep, reading, work.then_some(now)].into_iter().flatten().min()
    }

    fn read_sources(&mut self, at: Instant, why: Why) {
        self.reading = Some(match self.reading {
            Some((earlier, reason)) => (earlier.min(at), reason.max(why)),
            None => (at, why),
        });
    }

    /// Arms what is to be watched and is not, and the other way round: somebody has registered a device, or has none any more. For a
    /// device that has registered just now (`is_news`) the mailbox is looked into: mail may have come before the watch.
    pub(super) fn watch_wanted(
        &mut self,
        mailboxes: impl IntoIterator<Item = (MailboxId, bool)>,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
    ) {
        for (id, is_news) in mailboxes {
            match (pipeline.is_wanted(id), watching.is_watched(id)) {
                (true, false) => self.to_arm.push_back((id, is_news)),
                (false, true) => {
                    watching.disarm_mailbox(id);
                    pipeline.forget(id);
                }
                _ => {}
            }
        }
    }

    /// Queues mailboxes of which something appeared while the daemon runs.
    fn arm_anew(&mut self, mailboxes: impl IntoIterator<Item = MailboxId>) {
        self.to_arm.extend(mailboxes.into_iter().map(|id| (id, true)));
    }

    /// Does what is due, a bounded part of it.
    pub(super) fn on_time(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = self.sweep_interval.map(|interval| now + interval);
            self.sweep(watching, pipeline, now);
        }
        if !self.reading_runs
            && let Some((at, why)) = self.reading
            && at <= now
        {
            self.reading = None;
            self.reading_runs = true;
            self.jobs.read_sources(Arc::clone(&self.sources), why);
        }
        self.arm_some(watching, pipeline, now);
        self.comparison.look(&mut self.jobs, pipeline);
    }

    fn arm_some(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        if self.to_arm.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (id, appeared) in self.to_arm.drain(..self.to_arm.len().min(ARM_BATCH)) {
            if !pipeline.is_wanted(id) {
                continue;
            }
            let Pipeline { map, records, .. } = &mut *pipeline;
            if let Some(maildir) = map.maildir(id) {
                watching.arm_mailbox(id, maildir, appeared, records, &mut |id, kind| found.push((id, kind)));
            }
        }
        pipeline.note_all(found, now);
        if self.to_arm.is_empty() {
            watching.end_of_round();
        }
        // Two names turned out to lead to one Maildir; when the map is read again they become one mailbox.
        if std::mem::take(&mut watching.map_is_stale) {
            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
        }
    }

    /// Looks at everything again: at the sources of the map, at each mailbox, and at what is watched above them.
    fn sweep(&mut self, watching: &mut Watching, pipeline: &Pipeline, now: Instant) {
        debug!(mailboxes = pipeline.map.len(), "sweep: {} mailboxes are compared", pipeline.map.len());
        self.read_sources(now, Why::Sweep);
        // The poller compares what it polls, on a thread that a file server may hold up.
        let is_watched = |id: &MailboxId| !Part::ALL.into_iter().all(|part| watching.is_polled(*id, part));
        self.comparison.begin(pipeline.map.ids().filter(is_watched));
        watching.drop_unused_parents();
        for path in watching.renew_parents() {
            debug!(directory = %path.display(), "a directory above mailboxes was replaced: `{}`", path.display());
            self.new_folders.push(path);
        }
        self.read_new_folders();
    }

    /// Events were dropped: every mailbox may have changed.
    pub(super) fn overflow(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        let mailboxes = pipeline.map.len();
        warn!(mailboxes, "events were dropped; every one of the {mailboxes} mailboxes is looked at");
        pipeline.release_halves(now);
        self.comparison.overflow(pipeline, now);
        self.sweep(watching, pipeline, now);
    }

    /// Deals with what the last read told beside events of mailboxes.
    pub(super) fn run_errands(
        &mut self,
        errands: Vec<Errand>,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        let mut changed_folders = HashSet::new();
        for errand in errands {
            match errand {
                Errand::Lost(id, part) => {
                    watching.lost(id, part);
                    self.arm_anew([id]);
                }
                Errand::Touched(id, part, arrived) => {
                    let Some(maildir) = pipeline.map.maildir(id) else { continue };
                    let kind = match (part, arrived) {
                        (Part::New, Some(true)) => Kind::NewMail,
                        (Part::New, None) => kind_of_change(part, &maildir.join(part.dir_name())),
                        _ => Kind::Change,
                    };
                    if !watching.is_polled(id, part) {
                        pipeline.touch(id, part);
                    }
                    pipeline.note(id, kind, now);
                }
                Errand::ParentTouched(id) => {
                    if let Some((path, waited, holds_users, has_map_file)) = watching.all_in_parent(id) {
                        self.arm_anew(waited);
                        if holds_users {
                            changed_folders.insert((path.clone(), false));
                            self.new_folders.push(path);
                        }
                        if has_map_file {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::ParentLost(id) => {
                    if let Some((path, waited, has_more)) = watching.parent_lost(id) {
                        self.arm_anew(waited);
                        changed_folders.insert((path, false));
                        if has_more {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::InParent { parent, name, is_new } => {
                    let Some(about) = watching.in_parent(parent, &name) else { continue };
                    self.arm_anew(about.waited);
                    if about.is_map_file {
                        self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                    }
                    if about.is_folder_of_user {
                        changed_folders.insert((about.path.clone(), is_new));
                        self.new_folders.push(about.path);
                    }
                }
            }
        }
        self.comparison.add_below(changed_folders, &self.sources, &pipeline.map);
        self.read_new_folders();
    }

    fn read_new_folders(&mut self) {
        if !self.new_folders_read && !self.new_folders.is_empty() {
            self.new_folders_read = true;
            self.new_folders.sort_unstable();
            self.new_folders.dedup();
            self.jobs.read_below(Arc::clone(&self.sources), std::mem::take(&mut self.new_folders));
        }
    }

    /// See [`Comparison::all_read`].
    pub(super) fn all_read(&mut self, pipeline: &mut Pipeline, now: Instant) {
        let others = self.comparison.all_read(pipeline, now);
        self.arm_anew(others);
    }

    /// See [`Comparison::wants_all_read`].
    pub(super) fn wants_all_read(&self) -> bool {
        self.comparison.wants_all_read()
    }

    /// Takes in what a job found.
    pub(super) fn job_done(
        &mut self,
        done: Done,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        match done {
            Done::Looks(looks) => {
                let others = self.comparison.judge(looks, &self.jobs, watching, pipeline, now);
                self.arm_anew(others);
            }
            Done::Below(listings) => {
                self.new_folders_read = false;
                for listing in listings {
                    self.watch_folders(&listing, watching);
                    self.report(&listing.notices);
                    if self.reading_runs {
                        self.found_meanwhile.extend_from_slice(&listing.mailboxes);
                    }
                    let added = pipeline.map.extend(listing.mailboxes);
                    for id in &added {
                        let user = names(pipeline, *id);
                        info!(user, "new mailbox of {user}");
                    }
                    self.arm_anew(added);
                }
                // Folders in which something appeared between the look and the watch.
                self.read_new_folders();
            }
            Done::Listing { result, why, took } => {
                self.reading_runs = false;
                self.reading_took = took;
                let found_meanwhile = std::mem::take(&mut self.found_meanwhile);
                match result {
                    Ok(listing) => self.apply(listing.with(found_meanwhile), why, watching, pipeline, now),
                    Err(error) => {
                        let hint = error.hint();
                        error!(%error, hint, "the map of mailboxes cannot be read; the old one stays: {error}; hint: {hint}");
                    }
                }
            }
        }
    }

    /// Makes the map what its sources say.
    fn apply(
        &mut self,
        listing: Listing,
        why: Why,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        if let (Some(file), Why::Changed | Why::Sweep) = (&listing.incomplete, why) {
            let hint =
                "end the last line with a newline; or reload with SIGHUP if the file is meant to be so";
            warn!(
                file = %file.display(), hint,
                "the map file `{}` has no end of its last line, as if half written; the old map stays; hint: {hint}", file.display()
            );
            return;
        }
        for source in &self.sources.sources {
            if let Source::MapFile(file) = source {
                watching.watch_map_file(file);
                // A link's target may be written where the link is not.
                if let Ok(target) = file.canonicalize() {
                    watching.watch_map_file(&target);
                }
            }
        }
        self.watch_folders(&listing, watching);
        self.read_new_folders();
        // What is no longer so may be said again when it comes back.
        let still: HashSet<&str> = listing.notices.iter().map(|notice| notice.message.as_str()).collect();
        self.logged.retain(|logged| still.contains(logged.as_str()));
        self.report(&listing.notices);
        let delta = pipeline.map.replace(listing.mailboxes);
        for (id, _) in &delta.removed {
            watching.disarm_mailbox(*id);
            pipeline.forget(*id);
        }
        let changed = !delta.added.is_empty() || !delta.removed.is_empty() || delta.renamed > 0;
        if changed && why != Why::Start {
            let (added, removed, renamed) = (delta.added.len(), delta.removed.len(), delta.renamed);
            let mailboxes = pipeline.map.len();
            info!(
                added,
                removed,
                renamed,
                mailboxes,
                "the map of mailboxes has changed: {added} added, {removed} removed, {renamed} with other names, {mailboxes} in all"
            );
        }
        // What is there at the first start is no news.
        let appeared = why != Why::Start;
        self.to_arm.extend(delta.added.into_iter().map(|id| (id, appeared)));
        // Of two mailboxes that turned out to be one, the one that went may have had the watches.
        if !delta.removed.is_empty() {
            self.arm_anew(watching.in_trouble());
        }
        // A map that takes long to read is not read all the time.
        if let Some((at, _)) = &mut self.reading {
            *at = (*at).max(now + self.reading_took * 4);
        }
    }

    /// Watches the folders in which users and domains can appear.
    fn watch_folders(&mut self, listing: &Listing, watching: &mut Watching) {
        for (folder, seen) in &listing.folders {
            if !watching.watch_folder_of_users(folder, seen.as_ref()) {
                self.new_folders.push(folder.clone());
            }
        }
    }

    /// Logs what the sources report, each thing once.
    fn report(&mut self, notices: &[Notice]) {
        let new: Vec<_> =
            notices.iter().filter(|notice| self.logged.insert(notice.message.clone())).collect();
        for notice in new.iter().take(NOTICES_LOGGED) {
            warn!(source = %notice.source, hint = notice.hint, "{}: {}; hint: {}", notice.source, notice.message, notice.hint);
        }
        if new.len() > NOTICES_LOGGED {
            warn!(
                more = new.len() - NOTICES_LOGGED,
                "there are {} more like this; `pushmaild users` lists them all",
                new.len() - NOTICES_LOGGED
            );
        }
    }
}

fn names(pipeline: &Pipeline, id: MailboxId) -> String {
    pipeline.map.names(id).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
