//! fanotify(7): one mark for each file system that holds mailboxes, instead of two watches for each mailbox.
//!
//! The kernel then tells of everything that happens on that file system, and names directories by file handles. A map from handles to
//! mailboxes says what is ours; the rest is dropped. It costs the kernel nothing for each mailbox, and 16 to 32 bytes a directory of ours.
//!
//! An inotify instance beside it watches what is above mailboxes, and mailboxes on file systems that cannot be marked; another one has a
//! watch on each mount point, for fanotify does not tell that a file system was unmounted, and its mark goes without a word.

mod armer;
mod directories;
mod file_systems;
mod key;
mod pending;
mod record;
mod sys;
#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    task::{Context, Poll},
};

use thiserror::Error;
use tokio::io::unix::AsyncFd;

pub(super) use self::armer::Armed;
use self::{
    armer::Armer,
    directories::Directories,
    file_systems::FileSystems,
    key::{Key, KeyBuf},
    pending::Pending,
    record::{Directory, LARGEST, Place, Record, Records},
};
use super::{
    Arm, ArmError, Handle, ParentId, RawWatch, Read, Target, WatchEvent, Watcher,
    arming::{Raw, Unknown},
    inotify::Inotify,
    kernel_queue,
};
use crate::classifier::Op;

/// Room for some 1,400 deliveries by rename.
const BUFFER: usize = 256 * 1024;

/// Why fanotify cannot be used, at all or for one file system.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Marking a file system needs a privilege.
    #[error("CAP_SYS_ADMIN is missing")]
    Privilege,
    /// `FAN_RENAME` and names came with Linux 5.17.
    #[error("it needs Linux 5.17 or later")]
    OldKernel,
    /// The kernel was built without it.
    #[error("the kernel has no fanotify")]
    NoFanotify,
    /// A part of a file system that has parts with ids of their own.
    #[error("it is a subvolume of btrfs, and only whole file systems can be marked")]
    Subvolume,
    /// Overlayfs, and others that live in memory.
    #[error("the file system has no lasting file handles, as overlayfs")]
    NoHandles,
    /// Anything else.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Privilege => {
                "grant it, as the drop-in `pushmaild-fanotify.conf` for systemd does, or leave `backend` out"
            }
            _ => "leave `backend` out: `auto` takes what works here",
        }
    }

    /// Is it so for every file system?
    pub(super) const fn is_general(self) -> bool {
        matches!(self, Self::Privilege | Self::OldKernel | Self::NoFanotify)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::Privilege,
            Some(libc::EINVAL) => Self::OldKernel,
            Some(libc::ENOSYS) => Self::NoFanotify,
            Some(libc::EXDEV) => Self::Subvolume,
            Some(libc::EOPNOTSUPP | libc::ENODEV) => Self::NoHandles,
            other => Self::Other(other.unwrap_or(libc::EIO)),
        }
    }
}

/// Would fanotify work for these directories? A real mark on each of their file systems says so.
/// If it works for some and not for others, the answer is why not.
///
/// # Errors
/// Why it works for none.
pub fn probe<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Option<Refusal>, Refusal> {
    let group = open_group()?;
    let mut works = false;
    let mut refusal = None;
    for directory in directories {
        // What is not there yet will be on the file system of what is above it.
        let found = directory.ancestors().map(|above| file_systems::probe(&group, above));
        match found.into_iter().find(|found| !found.as_ref().is_err_and(super::is_missing)) {
            Some(Err(error)) => refusal = Some(Refusal::from(error)),
            _ => works = true,
        }
    }
    match refusal {
        Some(refusal) if !works => Err(refusal),
        refusal => Ok(refusal),
    }
}

/// Opens a group that may mark file systems.
fn open_group() -> Result<OwnedFd, Refusal> {
    let group = sys::init()?;
    // Without the privilege a group can be had, and only the mark is refused.
    let root = file_systems::open(Path::new("/"), true)?;
    match sys::mark(&group, &root).map_err(Refusal::from) {
        Err(refusal) if refusal.is_general() => return Err(refusal),
        Err(_) => {}
        Ok(()) => sys::unmark_all(&group, &root)?,
    }
    Ok(group)
}

