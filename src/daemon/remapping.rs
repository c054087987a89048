//! How what the sources say becomes the map, while events and pushes go on.
//!
//! ```text
//! sources read → compared with the map, by a job → the new map takes the old one's place → what is gone is forgotten, then what is
//!                                                                                          new is armed, both in small pieces
//! ```
//!
//! While the job compares, the map is lent to it and nothing is added. A number that a mailbox had which is gone is given out again
//! only after watches, debouncer and sinks have forgotten it. One listing is dealt with at a time: the sources are not read again before
//! the map is what they said.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use super::{
    jobs::{Jobs, Why},
    keeper::Keeper,
    pipeline::Pipeline,
    watching::Watching,
};
use crate::{
    mailbox::{MailboxId, MailboxMap, listing::Listing},
    stamp::Stamp,
};

#[derive(Debug, Default)]
pub(super) struct Remapping {
    /// What was found in new folders while the sources were being read: the reading may have passed there before.
    found_meanwhile: Vec<MailboxMap>,
    /// What was found in them while the map was lent, to be added when it is back.
    found_late: Vec<Listing>,
    map_is_lent: bool,
    /// Folders of users or domains that have to be watched, and what they looked like before they were read.
    folders: VecDeque<(PathBuf, Option<Stamp>)>,
    /// Mailboxes that are no more.
    to_forget: VecDeque<(MailboxId, PathBuf)>,
    /// Numbers that nobody remembers, to be given back to the map.
    forgotten: Vec<MailboxId>,
}

impl Remapping {
    /// Is there something left to do by [`Self::step`]?
    pub(super) fn has_work(&self) -> bool {
        !self.folders.is_empty() || !self.to_forget.is_empty()
    }

    /// Are there mailboxes that may still have watches which new ones need?
    pub(super) fn is_forgetting(&self) -> bool {
        !self.to_forget.is_empty()
    }

    /// The sources could not be read, or the map stays as it is for another reason.
    pub(super) fn give_up(&mut self) {
        self.found_meanwhile.clear();
    }

    /// Lets a job find out what a listing changes.
    pub(super) fn compare(&mut self, listed: MailboxMap, why: Why, jobs: &mut Jobs, map: &Arc<MailboxMap>) {
        self.map_is_lent = true;
        jobs.compare(Arc::clone(map), listed, std::mem::take(&mut self.found_meanwhile), why);
    }

    /// The comparison is done. Returns what was found meanwhile and has to be added.
    pub(super) fn compared(&mut self) -> Vec<Listing> {
        self.map_is_lent = false;
        std::mem::take(&mut self.found_late)
    }

    /// Puts the new map in the place of the old one.
    pub(super) fn replace(
        &mut self,
        map: MailboxMap,
        removed: Vec<MailboxId>,
        jobs: &Jobs,
        pipeline: &mut Pipeline,
    ) {
        let old = std::mem::replace(&mut pipeline.map, Arc::new(map));
        let with_path = |id| (id, old.maildir(id).map(PathBuf::from).unwrap_or_default());
        self.to_forget.extend(removed.into_iter().map(with_path));
        jobs.drop_map(old);
    }

    /// Adds what was found in a new folder, now or when the map is back. `reading`: are the sources being read?
    pub(super) fn add(&mut self, found: Listing, reading: bool, pipeline: &mut Pipeline) -> Vec<MailboxId> {
        let map = Arc::get_mut(&mut pipeline.map).filter(|_| !self.map_is_lent);
        let Some(map) = map else {
            self.found_late.push(found);
            return Vec::new();
        };
        let added = map.extend(&found.mailboxes);
        if reading {
            self.found_meanwhile.push(found.mailboxes);
        }
        added
    }

    /// Has folders watched in which users and domains can appear.
    pub(super) fn watch_folders(&mut self, folders: Vec<(PathBuf, Option<Stamp>)>) {
        self.folders.extend(folders);
    }

    /// Does a piece of what is left. Returns folders that have changed since they were read.
    pub(super) fn step(
        &mut self,
        size: usize,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        keeper: &mut Keeper,
    ) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (folder, seen) in self.folders.drain(..self.folders.len().min(size)) {
            if !watching.watch_folder_of_users(&folder, seen.as_ref()) {
                changed.push(folder);
            }
        }
        for (id, maildir) in self.to_forget.drain(..self.to_forget.len().min(size)) {
            watching.disarm_mailbox(id);
            pipeline.forget(id);
            keeper.forget(maildir);
            self.forgotten.push(id);
        }
        if !self.map_is_lent
            && let Some(map) = Arc::get_mut(&mut pipeline.map)
        {
            self.forgotten.drain(..).for_each(|id| map.release(id));
        }
        changed
    }
}
