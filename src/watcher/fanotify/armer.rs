//! Finds the handles of directories, from any thread.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    sync::{Arc, mpsc::Sender},
};

use super::{
    file_systems::{self, FileSystems, State},
    key::{Key, KeyBuf},
    pending::{Pending, PendingOne},
    sys,
};
use crate::{
    stamp::Stamp,
    watcher::{
        Arm, ArmError, ParentId, RawWatch, Role, Target,
        arming::{Armings, Raw},
        check_directory, inotify,
    },
};

/// What is mounted, unmounted or replaced at the very time is looked at so often.
const TRIES: usize = 4;

/// A directory that a thread has armed.
#[derive(Debug)]
pub(in crate::watcher) struct Armed {
    pub(super) key: KeyBuf,
    /// The look after that.
    pub(in crate::watcher) seen: Stamp,
    _pending: PendingOne,
}

/// See the module.
pub(super) struct Armer {
    pub(super) group: Arc<OwnedFd>,
    pub(super) file_systems: FileSystems,
    pub(super) pending: Pending,
    pub(super) armings: Armings,
    pub(super) inotify: Arc<dyn Arm>,
    pub(super) mounts: inotify::Armer,
    pub(super) new_mounts: Sender<(Target, RawWatch)>,
}

impl Armer {
    /// Arms a directory on a file system that has been met before; two calls of the system, without a descriptor. None for any other, and
    /// for what is no directory.
    fn arm_known(&self, directory: &Path) -> Option<(State, Armed)> {
        let handle = sys::handle_at(directory).ok()?;
        // In this order: what happens before the mark, or before the handle is pending, is found by the look.
        let mount = self.file_systems.at(handle.mount)?;
        let pending = self.pending.add(handle.kind, handle.bytes());
        let seen = Stamp::look(directory).ok()?;
        // An unmounted file system's number of the mount is given to others.
        if seen.device() != mount.device {
            return None;
        }
        let key = Key { file_system: mount.file_system, kind: handle.kind, handle: handle.bytes() }.to_buf();
        Some((mount.state, Armed { key, seen, _pending: pending }))
    }

    /// Marks the file system that a directory is on, unless that has been tried before.
    fn meet(&self, role: Role, directory: &Path) -> Result<State, ArmError> {
        let place = match file_systems::open(directory, false) {
            Ok(place) => File::from(place),
            Err(error) => {
                check_directory(role, directory)?;
                return Err(error.into());
            }
        };
        let id = sys::file_system_id(&place)?;
        let mark = |number| self.mark(number, &place, directory);
        let Some((number, state)) = self.file_systems.met(id, directory, mark) else {
            return Ok(State::Refused);
        };
        match sys::handle_of(&place) {
            Ok(handle) => self.file_systems.is_at(handle.mount, place.metadata()?.dev(), number),
            Err(error) if state == State::Marked => return Err(error.into()),
            Err(_) => {}
        }
        Ok(state)
    }

    /// Marks a file system, and sees to it that its end is noticed.
    fn mark(&self, number: u16, place: &File, directory: &Path) -> io::Result<()> {
        sys::mark(&self.group, place)?;
        // The first handle shows whether there are any.
        sys::handle_of(place)?;
        let mount_point = file_systems::mount_point(directory)?;
        let target = Target::Parent(ParentId(u32::from(number)));
        let watch = self.mounts.arm_mount_point(&mount_point)?;
        // Without a receiver there is no watcher any more.
        let _ = self.new_mounts.send((target, watch));
        Ok(())
    }
}

impl Arm for Armer {
    fn arm(&self, role: Role, directory: &Path) -> Result<RawWatch, ArmError> {
        if role == Role::Parent {
            return self.inotify.arm(role, directory);
        }
        let underway = self.armings.begin();
        for _ in 0..TRIES {
            let state = match self.arm_known(directory) {
                Some((State::Marked, armed)) => {
                    return Ok(RawWatch { raw: Raw::Fanotify(armed), _underway: underway });
                }
                Some((state, _)) => state,
                None => self.meet(role, directory)?,
            };
            if state == State::Refused {
                return self.inotify.arm(role, directory);
            }
        }
        Err(ArmError::Io(io::Error::from_raw_os_error(libc::ESTALE)))
    }
}