/// The fanotify backend.
pub struct Fanotify {
    group: AsyncFd<Arc<OwnedFd>>,
    file_systems: FileSystems,
    directories: Directories,
    /// Directories that threads have armed, and of which events are therefore remembered.
    pending: Pending,
    unknown: Unknown<KeyBuf>,
    /// For parents, and for file systems that cannot be marked.
    inotify: Inotify,
    /// Has a watch on each mount point, with the file system's number as that of a parent.
    mounts: Inotify,
    /// Those of file systems that threads have marked just now.
    new_mounts: Receiver<(Target, RawWatch)>,
    /// What threads send them with.
    to_new_mounts: Sender<(Target, RawWatch)>,
    /// Which of the three had something when they were asked last. None if nobody has asked since the last read.
    ready: Option<[bool; 3]>,
    cookie: u32,
    buffer: Box<[u8]>,
}

impl Fanotify {
    /// Opens a group.
    ///
    /// # Errors
    /// If the privilege is missing, the kernel is too old, or a limit is reached.
    pub fn new() -> io::Result<Self> {
        let group = open_group().map_err(io::Error::other)?;
        let (to_new_mounts, new_mounts) = mpsc::channel();
        Ok(Self {
            group: kernel_queue::register(group)?,
            file_systems: FileSystems::default(),
            directories: Directories::default(),
            pending: Pending::default(),
            unknown: Unknown::new(),
            inotify: Inotify::new()?,
            mounts: Inotify::new()?,
            new_mounts,
            to_new_mounts,
            ready: None,
            cookie: 0,
            buffer: vec![0; BUFFER].into(),
        })
    }
}

/// inotify's numbers and the map's are both positive: the one's are told apart by their sign.
const fn of_inotify(Handle(number): Handle) -> Handle {
    Handle(!number)
}

impl Watcher for Fanotify {
    fn armer(&self) -> Arc<dyn Arm> {
        Arc::new(Armer {
            group: Arc::clone(self.group.get_ref()),
            file_systems: self.file_systems.clone(),
            pending: self.pending.clone(),
            armings: self.unknown.armings.clone(),
            inotify: self.inotify.armer(),
            mounts: self.mounts.own_armer(),
            new_mounts: self.to_new_mounts.clone(),
        })
    }

    fn adopt(&mut self, target: Target, watch: RawWatch) -> Result<Handle, ArmError> {
        let Raw::Fanotify(Armed { key: armed, .. }) = &watch.raw else {
            return self.inotify.adopt(target, watch).map(of_inotify);
        };
        self.adopt_mounts();
        let key = armed.as_key();
        let Some((number, found)) = self.directories.insert(key, target) else {
            return Err(ArmError::Limit);
        };
        if found != target {
            return Err(ArmError::Shared(found));
        }
        self.unknown.adopted(armed, target);
        if !self.file_systems.is_marked(key.file_system) {
            self.unknown.is_lost(target);
        }
        Ok(Handle(number))
    }

    fn give_up(&mut self, watch: RawWatch) {
        // The map has nothing of it.
        if !matches!(watch.raw, Raw::Fanotify(_)) {
            self.inotify.give_up(watch);
        }
    }

    fn disarm(&mut self, handle: Handle) {
        if handle.0 < 0 {
            self.inotify.disarm(of_inotify(handle));
        } else if let Some(target) = self.directories.remove(handle.0) {
            self.unknown.disarmed(target);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let group = match self.group.poll_read_ready(context) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            other => other.is_ready(),
        };
        let mut others = [false; 2];
        for (other, is_ready) in [&mut self.inotify, &mut self.mounts].into_iter().zip(&mut others) {
            match other.poll_ready(context) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                poll => *is_ready = poll.is_ready(),
            }
        }
        let ready = [group, others[0], others[1]];
        self.ready = Some(ready);
        if ready.contains(&true) || self.unknown.has_news() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read> {
        // Whoever has not asked what there is wants to know it from the kernel.
        let [_, inotify, mounts] = self.ready.take().unwrap_or([true; 3]);
        let mut any = self.unknown.tell(each);
        if mounts {
            any |= self.read_mounts(each)?;
        }
        let mut all = true;
        if inotify || self.inotify.has_parts() {
            let read = self.inotify.read(each)?;
            any |= read.any;
            all &= read.all;
        }
        let Self { group, buffer, .. } = self;
        let (read, got_all) = kernel_queue::read(group, buffer, LARGEST)?;
        let busy = any || !read.is_empty();
        let mut ours = Ours {
            file_systems: &self.file_systems,
            directories: &self.directories,
            pending: &self.pending,
            unknown: &mut self.unknown,
            last: None,
        };
        for record in Records::new(read) {
            ours.hand_out(&record, &mut self.cookie, &mut |event| {
                any = true;
                each(event);
            });
        }
        Ok(Read { any, busy, all: all && got_all })
    }
}

