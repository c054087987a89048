//! The notify crate: FSEvents on macOS, kqueue on the BSDs, and inotify again where that is wanted for a comparison.
//!
//! Its events come from a thread of its own through a bounded channel; what does not fit there becomes an overflow. See "Known
//! Problems" in the crate's documentation for what bites: FSEvents does not see hard links, so an MDA that delivers by `link(2)` is
//! found by the sweep, and kqueue holds a descriptor for each file.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use tokio::sync::mpsc;

use super::{
    Arm, ArmError, Handle, RawWatch, Read, Role, Target, WatchEvent, Watcher,
    arming::{Armings, Raw, Unknown},
    check_directory,
};
use crate::classifier::Op;

/// As many events as inotify's own queue holds.
const CHANNEL: usize = 16_384;
/// The most events handed out by one read, so that timers get their turn.
const BATCH: usize = 1024;

/// The portable backend.
pub struct Portable {
    watcher: Arc<Shared>,
    events: mpsc::Receiver<notify::Result<Event>>,
    /// Taken out of the channel by `poll_ready`, to be handed out first.
    next: Option<notify::Result<Event>>,
    /// Set by the crate's thread when the channel was full.
    missed: Arc<AtomicBool>,
    targets: HashMap<PathBuf, (Target, Handle)>,
    paths: HashMap<Handle, PathBuf>,
    unknown: Unknown<PathBuf>,
    last_handle: i32,
}

/// The crate's watcher, which threads take turns to add to.
struct Shared(Mutex<RecommendedWatcher>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, RecommendedWatcher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Armer {
    watcher: Arc<Shared>,
    armings: Armings,
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
            watcher: Arc::new(Shared(Mutex::new(RecommendedWatcher::new(handler, config).map_err(to_io)?))),
            events,
            next: None,
            missed,
            targets: HashMap::new(),
            paths: HashMap::new(),
            unknown: Unknown::new(),
            last_handle: 0,
        })
    }
}

impl Arm for Armer {
    fn arm(&self, role: Role, directory: &Path) -> Result<RawWatch, ArmError> {
        let underway = self.armings.begin();
        check_directory(role, directory)?;
        // FSEvents reports paths without links (`/private/var`), whatever was asked for.
        let path = directory.canonicalize()?;
        match self.watcher.lock().watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(RawWatch { raw: Raw::Portable(path), _underway: underway }),
            Err(error) => Err(match error.kind {
                ErrorKind::MaxFilesWatch => ArmError::Limit,
                ErrorKind::PathNotFound => ArmError::Missing,
                _ => to_io(error).into(),
            }),
        }
    }
}

impl Watcher for Portable {
    fn armer(&self) -> Arc<dyn Arm> {
        Arc::new(Armer { watcher: Arc::clone(&self.watcher), armings: self.unknown.armings.clone() })
    }

    fn adopt(&mut self, target: Target, watch: RawWatch) -> Result<Handle, ArmError> {
        let Raw::Portable(path) = watch.raw else { return Err(RawWatch::foreign()) };
        match self.targets.entry(path) {
            Entry::Occupied(known) => match *known.get() {
                (other, handle) if other == target => Ok(handle),
                (other, _) => Err(ArmError::Shared(other)),
            },
            Entry::Vacant(free) => {
                self.last_handle = self.last_handle.wrapping_add(1);
                let handle = Handle(self.last_handle);
                self.paths.insert(handle, free.key().clone());
                self.unknown.adopted(free.key(), target);
                free.insert((target, handle));
                Ok(handle)
            }
        }
    }

    fn give_up(&mut self, watch: RawWatch) {
        // Another thread may have armed the same directory, and would not be told that its watch is gone.
        if let Raw::Portable(path) = &watch.raw
            && !self.targets.contains_key(path)
            && self.unknown.armings.count() == 1
        {
            let _ = self.watcher.lock().unwatch(path);
        }
    }

    fn disarm(&mut self, handle: Handle) {
        if let Some(path) = self.paths.remove(&handle) {
            if let Some((target, _)) = self.targets.remove(&path) {
                self.unknown.disarmed(target);
            }
            // It fails when the directory is gone, and the watch with it.
            let _ = self.watcher.lock().unwatch(&path);
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.next.is_some() || self.unknown.has_news() || self.missed.load(Ordering::Acquire) {
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

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read> {
        let mut any = self.unknown.tell(each);
        if self.missed.swap(false, Ordering::AcqRel) {
            any = true;
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
                        self.may_be_unknown(path, event.kind);
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
        Ok(Read { any, busy: any, all: !any })
    }
}

impl Portable {
    /// An event may be of a directory that a thread has armed just now, or of an entry of one.
    fn may_be_unknown(&mut self, path: &Path, kind: EventKind) {
        let Self { targets, unknown, .. } = self;
        if !unknown.armings.any() {
            return;
        }
        let is_gone = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if is_gone && !targets.contains_key(path) {
            unknown.had_event(|| path.to_owned(), true);
        }
        if let Some(parent) = path.parent().filter(|parent| !targets.contains_key(*parent)) {
            unknown.had_event(|| parent.to_owned(), false);
        }
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
                Some(WatchEvent::Touched { target, arrived: None, seen: None })
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
        _ => return Some(WatchEvent::Touched { target, arrived: None, seen: None }),
    };
    Some(WatchEvent::Entry { target, op, name })
}

fn to_io(error: notify::Error) -> io::Error {
    match error.kind {
        ErrorKind::Io(error) => error,
        _ => io::Error::other(error),
    }
}
