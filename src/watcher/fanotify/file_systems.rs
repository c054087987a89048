//! The file systems that hold mailboxes: each is marked once, or there is a reason why it cannot be.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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

/// All of them, by our numbers. Shared by the threads that arm.
#[derive(Clone, Debug, Default)]
pub(super) struct FileSystems(Arc<Mutex<Vec<FileSystem>>>);

impl FileSystems {
    fn lock(&self) -> MutexGuard<'_, Vec<FileSystem>> {
        // Each change is one push or one number, so a panic in between leaves a good list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the file system that events name so.
    pub(super) fn number_of(&self, id: [u8; 8]) -> Option<u16> {
        let known = self.lock();
        let at = known.iter().rposition(|one| one.id == id && one.state == State::Marked)?;
        u16::try_from(at).ok()
    }

    pub(super) fn is_marked(&self, number: u16) -> bool {
        self.lock().get(usize::from(number)).is_some_and(|one| one.state == State::Marked)
    }

    /// The file system is gone, and its mark with it.
    pub(super) fn unmounted(&self, number: u16) {
        if let Some(one) = self.lock().get_mut(usize::from(number)) {
            one.state = State::Unmounted;
        }
    }

    /// The number of the file system with this id if it is marked, after `mark` if nobody has tried before. None if it cannot be.
    pub(super) fn marked(
        &self,
        id: [u8; 8],
        directory: &Path,
        mark: impl FnOnce(u16) -> io::Result<()>,
    ) -> Option<u16> {
        // Held until the mark is there: nobody is to rely on it before.
        let mut known = self.lock();
        let found = known.iter().rposition(|one| one.id == id && one.state != State::Unmounted);
        if let Some(at) = found {
            return u16::try_from(at).ok().filter(|_| known[at].state == State::Marked);
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
        (state == State::Marked).then_some(number)
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
