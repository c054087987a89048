//! The notify crate: FSEvents on macOS, kqueue on the BSDs, and inotify again where that is wanted for a comparison.
//!
//! Its events come from a thread of its own through a bounded channel; what does not fit there becomes an overflow. See "Known
//! Problems" in the crate's documentation for what bites: FSEvents does not see hard links, so an MDA that delivers by `link(2)` is
//! found by the sweep, and kqueue holds a descriptor for each file.

use std::{
    collections::HashMap,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use tokio::sync::mpsc;

use super::{ArmError, Handle, Target, WatchEvent, Watcher, check_directory};
use crate::classifier::Op;

/// As many events as inotify's own queue holds.
const CHANNEL: usize = 16_384;
/// The most events handed out by one read, so that timers get their turn.
const BATCH: usize = 1024;

/// The portable backend.
pub struct Portable {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<notify::Result<Event>>,
    /// Taken out of the channel by `poll_ready`, to be handed out first.
    next: Option<notify::Result<Event>>,
    /// Set by the crate's thread when the channel was full.
    missed: Arc<AtomicBool>,
    targets: HashMap<PathBuf, (Target, Handle)>,
    paths: HashMap<Handle, PathBuf>,
    last_handle: i32,
}

impl Portable {
    /// Starts the crate's watcher.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> io::Result<Self> {
        let (sender, events) = mpsc::channel(CHANNEL);
        let missed = Arc::new(AtomicBool::new(false));
        let handler = {
            let missed = Arc::clone(&missed);
            move |event: notify::Result<Event>| {
                // Reading is no change, and there is much of it.
                if matches!(&event, Ok(event) if is_noise(event.kind)) {
                    return;
                }
                if sender.try_send(event).is_err() {
                    missed.store(true, Ordering::Release);
                }
            }
        };
        let config = notify::Config::default().with_follow_symlinks(false);
        Ok(Self {
            watcher: RecommendedWatcher::new(handler, config).map_err(to_io)?,
            events,
            next: None,
            missed,
            targets: HashMap::new(),
            paths: HashMap::new(),
            last_handle: 0,
        })
    }
}

impl Watcher for Portable {
    fn arm(&mut self, target: Target, directory: &Path) -> Result<Handle, ArmError> {
        check_directory(target, directory)?;
        // FSEvents reports paths without links (`/private/var`), whatever was asked for.
        let path = directory.canonicalize()?;
        if let Some((other, handle)) = self.targets.get(&path) {
            return if *other == target { Ok(*handle) } else { Err(ArmError::Shared(*other)) };
        }
        match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            Err(error) => {
                return Err(match error.kind {
                    ErrorKind::MaxFilesWatch => ArmError::Limit,
                    ErrorKind::PathNotFound => ArmError::Missing,
                    _ => to_io(error).into(),
                });
            }
        }
        self.last_handle = self.last_handle.wrapping_add(1);
        let handle = Handle(self.last_handle);
        self.paths.insert(handle, path.clone());
        self.targets.insert(path, (target, handle));
        Ok(handle)
    }

    fn disarm(&mut self, handle: Handle) {
        if let Some(path) = self.paths.remove(&handle) {
            self.targets.remove(&path);
            // It fails when the directory is gone, and the watch with it.
            let _ = self.watcher.unwatch(&path);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.next.is_some() || self.missed.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        self.events.poll_recv(context).map(|event| {
            self.next = event;
            match &self.next {
                Some(_) => Ok(()),
                None => Err(io::Error::other("the notify crate's thread has ended")),
            }
        })
    }

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<bool> {
        let mut any = self.missed.swap(false, Ordering::AcqRel);
        if any {
            each(WatchEvent::Overflow);
        }
        for _ in 0..BATCH {
            let Some(event) = self.next.take().or_else(|| self.events.try_recv().ok()) else { break };
            any = true;
            match event {
                // An overflow has no path: this must be asked first.
                Ok(event) if event.need_rescan() => each(WatchEvent::Overflow),
                Ok(event) => {
                    for path in &event.paths {
                        if let Some(seen) = translate(&self.targets, &event, path) {
                            each(seen);
                        }
                    }
                }
                // What went wrong on one path may have gone wrong on others.
                Err(error) => {
                    tracing::warn!(%error, "the notify backend reported an error, so all mailboxes are looked at: {error}");
                    each(WatchEvent::Overflow);
                }
            }
        }
        Ok(any)
    }
}

const fn is_noise(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => true,
        _ => false,
    }
}

fn translate<'a>(
    targets: &HashMap<PathBuf, (Target, Handle)>,
    event: &Event,
    path: &'a Path,
) -> Option<WatchEvent<'a>> {
    if let Some(&(target, _)) = targets.get(path) {
        return match event.kind {
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Some(WatchEvent::Lost(target)),
            // kqueue: something in the directory changed.
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
                Some(WatchEvent::Touched { target, arrived: None })
            }
            EventKind::Create(_) | EventKind::Access(_) => None,
        };
    }
    let &(target, _) = targets.get(path.parent()?)?;
    let name = path.file_name()?.as_bytes();
    let is_folder =
        matches!(event.kind, EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder));
    if is_folder && matches!(target, Target::Part(..)) {
        return None;
    }
    // The crate's tracker is inotify's cookie. Without one, two halves cannot be told to belong together.
    let cookie = event.tracker().and_then(|tracker| u32::try_from(tracker).ok());
    let op = match (event.kind, cookie) {
        (EventKind::Create(_), _) | (EventKind::Modify(ModifyKind::Name(RenameMode::To)), None) => {
            Op::Created
        }
        (EventKind::Remove(_), _) | (EventKind::Modify(ModifyKind::Name(RenameMode::From)), None) => {
            Op::Deleted
        }
        (EventKind::Modify(ModifyKind::Name(RenameMode::To)), Some(cookie)) => Op::MovedTo(cookie),
        (EventKind::Modify(ModifyKind::Name(RenameMode::From)), Some(cookie)) => Op::MovedFrom(cookie),
        // Sent after the two halves, which have said it all.
        (EventKind::Modify(ModifyKind::Name(RenameMode::Both)), _) => return None,
        (EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)), _) => {
            return matches!(target, Target::Parent(_)).then_some(WatchEvent::Written { target, name });
        }
        // FSEvents does not say which side of a rename this is.
        _ => return Some(WatchEvent::Touched { target, arrived: None }),
    };
    Some(WatchEvent::Entry { target, op, name })
}

fn to_io(error: notify::Error) -> io::Error {
    match error.kind {
        ErrorKind::Io(error) => error,
        _ => io::Error::other(error),
    }
}
