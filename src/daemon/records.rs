//! What the last look at each mailbox saw. With it, a change that no event told of shows as a difference.
//!
//! An event only marks the record as out of date, which is all that the hot path pays. The look that renews it comes after a read that
//! found nothing more: what came before that read has been told, and what comes after it has an event of its own, or shows as an
//! overflow in the next read.

use std::{io, path::Path};

use crate::{mailbox::MailboxId, maildir::Part, stamp::Stamp, watcher};

/// `new/` or `cur/` of a mailbox.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    stamp: Option<Stamp>,
    /// Has an event been seen since that look?
    dirty: bool,
}

/// What a comparison of two looks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing happened.
    Same,
    /// It changed. `known`: an event has told so already.
    Changed { known: bool },
    /// It may have changed just after the last look, without a trace.
    Racy { known: bool },
    /// It is another directory, or there is none any more, or there was none before.
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Records(Vec<[Record; 2]>);

impl Records {
    /// Notes an event: the last look is out of date. Only this much on the hot path. True if it was not before.
    pub(super) fn mark_dirty(&mut self, id: MailboxId, part: Part) -> bool {
        !std::mem::replace(&mut self.record(id, part).dirty, true)
    }

    /// Looks at what has had events since the last look.
    pub(super) fn look_again(&mut self, id: MailboxId, maildir: &Path) {
        for part in Part::ALL {
            let record = self.record(id, part);
            if std::mem::take(&mut record.dirty) {
                record.stamp = Stamp::look(&maildir.join(part.dir_name())).ok().or(record.stamp);
            }
        }
    }

    /// Takes a look over as the last one.
    pub(super) fn set(&mut self, id: MailboxId, part: Part, stamp: Option<Stamp>) {
        *self.record(id, part) = Record { stamp, dirty: false };
    }

    /// What the last look saw.
    pub(super) fn stamp(&self, id: MailboxId, part: Part) -> Option<Stamp> {
        self.0.get(id.index())?[part as usize].stamp
    }

    /// Compares a look with the last one.
    pub(super) fn compare(&self, id: MailboxId, part: Part, look: &io::Result<Stamp>) -> Verdict {
        let record = self.0.get(id.index()).map(|parts| parts[part as usize]).unwrap_or_default();
        let known = record.dirty;
        match (look, record.stamp) {
            (Ok(now), Some(then)) if !now.same_directory(&then) => Verdict::Other,
            (Ok(now), Some(then)) if *now != then => Verdict::Changed { known },
            (Ok(_), Some(then)) if then.is_racy() => Verdict::Racy { known },
            (Ok(_), Some(_)) | (Err(_), None) => Verdict::Same,
            (Ok(_), None) => Verdict::Other,
            // A disk that does not answer says nothing about the directory.
            (Err(error), Some(_)) if !watcher::is_missing(error) => Verdict::Same,
            (Err(_), Some(_)) => Verdict::Other,
        }
    }

    fn record(&mut self, id: MailboxId, part: Part) -> &mut Record {
        if self.0.len() <= id.index() {
            self.0.resize(id.index() + 1, [Record::default(); 2]);
        }
        &mut self.0[id.index()][part as usize]
    }
}
