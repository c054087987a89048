//! Watching directories: one small trait, and the backends behind it.
//!
//! A backend reports what it saw of a directory and nothing more: what that means is the classifier's affair. A backend
//! that may have missed something says so ([`WatchEvent::Overflow`], [`WatchEvent::Lost`]), and is then not trusted: the
//! directories that it may concern are looked at.

#[cfg(target_os = "linux")]
pub mod inotify;
pub mod limits;
pub mod poll;
pub mod portable;

use std::{
    io,
    path::Path,
    task::{Context, Poll},
};

use thiserror::Error;

use crate::{classifier::Op, config::Backend, mailbox::MailboxId, maildir::Part};

/// What a watch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `new/` or `cur/` of a mailbox.
    Part(MailboxId, Part),
    /// A directory above Maildirs, or one with a map file in it.
    Parent(ParentId),
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

/// A way to notice changes of directories.
pub trait Watcher {
    /// Begins to watch a directory, not recursively.
    ///
    /// # Errors
    /// See [`ArmError`]. Nothing is watched then.
    fn arm(&mut self, target: Target, directory: &Path) -> Result<Handle, ArmError>;

    /// Ends a watch. Events that were on their way are dropped.
    fn disarm(&mut self, handle: Handle);

    /// Becomes ready when [`Self::read`] may have something.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Hands out what has happened, for a bounded time. False if there was nothing at all, so that everything that had
    /// happened before the call has been handed out.
    ///
    /// # Errors
    /// If the backend is broken for good.
    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<bool>;
}

/// The backend that `auto` stands for on this system.
#[must_use]
pub const fn resolve(backend: Backend) -> Backend {
    match backend {
        Backend::Auto if cfg!(target_os = "linux") => Backend::Inotify,
        Backend::Auto => Backend::Notify,
        chosen => chosen,
    }
}

/// Makes a backend. Must be called within a tokio runtime.
///
/// # Errors
/// If the system refuses, for example when there are too many inotify instances already.
pub fn open(backend: Backend, poll_interval: std::time::Duration) -> io::Result<Box<dyn Watcher>> {
    match resolve(backend) {
        #[cfg(target_os = "linux")]
        Backend::Inotify => Ok(Box::new(inotify::Inotify::new()?)),
        Backend::Poll => Ok(Box::new(poll::Poller::new(poll_interval)?)),
        _ => Ok(Box::new(portable::Portable::new()?)),
    }
}

/// Refuses anything but a directory, as inotify does with `IN_ONLYDIR` and `IN_DONT_FOLLOW`. Parents may be links:
/// whoever can make those can do anything.
pub(crate) fn check_directory(target: Target, directory: &Path) -> Result<(), ArmError> {
    let found = match target {
        Target::Part(..) => std::fs::symlink_metadata(directory),
        Target::Parent(_) => std::fs::metadata(directory),
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
