//! The file systems that hold mailboxes: each is marked once, or there is a reason why it cannot be.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, OFlags, StatxFlags};
use tracing::{info, warn};

use super::{Refusal, sys};

/// What is known of one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its events come.
    Marked,
    /// It has to be watched otherwise.
    Refused,
    /// It was unmounted, and its mark went with it. The same one may come again, under another number.
    Unmounted,
}

#[derive(Debug)]
struct FileSystem {
    /// As events have it.
    id: [u8; 8],
    state: State,
}

/// A mount of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// As stat(2) has it.
    pub(super) device: u64,
    /// Our number.
    pub(super) file_system: u16,
    /// At the time of the answer.
    pub(super) state: State,
}

/// All of them, by our numbers. Shared by the threads that arm.
#[derive(Clone, Debug, Default)]
pub(super) struct FileSystems(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    file_systems: Vec<FileSystem>,
    /// Device and file system by the kernel's number of the mount. That number is given again to other mounts after an unmount, and the
    /// device is so only when the file system is nowhere mounted any more, of which we are told: so both together are of this one.
    mounts: FxHashMap<i32, (u64, u16)>,
}

impl FileSystems {
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        // Each change is one push, number or entry, so a panic in between leaves a good list.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the file system that events name so.
    pub(super) fn number_of(&self, id: [u8; 8]) -> Option<u16> {
        let known = &self.read().file_systems;
        let at = known.iter().rposition(|one| one.id == id && one.state == State::Marked)?;
        u16::try_from(at).ok()
    }

    pub(super) fn is_marked(&self, number: u16) -> bool {
        self.read().file_systems.get(usize::from(number)).is_some_and(|one| one.state == State::Marked)
    }

    /// The file system is gone, and its mark with it.
    pub(super) fn unmounted(&self, number: u16) {
        let mut known = self.write();
        if let Some(one) = known.file_systems.get_mut(usize::from(number)) {
            one.state = State::Unmounted;
        }
        known.mounts.retain(|_, (_, file_system)| *file_system != number);
    }

    /// What is known of a mount.
    pub(super) fn at(&self, mount: i32) -> Option<Mount> {
        let known = self.read();
        let (device, file_system) = *known.mounts.get(&mount)?;
        let state = known.file_systems.get(usize::from(file_system))?.state;
        Some(Mount { device, file_system, state })
    }

    /// The file system, which has been met, is mounted there.
    pub(super) fn is_at(&self, mount: i32, device: u64, number: u16) {
        let mut known = self.write();
        // Not if it went just now: nobody would forget the mount.
        if known.file_systems.get(usize::from(number)).is_some_and(|one| one.state != State::Unmounted) {
            known.mounts.insert(mount, (device, number));
        }
    }

    /// The number of the file system with this id, after `mark` if nobody has tried before. None if there is no
    /// number left.
    pub(super) fn met(
        &self,
        id: [u8; 8],
        directory: &Path,
        mark: impl FnOnce(u16) -> io::Result<()>,
    ) -> Option<(u16, State)> {
        // Held until the mark is there: nobody is to rely on it before.
        let known = &mut self.write().file_systems;
        let found = known.iter().rposition(|one| one.id == id && one.state != State::Unmounted);
        if let Some(at) = found {
            return Some((u16::try_from(at).ok()?, known[at].state));
        }
        let number = u16::try_from(known.len()).ok()?;
        let state = match mark(number) {
            Ok(()) => {
                info!(
                    directory = %directory.display(),
                    "the file system of `{}` is watched as a whole, by fanotify", directory.display()
                );
                State::Marked
            }
            Err(error) => {
                let reason = Refusal::from(error);
                warn!(
                    directory = %directory.display(), %reason,
                    "the file system of `{}` is watched by inotify: {reason}", directory.display()
                );
                State::Refused
            }
        };
        known.push(FileSystem { id, state });
        Some((number, state))
    }
}

/// Opens a directory as a place and nothing more, which needs no permission to read it.
pub(super) fn open(directory: &Path, follow: bool) -> io::Result<std::os::fd::OwnedFd> {
    let mut flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    Ok(rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?)
}

/// The id and a mark, for a probe.
pub(super) fn probe(group: &std::os::fd::OwnedFd, directory: &Path) -> io::Result<()> {
    let place = open(directory, true)?;
    sys::handle_of(&place)?;
    sys::mark(group, &place)
}

/// The top of the mount that a directory is in: a watch on it lives for as long as the file system is mounted.
pub(super) fn mount_point(directory: &Path) -> io::Result<PathBuf> {
    let path = directory.canonicalize()?;
    for above in path.ancestors() {
        let found = rustix::fs::statx(rustix::fs::CWD, above, AtFlags::empty(), StatxFlags::empty())?;
        if found.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT) {
            return Ok(above.to_owned());
        }
    }
    Ok("/".into())
}
