//! Watching directories: one small trait, and the backends behind it.
//!
//! A backend reports what it saw of a directory and nothing more: what that means is the classifier's affair. A backend
//! that may have missed something says so ([`WatchEvent::Overflow`], [`WatchEvent::Lost`]), and is then not trusted: the
//! directories that it may concern are looked at.

mod arming;
pub mod choice;
#[cfg(target_os = "linux")]
pub mod fanotify;
#[cfg(target_os = "linux")]
pub mod inotify;
#[cfg(target_os = "linux")]
mod kernel_queue;
pub mod limits;
pub mod poll;
pub mod portable;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use thiserror::Error;

pub use self::arming::{Arm, RawWatch};
use crate::{classifier::Op, config::Backend, mailbox::MailboxId, maildir::Part, stamp::Stamp};

/// What a watch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `new/` or `cur/` of a mailbox.
    Part(MailboxId, Part),
    /// A directory above Maildirs, or one with a map file in it.
    Parent(ParentId),
}

/// What sort of directory is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `new/` or `cur/` of a mailbox. It must not be a link.
    Part(Part),
    /// A directory above Maildirs, or one with a map file in it.
    Parent,
}

impl Target {
    /// A mailbox's directory in four bytes. None for what is no mailbox's, or for a mailbox beyond two billion.
    pub(crate) fn pack(self) -> Option<u32> {
        match self {
            Self::Part(id, part) => id.0.checked_mul(2).map(|twice| twice | part as u32),
            Self::Parent(_) => None,
        }
    }

    pub(crate) fn unpack(packed: u32) -> Self {
        let part = if packed & 1 == Part::New as u32 { Part::New } else { Part::Cur };
        Self::Part(MailboxId(packed / 2), part)
    }

    /// What sort of directory this is.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Part(_, part) => Role::Part(part),
            Self::Parent(_) => Role::Parent,
        }
    }
}

/// A directory above Maildirs, as a number into [`crate::daemon`]'s table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParentId(pub u32);

/// What a backend calls one of its watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub i32);

/// Something that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEvent<'a> {
    /// Something happened to an entry of the directory.
    Entry {
        /// The watch.
        target: Target,
        /// What happened.
        op: Op,
        /// The entry's name.
        name: &'a [u8],
    },
    /// A file in the directory was written and closed. Only for parents.
    Written {
        /// The watch.
        target: Target,
        /// The file's name.
        name: &'a [u8],
    },
    /// The directory changed, and that is all that is known.
    Touched {
        /// The watch.
        target: Target,
        /// Is there an entry that was not there before? None if the backend cannot tell.
        arrived: Option<bool>,
        /// What the backend saw just before, if it goes by looks.
        seen: Option<Stamp>,
    },
    /// The directory was removed, renamed or unmounted: its watch is worth nothing any more.
    Lost(Target),
    /// Events were dropped, and nobody knows which.
    Overflow,
}

/// Why a directory cannot be watched.
#[derive(Debug, Error)]
pub enum ArmError {
    /// There is no such directory.
    #[error("there is no such directory")]
    Missing,
    /// It is a link, which whoever owns the Maildir could point at somebody else's mail.
    #[error("it is a symbolic link, and is not followed")]
    Link,
    /// The system's limit of watches is reached.
    #[error("the limit of watches is reached")]
    Limit,
    /// The same directory is watched for something else already.
    #[error("the directory is watched already, under another path")]
    Shared(Target),
    /// Anything else, permissions above all.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ArmError {
    /// A directory that was not there when it was armed is missing, even if it has come since: whoever waits for it looks again.
    fn from(error: io::Error) -> Self {
        if is_missing(&error) { Self::Missing } else { Self::Io(error) }
    }
}

/// What a read has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Was anything handed out?
    pub any: bool,
    /// Did anything happen at all, if only to what is not watched?
    pub busy: bool,
    /// Has everything been handed out that had happened before the read began?
    pub all: bool,
}

/// A way to notice changes of directories.
pub trait Watcher {
    /// What threads arm with.
    fn armer(&self) -> Arc<dyn Arm>;

    /// Takes in what a thread has armed: from now on its events carry `target`. If it had some already, the next read tells that the directory
    /// was touched.
    ///
    /// # Errors
    /// [`ArmError::Shared`]; then the watch is left to the other target.
    fn adopt(&mut self, target: Target, watch: RawWatch) -> Result<Handle, ArmError>;

    /// Gives up what a thread has armed, if it is not watched for another target.
    fn give_up(&mut self, watch: RawWatch);

    /// Begins to watch a directory, not recursively.
    ///
    /// # Errors
    /// See [`ArmError`]. Nothing is watched then.
    fn arm(&mut self, target: Target, directory: &Path) -> Result<Handle, ArmError> {
        let watch = self.armer().arm(target.role(), directory)?;
        self.adopt(target, watch)
    }

    /// Ends a watch. Events that were on their way are dropped.
    fn disarm(&mut self, handle: Handle);

    /// Becomes ready when [`Self::read`] may have something.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Hands out what has happened, for a bounded time.
    ///
    /// # Errors
    /// If the backend is broken for good.
    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read>;
}

/// Makes a backend. Must be called within a tokio runtime.
///
/// # Errors
/// If the system refuses, for example when there are too many inotify instances already.
pub fn open(backend: Backend, poll_interval: std::time::Duration) -> io::Result<Box<dyn Watcher>> {
    match choice::first(backend) {
        #[cfg(target_os = "linux")]
        Backend::Fanotify => Ok(Box::new(fanotify::Fanotify::new()?)),
        #[cfg(target_os = "linux")]
        Backend::Inotify => Ok(Box::new(inotify::Inotify::new()?)),
        Backend::Poll => Ok(Box::new(poll::Poller::new(poll_interval)?)),
        _ => Ok(Box::new(portable::Portable::new()?)),
    }
}

/// Refuses anything but a directory, as inotify does with `IN_ONLYDIR` and `IN_DONT_FOLLOW`. Parents may be links:
/// whoever can make those can do anything.
pub(crate) fn check_directory(role: Role, directory: &Path) -> Result<(), ArmError> {
    let found = match role {
        Role::Part(_) => std::fs::symlink_metadata(directory),
        Role::Parent => std::fs::metadata(directory),
    };
    match found {
        Ok(found) if found.is_symlink() => Err(ArmError::Link),
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(ArmError::Missing),
        Err(error) if is_missing(&error) => Err(ArmError::Missing),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
