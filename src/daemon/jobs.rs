//! Work that may have to wait for a disk, and so happens beside the hot path: reading the map's sources, arming, and looking at
//! directories.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::arming::{ArmedPart, Armers};
use crate::{
    mailbox::{
        MailboxId, MailboxMap, Replacement,
        doveadm::Memory,
        listing::Listing,
        source::{SourceError, Sources},
    },
    maildir::Part,
    planner::{Look, Order, Seen, Unseen},
    stamp::{Stamp, Stamps, holds_message},
    watcher,
};

/// Mailboxes in one job: a fraction of a millisecond with a warm cache, and enough jobs for many threads with a cold one.
pub(super) const CHUNK: usize = 128;
/// Threads that arm and look while directories are in the kernel's cache: as many as there are processors on a small machine.
const THREADS: usize = 2;
/// The same when they have to come from the disk: a disk does many things at once.
pub(super) const MOST_THREADS: usize = 64;
/// A look that takes longer waits for a disk.
const COLD: Duration = Duration::from_micros(100);

/// What a job found.
pub(super) enum Done {
    /// All sources of the map.
    Listing { result: Result<Box<Listing>, SourceError>, dovecot: Box<Memory>, why: Why, took: Duration },
    /// What Dovecot answered.
    Asked(Box<Memory>),
    /// What the map is to become; nothing if it is so already.
    Compared { replacement: Option<Box<Replacement>>, why: Why },
    /// Users in folders that appeared.
    Below(Vec<Listing>),
    /// What a look at some mailboxes saw.
    Looks { looks: Vec<(Look, PathBuf)>, took: Duration },
    /// Mailboxes whose directories were armed, as far as they are there.
    Armed { mailboxes: Vec<Armed>, took: Duration },
}

/// A mailbox to be armed.
pub(super) struct ToArm {
    pub(super) id: MailboxId,
    pub(super) maildir: PathBuf,
    pub(super) appeared: bool,
    pub(super) tries: u8,
    /// What the record says.
    pub(super) known: Stamps,
    /// Is the part watched already?
    pub(super) armed: [bool; 2],
}

/// A mailbox that was armed.
pub(super) struct Armed {
    pub(super) id: MailboxId,
    pub(super) maildir: PathBuf,
    pub(super) appeared: bool,
    pub(super) tries: u8,
    pub(super) parts: [ArmedPart; 2],
}

/// Why the sources were read. Ordered: the more reason, the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The map file changed, or something that may concern the map.
    Changed,
    /// It was time.
    Sweep,
    /// Somebody asked for it by SIGHUP.
    Reload,
    /// The start.
    Start,
}

