//! Keeps what is watched in step with what is there: the map that changes, mailboxes that come and go, and the comparison that finds
//! what no event told.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    jobs::{CHUNK, Done, Jobs, Look, Why},
    pipeline::Pipeline,
    records::Verdict,
    watching::Watching,
};
use crate::{
    classifier::Kind,
    mailbox::{
        MailboxId,
        source::{Listing, Notice, Source, Sources},
    },
    maildir::Part,
    stamp::{Stamp, holds_message},
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
    /// Something happened to an entry of a parent.
    InParent(ParentId, Vec<u8>),
}

/// The comparison of mailboxes with their last looks.
#[derive(Debug, Default)]
struct Comparison {
    /// Still to be looked at.
    left: Vec<MailboxId>,
    /// Have events been dropped, so that looks with an ambiguous answer count as changes?
    after_overflow: bool,
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
    to_arm: VecDeque<(MailboxId, bool)>,
    comparison: Comparison,
    /// Mailboxes that a look found changed without an event, to be judged after the next read.
    suspects: Vec<(MailboxId, Part)>,
    /// Mailboxes whose events meant nothing and whose stamps were brought up to date after that, on the assumption that no
    /// event was dropped: the next complete read without an overflow shows that.
    unconfirmed: Vec<MailboxId>,
    started: bool,
    last_notices: Vec<Notice>,
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
            to_arm: VecDeque::new(),
            comparison: Comparison::default(),
            suspects: Vec::new(),
            unconfirmed: Vec::new(),
            started: false,
            last_notices: Vec::new(),
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

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let reading = self.reading.map(|(at, _)| at).filter(|_| !self.reading_runs);
        let work = !self.to_arm.is_empty() || (!self.comparison.left.is_empty() && self.jobs.can_look());
        [self.next_sweep, reading, work.then_some(now)].into_iter().flatten().min()
    }

    fn read_sources(&mut self, at: Instant, why: Why) {
        self.reading = Some(match self.reading {
            Some((earlier, reason)) if reason > why => (earlier, reason),
            _ => (at, why),
        });
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
        while self.jobs.can_look() && !self.comparison.left.is_empty() {
            let from = self.comparison.left.len().saturating_sub(CHUNK);
            let chunk = self.comparison.left.split_off(from).into_iter();
            let map = &pipeline.map;
            self.jobs.look(chunk.filter_map(|id| Some((id, map.maildir(id)?.to_owned()))).collect());
        }
    }

    fn arm_some(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        if self.to_arm.is_empty() {
            return;
        }
        let mut found = Vec::new();
        let Pipeline { map, records, .. } = pipeline;
        for (id, appeared) in self.to_arm.drain(..self.to_arm.len().min(ARM_BATCH)) {
            if let Some(maildir) = map.maildir(id) {
                watching.arm_mailbox(id, maildir, appeared, records, &mut |id, kind| found.push((id, kind)));
            }
        }
        pipeline.note_all(found, now);
        if self.to_arm.is_empty() {
            watching.end_of_round();
            self.started = true;
        }
        // Two names turned out to lead to one Maildir; when the map is read again they become one mailbox.
        if std::mem::take(&mut watching.map_is_stale) {
            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
        }
    }

    /// Looks at everything again: at the sources of the map, at each mailbox, and at what is watched above them.
    fn sweep(&mut self, watching: &mut Watching, pipeline: &Pipeline, now: Instant) {
        debug!(mailboxes = pipeline.map.len(), "sweep");
        self.read_sources(now, Why::Sweep);
        self.comparison.left = pipeline.map.ids().collect();
        watching.drop_unused_parents();
        for (id, path) in watching.parent_paths() {
            if !watching.renew_parent(id) {
                debug!(directory = %path.display(), "a directory above mailboxes was replaced");
                self.new_folders.push(path);
            }
        }
        self.read_new_folders();
    }

    /// Events were dropped: every mailbox may have changed.
    pub(super) fn overflow(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        warn!(mailboxes = pipeline.map.len(), "events were dropped; every mailbox is looked at");
        pipeline.release_halves(now);
        // A change of these may have been dropped after the event that meant nothing, and their stamps hide it.
        let mut unsure = std::mem::take(&mut self.unconfirmed);
        unsure.extend(pipeline.take_seen_for_nothing());
        unsure.sort_unstable();
        unsure.dedup();
        for id in unsure {
            let kind = content(pipeline.map.maildir(id));
            pipeline.note(id, kind, now);
        }
        self.comparison.after_overflow = true;
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
        for errand in errands {
            match errand {
                Errand::Lost(id, part) => {
                    watching.lost(id, part);
                    self.to_arm.push_back((id, true));
                }
                Errand::Touched(id, part, arrived) => {
                    let Some(maildir) = pipeline.map.maildir(id) else { continue };
                    let kind = match (part, arrived) {
                        (Part::New, Some(true)) => Kind::NewMail,
                        (Part::New, None) => kind_of_change(part, &maildir.join(part.dir_name())),
                        _ => Kind::Change,
                    };
                    pipeline.records.mark_dirty(id, part);
                    pipeline.note(id, kind, now);
                }
                Errand::ParentTouched(id) => {
                    if let Some((path, waited, holds_users, has_map_file)) = watching.all_in_parent(id) {
                        self.to_arm.extend(waited.into_iter().map(|id| (id, true)));
                        if holds_users {
                            self.compare_below(&path, pipeline);
                            self.new_folders.push(path);
                        }
                        if has_map_file {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::ParentLost(id) => {
                    if let Some((path, waited, has_more)) = watching.parent_lost(id) {
                        self.to_arm.extend(waited.into_iter().map(|id| (id, true)));
                        self.compare_below(&path, pipeline);
                        if has_more {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::InParent(id, name) => {
                    let Some(about) = watching.in_parent(id, &name) else { continue };
                    self.to_arm.extend(about.waited.into_iter().map(|id| (id, true)));
                    if about.is_map_file {
                        self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                    }
                    if about.is_folder_of_user {
                        self.compare_below(&about.path, pipeline);
                        self.new_folders.push(about.path);
                    }
                }
            }
        }
        self.read_new_folders();
    }

    fn read_new_folders(&mut self) {
        if !self.new_folders.is_empty() {
            self.new_folders.sort_unstable();
            self.new_folders.dedup();
            self.jobs.read_below(Arc::clone(&self.sources), std::mem::take(&mut self.new_folders));
        }
    }

    /// A folder was moved, removed or put in the place of another one.
    fn compare_below(&mut self, folder: &Path, pipeline: &Pipeline) {
        let below =
            |id: &MailboxId| pipeline.map.maildir(*id).is_some_and(|maildir| maildir.starts_with(folder));
        // Mostly it is the folder of one user, whose Maildir is known.
        let before = self.comparison.left.len();
        self.comparison.left.extend(pipeline.map.ids().filter(below));
        debug!(folder = %folder.display(), mailboxes = self.comparison.left.len() - before, "a folder above mailboxes changed");
    }

    /// Everything that happened up to now has been read. What a look says now is not explained by events that are on their way.
    pub(super) fn all_read(&mut self, pipeline: &mut Pipeline, now: Instant) {
        self.unconfirmed.clear();
        for id in pipeline.take_seen_for_nothing() {
            if let Some(maildir) = pipeline.map.maildir(id) {
                pipeline.records.look_again(id, maildir);
                self.unconfirmed.push(id);
            }
        }
        for (id, part) in std::mem::take(&mut self.suspects) {
            let Some(maildir) = pipeline.map.maildir(id) else { continue };
            let directory = maildir.join(part.dir_name());
            let look = Stamp::look(&directory);
            match (pipeline.records.compare(id, part, &look), look) {
                (Verdict::Changed { known: false }, Ok(now_there)) => {
                    pipeline.records.set(id, part, Some(now_there));
                    let kind = kind_of_change(part, &directory);
                    debug!(directory = %directory.display(), kind = kind.as_str(), "a look found what no event told");
                    pipeline.note(id, kind, now);
                }
                (Verdict::Other, _) => self.to_arm.push_back((id, true)),
                _ => {}
            }
        }
    }

    /// Is there something that [`Self::all_read`] is waited for?
    pub(super) fn wants_all_read(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Takes in what a job found. Reports whether a reload has come to its end, well or not.
    pub(super) fn job_done(
        &mut self,
        done: Done,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        match done {
            Done::Looks(looks) => {
                let after_overflow = self.comparison.after_overflow;
                for look in looks {
                    self.judge(look, after_overflow, watching, pipeline, now);
                }
                if self.comparison.left.is_empty() && !self.jobs.is_looking() {
                    self.comparison.after_overflow = false;
                }
            }
            Done::Below(listings) => {
                for listing in listings {
                    self.watch_folders(&listing, watching);
                    self.report(&listing.notices);
                    let added = pipeline.map.extend(listing.mailboxes);
                    for id in &added {
                        info!(user = %names(pipeline, *id), "new mailbox");
                    }
                    self.to_arm.extend(added.into_iter().map(|id| (id, true)));
                }
            }
            Done::Listing { result, why, took } => {
                self.reading_runs = false;
                self.reading_took = took;
                match result {
                    Ok(listing) => self.apply(listing, why, watching, pipeline, now),
                    Err(error) => {
                        error!(%error, hint = error.hint(), "the map of mailboxes cannot be read; the old one stays");
                    }
                }
            }
        }
    }

    /// Compares one mailbox with its last look.
    fn judge(
        &mut self,
        look: Look,
        after_overflow: bool,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        let Look { id, maildir, parts } = look;
        if pipeline.map.maildir(id) != Some(&*maildir) {
            return;
        }
        for (part, look) in Part::ALL.into_iter().zip(parts) {
            if watching.is_polled(id, part) {
                continue;
            }
            match (pipeline.records.compare(id, part, &look), look) {
                (Verdict::Other, _) => {
                    self.to_arm.push_back((id, true));
                    break;
                }
                // After an overflow an event that is pending may not be the one that matters, and the doubt is the user's.
                (Verdict::Changed { .. } | Verdict::Racy { .. }, Ok(stamp)) if after_overflow => {
                    let directory = maildir.join(part.dir_name());
                    pipeline.records.set(id, part, Some(stamp));
                    pipeline.note(id, kind_of_change(part, &directory), now);
                }
                // An event for it may be on its way.
                (Verdict::Changed { known: false }, _) => self.suspects.push((id, part)),
                (Verdict::Racy { known: false }, Ok(stamp)) => pipeline.records.set(id, part, Some(stamp)),
                _ => {}
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
            warn!(file = %file.display(), hint, "the map file has no end of its last line, as if half written; the old map stays");
            return;
        }
        for source in &self.sources.sources {
            if let Source::MapFile(file) = source {
                watching.watch_map_file(file);
            }
        }
        self.watch_folders(&listing, watching);
        self.read_new_folders();
        self.report(&listing.notices);
        let delta = pipeline.map.replace(listing.mailboxes);
        for (id, _) in &delta.removed {
            watching.disarm_mailbox(*id);
            pipeline.forget(*id);
        }
        let changed = !delta.added.is_empty() || !delta.removed.is_empty() || delta.renamed > 0;
        if changed && why != Why::Start {
            let (added, removed, renamed) = (delta.added.len(), delta.removed.len(), delta.renamed);
            info!(
                added,
                removed,
                renamed,
                mailboxes = pipeline.map.len(),
                "the map of mailboxes has changed"
            );
        }
        // What is there at the first start is no news.
        let appeared = why != Why::Start;
        self.to_arm.extend(delta.added.into_iter().map(|id| (id, appeared)));
        if why == Why::Start && self.to_arm.is_empty() {
            self.started = true;
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
        let new: Vec<_> = notices.iter().filter(|notice| !self.last_notices.contains(notice)).collect();
        for notice in new.iter().take(NOTICES_LOGGED) {
            warn!(source = %notice.source, hint = notice.hint, "{}", notice.message);
        }
        if new.len() > NOTICES_LOGGED {
            warn!(
                more = new.len() - NOTICES_LOGGED,
                "there is more like this; `pushmaild users` lists it all"
            );
        }
        self.last_notices = notices.to_vec();
    }
}

fn names(pipeline: &Pipeline, id: MailboxId) -> String {
    pipeline.map.names(id).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a change of a directory means when only that is known.
fn kind_of_change(part: Part, directory: &Path) -> Kind {
    if part == Part::New && holds_message(directory).unwrap_or(false) { Kind::NewMail } else { Kind::Change }
}

/// What to push when anything may have happened to a mailbox.
fn content(maildir: Option<&Path>) -> Kind {
    maildir.map_or(Kind::Change, |maildir| kind_of_change(Part::New, &maildir.join(Part::New.dir_name())))
}
