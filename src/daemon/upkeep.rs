//! Keeps what is watched in step with what is there: the map that changes, mailboxes that come and go, and the comparison that finds
//! what no event told.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    comparison::{self, Comparing},
    jobs::{self, Done, Jobs, Why},
    keeper::Keeper,
    notices::Notices,
    pipeline::Pipeline,
    reading::Reading,
    remapping::Remapping,
    unarmed::Unarmed,
    watching::Watching,
};
use crate::{
    mailbox::{MailboxId, Replacement, listing::Listing, source::Sources},
    maildir::Part,
    planner::{self, Arrival},
    sink::apns::ApnsSink,
};

/// Mailboxes forgotten in one go, before events and timers get their turn: a millisecond or two.
const PIECE: usize = 500;
/// A map file is read this long after the last sign that somebody writes it.
pub(super) const MAP_FILE_QUIET: Duration = Duration::from_millis(300);
/// A storm that drops events again and again is told of so often.
const OVERFLOW_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Upkeep {
    pub(super) sources: Arc<Sources>,
    pub(super) jobs: Jobs,
    sweep_interval: Option<Duration>,
    next_sweep: Option<Instant>,
    reading: Reading,
    pub(super) new_folders: Vec<PathBuf>,
    /// One job for new folders at a time: a disk that does not answer holds up one thread, and the folders wait as a list.
    new_folders_read: bool,
    remapping: Remapping,
    unarmed: Unarmed,
    /// Since when the map is what it was read to be.
    map_since: Option<Instant>,
    /// All mailboxes are being compared.
    comparing: Option<Comparing>,
    notices: Notices,
    /// Why the sources could not be read the last time.
    pub(super) map_trouble: Option<String>,
    /// How often the system dropped events.
    pub(super) overflows: u64,
    /// How often all mailboxes were compared.
    pub(super) rescans: u64,
    /// When it was last said at full length that events were dropped.
    overflow_told: Option<Instant>,
}

impl Upkeep {
    pub(super) fn new(sources: Sources, sweep_interval: Option<Duration>, now: Instant) -> Self {
        Self {
            sources: Arc::new(sources),
            jobs: Jobs::new(),
            sweep_interval,
            next_sweep: sweep_interval.map(|interval| now + interval),
            reading: Reading::new(now),
            new_folders: Vec::new(),
            new_folders_read: false,
            remapping: Remapping::default(),
            unarmed: Unarmed::default(),
            map_since: None,
            comparing: None,
            notices: Notices::default(),
            map_trouble: None,
            overflows: 0,
            rescans: 0,
            overflow_told: None,
        }
    }

    /// Takes over the sources of a new configuration.
    pub(super) fn reload(&mut self, sources: Sources, sweep_interval: Option<Duration>, now: Instant) {
        self.sources = Arc::new(sources);
        self.sweep_interval = sweep_interval;
        self.next_sweep = sweep_interval.map(|interval| now + interval);
        self.reading.want(now, Why::Reload);
    }

    /// Is everything armed that the map had at the start or at the last reload?
    pub(super) fn is_settled(&self) -> bool {
        self.reading.is_settled()
            && self.unarmed.is_empty()
            && !self.jobs.is_arming()
            && !self.remapping.has_work()
    }

    /// Has the map been read at all?
    pub(super) const fn has_map(&self) -> bool {
        self.map_since.is_some()
    }

    /// When the map was last read.
    pub(super) const fn map_since(&self) -> Option<Instant> {
        self.map_since
    }

    pub(super) const fn may_arm(&self) -> bool {
        self.unarmed.may_arm()
    }

    /// The records of the last process are known to the planner, as far as there are any: arming may begin.
    pub(super) fn records_are_read(&mut self, arrival: Arrival) {
        self.unarmed.records_are_read(arrival);
    }

