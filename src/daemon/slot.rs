//! What is watched of one mailbox. There may be a million of them, so each has to be small.

use crate::{maildir::Part, watcher::Handle};

/// A watch, and which of the two backends has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) handle: Handle,
    pub(super) polled: bool,
}

/// A mailbox, in twelve bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    handles: [i32; 2],
    /// See [`Flag`].
    flags: u8,
}

/// What is so of a mailbox: bits.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    /// The part is watched; twice as much for `cur/`.
    Armed = 1,
    /// And by the poller.
    Polled = 4,
    /// Some of it is not there yet.
    Waits = 16,
    /// Some of it could not be watched.
    InTrouble = 32,
}

impl Slot {
    pub(super) fn part(&self, part: Part) -> Option<Armed> {
        let has = |flag: Flag| self.flags & (flag as u8) << part as u8 != 0;
        let handle = Handle(self.handles[part as usize]);
        has(Flag::Armed).then_some(Armed { handle, polled: has(Flag::Polled) })
    }

    pub(super) fn parts(&self) -> [Option<Armed>; 2] {
        Part::ALL.map(|part| self.part(part))
    }

    /// Returns what it was.
    pub(super) fn set_part(&mut self, part: Part, armed: Option<Armed>) -> Option<Armed> {
        let before = self.part(part);
        self.handles[part as usize] = armed.map_or(0, |armed| armed.handle.0);
        for (flag, is_set) in
            [(Flag::Armed, armed.is_some()), (Flag::Polled, armed.is_some_and(|armed| armed.polled))]
        {
            let bit = (flag as u8) << part as u8;
            self.flags = if is_set { self.flags | bit } else { self.flags & !bit };
        }
        before
    }

    pub(super) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    /// Returns what it was.
    pub(super) fn set(&mut self, flag: Flag, is_set: bool) -> bool {
        let before = self.is(flag);
        self.flags = if is_set { self.flags | flag as u8 } else { self.flags & !(flag as u8) };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_keeps_what_is_set() {
        assert_eq!(size_of::<Slot>(), 12);
        let (event, polled) =
            (Armed { handle: Handle(-7), polled: false }, Armed { handle: Handle(0), polled: true });
        let mut slot = Slot::default();
        assert_eq!(slot.parts(), [None, None]);
        assert_eq!(slot.set_part(Part::New, Some(event)), None);
        assert_eq!(slot.set_part(Part::Cur, Some(polled)), None);
        assert!(!slot.set(Flag::Waits, true) && !slot.is(Flag::InTrouble));
        assert_eq!(slot.parts(), [Part::New, Part::Cur].map(|part| slot.part(part)));
        assert_eq!(slot.set_part(Part::New, Some(polled)), Some(event));
        assert_eq!(slot.set_part(Part::New, Some(event)), Some(polled));
        assert_eq!(slot.set_part(Part::Cur, None), Some(polled));
        assert_eq!(slot.parts()[Part::New as usize], Some(event));
        assert_eq!(slot.parts()[Part::Cur as usize], None);
        assert!(slot.set(Flag::Waits, false) && !slot.is(Flag::Waits));
    }
}
