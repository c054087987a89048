//! The comparison of mailboxes with their last looks, which finds what no event told of: after an overflow, in a sweep, and when a
//! folder above mailboxes was moved.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Instant,
};

use tracing::debug;

use super::{
    jobs::{CHUNK, Jobs, Look},
    pipeline::Pipeline,
    records::Verdict,
    watching::Watching,
};
use crate::{
    classifier::Kind,
    mailbox::{MailboxId, MailboxMap, source::Sources},
    maildir::Part,
    stamp::{Stamp, holds_message},
};

#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Still to be looked at.
    left: Vec<MailboxId>,
    /// Have events been dropped, so that looks with an ambiguous answer count as changes?
    after_overflow: bool,
    /// Mailboxes that a look found changed without an event, to be judged after the next read.
    suspects: Vec<(MailboxId, Part)>,
    /// Mailboxes whose records were brought up to date after their events had been read, on the assumption that no later event was
    /// dropped: the next complete read without an overflow shows that.
    unconfirmed: Vec<MailboxId>,
}

impl Comparison {
    /// Begins anew with these mailboxes.
    pub(super) fn begin(&mut self, mailboxes: impl Iterator<Item = MailboxId>) {
        self.left = mailboxes.collect();
    }

    /// Events were dropped. Notes the mailboxes whose records may hide a change.
    pub(super) fn overflow(&mut self, pipeline: &mut Pipeline, now: Instant) {
        let mut unsure = std::mem::take(&mut self.unconfirmed);
        unsure.extend(pipeline.take_touched());
        unsure.sort_unstable();
        unsure.dedup();
        for id in unsure {
            let Some(maildir) = pipeline.map.maildir(id) else { continue };
            let kind = kind_of_change(Part::New, &maildir.join(Part::New.dir_name()));
            pipeline.note(id, kind, now);
        }
        self.after_overflow = true;
    }

    /// Is there something to look at, and a thread for it?
    pub(super) fn wants_look(&self, jobs: &Jobs) -> bool {
        !self.left.is_empty() && jobs.can_look()
    }

    /// Lets jobs look at what is left.
    pub(super) fn look(&mut self, jobs: &mut Jobs, pipeline: &Pipeline) {
        while self.wants_look(jobs) {
            let chunk = self.left.split_off(self.left.len().saturating_sub(CHUNK)).into_iter();
            let wanted = chunk.filter(|id| pipeline.is_wanted(*id));
            jobs.look(wanted.filter_map(|id| Some((id, pipeline.map.maildir(id)?.to_owned()))).collect());
        }
    }

    /// Everything that happened up to now has been read: what a look says now is not explained by an event that is on its way.
    /// Returns mailboxes that have to be armed anew.
    pub(super) fn all_read(&mut self, pipeline: &mut Pipeline, now: Instant) -> Vec<MailboxId> {
        let mut others = Vec::new();
        self.unconfirmed.clear();
        for id in pipeline.take_touched() {
            if let Some(maildir) = pipeline.map.maildir(id) {
                pipeline.records.look_again(id, maildir);
                self.unconfirmed.push(id);
            }
        }
        for (id, part) in std::mem::take(&mut self.suspects) {
            let Some(maildir) = pipeline.map.maildir(id) else { continue };
            let directory = maildir.join(part.dir_name());
            let look = Stamp::look(&directory);
            match (pipeline.records.compare(id, part, &look), look) {
                (Verdict::Changed { known: false }, Ok(now_there)) => {
                    pipeline.records.set(id, part, Some(now_there));
                    let kind = kind_of_change(part, &directory);
                    let kind_of = kind.as_str();
                    debug!(
                        directory = %directory.display(), kind = kind_of,
                        "a look found what no event told: {kind_of} in `{}`", directory.display()
                    );
                    pipeline.note(id, kind, now);
                }
                (Verdict::Other, _) => others.push(id),
                _ => {}
            }
        }
        others
    }

    /// Is there something that [`Self::all_read`] is waited for?
    pub(super) fn wants_all_read(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Compares what a job saw with the last looks. Returns mailboxes that have to be armed anew.
    pub(super) fn judge(
        &mut self,
        looks: Vec<Look>,
        jobs: &Jobs,
        watching: &Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> Vec<MailboxId> {
        let others =
            looks.into_iter().filter_map(|look| self.judge_one(look, watching, pipeline, now)).collect();
        if self.left.is_empty() && !jobs.is_looking() {
            self.after_overflow = false;
        }
        others
    }

    /// Compares one mailbox with its last look. Returns it if it has to be armed anew.
    fn judge_one(
        &mut self,
        Look { id, maildir, parts }: Look,
        watching: &Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) -> Option<MailboxId> {
        if pipeline.map.maildir(id) != Some(&*maildir) {
            return None;
        }
        for (part, look) in Part::ALL.into_iter().zip(parts) {
            if watching.is_polled(id, part) {
                continue;
            }
            match (pipeline.records.compare(id, part, &look), look) {
                (Verdict::Other, _) => return Some(id),
                // After an overflow an event that is pending may not be the one that matters, and the doubt is the user's.
                (Verdict::Changed { .. } | Verdict::Racy { .. }, Ok(stamp)) if self.after_overflow => {
                    let directory = maildir.join(part.dir_name());
                    pipeline.records.set(id, part, Some(stamp));
                    pipeline.note(id, kind_of_change(part, &directory), now);
                }
                // An event for it may be on its way.
                (Verdict::Changed { known: false }, _) => self.suspects.push((id, part)),
                (Verdict::Racy { known: false }, Ok(stamp)) => pipeline.records.set(id, part, Some(stamp)),
                _ => {}
            }
        }
        None
    }

    /// Folders were made, moved, removed or put in the place of others: the mailboxes in them are compared.
    ///
    /// Each folder comes with whether it is new: then there was no other one in its place.
    pub(super) fn add_below(
        &mut self,
        folders: HashSet<(PathBuf, bool)>,
        sources: &Sources,
        map: &MailboxMap,
    ) {
        // Mostly it is the folder of one user, and its mailbox is found by its path.
        let mut others = HashSet::new();
        for (folder, is_new) in folders {
            let known = sources.maildirs_in(&folder).find_map(|maildir| map.by_path(&maildir));
            self.left.extend(known);
            if known.is_none() && !is_new {
                others.insert(folder);
            }
        }
        // What is left was the folder of a domain, or nobody's: one pass over all mailboxes for all such folders.
        if !others.is_empty() {
            let is_below = |id: &MailboxId| {
                let maildir = map.maildir(*id);
                maildir.is_some_and(|maildir| maildir.ancestors().any(|above| others.contains(above)))
            };
            self.left.extend(map.ids().filter(is_below));
        }
    }
}

/// What a change of a directory means when only that is known.
pub(super) fn kind_of_change(part: Part, directory: &Path) -> Kind {
    if part == Part::New && holds_message(directory).unwrap_or(false) { Kind::NewMail } else { Kind::Change }
}