pub(super) struct Jobs {
    set: JoinSet<Done>,
    looks: usize,
    armings: usize,
    /// How many threads arm and look.
    threads: usize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { set: JoinSet::new(), looks: 0, armings: 0, threads: THREADS }
    }

    pub(super) fn read_sources(&mut self, sources: Arc<Sources>, mut dovecot: Memory, why: Why) {
        self.set.spawn_blocking(move || {
            let start = Instant::now();
            let result = sources.read_again(&mut dovecot, why >= Why::Reload).map(Box::new);
            Done::Listing { result, dovecot: Box::new(dovecot), why, took: start.elapsed() }
        });
    }

    pub(super) fn ask_dovecot(&mut self, sources: Arc<Sources>, mut dovecot: Memory) {
        self.set.spawn_blocking(move || {
            sources.dovecot().into_iter().for_each(|source| dovecot.ask(source));
            Done::Asked(Box::new(dovecot))
        });
    }

    /// Compares the map with what its sources say, and with what was found elsewhere while they were read.
    pub(super) fn compare(
        &mut self,
        map: Arc<MailboxMap>,
        mut listed: MailboxMap,
        found_meanwhile: Vec<MailboxMap>,
        why: Why,
    ) {
        self.set.spawn_blocking(move || {
            for found in found_meanwhile {
                listed.extend(&found);
            }
            let replacement = Replacement::of(&map, listed);
            Done::Compared { replacement: (!replacement.is_nothing()).then(|| Box::new(replacement)), why }
        });
    }

    /// Frees a map, which takes too long to be done between two pushes.
    pub(super) fn drop_map(&self, map: Arc<MailboxMap>) {
        tokio::task::spawn_blocking(move || drop(map));
    }

    pub(super) fn read_below(&mut self, sources: Arc<Sources>, folders: Vec<PathBuf>) {
        self.set.spawn_blocking(move || {
            let listings = sources.templates().flat_map(|template| {
                let sources = &sources;
                folders.iter().map(move |folder| sources.read_below(template, folder))
            });
            Done::Below(listings.collect())
        });
    }

    /// Is there a thread for another chunk of looking or arming? One more than work at a time, so that none waits for the next chunk.
    pub(super) fn has_room(&self) -> bool {
        self.looks + self.armings <= self.threads
    }

    /// Does none run?
    pub(super) fn is_idle(&self) -> bool {
        self.set.is_empty()
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looks > 0
    }

    pub(super) fn is_arming(&self) -> bool {
        self.armings > 0
    }

    /// Carries out orders, except for parts to be skipped.
    pub(super) fn look(&mut self, orders: Vec<(Order, PathBuf, [bool; 2])>) {
        self.looks += 1;
        self.set.spawn_blocking(move || {
            let start = Instant::now();
            let mut buffer = PathBuf::new();
            let looks = orders.into_iter().map(|(order, maildir, skip)| {
                let parts = Part::ALL.map(|part| {
                    let at = part as usize;
                    if skip[at] {
                        return Err(Unseen::Unknown);
                    }
                    let directory = part.directory(&maildir, &mut buffer);
                    if order.told[at] {
                        // Nobody wants to know, unless the part is armed anew meanwhile: then the doubt is the user's.
                        return look_at(directory).map(|stamp| Seen { stamp, holds_message: true });
                    }
                    see(part, directory, order.known[at])
                });
                (Look { order, parts }, maildir)
            });
            let looks = looks.collect();
            Done::Looks { looks, took: start.elapsed() }
        });
    }

    /// Arms what is there, and looks at it after that: what came before the watch is found by the look.
    pub(super) fn arm(&mut self, mailboxes: Vec<ToArm>, armers: Armers) {
        self.armings += 1;
        self.set.spawn_blocking(move || {
            let start = Instant::now();
            let mut buffer = PathBuf::new();
            let arm = |ToArm { id, maildir, appeared, tries, known, armed }| {
                let parts = Part::ALL.map(|part| {
                    let (known, armed) = (known[part as usize], armed[part as usize]);
                    armers.arm(part, part.directory(&maildir, &mut buffer), known, armed)
                });
                Armed { id, maildir, appeared, tries, parts }
            };
            let mailboxes = mailboxes.into_iter().map(arm).collect();
            Done::Armed { mailboxes, took: start.elapsed() }
        });
    }

    /// Waits for the next job to end; for ever if there is none.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            match self.set.join_next().await {
                Some(Ok(done)) => {
                    match &done {
                        Done::Looks { looks, took } => {
                            self.looks -= 1;
                            self.measure(looks.len(), *took);
                        }
                        Done::Armed { mailboxes, took } => {
                            self.armings -= 1;
                            self.measure(mailboxes.len(), *took);
                        }
                        Done::Listing { .. } | Done::Asked(_) | Done::Compared { .. } | Done::Below(_) => {}
                    }
                    return done;
                }
                // A job that panicked takes the daemon with it: nobody knows what it left undone.
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => std::future::pending().await,
            }
        }
    }

    /// More threads as soon as single looks wait for a disk, and few again when they do not: then they would wait for each other.
    fn measure(&mut self, mailboxes: usize, took: Duration) {
        let looks = u32::try_from(2 * mailboxes.max(1)).unwrap_or(u32::MAX);
        self.threads = if took / looks > COLD { MOST_THREADS } else { THREADS };
    }
}

/// Looks at a directory, and into it where it is not as it was known.
pub(super) fn see(part: Part, directory: &Path, known: Option<Stamp>) -> Result<Seen, Unseen> {
    Ok(look_into(part, directory, look_at(directory)?, known))
}

fn look_at(directory: &Path) -> Result<Stamp, Unseen> {
    Stamp::look(directory).map_err(|error| unseen(&error))
}

/// The same after the look itself.
pub(super) fn look_into(part: Part, directory: &Path, stamp: Stamp, known: Option<Stamp>) -> Seen {
    let is_as_known = known.is_some_and(|known| stamp.is_unchanged_since(&known));
    // What is in `cur/` matters only where nothing was known of it.
    let matters = !is_as_known && (part == Part::New || known.is_none());
    Seen { stamp, holds_message: matters && holds_message(directory).unwrap_or(true) }
}

/// A disk that does not answer says nothing about the directory.
fn unseen(error: &io::Error) -> Unseen {
    if watcher::is_missing(error) { Unseen::Missing } else { Unseen::Unknown }
}
