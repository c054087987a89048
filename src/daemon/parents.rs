//! Directories above Maildirs, and what is expected to appear in them.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use rustc_hash::FxHashSet;

use super::slot::Armed;
use crate::{mailbox::MailboxId, watcher::ParentId};

/// A directory, and why it is watched.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) path: PathBuf,
    pub(super) armed: Option<Armed>,
    /// Are folders in it those of users or domains of the template?
    pub(super) holds_users: bool,
    /// Map files in it.
    pub(super) map_files: Vec<OsString>,
    /// Mailboxes that wait for something of this name to appear.
    awaited: HashMap<OsString, FxHashSet<MailboxId>>,
}

/// All of them, with numbers that stay.
#[derive(Debug, Default)]
pub(super) struct Parents {
    slots: Vec<Option<Parent>>,
    free: Vec<ParentId>,
    by_path: HashMap<PathBuf, ParentId>,
}

impl Parents {
    /// The number of a directory, which is new if it has no watch yet.
    pub(super) fn id_of(&mut self, path: &Path) -> ParentId {
        if let Some(id) = self.by_path.get(path) {
            return *id;
        }
        let parent = Parent {
            path: path.to_owned(),
            armed: None,
            holds_users: false,
            map_files: Vec::new(),
            awaited: HashMap::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id.0 as usize] = Some(parent);
                id
            }
            None => {
                self.slots.push(Some(parent));
                ParentId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.by_path.insert(path.to_owned(), id);
        id
    }

    pub(super) fn get(&self, id: ParentId) -> Option<&Parent> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ParentId) -> Option<&mut Parent> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Notes that a mailbox waits for `name` to appear in a directory.
    pub(super) fn expect(&mut self, id: ParentId, name: &OsStr, mailbox: MailboxId) {
        if let Some(parent) = self.get_mut(id) {
            parent.awaited.entry(name.to_owned()).or_default().insert(mailbox);
        }
    }

    /// The mailboxes that waited for `name`. They wait no more, and have to say so again if it was not all they wanted.
    pub(super) fn appeared(&mut self, id: ParentId, name: &OsStr) -> Vec<MailboxId> {
        let waited = self.get_mut(id).and_then(|parent| parent.awaited.remove(name));
        waited.into_iter().flatten().collect()
    }

    /// All mailboxes that wait for anything in a directory.
    pub(super) fn all_awaiting(&mut self, id: ParentId) -> Vec<MailboxId> {
        let waited = self.get_mut(id).map(|parent| std::mem::take(&mut parent.awaited));
        waited.into_iter().flatten().flat_map(|(_, mailboxes)| mailboxes).collect()
    }

    pub(super) fn remove(&mut self, id: ParentId) -> Option<Parent> {
        let parent = self.slots.get_mut(id.0 as usize)?.take()?;
        self.by_path.remove(&parent.path);
        self.free.push(id);
        Some(parent)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ParentId> {
        (0u32..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(number, _)| ParentId(number))
    }

    /// Directories that nobody waits for any more. `waits` tells whether a mailbox still does.
    pub(super) fn unused(&mut self, waits: impl Fn(MailboxId) -> bool) -> Vec<ParentId> {
        let mut unused = Vec::new();
        for (number, slot) in (0u32..).zip(&mut self.slots) {
            let Some(parent) = slot else { continue };
            parent.awaited.retain(|_, mailboxes| {
                mailboxes.retain(|mailbox| waits(*mailbox));
                !mailboxes.is_empty()
            });
            if parent.awaited.is_empty() && !parent.holds_users && parent.map_files.is_empty() {
                unused.push(ParentId(number));
            }
        }
        unused
    }

    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }
}
