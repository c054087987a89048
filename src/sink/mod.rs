//! Where pushes go.

pub mod apns;
pub mod exec;
pub mod push_notify;
mod socket;
pub mod tally;
pub mod trouble;
mod waiting;

use std::time::{Duration, Instant, SystemTime};

use self::tally::Via;
use crate::{
    debouncer::MailboxReady,
    mailbox::{MailboxId, MailboxMap},
};

/// What became of a push that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Another thread of the sink has it, and tells what became of it.
    Handed,
    /// The sink keeps it, and tries again at [`Sink::due`].
    Waiting,
}

/// For log lines.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How a sink is, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Where it sends to.
    pub target: String,
    /// What is wrong now, so that nothing goes out.
    pub trouble: Option<String>,
    /// What was wrong last, and when.
    pub last_error: Option<(SystemTime, String)>,
}

/// A receiver of pushes. Never blocks: what cannot be sent now waits as a member of a set of mailboxes, each at most once,
/// so that an outage costs memory by users and not by events.
pub trait Sink {
    /// Which sink it is.
    fn via(&self) -> Via;

    /// Pushes to all names of a mailbox, or keeps the mailbox for later.
    fn offer(&mut self, ready: &MailboxReady, map: &MailboxMap, now: Instant) -> Outcome;

    /// When [`Self::retry`] is wanted; nothing when nothing waits.
    fn due(&self) -> Option<Instant>;

    /// Sends what waits, as far as that works now, and tells of each push that the receiver has.
    fn retry(&mut self, map: &MailboxMap, now: Instant, sent: &mut dyn FnMut(&MailboxReady));

    /// Drops what waits for a mailbox that is no more.
    fn forget(&mut self, mailbox: MailboxId);

    /// How many mailboxes wait.
    fn waiting(&self) -> usize;

    /// How it is.
    fn health(&self) -> Health;
}
