//! Directory mtimes, for file systems that send no events (NFS): each directory is looked at once in an interval.
//!
//! The looks happen on a thread of their own, which a server that does not answer may hold up.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Arm, ArmError, Handle, RawWatch, Read, Role, Target, WatchEvent, Watcher,
    arming::{Armings, Raw},
    check_directory,
};
use crate::{
    maildir::{Part, is_message},
    stamp::Stamp,
};

/// Findings wait here for the daemon; the looks wait when it is full.
const CHANNEL: usize = 1024;
/// Names whose hash is kept for each `new/`: enough to tell an arrival from a removal in any that clients look at.
const NAMES: usize = 10_000;

/// The polling backend.
pub struct Poller {
    shared: Arc<Shared>,
    findings: mpsc::Receiver<Finding>,
    next: Option<Finding>,
    last_handle: i32,
}

/// What the thread and its owner share. The lock is held for a look at one directory's entry in the table, never for
/// a look at the disk.
struct Shared {
    watched: Mutex<HashMap<Handle, Watched>>,
    wake: Condvar,
}

struct Watched {
    target: Target,
    directory: PathBuf,
    seen: Seen,
}

/// What the last look saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    stamp: Stamp,
    /// Hashes of the names in `new/`, which tell an arrival from a removal.
    names: HashSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Finding {
    Touched(Handle, Target, Option<bool>, Stamp),
    Lost(Handle, Target),
}

impl Poller {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there is no room for a thread.
    pub fn new(interval: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared { watched: Mutex::default(), wake: Condvar::new() });
        let (sender, findings) = mpsc::channel(CHANNEL);
        let weak = Arc::downgrade(&shared);
        thread::Builder::new().name("poll".to_owned()).spawn(move || run(&weak, interval, &sender))?;
        Ok(Self { shared, findings, next: None, last_handle: 0 })
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // The thread finds nobody left, and ends.
        self.findings.close();
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn watched(&self) -> MutexGuard<'_, HashMap<Handle, Watched>> {
        // Each change under the lock is one insertion or removal, so a panic in between leaves a good table.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the first look. What happens after it is found by the next one, whoever has taken the directory in by then.
struct Armer;

impl Arm for Armer {
    fn arm(&self, role: Role, directory: &Path) -> Result<RawWatch, ArmError> {
        check_directory(role, directory)?;
        let seen = Seen::look(role, directory)?;
        Ok(RawWatch { raw: Raw::Polled(directory.to_owned(), seen), _underway: Armings::default().begin() })
    }
}

impl Watcher for Poller {
    fn armer(&self) -> Arc<dyn Arm> {
        Arc::new(Armer)
    }

    fn adopt(&mut self, target: Target, watch: RawWatch) -> Result<Handle, ArmError> {
        let Raw::Polled(directory, seen) = watch.raw else { return Err(RawWatch::foreign()) };
        self.last_handle = self.last_handle.wrapping_add(1);
        let handle = Handle(self.last_handle);
        self.shared.watched().insert(handle, Watched { target, directory, seen });
        Ok(handle)
    }

    fn give_up(&mut self, _: RawWatch) {}

    fn disarm(&mut self, handle: Handle) {
        self.shared.watched().remove(&handle);
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.next.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.findings.poll_recv(context).map(|finding| {
            self.next = finding;
            match &self.next {
                Some(_) => Ok(()),
                None => Err(io::Error::other("the polling thread has ended")),
            }
        })
    }

    fn read(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> io::Result<Read> {
        let mut any = false;
        for _ in 0..CHANNEL {
            let Some(finding) = self.next.take().or_else(|| self.findings.try_recv().ok()) else { break };
            any = true;
            let (handle, event) = match finding {
                Finding::Touched(handle, target, arrived, seen) => {
                    (handle, WatchEvent::Touched { target, arrived, seen: Some(seen) })
                }
                Finding::Lost(handle, target) => (handle, WatchEvent::Lost(target)),
            };
            // Disarmed meanwhile: the target may be somebody else's by now.
            if self.shared.watched().contains_key(&handle) {
                each(event);
            }
        }
        Ok(Read { any, busy: any, all: !any })
    }
}

/// Looks at every directory, once in each interval, until the owner is gone.
fn run(shared: &Weak<Shared>, interval: Duration, findings: &mpsc::Sender<Finding>) {
    let mut next = Instant::now() + interval;
    loop {
        let Some(alive) = shared.upgrade() else { return };
        let mut guard = alive.watched();
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if findings.is_closed() || left.is_zero() {
                break;
            }
            guard = alive.wake.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let round: Vec<_> = guard
            .iter()
            .map(|(handle, watched)| {
                (*handle, watched.target, watched.directory.clone(), watched.seen.clone())
            })
            .collect();
        drop(guard);
        for (handle, target, directory, seen) in round {
            if findings.is_closed() {
                return;
            }
            let Some((finding, now)) = compare(handle, target, &directory, &seen) else { continue };
            if let (Some(now), Some(watched)) = (now, alive.watched().get_mut(&handle)) {
                watched.seen = now;
            }
            if findings.blocking_send(finding).is_err() {
                return;
            }
        }
        next = Instant::now() + interval;
    }
}

/// What a look at a directory finds, and what it saw.
fn compare(handle: Handle, target: Target, directory: &Path, seen: &Seen) -> Option<(Finding, Option<Seen>)> {
    match Stamp::look(directory) {
        Ok(now) if !now.same_directory(&seen.stamp) => Some((Finding::Lost(handle, target), None)),
        // A directory that was changed just before the last look may have been changed just after it, too.
        Ok(now) if now == seen.stamp && !seen.stamp.is_racy() => None,
        Ok(_) => {
            let now = Seen::look(target.role(), directory).ok()?;
            let arrived = matches!(target, Target::Part(_, Part::New))
                .then(|| now.names.difference(&seen.names).next().is_some());
            Some((Finding::Touched(handle, target, arrived, now.stamp), Some(now)))
        }
        Err(error) if super::is_missing(&error) => Some((Finding::Lost(handle, target), None)),
        // A server that is away for a while: what changed is seen when it is back.
        Err(error) => {
            let directory = directory.display();
            tracing::debug!(%directory, %error, "cannot look at the polled directory `{directory}`: {error}");
            None
        }
    }
}

impl Seen {
    pub(super) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn look(role: Role, directory: &Path) -> io::Result<Self> {
        // First the stamp, then the names: what comes in between is seen again next time rather than never.
        let stamp = Stamp::look(directory)?;
        let mut names = HashSet::new();
        if role == Role::Part(Part::New) {
            for entry in fs::read_dir(directory)?.take(NAMES) {
                let name = entry?.file_name();
                if is_message(name.as_bytes()) {
                    names.insert(hash(name.as_bytes()));
                }
            }
        }
        Ok(Self { stamp, names })
    }
}

fn hash(name: &[u8]) -> u64 {
    use std::hash::BuildHasher;
    rustc_hash::FxBuildHasher.hash_one(name)
}
