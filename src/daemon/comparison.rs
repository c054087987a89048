//! The comparison of mailboxes with their records, as far as it needs the map and threads: what is to be looked at goes to the jobs, and
//! what they saw to the planner.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Instant,
};

use tracing::{debug, info};

use super::{
    jobs::{CHUNK, Jobs},
    pipeline::Pipeline,
    watching::Watching,
};
use crate::{
    classifier::Kind,
    mailbox::{MailboxId, MailboxMap, source::Sources},
    maildir::Part,
    planner::{Look, Why},
    sink::milliseconds,
    stamp::holds_message,
};

/// A comparison of all mailboxes, for the line that tells of its end.
pub(super) struct Comparing {
    since: Instant,
    mailboxes: usize,
    why: Why,
}

impl Comparing {
    /// One that begins before the last one has ended is both.
    pub(super) fn begin(before: Option<Self>, mailboxes: usize, why: Why, now: Instant) -> Self {
        let why = before.map_or(why, |before| before.why.max(why));
        Self { since: now, mailboxes, why }
    }

    /// All mailboxes have been looked at. That events were dropped was a warning, so its end is told; a sweep is everyday work.
    pub(super) fn tell_end(&self) {
        let Self { since, mailboxes, why } = self;
        let took_ms = milliseconds(since.elapsed());
        if *why == Why::Overflow {
            info!(mailboxes, took_ms, "all mailboxes have been looked at, in {took_ms} ms ({mailboxes})");
        } else {
            debug!(mailboxes, took_ms, "sweep: all mailboxes were compared in {took_ms} ms ({mailboxes})");
        }
    }
}

/// Lets jobs look at what the planner wants to know.
pub(super) fn look(jobs: &mut Jobs, pipeline: &mut Pipeline, watching: &Watching) {
    while pipeline.planner.wants_look() && jobs.has_room() {
        let orders = pipeline.planner.next_looks(CHUNK);
        let with_path = orders.into_iter().map(|order| {
            let id = order.mailbox;
            // What is polled is looked at by the poller; what is not watched is nobody's affair.
            let skip = Part::ALL.map(|part| watching.is_polled(id, part) || !pipeline.is_wanted(id));
            (order, pipeline.map.maildir(id).map(PathBuf::from).unwrap_or_default(), skip)
        });
        jobs.look(with_path.collect());
    }
}

/// Hands to the planner what a job saw, unless the mailbox is no more. Returns mailboxes to be armed: their directories are others than
/// those that are watched, or are there again and watched by nobody.
pub(super) fn judge(
    looks: Vec<(Look, PathBuf)>,
    pipeline: &mut Pipeline,
    watching: &Watching,
    now: Instant,
) -> Vec<MailboxId> {
    let mut unwatched = Vec::new();
    for (look, maildir) in looks {
        let id = look.order.mailbox;
        let is_there = pipeline.map.maildir(id) == Some((&maildir).into());
        if is_there
            && look.parts.iter().zip(watching.armed_parts(id)).any(|(part, armed)| part.is_ok() && !armed)
        {
            unwatched.push(id);
        }
        pipeline.planner.looked(look, is_there, now);
    }
    unwatched.extend(pipeline.planner.take_elsewhere());
    unwatched
}

/// Folders were made, moved, removed or put in the place of others: the mailboxes in them, to be compared.
///
/// Each folder comes with whether it is new: then there was no other one in its place.
pub(super) fn mailboxes_below(
    folders: HashSet<(PathBuf, bool)>,
    sources: &Sources,
    map: &MailboxMap,
) -> Vec<MailboxId> {
    let mut below = Vec::new();
    // Mostly it is the folder of one user, and its mailbox is found by its path.
    let mut others = HashSet::new();
    for (folder, is_new) in folders {
        let known = sources.maildirs_in(&folder).find_map(|maildir| map.by_path(&maildir));
        below.extend(known);
        if known.is_none() && !is_new {
            others.insert(folder);
        }
    }
    // What is left was the folder of a domain, or nobody's: one pass over all mailboxes for all such folders.
    if !others.is_empty() {
        let is_below = |id: &MailboxId| {
            let maildir = map.maildir(*id).map(PathBuf::from);
            maildir.is_some_and(|maildir| maildir.ancestors().any(|above| others.contains(above)))
        };
        below.extend(map.ids().filter(is_below));
    }
    below
}

/// What a change of a directory means when only that is known.
pub(super) fn kind_of_change(part: Part, directory: &Path) -> Kind {
    if part == Part::New && holds_message(directory).unwrap_or(false) { Kind::NewMail } else { Kind::Change }
}
