//! What is armed, against what should be: arms mailboxes, and waits for those that are not there yet.
//!
//! The order is always: arm, then look. What came before the watch is found by the look, and what comes after it by the watch.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use tracing::{debug, error, info, warn};

use super::{
    arming::{ArmedPart, Armers},
    jobs,
    parents::Parents,
    slot::{Armed, Flag, Slot},
};
use crate::{
    config::Backend,
    control::status::MailboxState,
    count::count,
    growth,
    mailbox::MailboxId,
    maildir::Part,
    path_access,
    planner::{Arrival, Planner, Unseen},
    watcher::{
        self, ArmError, RawWatch, Read, Target, WatchEvent, Watcher,
        choice::{self, Choice},
        limits,
        poll::Poller,
    },
};

/// How many single troubles are logged in one go; the sum is always.
const TROUBLES_LOGGED: usize = 10;

/// How many reasons are kept for those who ask: with more mailboxes in trouble it is the same trouble.
const REASONS: usize = 1000;

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
    pub(super) slots: Vec<Slot>,
    pub(super) parents: Parents,
    troubles: usize,
    /// Why mailboxes cannot be watched: the first ones of many.
    reasons: FxHashMap<MailboxId, Box<str>>,
    /// Directories above mailboxes, and map files, that cannot be watched and were told of: the sources are read again and again.
    pub(super) told: HashSet<PathBuf>,
    limit_reached: bool,
    limit_logged: bool,
    /// Mailboxes that are not there yet.
    waiting: usize,
    /// What the last line about them said.
    waiting_logged: usize,
    /// Did a directory turn out to be watched for another mailbox? Then the map has to be read again.
    pub(super) map_is_stale: bool,
}

