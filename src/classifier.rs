//! What an event in `new/` or `cur/` means: new mail, a change, or nothing. Pure.
//!
//! The rules are those of this table (seen with Dovecot 2.3.19); the cases in `tests/cases/classifier.txt`
//! hold each row.
//!
//! | what is seen | what it means |
//! |---|---|
//! | something comes into `new/` | new mail |
//! | `new/` → `cur/`, same unique name, no flags | nothing: a client opened the mailbox |
//! | `new/` → `cur/`, with flags | change |
//! | `cur/` → `cur/` | change: flags |
//! | something comes into `cur/` from elsewhere, no `S` | new mail: APPEND, COPY, MOVE |
//! | the same, with `S` | change |
//! | something is deleted, or moved elsewhere | change |
//! | no message ([`is_message`]) | nothing |
//!
//! A rename inside the mailbox shows as two events with one cookie, and the second may come with a later read.
//! So the first half is held until the end of the next read, or for [`HOLD`], whichever comes first.

use std::time::{Duration, Instant};

use crate::{
    mailbox::MailboxId,
    maildir::{FileName, Part, is_message},
};

/// How long the first half of a rename waits for the second.
pub const HOLD: Duration = Duration::from_millis(5);

/// What happened to a mailbox, in the only two kinds that a phone can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something was read, flagged, moved or deleted: the phone's badge and list are out of date.
    Change,
    /// There is a message that nobody has seen.
    NewMail,
}

impl Kind {
    /// The kind in words, for logs and people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::NewMail => "new mail",
        }
    }

    /// The kind as one word: a label of metrics, in JSON, and for programs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::NewMail => "new-mail",
        }
    }
}

/// What was seen of one directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The entry was made here (`open`, `link`).
    Created,
    /// The entry was removed (`unlink`).
    Deleted,
    /// The entry was renamed, and this is its new place. Both halves of a rename have the same cookie.
    MovedTo(u32),
    /// The entry was renamed, and this was its old place.
    MovedFrom(u32),
}

/// Why an event is no change, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The name is not one of a message.
    NoMessage,
    /// A client opened the mailbox: a message went from `new/` to `cur/` and got no flags.
    Opened,
    /// The first half of a rename, which waits for the second.
    Half,
}

/// The first half of a rename, waiting for the second.
#[derive(Debug)]
struct Half {
    cookie: u32,
    mailbox: MailboxId,
    part: Part,
    name: Box<[u8]>,
    /// Came with a read that is over: the next read's end is the end of the wait.
    old: bool,
}

/// The state between events: halves of renames. Bounded by the events of two reads.
#[derive(Debug, Default)]
pub struct Classifier {
    held: Vec<Half>,
    deadline: Option<Instant>,
}

impl Classifier {
    /// Takes in one event and calls `found` for each change that is certain now. If that is none, returns why.
    pub fn event(
        &mut self,
        mailbox: MailboxId,
        part: Part,
        op: Op,
        name: &[u8],
        found: &mut impl FnMut(MailboxId, Kind),
    ) -> Option<Nothing> {
        if !is_message(name) {
            return Some(Nothing::NoMessage);
        }
        match op {
            Op::Created => found(mailbox, arrival(part, name)),
            Op::Deleted => found(mailbox, Kind::Change),
            Op::MovedFrom(cookie) => {
                self.held.push(Half { cookie, mailbox, part, name: name.into(), old: false });
                return Some(Nothing::Half);
            }
            Op::MovedTo(cookie) => match self.take(cookie) {
                Some(from) if from.mailbox == mailbox => {
                    let Some(kind) = rename(from.part, &from.name, part, name) else {
                        return Some(Nothing::Opened);
                    };
                    found(mailbox, kind);
                }
                // From one user's mailbox into another's: gone from there, new here.
                Some(from) => {
                    found(from.mailbox, Kind::Change);
                    found(mailbox, arrival(part, name));
                }
                None => found(mailbox, arrival(part, name)),
            },
        }
        None
    }

    /// Is the first half of a rename in the mailbox held? What it means is not known yet.
    #[must_use]
    pub fn holds(&self, mailbox: MailboxId) -> bool {
        self.held.iter().any(|half| half.mailbox == mailbox)
    }

    /// A read is over: halves that came with an earlier one have no second half.
    pub fn end_of_read(&mut self, now: Instant, found: &mut impl FnMut(MailboxId, Kind)) {
        self.held.retain_mut(|half| {
            if half.old {
                found(half.mailbox, Kind::Change);
            }
            !std::mem::replace(&mut half.old, true)
        });
        self.deadline = (!self.held.is_empty()).then(|| now + HOLD);
    }

    /// Until when the halves that are held may wait; call [`Self::release`] then.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the wait for second halves: what is held was moved out of the mailbox.
    pub fn release(&mut self, found: &mut impl FnMut(MailboxId, Kind)) {
        self.deadline = None;
        for half in self.held.drain(..) {
            found(half.mailbox, Kind::Change);
        }
    }

    fn take(&mut self, cookie: u32) -> Option<Half> {
        // The second half nearly always follows the first, so the search from the back ends at once.
        let at = self.held.iter().rposition(|half| half.cookie == cookie)?;
        Some(self.held.swap_remove(at))
    }
}

/// Something that was not in the mailbox before.
fn arrival(part: Part, name: &[u8]) -> Kind {
    match part {
        Part::Cur if FileName::parse(name).is_seen() => Kind::Change,
        Part::New | Part::Cur => Kind::NewMail,
    }
}

/// Something that was in the mailbox under another name.
fn rename(from: Part, old: &[u8], to: Part, new: &[u8]) -> Option<Kind> {
    let (old, new) = (FileName::parse(old), FileName::parse(new));
    let opened = (from, to) == (Part::New, Part::Cur) && old.unique == new.unique && new.flags.is_empty();
    (!opened).then_some(Kind::Change)
}
