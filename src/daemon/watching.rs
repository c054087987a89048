//! What is armed, against what should be: arms mailboxes, and waits for those that are not there yet.
//!
//! The order is always: arm, then look. What came before the watch is found by the look, and what comes after it by the watch.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    jobs::{self, see},
    parents::Parents,
};
use crate::{
    config::Backend,
    mailbox::MailboxId,
    maildir::Part,
    path_access,
    planner::{Arrival, Planner, Seen, Unseen},
    stamp::Stamp,
    watcher::{
        self, Arm, ArmError, Handle, ParentId, RawWatch, Read, Role, Target, WatchEvent, Watcher,
        choice::{self, Choice},
        limits,
        poll::Poller,
    },
};

/// How many single troubles are logged in one go; the sum is always.
const TROUBLES_LOGGED: usize = 10;

/// A watch, and which of the two backends has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    handle: Handle,
    polled: bool,
}

/// A mailbox.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    parts: [Option<Armed>; 2],
    waits: bool,
    in_trouble: bool,
}

/// What a thread found of one directory that it was to arm.
pub(super) enum ArmedPart {
    /// It is watched already, and is still what was watched.
    Same(Result<Seen, Unseen>),
    /// It is watched already, and something else is there now.
    Other,
    /// It is armed, and was looked at after that.
    New { watch: RawWatch, polled: bool, seen: Result<Seen, Unseen> },
    /// It could not be armed.
    Failed(ArmError),
}

/// What threads arm with.
#[derive(Clone)]
pub(super) struct Armers {
    primary: Arc<dyn Arm>,
    /// For what the primary backend has no room for.
    fallback: Arc<dyn Arm>,
    primary_polls: bool,
}

impl Armers {
    /// Arms a directory, unless it is what is watched already.
    pub(super) fn arm(&self, part: Part, directory: &Path, known: Option<Stamp>, armed: bool) -> ArmedPart {
        if armed {
            let seen = see(part, directory, known);
            let is_same = match (&seen, known) {
                (Ok(seen), Some(known)) => seen.stamp.same_directory(&known),
                (Err(unseen), _) => *unseen == Unseen::Unknown,
                (Ok(_), None) => false,
            };
            return if is_same { ArmedPart::Same(seen) } else { ArmedPart::Other };
        }
        let role = Role::Part(part);
        let (watch, polled) = match self.primary.arm(role, directory) {
            Ok(watch) => (watch, self.primary_polls),
            Err(ArmError::Limit) => match self.fallback.arm(role, directory) {
                Ok(watch) => (watch, true),
                Err(error) => return ArmedPart::Failed(error),
            },
            Err(error) => return ArmedPart::Failed(error),
        };
        let mut seen = see(part, directory, known);
        // The poller tells of what comes after its own look, which was before this one.
        if let (Ok(seen), Some(first)) = (&mut seen, watch.first_look()) {
            seen.stamp = first;
        }
        ArmedPart::New { watch, polled, seen }
    }
}

/// How much is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) watches: usize,
    pub(super) polled: usize,
}

pub(super) struct Watching {
    pub(super) primary: Box<dyn Watcher>,
    /// What the primary backend is. At the start `auto` becomes one of the others.
    pub(super) backend: Backend,
    configured: Backend,
    poll_interval: Duration,
    /// For what the primary backend has no room for.
    pub(super) fallback: Poller,
    primary_polls: bool,
    slots: Vec<Slot>,
    parents: Parents,
    troubles: usize,
    limit_reached: bool,
    limit_logged: bool,
    /// Mailboxes that are not there yet.
    waiting: usize,
    /// What the last line about them said.
    waiting_logged: usize,
    /// Did a directory turn out to be watched for another mailbox? Then the map has to be read again.
    pub(super) map_is_stale: bool,
}

