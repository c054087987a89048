//! How a test shows that something gives **no** push, without waiting for a guessed time.

use super::{Maildir, Push, Receiver, Site};

/// A user of its own, whose pushes mark a point in the stream of datagrams.
///
/// The daemon has one queue of events and, for every user, the same debounce times. So after the
/// test has done to user A what must give nothing, it causes a push for the fence's user, and
/// waits for that one as long as it takes. A push that A's action could have given would have been
/// due earlier: if only the fence's push arrives, A has none. A slow machine delays both alike,
/// so there is nothing to race against, and nothing to tune.
///
/// A fence has two rounds. At the end of the first all that was still undecided about A's action
/// has been decided (half of a rename may be held for some milliseconds before it counts as a
/// removal) and its timer runs; the timer of the second round starts after that, with the same
/// length, so that it cannot overtake.
///
/// A fence passes over what its kind of push comes after: [`after_new_mail`](Self::after_new_mail)
/// over new mail, [`after_changes`](Self::after_changes) over new mail and changes, provided that
/// `change-quiet` is not shorter than `new-mail-interval`.
pub(crate) struct Fence {
    user: String,
    maildir: Maildir,
    /// A message of the fence's user, in `cur/`.
    message: String,
}

impl Fence {
    /// Makes the fence's user, `fence@fence.test`. To be called before the daemon starts.
    pub(crate) fn new(site: &Site) -> Self {
        let user = "fence@fence.test".to_owned();
        let maildir = site.maildir(&user);
        // Read, so that whatever a renaming of it is taken for, it is not new mail.
        let message = maildir.deliver_into_cur("S");
        // And old, so that no doubt about a change just before the start gives it a push.
        maildir.age();
        Self { user, maildir, message }
    }

    /// Returns the pushes for all other users that were due before now as new mail, in order.
    #[track_caller]
    pub(crate) fn after_new_mail(&self, receiver: &Receiver) -> Vec<Push> {
        self.rounds(receiver, |_| {
            self.maildir.deliver();
        })
    }

    /// Returns the pushes for all other users that were due before now, whatever the reason.
    #[track_caller]
    pub(crate) fn after_changes(&self, receiver: &Receiver) -> Vec<Push> {
        self.rounds(receiver, |round| {
            let flags = self.flags_other_than(round);
            self.maildir.set_flags(&self.message, flags);
        })
    }

    /// Asserts that nothing done so far, and not pushed yet, gives a push to anybody.
    #[track_caller]
    pub(crate) fn assert_silent(&self, receiver: &Receiver) {
        let pushes = self.after_changes(receiver);
        assert!(pushes.is_empty(), "nothing should be pushed: {pushes:?}");
    }

    #[track_caller]
    fn rounds(&self, receiver: &Receiver, cause_push: impl Fn(usize)) -> Vec<Push> {
        let mut pushes = Vec::new();
        for round in 0..2 {
            cause_push(round);
            pushes.extend(receiver.read_until(&self.user));
            pushes.pop();
        }
        pushes
    }

    /// The two rounds together leave the flags as they were, so that a fence can be used again.
    fn flags_other_than(&self, round: usize) -> &'static str {
        ["FS", "S"][round]
    }
}
