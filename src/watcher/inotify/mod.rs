//! inotify(7), read directly: one descriptor, one read for many events, no thread in between.

mod record;
mod targets;

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::io::unix::AsyncFd;

use self::{
    record::{LARGEST, Record, Records},
    targets::Targets,
};
use super::{
    Arm, ArmError, Handle, RawWatch, Read, Role, Target, WatchEvent, Watcher,
    arming::{Armings, Raw, Unknown},
    check_directory, kernel_queue,
};
use crate::classifier::Op;

/// Room for some 800 events with names as Dovecot makes them, or 2,000 short ones.
const BUFFER: usize = 64 * 1024;

/// The inotify backend.
pub struct Inotify {
    descriptor: AsyncFd<Arc<OwnedFd>>,
    /// Watch descriptors are given out in ascending order, and not again before 2^31 of them.
    targets: Targets,
    /// How many of them are of mailboxes.
    parts: usize,
    unknown: Unknown<i32>,
    buffer: Box<[u8]>,
}

/// Adds watches to the descriptor, from any thread.
pub(super) struct Armer {
    descriptor: Arc<OwnedFd>,
    armings: Armings,
}

impl Inotify {
    /// Opens an inotify instance.
    ///
    /// # Errors
    /// If there are too many of them already (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            descriptor: kernel_queue::register(descriptor)?,
            targets: Targets::default(),
            parts: 0,
            unknown: Unknown::new(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    pub(super) fn own_armer(&self) -> Armer {
        let armings = self.unknown.armings.clone();
        Armer { descriptor: Arc::clone(self.descriptor.get_ref()), armings }
    }

    /// Is any mailbox watched, and not only what is above them?
    pub(super) fn has_parts(&self) -> bool {
        self.parts > 0
    }

    fn remove(&mut self, number: i32) -> Option<Target> {
        let target = self.targets.remove(number)?;
        self.parts -= usize::from(matches!(target, Target::Part(..)));
        Some(target)
    }
}

impl Armer {
    /// Watches a mount point, of which only the end of its mount is of interest.
    pub(super) fn arm_mount_point(&self, path: &Path) -> io::Result<RawWatch> {
        let underway = self.armings.begin();
        let flags = WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        let number = inotify::add_watch(&self.descriptor, path, flags)?;
        Ok(RawWatch { raw: Raw::Inotify(number), _underway: underway })
    }
}

impl Arm for Armer {
    fn arm(&self, role: Role, directory: &Path) -> Result<RawWatch, ArmError> {
        let underway = self.armings.begin();
        let entries = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::CREATE | WatchFlags::DELETE;
        // A directory may be watched as a part and as a parent, and then needs what either does.
        let own = WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        let special = match role {
            Role::Part(_) => WatchFlags::DONT_FOLLOW,
            Role::Parent => WatchFlags::CLOSE_WRITE,
        };
        match inotify::add_watch(&self.descriptor, directory, entries | own | special) {
            Ok(number) => Ok(RawWatch { raw: Raw::Inotify(number), _underway: underway }),
            Err(Errno::NOSPC) => Err(ArmError::Limit),
            Err(error) => {
                // The kernel's answer to a link is the same as to a file.
                check_directory(role, directory)?;
                Err(io::Error::from(error).into())
            }
        }
    }
}

impl Watcher for Inotify {
    fn armer(&self) -> Arc<dyn Arm> {
        Arc::new(self.own_armer())
    }

    fn adopt(&mut self, target: Target, watch: RawWatch) -> Result<Handle, ArmError> {
        let Raw::Inotify(number) = watch.raw else { return Err(RawWatch::foreign()) };
        match self.targets.get(number) {
            Some(other) if other != target => return Err(ArmError::Shared(other)),
            Some(_) => {}
            None => {
                self.targets.insert(number, target);
                self.parts += usize::from(matches!(target, Target::Part(..)));
                self.unknown.adopted(&number, target);
            }
        }
        Ok(Handle(number))
    }

    fn give_up(&mut self, watch: RawWatch) {
        // If another thread has armed the same directory meanwhile, its watch goes too, and `IN_IGNORED` tells so.
        if let Raw::Inotify(number) = watch.raw
            && self.targets.get(number).is_none()
        {
            let _ = inotify::remove_watch(self.descriptor.get_ref(), number);
        }
    }

    fn disarm(&mut self, Handle(number): Handle) {
        if let Some(target) = self.remove(number) {
            self.unknown.disarmed(target);
            // It fails when the kernel has dropped the watch already, which is what is wanted.
            let _ = inotify::remove_watch(self.descriptor.get_ref(), number);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unknown.has_news() {
            return Poll::Ready(Ok(()));
        }
        // The readiness is left set: `read` clears it when the kernel has nothing left.
        Poll::Ready(ready!(self.descriptor.poll_read_ready(context)).map(|_guard| ()))
    }

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read> {
        let Self { descriptor, targets, parts, unknown, buffer } = self;
        let mut any = unknown.tell(each);
        let (read, all) = kernel_queue::read(descriptor, buffer, LARGEST)?;
        any |= !read.is_empty();
        for event in Records::new(read) {
            if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                each(WatchEvent::Overflow);
                continue;
            }
            let is_gone = event.flags.contains(ReadFlags::IGNORED);
            let Some(target) = targets.get(event.watch) else {
                // It was disarmed while its events were on their way, or a thread has armed it just now.
                unknown.had_event(|| event.watch, is_gone);
                continue;
            };
            if is_gone {
                targets.remove(event.watch);
                *parts -= usize::from(matches!(target, Target::Part(..)));
            }
            if let Some(seen) = translate(target, &event) {
                each(seen);
            }
        }
        Ok(Read { any, busy: any, all })
    }
}

fn translate<'a>(target: Target, event: &Record<'a>) -> Option<WatchEvent<'a>> {
    let flags = event.flags;
    if flags.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
        return Some(WatchEvent::Lost(target));
    }
    // A Maildir's messages are files; what a directory in `new/` or `cur/` does is nothing to us.
    if flags.contains(ReadFlags::ISDIR) && matches!(target, Target::Part(..)) {
        return None;
    }
    let name = event.name?;
    if flags.contains(ReadFlags::CLOSE_WRITE) {
        return Some(WatchEvent::Written { target, name });
    }
    let op = if flags.contains(ReadFlags::MOVED_TO) {
        Op::MovedTo(event.cookie)
    } else if flags.contains(ReadFlags::MOVED_FROM) {
        Op::MovedFrom(event.cookie)
    } else if flags.contains(ReadFlags::CREATE) {
        Op::Created
    } else if flags.contains(ReadFlags::DELETE) {
        Op::Deleted
    } else {
        return None;
    };
    Some(WatchEvent::Entry { target, op, name })
}