/// What a look at all mailboxes says.
pub(super) struct Survey {
    pub(super) counts: Counts,
    pub(super) watched: usize,
    pub(super) missing: usize,
    pub(super) in_trouble: usize,
    /// Some of those that are missing or in trouble; the latter first.
    pub(super) examples: Vec<MailboxId>,
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
            reasons: FxHashMap::default(),
            told: HashSet::new(),
            limit_reached: false,
            limit_logged: false,
            waiting: 0,
            waiting_logged: 0,
            map_is_stale: false,
        })
    }

    /// Takes the backend that `auto` stands for with so many mailboxes. Nothing is armed yet.
    pub(super) fn choose(&mut self, needed: usize, maildirs: (usize, impl Iterator<Item: Into<PathBuf>>)) {
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
        self.slots.get(id.index()).map_or([false; 2], |slot| slot.parts().map(|armed| armed.is_some()))
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
        growth::at_least(&mut self.slots, id.index() + 1, Slot::default());
        let was_in_trouble = self.slots[id.index()].set(Flag::InTrouble, false);
        self.reasons.remove(&id);
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
        if let Some(old) = self.slots[id.index()].set_part(part, Some(armed))
            && old != armed
        {
            self.disarm(old);
        }
        Ok(())
    }

    pub(super) fn arm(&mut self, target: Target, directory: &Path) -> Result<Armed, ArmError> {
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

    pub(super) fn disarm(&mut self, armed: Armed) {
        if armed.polled && !self.primary_polls {
            self.fallback.disarm(armed.handle);
        } else {
            self.primary.disarm(armed.handle);
        }
    }

    pub(super) fn set_waits(&mut self, id: MailboxId, waits: bool) {
        let before = self.slots[id.index()].set(Flag::Waits, waits);
        self.waiting = self.waiting + usize::from(waits) - usize::from(before);
    }

    /// Ends the watches of a mailbox.
    pub(super) fn disarm_mailbox(&mut self, id: MailboxId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        self.reasons.remove(&id);
        self.waiting -= usize::from(slot.is(Flag::Waits));
        for armed in std::mem::take(slot).parts().into_iter().flatten() {
            self.disarm(armed);
        }
    }

    /// A directory's watch is worth nothing any more.
    pub(super) fn lost(&mut self, id: MailboxId, part: Part) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        if let Some(armed) = slot.set_part(part, None) {
            self.disarm(armed);
        }
    }

    /// The mailboxes of which something could not be watched.
    pub(super) fn in_trouble(&self) -> impl Iterator<Item = MailboxId> {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.is(Flag::InTrouble))
            .map(|(number, _)| MailboxId(number))
    }

    /// Is anything done about the mailbox: watched, waited for, or complained about?
    pub(super) fn is_watched(&self, id: MailboxId) -> bool {
        let slot = self.slots.get(id.index());
        slot.is_some_and(|slot| {
            slot.is(Flag::Waits) || slot.is(Flag::InTrouble) || slot.parts().iter().any(Option::is_some)
        })
    }

    /// Do events tell of everything that happens to the mailbox?
    pub(super) fn has_events(&self, id: MailboxId) -> bool {
        let is_told = |armed: &Option<Armed>| armed.is_some_and(|armed| !armed.polled && !self.primary_polls);
        self.slots.get(id.index()).is_some_and(|slot| slot.parts().iter().all(is_told))
    }

    /// Does the poller look after this directory? It does its own comparing.
    pub(super) fn is_polled(&self, id: MailboxId, part: Part) -> bool {
        let slot = self.slots.get(id.index());
        slot.and_then(|slot| slot.part(part)).is_some_and(|armed| armed.polled)
    }

    fn trouble(&mut self, id: MailboxId, directory: &Path, error: &ArmError, was_in_trouble: bool) {
        self.slots[id.index()].set(Flag::InTrouble, true);
        if let ArmError::Shared(_) = error {
            self.map_is_stale = true;
            return;
        }
        if self.reasons.len() < REASONS {
            self.reasons.insert(id, format!("`{}`: {error}", directory.display()).into());
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
                "{} cannot be watched; the first ones are logged above",
                count(troubles, "mailbox", "mailboxes")
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
                "the limit of watches is reached: {watches} are armed, and {} polled; hint: {hint}, then \
                 restart pushmaild",
                count(polled, "directory is", "directories are")
            );
        }
        if std::mem::replace(&mut self.waiting_logged, self.waiting) < self.waiting {
            info!(
                mailboxes = self.waiting,
                "mailboxes that are not there yet: {}; they are watched as soon as they are", self.waiting
            );
        }
    }

    /// How a mailbox is, as far as watching it goes.
    pub(super) fn state(&self, id: MailboxId) -> MailboxState {
        match self.slots.get(id.index()) {
            Some(slot) if slot.is(Flag::InTrouble) => MailboxState::Trouble,
            Some(slot) if slot.is(Flag::Waits) => MailboxState::Missing,
            Some(slot) if slot.parts().iter().all(Option::is_some) => MailboxState::Watched,
            _ => MailboxState::Arming,
        }
    }

    /// Why a mailbox cannot be watched.
    pub(super) fn reason(&self, id: MailboxId) -> Option<&str> {
        self.reasons.get(&id).map(|reason| &**reason)
    }

    /// Looks at all mailboxes: with a million of them a few milliseconds.
    pub(super) fn survey(&self, examples: usize) -> Survey {
        let mut survey =
            Survey { counts: self.counts(), watched: 0, missing: 0, in_trouble: 0, examples: Vec::new() };
        let mut missing = Vec::new();
        for id in (0u32..).take(self.slots.len()).map(MailboxId) {
            match self.state(id) {
                MailboxState::Watched => survey.watched += 1,
                MailboxState::Trouble => {
                    survey.in_trouble += 1;
                    survey.examples.extend((survey.examples.len() < examples).then_some(id));
                }
                MailboxState::Missing => {
                    survey.missing += 1;
                    missing.extend((missing.len() < examples).then_some(id));
                }
                MailboxState::Arming | MailboxState::NotWanted | MailboxState::Unknown => {}
            }
        }
        let room = examples - survey.examples.len();
        survey.examples.extend(missing.into_iter().take(room));
        survey
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { watches: self.parents.len(), polled: 0 };
        for armed in self.slots.iter().flat_map(Slot::parts).flatten() {
            if armed.polled {
                counts.polled += 1;
            } else {
                counts.watches += 1;
            }
        }
        counts
    }
}
