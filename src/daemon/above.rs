//! Watches of directories above Maildirs, and of those with map files in them: for what is to come, or to change.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tracing::{debug, warn};

use super::{slot::Flag, watching::Watching};
use crate::{
    mailbox::MailboxId,
    stamp::Stamp,
    watcher::{ArmError, ParentId, Target},
};

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

impl Watching {
    /// Watches the nearest directory that exists for the next one to appear. False if the directory has appeared meanwhile.
    pub(super) fn await_directory(&mut self, id: MailboxId, directory: &Path) -> bool {
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
                self.told.remove(path);
                if let Some(parent) = self.parents.get_mut(watched) {
                    parent.holds_users = true;
                }
            }
            Err(ArmError::Missing) => {}
            Err(error) => {
                if self.told.insert(path.to_owned()) {
                    warn!(
                        directory = %path.display(), %error,
                        "cannot watch `{}`: {error}; new users in it are found by the sweep only", path.display()
                    );
                }
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
                self.told.remove(file);
                if let Some(parent) = self.parents.get_mut(id)
                    && !parent.map_files.iter().any(|known| known == name)
                {
                    parent.map_files.push(name.to_owned());
                }
            }
            Err(error) if self.told.insert(file.to_owned()) => {
                warn!(
                    file = %file.display(), %error,
                    "cannot watch for changes of the map file `{}`: {error}; the sweep will find them", file.display()
                );
            }
            Err(_) => {}
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

    /// Drops watches of parents in which nobody waits for anything any more.
    pub(super) fn drop_unused_parents(&mut self) {
        let slots = &self.slots;
        for id in
            self.parents.unused(|mailbox| slots.get(mailbox.index()).is_some_and(|slot| slot.is(Flag::Waits)))
        {
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
}