impl Fanotify {
    /// Takes in the watches on mount points, before anything that was armed there.
    fn adopt_mounts(&mut self) {
        for (target, watch) in self.new_mounts.try_iter() {
            // Another file system that is mounted at the same place has another inode there.
            let _ = self.mounts.adopt(target, watch);
        }
    }

    /// What was unmounted is lost.
    fn read_mounts(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<bool> {
        let mut gone = Vec::new();
        let read = self.mounts.read(&mut |event| {
            if let WatchEvent::Lost(Target::Parent(ParentId(number))) = event {
                gone.extend(u16::try_from(number));
            }
        })?;
        for number in gone {
            self.file_systems.unmounted(number);
            self.directories.on(number).for_each(|target| each(WatchEvent::Lost(target)));
        }
        Ok(read.any)
    }
}

/// What tells ours from the rest of the file system.
struct Ours<'a> {
    file_systems: &'a FileSystems,
    directories: &'a Directories,
    pending: &'a Pending,
    unknown: &'a mut Unknown<KeyBuf>,
    /// The file system of the event before.
    last: Option<([u8; 8], Option<u16>)>,
}

impl Ours<'_> {
    fn hand_out(&mut self, record: &Record<'_>, cookie: &mut u32, each: &mut dyn FnMut(WatchEvent<'_>)) {
        let has = |bits| record.mask & bits != 0;
        if has(libc::FAN_Q_OVERFLOW) {
            each(WatchEvent::Overflow);
        } else if has(libc::FAN_ONDIR) {
            // A Maildir's messages are files; what a directory in `new/` or `cur/` does is nothing to us, unless it is `new/` or `cur/`.
            let itself = match has(libc::FAN_DELETE_SELF) {
                true => record.place.map(|place| place.directory),
                false => record.object.filter(|_| has(libc::FAN_DELETE | libc::FAN_RENAME)),
            };
            if let Some(target) = itself.and_then(|directory| self.target(directory, true)) {
                each(WatchEvent::Lost(target));
            }
        } else if has(libc::FAN_RENAME) {
            *cookie = cookie.wrapping_add(1);
            self.entry(record.from, Op::MovedFrom(*cookie), each);
            self.entry(record.to, Op::MovedTo(*cookie), each);
        } else {
            // Both, if one process has made an entry and removed it, or the other way round.
            if has(libc::FAN_CREATE) {
                self.entry(record.place, Op::Created, each);
            }
            if has(libc::FAN_DELETE) {
                self.entry(record.place, Op::Deleted, each);
            }
        }
    }

    fn entry(&mut self, place: Option<Place<'_>>, op: Op, each: &mut dyn FnMut(WatchEvent<'_>)) {
        if let Some(Place { directory, name }) = place
            && let Some(target) = self.target(directory, false)
        {
            each(WatchEvent::Entry { target, op, name });
        }
    }

    /// What a directory is watched for. `is_gone`: it is removed or moved.
    fn target(&mut self, Directory { id, kind, handle }: Directory<'_>, is_gone: bool) -> Option<Target> {
        let file_system = match self.last {
            Some((last, number)) if last == id => number,
            _ => {
                let number = self.file_systems.number_of(id);
                self.last = Some((id, number));
                number
            }
        }?;
        let key = Key { file_system, kind, handle };
        let target = self.directories.get(key);
        if target.is_none() && self.unknown.armings.any() && self.pending.may_contain(kind, handle) {
            self.unknown.had_event(|| key.to_buf(), is_gone);
        }
        target
    }
}
