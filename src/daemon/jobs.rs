//! Work that may have to wait for a disk, and so happens beside the hot path: reading the map's sources, and looking at
//! directories.

use std::{io, path::PathBuf, sync::Arc, time::Instant};

use tokio::task::JoinSet;

use crate::{
    mailbox::{
        MailboxId,
        source::{Listing, SourceError, Sources},
    },
    maildir::Part,
    stamp::Stamp,
};

/// Mailboxes in one job of looking: some milliseconds with a warm cache.
pub(super) const CHUNK: usize = 1024;

/// What a job found.
pub(super) enum Done {
    /// All sources of the map.
    Listing { result: Result<Listing, SourceError>, why: Why, took: std::time::Duration },
    /// Users in folders that appeared.
    Below(Vec<Listing>),
    /// What a look at some mailboxes saw.
    Looks(Vec<Look>),
}

/// What a look at one mailbox saw, in the order of [`Part::ALL`].
pub(super) struct Look {
    pub(super) id: MailboxId,
    pub(super) maildir: PathBuf,
    pub(super) parts: [io::Result<Stamp>; 2],
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
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { set: JoinSet::new(), looks: 0 }
    }

    pub(super) fn read_sources(&mut self, sources: Arc<Sources>, why: Why) {
        self.set.spawn_blocking(move || {
            let start = Instant::now();
            let result = sources.read();
            Done::Listing { result, why, took: start.elapsed() }
        });
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

    /// Is there a processor free for another look?
    pub(super) fn can_look(&self) -> bool {
        self.looks < 2
    }

    /// Does none run?
    pub(super) fn is_idle(&self) -> bool {
        self.set.is_empty()
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looks > 0
    }

    pub(super) fn look(&mut self, mailboxes: Vec<(MailboxId, PathBuf)>) {
        self.looks += 1;
        self.set.spawn_blocking(move || {
            let looks = mailboxes.into_iter().map(|(id, maildir)| {
                let parts = Part::ALL.map(|part| Stamp::look(&maildir.join(part.dir_name())));
                Look { id, maildir, parts }
            });
            Done::Looks(looks.collect())
        });
    }

    /// Waits for the next job to end; for ever if there is none.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            match self.set.join_next().await {
                Some(Ok(done)) => {
                    if let Done::Looks(_) = done {
                        self.looks -= 1;
                    }
                    return done;
                }
                // A job that panicked takes the daemon with it: nobody knows what it left undone.
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => std::future::pending().await,
            }
        }
    }
}
