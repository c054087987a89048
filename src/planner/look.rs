//! Looks at mailboxes: what is asked for, and what was seen. Whoever has the disk carries them out.

use crate::{
    classifier::Kind,
    mailbox::MailboxId,
    maildir::Part,
    stamp::{Stamp, Stamps},
};

/// Why a mailbox is looked at. Ordered: the more reason, the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// To renew its record, now that it is quiet.
    Settle,
    /// It was time.
    Sweep,
    /// Events were dropped: whatever changed may be one that nobody told of.
    Overflow,
}

/// A mailbox to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Which.
    pub mailbox: MailboxId,
    /// Why.
    pub why: Why,
    /// What the record says. What a directory holds need be known only where it is not as in the record.
    pub known: Stamps,
    /// The parts, in the order of [`Part::ALL`], whose change is told already: what they hold need not be known.
    pub told: [bool; 2],
    /// Overflows up to the order.
    pub(super) overflows: u32,
}

/// What was seen of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which directory, and when it changed.
    pub stamp: Stamp,
    /// Is there a message in it? Looked at after the stamp, and only where it matters.
    pub holds_message: bool,
}

/// Why nothing was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// There is no such directory.
    Missing,
    /// The disk did not answer, or was not asked: nothing is known.
    Unknown,
}

/// An order that was carried out.
#[derive(Clone, Debug)]
pub struct Look {
    /// The order.
    pub order: Order,
    /// What was seen, in the order of [`Part::ALL`].
    pub parts: [Result<Seen, Unseen>; 2],
}

/// What a look says against the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Changed(Seen),
    /// Another directory, or one where there was none, or none where there was one.
    Elsewhere,
}

impl Verdict {
    pub(super) fn of(record: Option<Stamp>, look: Result<Seen, Unseen>) -> Self {
        match (look, record) {
            (Ok(seen), Some(then)) if !seen.stamp.same_directory(&then) => Self::Elsewhere,
            (Ok(seen), Some(then)) if seen.stamp != then => Self::Changed(seen),
            (Ok(_), Some(_)) | (Err(_), None) | (Err(Unseen::Unknown), Some(_)) => Self::Same,
            (Ok(_), None) | (Err(Unseen::Missing), Some(_)) => Self::Elsewhere,
        }
    }
}

impl Seen {
    /// What a change of the directory means when only that is known.
    pub(super) fn kind(&self, part: Part) -> Kind {
        if part == Part::New && self.holds_message { Kind::NewMail } else { Kind::Change }
    }
}