    /// Is there nothing left to look at, to judge or to arm?
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_idle()
            && self.unarmed.is_empty()
            && !self.remapping.has_work()
            && self.new_folders.is_empty()
    }

    pub(super) fn deadline(&self, pipeline: &Pipeline, now: Instant) -> Option<Instant> {
        let reading = self.reading.deadline(&self.sources);
        let to_do = self.wants_arming() || pipeline.planner.wants_look();
        let work = to_do && self.jobs.has_room() || self.remapping.has_work();
        [self.next_sweep, reading, work.then_some(now)].into_iter().flatten().min()
    }

    fn wants_arming(&self) -> bool {
        // One that is gone may still have watches that a new one needs.
        self.unarmed.wants_arming() && !self.remapping.is_forgetting()
    }

    pub(super) fn read_sources(&mut self, at: Instant, why: Why) {
        self.reading.want(at, why);
    }

    /// Arms what is to be watched and is not, and the other way round: somebody has registered a device, or has none any more. For a
    /// device that has registered just now (`is_news`) the mailbox is looked into: mail may have come before the watch.
    pub(super) fn watch_wanted(
        &mut self,
        mailboxes: impl IntoIterator<Item = (MailboxId, bool)>,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        keeper: &mut Keeper,
    ) {
        for (id, is_news) in mailboxes {
            match (pipeline.is_wanted(id), watching.is_watched(id)) {
                (true, false) => self.unarmed.add([id], is_news),
                (false, true) => {
                    watching.disarm_mailbox(id);
                    pipeline.forget(id);
                    pipeline
                        .map
                        .maildir(id)
                        .into_iter()
                        .for_each(|maildir| keeper.forget(maildir.to_path_buf()));
                }
                _ => {}
            }
        }
    }

    /// Queues mailboxes of which something appeared while the daemon runs.
    pub(super) fn arm_anew(&mut self, mailboxes: impl IntoIterator<Item = MailboxId>) {
        self.unarmed.add(mailboxes, true);
    }

    /// Does what is due, a bounded part of it.
    pub(super) fn on_time(
        &mut self,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        keeper: &mut Keeper,
        now: Instant,
    ) {
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = self.sweep_interval.map(|interval| now + interval);
            self.sweep(planner::Why::Sweep, watching, pipeline, now);
        }
        self.reading.start(&self.sources, &mut self.jobs, now);
        self.remap_some(watching, pipeline, keeper);
        if self.wants_arming() {
            self.unarmed.arm_some(&mut self.jobs, watching, pipeline);
        }
        comparison::look(&mut self.jobs, pipeline, watching);
    }

    /// Goes on with what a new map brings with it.
    fn remap_some(&mut self, watching: &mut Watching, pipeline: &mut Pipeline, keeper: &mut Keeper) {
        let was_forgetting = self.remapping.is_forgetting();
        let changed = self.remapping.step(PIECE, watching, pipeline, keeper);
        self.new_folders.extend(changed);
        self.read_new_folders();
        // Of two mailboxes that turned out to be one, the one that went may have had the watches.
        if was_forgetting && !self.remapping.is_forgetting() {
            self.arm_anew(watching.in_trouble());
        }
    }

    /// Takes in what a thread armed.
    fn adopt(
        &mut self,
        mailboxes: Vec<jobs::Armed>,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        self.unarmed.adopt(mailboxes, &self.jobs, watching, pipeline, now);
        // Two names turned out to lead to one Maildir; when the map is read again they become one mailbox.
        if std::mem::take(&mut watching.map_is_stale) {
            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
        }
    }

    /// Looks at everything again: at the sources of the map, at each mailbox, and at what is watched above them.
    fn sweep(&mut self, why: planner::Why, watching: &mut Watching, pipeline: &mut Pipeline, now: Instant) {
        debug!(mailboxes = pipeline.map.len(), "sweep: all mailboxes are compared ({})", pipeline.map.len());
        self.rescans += 1;
        self.read_sources(now, Why::Sweep);
        // The poller compares what it polls, on a thread that a file server may hold up.
        let is_watched = |id: &MailboxId| !Part::ALL.into_iter().all(|part| watching.is_polled(*id, part));
        pipeline.planner.compare(pipeline.map.ids().filter(is_watched), why);
        let before = self.comparing.take();
        self.comparing = Some(Comparing::begin(before, pipeline.map.len(), why, now));
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
        let is_told = self.overflow_told.is_some_and(|told| now.duration_since(told) < OVERFLOW_AGAIN);
        if is_told {
            debug!(mailboxes, "events were dropped again");
        } else {
            self.overflow_told = Some(now);
            warn!(mailboxes, "events were dropped; all mailboxes are looked at ({mailboxes})");
        }
        self.overflows += 1;
        pipeline.release_halves(now);
        pipeline.planner.overflow();
        self.sweep(planner::Why::Overflow, watching, pipeline, now);
    }

    pub(super) fn read_new_folders(&mut self) {
        // A name may be another one's from now on, which a look at the new folder alone does not tell.
        if self.sources.has_links() && !self.new_folders.is_empty() {
            self.read_sources(Instant::now() + MAP_FILE_QUIET, Why::Changed);
        }
        if !self.new_folders_read && !self.new_folders.is_empty() {
            self.new_folders_read = true;
            self.new_folders.sort_unstable();
            self.new_folders.dedup();
            self.jobs.read_below(Arc::clone(&self.sources), std::mem::take(&mut self.new_folders));
        }
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
            Done::Looks { looks, .. } => {
                let to_arm = comparison::judge(looks, pipeline, watching, now);
                self.arm_anew(to_arm);
                if pipeline.planner.is_compared()
                    && !self.jobs.is_looking()
                    && let Some(comparing) = self.comparing.take()
                {
                    comparing.tell_end();
                }
            }
            Done::Armed { mailboxes, .. } => self.adopt(mailboxes, watching, pipeline, now),
            Done::Below(listings) => {
                self.new_folders_read = false;
                for mut listing in listings {
                    self.remapping.watch_folders(std::mem::take(&mut listing.folders));
                    self.notices.report(&listing.notices);
                    self.add(listing, pipeline);
                }
                self.read_new_folders();
            }
            Done::Listing { result, dovecot, why, took } => {
                self.reading.listed(*dovecot, took, &self.sources, now);
                match result {
                    Ok(listing) => self.apply(*listing, why, watching, pipeline),
                    Err(error) => {
                        self.reading.ended();
                        self.remapping.give_up();
                        if self.is_told(error.to_string(), why) {
                            debug!(%error, "the map of mailboxes still cannot be read: {error}");
                            return;
                        }
                        let hint = error.hint();
                        error!(%error, hint, "the map of mailboxes cannot be read; the old one stays: {error}; hint: {hint}");
                    }
                }
            }
            Done::Asked(dovecot) => self.reading.asked(*dovecot, &self.sources, now),
            Done::Compared { replacement, why } => {
                self.reading.ended();
                self.map_since = Some(Instant::now());
                if self.map_trouble.take().is_some() {
                    info!("the map of mailboxes can be read again");
                }
                let found_late = self.remapping.compared();
                if let Some(replacement) = replacement {
                    self.replace(*replacement, why, pipeline);
                }
                for listing in found_late {
                    self.add(listing, pipeline);
                }
                self.reading.rest(now);
            }
        }
    }

    /// Notes why the map cannot be read. True if that has been said, and nobody has changed anything since: each sweep would say it again.
    fn is_told(&mut self, trouble: String, why: Why) -> bool {
        let is_known = self.map_trouble.as_ref() == Some(&trouble);
        self.map_trouble = Some(trouble);
        is_known && why == Why::Sweep
    }

    /// Adds what was found in a new folder.
    fn add(&mut self, found: Listing, pipeline: &mut Pipeline) {
        let added = self.remapping.add(found, self.reading.runs(), pipeline);
        for id in &added {
            let user = pipeline.map.names(*id).collect::<Vec<_>>().join(", ");
            info!(user, "new mailbox of {user}");
        }
        self.arm_anew(added);
    }

    /// Begins to make the map what its sources say.
    fn apply(&mut self, listing: Listing, why: Why, watching: &mut Watching, pipeline: &mut Pipeline) {
        if let (Some(file), Why::Changed | Why::Sweep) = (&listing.incomplete, why) {
            let file = file.display();
            if !self.is_told(format!("`{file}` has no end of its last line"), why) {
                let hint =
                    "end the last line with a newline; or reload with SIGHUP if the file is meant to be so";
                warn!(
                    %file, hint,
                    "the map file `{file}` has no end of its last line, as if half written; the old map stays; hint: {hint}"
                );
            }
            self.reading.ended();
            self.remapping.give_up();
            return;
        }
        if why == Why::Start {
            choose_backend(&listing, watching, pipeline);
        }
        for file in self.sources.files() {
            watching.watch_map_file(file);
            // A link's target may be written where the link is not.
            if let Ok(target) = file.canonicalize() {
                watching.watch_map_file(&target);
            }
        }
        self.remapping.watch_folders(listing.folders);
        self.notices.forget_all_but(&listing.notices);
        self.notices.report(&listing.notices);
        self.remapping.compare(listing.mailboxes, why, &mut self.jobs, &pipeline.map);
    }

    /// Makes the map what its sources say.
    fn replace(&mut self, replacement: Replacement, why: Why, pipeline: &mut Pipeline) {
        let Replacement { map, added: new, removed: gone, renamed } = replacement;
        let (added, removed, mailboxes) = (new.len(), gone.len(), map.len());
        self.remapping.replace(map, gone, &self.jobs, pipeline);
        if why != Why::Start {
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
        self.unarmed.add(new, appeared);
    }
}

/// How many watches there will be is known with the first listing, before anything is armed.
fn choose_backend(listing: &Listing, watching: &mut Watching, pipeline: &mut Pipeline) {
    let mailboxes = &listing.mailboxes;
    // Those who register later are watched, too; as long as the registry has not been read, all may be.
    let only_registered = pipeline.only_registered;
    let registered = pipeline.sinks.apns.as_mut().filter(|_| only_registered).map(ApnsSink::registered);
    let wanted = match registered.filter(|registered| registered.is_known()) {
        Some(registered) => {
            let has_device = |id: &MailboxId| mailboxes.names(*id).any(|name| registered.contains(name));
            mailboxes.ids().filter(has_device).count()
        }
        None => mailboxes.len(),
    };
    let needed = wanted * Part::ALL.len() + listing.folders.len();
    watching.choose(needed, (mailboxes.len(), mailboxes.iter().map(|(_, maildir)| maildir)));
}