impl Watching {
    pub(super) fn new(backend: Backend, poll_interval: Duration) -> io::Result<Self> {
        Ok(Self {
            primary: watcher::open(backend, poll_interval)?,
            backend: choice::first(backend),
            configured: backend,
            poll_interval,
            fallback: Poller::new(poll_interval)?,
            primary_polls: backend == Backend::Poll,
            slots: Vec::new(),
            parents: Parents::default(),
            troubles: 0,
            limit_reached: false,
            limit_logged: false,
            waiting: 0,
            waiting_logged: 0,
            map_is_stale: false,
        })
    }

    /// Takes the backend that `auto` stands for with so many mailboxes. Nothing is armed yet.
    pub(super) fn choose<'a>(&mut self, needed: usize, maildirs: (usize, impl Iterator<Item = &'a Path>)) {
        if self.configured != Backend::Auto {
            return;
        }
        let Choice { backend, why } = choice::choose(self.configured, needed, maildirs);
        debug!(backend = backend.as_str(), needed, "the backend is {}: {why}", backend.as_str());
        if backend == self.backend {
            return;
        }
        match watcher::open(backend, self.poll_interval) {
            Ok(primary) => {
                self.primary = primary;
                self.backend = backend;
                info!(backend = backend.as_str(), needed, "{needed} watches are needed: {why}");
            }
            Err(error) => {
                warn!(%error, "{} cannot be used after all: {error}", backend.as_str());
            }
        }
    }

    /// Reads one of the backends. See [`Watcher::read`].
    pub(super) fn read(&mut self, fallback: bool, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read> {
        if fallback { self.fallback.read(each) } else { self.primary.read(each) }
    }

    /// What threads arm with.
    pub(super) fn armers(&self) -> Armers {
        Armers {
            primary: self.primary.armer(),
            fallback: self.fallback.armer(),
            primary_polls: self.primary_polls,
        }
    }

    /// Is each part watched?
    pub(super) fn armed_parts(&self, id: MailboxId) -> [bool; 2] {
        self.slots.get(id.index()).map_or([false; 2], |slot| slot.parts.map(|armed| armed.is_some()))
    }

    /// Takes in what a thread armed of a mailbox, and waits for the rest. True if it has to be armed once more, for something else is
    /// there now.
    pub(super) fn adopt(
        &mut self,
        jobs::Armed { id, maildir, parts, .. }: jobs::Armed,
        arrival: Arrival,
        planner: &mut Planner,
        now: Instant,
    ) -> bool {
        if self.slots.len() <= id.index() {
            self.slots.resize(id.index() + 1, Slot::default());
        }
        let was_in_trouble = std::mem::take(&mut self.slots[id.index()].in_trouble);
        self.set_waits(id, false);
        let mut again = false;
        for (part, armed) in Part::ALL.into_iter().zip(parts) {
            let directory = || maildir.join(part.dir_name());
            match armed {
                ArmedPart::Same(seen) => {
                    if seen.is_ok_and(|seen| planner.known(id)[part as usize] != Some(seen.stamp)) {
                        planner.doubt(id, now);
                    }
                }
                ArmedPart::Other => {
                    self.lost(id, part);
                    again = true;
                }
                ArmedPart::New { watch, polled, seen } => match self.adopt_part(id, part, watch, polled) {
                    Err(error) => self.trouble(id, &directory(), &error, was_in_trouble),
                    Ok(()) => match seen {
                        Ok(seen) => planner.armed((id, part), seen, arrival, now),
                        Err(Unseen::Missing) => again = true,
                        Err(Unseen::Unknown) => {}
                    },
                },
                ArmedPart::Failed(ArmError::Missing) => again |= !self.await_directory(id, &directory()),
                ArmedPart::Failed(error) => {
                    self.limit_reached |= matches!(error, ArmError::Limit);
                    self.trouble(id, &directory(), &error, was_in_trouble);
                }
            }
        }
        if self.armed_parts(id).contains(&true) {
            planner.is_armed(id);
        }
        again
    }

    /// A thread armed something that is not wanted any more.
    pub(super) fn give_up(&mut self, parts: [ArmedPart; 2]) {
        for part in parts {
            if let ArmedPart::New { watch, polled, .. } = part {
                let watcher: &mut dyn Watcher =
                    if polled && !self.primary_polls { &mut self.fallback } else { &mut *self.primary };
                watcher.give_up(watch);
            }
        }
    }

    fn adopt_part(
        &mut self,
        id: MailboxId,
        part: Part,
        watch: RawWatch,
        polled: bool,
    ) -> Result<(), ArmError> {
        let target = Target::Part(id, part);
        let is_fallback = polled && !self.primary_polls;
        self.limit_reached |= is_fallback;
        let handle = if is_fallback {
            self.fallback.adopt(target, watch)?
        } else {
            self.primary.adopt(target, watch)?
        };
        let armed = Armed { handle, polled };
        // Armed twice, it may have been another directory the first time.
        if let Some(old) = self.slots[id.index()].parts[part as usize].replace(armed)
            && old != armed
        {
            self.disarm(old);
        }
        Ok(())
    }

    fn arm(&mut self, target: Target, directory: &Path) -> Result<Armed, ArmError> {
        match self.primary.arm(target, directory) {
            Ok(handle) => Ok(Armed { handle, polled: self.primary_polls }),
            Err(ArmError::Limit) => {
                self.limit_reached = true;
                let handle = self.fallback.arm(target, directory)?;
                Ok(Armed { handle, polled: true })
            }
            Err(error) => Err(error),
        }
    }

    fn disarm(&mut self, armed: Armed) {
        if armed.polled && !self.primary_polls {
            self.fallback.disarm(armed.handle);
        } else {
            self.primary.disarm(armed.handle);
        }
    }

    /// Watches the nearest directory that exists for the next one to appear. False if the directory has appeared meanwhile.
    fn await_directory(&mut self, id: MailboxId, directory: &Path) -> bool {
        for _ in 0..4 {
            let below_and_above = directory.ancestors().zip(directory.ancestors().skip(1));
            let Some((missing, parent)) = below_and_above.into_iter().find(|(_, above)| above.is_dir())
            else {
                break;
            };
            let Some(name) = missing.file_name() else { break };
            match self.watch_parent(parent) {
                Ok(parent) => self.parents.expect(parent, name, id),
                Err(error) => {
                    debug!(
                        directory = %parent.display(), %error,
                        "cannot wait for a Maildir in `{}`: {error}; the sweep will find it", parent.display()
                    );
                }
            }
            self.set_waits(id, true);
            if directory.symlink_metadata().is_ok() {
                return false;
            }
            // It may have been made just before the watch; then the next one is waited for.
            if missing.symlink_metadata().is_err() {
                break;
            }
        }
        true
    }

    fn set_waits(&mut self, id: MailboxId, waits: bool) {
        let before = std::mem::replace(&mut self.slots[id.index()].waits, waits);
        self.waiting = self.waiting + usize::from(waits) - usize::from(before);
    }

    fn watch_parent(&mut self, path: &Path) -> Result<ParentId, ArmError> {
        let id = self.parents.id_of(path);
        if self.parents.get(id).is_some_and(|parent| parent.armed.is_some()) {
            return Ok(id);
        }
        match self.arm(Target::Parent(id), path) {
            Ok(armed) => {
                if let Some(parent) = self.parents.get_mut(id) {
                    parent.armed = Some(armed);
                }
                Ok(id)
            }
            // The same directory by another path: whoever has the watch gets the events of both.
            Err(ArmError::Shared(Target::Parent(other))) => {
                self.parents.remove(id);
                Ok(other)
            }
            Err(error) => {
                self.parents.remove(id);
                Err(error)
            }
        }
    }

    /// Watches a directory whose folders are those of users or domains. False if it has changed since `seen`, or may have.
    pub(super) fn watch_folder_of_users(&mut self, path: &Path, seen: Option<&Stamp>) -> bool {
        let id = self.parents.id_of(path);
        if self.parents.get(id).is_some_and(|parent| parent.holds_users && parent.armed.is_some()) {
            return true;
        }
        // The watch of the same directory under another path was there before the look.
        let mut is_shared = false;
        match self.watch_parent(path) {
            Ok(watched) => {
                is_shared = watched != id;
                if let Some(parent) = self.parents.get_mut(watched) {
                    parent.holds_users = true;
                }
            }
            Err(ArmError::Missing) => {}
            Err(error) => {
                warn!(
                    directory = %path.display(), %error,
                    "cannot watch `{}`: {error}; new users in it are found by the sweep only", path.display()
                );
                return true;
            }
        }
        match (Stamp::look(path), seen) {
            (Ok(now), Some(seen)) => now == *seen && (is_shared || !seen.is_racy()),
            (Ok(_), None) => is_shared,
            (Err(_), _) => false,
        }
    }

    /// Watches the directory of a map file.
    pub(super) fn watch_map_file(&mut self, file: &Path) {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return };
        match self.watch_parent(folder) {
            Ok(id) => {
                if let Some(parent) = self.parents.get_mut(id)
                    && !parent.map_files.iter().any(|known| known == name)
                {
                    parent.map_files.push(name.to_owned());
                }
            }
            Err(error) => {
                warn!(
                    file = %file.display(), %error,
                    "cannot watch for changes of the map file `{}`: {error}; the sweep will find them", file.display()
                );
            }
        }
    }

    /// Ends the watches of a mailbox.
    pub(super) fn disarm_mailbox(&mut self, id: MailboxId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        self.waiting -= usize::from(slot.waits);
        for armed in std::mem::take(slot).parts.into_iter().flatten() {
            self.disarm(armed);
        }
    }

    /// A directory's watch is worth nothing any more.
    pub(super) fn lost(&mut self, id: MailboxId, part: Part) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        if let Some(armed) = slot.parts[part as usize].take() {
            self.disarm(armed);
        }
    }

    /// The same for a parent. Returns its path, the mailboxes that waited in it, and whether it had users or map files.
    pub(super) fn parent_lost(&mut self, id: ParentId) -> Option<(PathBuf, Vec<MailboxId>, bool)> {
        let waiting = self.parents.all_awaiting(id);
        let parent = self.parents.remove(id)?;
        if let Some(armed) = parent.armed {
            self.disarm(armed);
        }
        Some((parent.path, waiting, parent.holds_users || !parent.map_files.is_empty()))
    }

    /// What a change of a parent may be about when nobody knows of which entry: its path, the mailboxes that waited, whether it holds
    /// users, and whether it holds a map file.
    pub(super) fn all_in_parent(&mut self, id: ParentId) -> Option<(PathBuf, Vec<MailboxId>, bool, bool)> {
        let waited = self.parents.all_awaiting(id);
        let parent = self.parents.get(id)?;
        Some((parent.path.clone(), waited, parent.holds_users, !parent.map_files.is_empty()))
    }

    /// What something that happened to `name` in a parent is about.
    pub(super) fn in_parent(&mut self, id: ParentId, name: &[u8]) -> Option<InParent> {
        let name = OsStr::from_bytes(name);
        let waited = self.parents.appeared(id, name);
        let parent = self.parents.get(id)?;
        Some(InParent {
            waited,
            path: parent.path.join(name),
            is_folder_of_user: parent.holds_users,
            is_map_file: parent.map_files.iter().any(|file| file == name),
        })
    }

    /// The mailboxes of which something could not be watched.
    pub(super) fn in_trouble(&self) -> impl Iterator<Item = MailboxId> {
        (0u32..).zip(&self.slots).filter(|(_, slot)| slot.in_trouble).map(|(number, _)| MailboxId(number))
    }

    /// Is anything done about the mailbox: watched, waited for, or complained about?
    pub(super) fn is_watched(&self, id: MailboxId) -> bool {
        let slot = self.slots.get(id.index());
        slot.is_some_and(|slot| slot.waits || slot.in_trouble || slot.parts.iter().any(Option::is_some))
    }

    /// Do events tell of everything that happens to the mailbox?
    pub(super) fn has_events(&self, id: MailboxId) -> bool {
        let is_told = |armed: &Option<Armed>| armed.is_some_and(|armed| !armed.polled && !self.primary_polls);
        self.slots.get(id.index()).is_some_and(|slot| slot.parts.iter().all(is_told))
    }

    /// Does the poller look after this directory? It does its own comparing.
    pub(super) fn is_polled(&self, id: MailboxId, part: Part) -> bool {
        let slot = self.slots.get(id.index());
        slot.and_then(|slot| slot.parts[part as usize]).is_some_and(|armed| armed.polled)
    }

    /// Drops watches of parents in which nobody waits for anything any more.
    pub(super) fn drop_unused_parents(&mut self) {
        let slots = &self.slots;
        for id in self.parents.unused(|mailbox| slots.get(mailbox.index()).is_some_and(|slot| slot.waits)) {
            if let Some(armed) = self.parents.remove(id).and_then(|parent| parent.armed) {
                self.disarm(armed);
            }
        }
    }

    /// Sees to it that each parent's watch is on what is at its path now. Returns the paths where that is another directory
    /// than before.
    pub(super) fn renew_parents(&mut self) -> Vec<PathBuf> {
        let ids: Vec<_> = self.parents.ids().collect();
        ids.into_iter().filter_map(|id| self.renew_parent(id)).collect()
    }

    fn renew_parent(&mut self, id: ParentId) -> Option<PathBuf> {
        let parent = self.parents.get(id)?;
        let (path, old) = (parent.path.clone(), parent.armed);
        // Arming again what is armed already gives the same handle.
        let new = self.arm(Target::Parent(id), &path).ok();
        if new == old {
            return None;
        }
        if let Some(old) = old {
            self.disarm(old);
        }
        self.parents.get_mut(id)?.armed = new;
        Some(path)
    }

    fn trouble(&mut self, id: MailboxId, directory: &Path, error: &ArmError, was_in_trouble: bool) {
        self.slots[id.index()].in_trouble = true;
        if let ArmError::Shared(_) = error {
            self.map_is_stale = true;
            return;
        }
        if was_in_trouble {
            return;
        }
        self.troubles += 1;
        if self.troubles <= TROUBLES_LOGGED {
            let hint = match error {
                ArmError::Io(error) => path_access::hint(directory, error),
                ArmError::Link => "make it a directory of the Maildir".to_owned(),
                _ => "the next sweep tries again".to_owned(),
            };
            warn!(
                directory = %directory.display(), %error, hint,
                "a mailbox cannot be watched: `{}`: {error}; hint: {hint}", directory.display()
            );
        }
    }

    /// A round of arming is over: logs what was too much to log one by one.
    pub(super) fn end_of_round(&mut self) {
        let troubles = std::mem::take(&mut self.troubles);
        if troubles > TROUBLES_LOGGED {
            warn!(
                mailboxes = troubles,
                "{troubles} mailboxes cannot be watched; the first ones are logged above"
            );
        }
        // Said once: from then on every new mailbox meets the limit.
        if self.limit_reached && !std::mem::replace(&mut self.limit_logged, true) {
            let Counts { watches, polled, .. } = self.counts();
            let hint = limits::remedy(watches + polled);
            error!(
                watches,
                polled,
                hint,
                "the limit of watches is reached: {watches} are armed, and {polled} directories are polled; hint: {hint}, then \
                 restart pushmaild"
            );
        }
        if std::mem::replace(&mut self.waiting_logged, self.waiting) < self.waiting {
            info!(
                mailboxes = self.waiting,
                "mailboxes that are not there yet: {}; they are watched as soon as they are", self.waiting
            );
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { watches: self.parents.len(), polled: 0 };
        for armed in self.slots.iter().flat_map(|slot| &slot.parts).flatten() {
            if armed.polled {
                counts.polled += 1;
            } else {
                counts.watches += 1;
            }
        }
        counts
    }
}

/// What something in a parent is about.
#[derive(Debug)]
pub(super) struct InParent {
    /// Mailboxes that waited for it.
    pub(super) waited: Vec<MailboxId>,
    /// Its path.
    pub(super) path: PathBuf,
    /// Could it be the folder of a user or a domain?
    pub(super) is_folder_of_user: bool,
    /// Is it a map file?
    pub(super) is_map_file: bool,
}
