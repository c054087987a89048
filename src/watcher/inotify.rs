//! inotify(7), read directly: one descriptor, one read for many events, no thread in between.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    task::{Context, Poll, ready},
};

use rustc_hash::FxHashMap;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{ArmError, Handle, Target, WatchEvent, Watcher, check_directory};
use crate::classifier::Op;

/// Room for some 800 events with names as Dovecot makes them, or 2,000 short ones.
const BUFFER: usize = 64 * 1024;

/// The inotify backend.
pub struct Inotify {
    descriptor: AsyncFd<OwnedFd>,
    /// Watch descriptors are given out in ascending order, and not again before 2^31 of them.
    targets: FxHashMap<i32, Target>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Inotify {
    /// Opens an inotify instance.
    ///
    /// # Errors
    /// If there are too many of them already (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Deprecated because a type may close its descriptor behind tokio's back, which an OwnedFd does not; the new
        // function is `unsafe` for nothing.
        #[expect(deprecated, reason = "sound for OwnedFd")]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Self {
            descriptor,
            targets: FxHashMap::default(),
            buffer: vec![MaybeUninit::uninit(); BUFFER].into(),
        })
    }
}

impl Watcher for Inotify {
    fn arm(&mut self, target: Target, directory: &Path) -> Result<Handle, ArmError> {
        let entries = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::CREATE | WatchFlags::DELETE;
        let own = WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let special = match target {
            Target::Part(..) => WatchFlags::DONT_FOLLOW,
            Target::Parent(_) => WatchFlags::CLOSE_WRITE,
        };
        let number = match inotify::add_watch(&self.descriptor, directory, entries | own | special) {
            Ok(number) => number,
            Err(Errno::NOSPC) => return Err(ArmError::Limit),
            Err(error) => {
                // The kernel's answer to a link is the same as to a file.
                check_directory(target, directory)?;
                return Err(io::Error::from(error).into());
            }
        };
        match self.targets.insert(number, target) {
            Some(other) if other != target => {
                self.targets.insert(number, other);
                Err(ArmError::Shared(other))
            }
            _ => Ok(Handle(number)),
        }
    }

    fn disarm(&mut self, Handle(number): Handle) {
        if self.targets.remove(&number).is_some() {
            // It fails when the kernel has dropped the watch already, which is what is wanted.
            let _ = inotify::remove_watch(&self.descriptor, number);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The readiness is left set: `read` clears it when the kernel says that there is nothing.
        Poll::Ready(ready!(self.descriptor.poll_read_ready(context)).map(|_guard| ()))
    }

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<bool> {
        let Self { descriptor, targets, buffer } = self;
        let mut reader = inotify::Reader::new(descriptor.get_ref(), buffer);
        // The first call of `next` reads, and it must not read again before the buffer's events are handed out.
        let mut first = true;
        while std::mem::take(&mut first) || !reader.is_buffer_empty() {
            // `try_io` may say that there is nothing without a word with the kernel, when tokio has not heard of anything. To
            // whoever relies on a read that finds nothing, only the kernel's own answer counts.
            let event = match descriptor.try_io(Interest::READABLE, |_| Ok(reader.next()?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    reader.next().map_err(io::Error::from)
                }
                other => other,
            };
            let event = match event {
                Ok(event) => event,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(error) => return Err(error),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                each(WatchEvent::Overflow);
                continue;
            }
            // An unknown watch was disarmed while its events were on their way.
            let Some(&target) = targets.get(&event.wd()) else { continue };
            if event.events().intersects(ReadFlags::IGNORED) {
                targets.remove(&event.wd());
            }
            if let Some(seen) = translate(target, &event) {
                each(seen);
            }
        }
        Ok(true)
    }
}

fn translate<'a>(target: Target, event: &'a inotify::Event<'_>) -> Option<WatchEvent<'a>> {
    let flags = event.events();
    if flags.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
        return Some(WatchEvent::Lost(target));
    }
    // A Maildir's messages are files; what a directory in `new/` or `cur/` does is nothing to us.
    if flags.contains(ReadFlags::ISDIR) && matches!(target, Target::Part(..)) {
        return None;
    }
    let name = event.file_name()?.to_bytes();
    if flags.contains(ReadFlags::CLOSE_WRITE) {
        return Some(WatchEvent::Written { target, name });
    }
    let op = if flags.contains(ReadFlags::MOVED_TO) {
        Op::MovedTo(event.cookie())
    } else if flags.contains(ReadFlags::MOVED_FROM) {
        Op::MovedFrom(event.cookie())
    } else if flags.contains(ReadFlags::CREATE) {
        Op::Created
    } else if flags.contains(ReadFlags::DELETE) {
        Op::Deleted
    } else {
        return None;
    };
    Some(WatchEvent::Entry { target, op, name })
}
