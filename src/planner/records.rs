//! What is known of each mailbox: a look at its directories that everything up to then has been accounted for. With it, a change that no
//! event told of shows as a difference, also after a restart.
//!
//! "Accounted for" means of each change that the look can have seen: it was noted and is pending or pushed, or it means nothing. A record
//! may be stored as soon as nothing of its mailbox is pending. 40 bytes a mailbox, for there are a million.

use crate::{
    growth,
    mailbox::MailboxId,
    maildir::Part,
    stamp::{Stamp, Stamps},
};

/// What is known of a mailbox beside the stamps. One bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// The last process, or this one, has looked at the mailbox before.
    Known = 1,
    /// In the list of those that are to be settled.
    Unsettled = 1 << 1,
    /// Had an event since it was last asked for a look to settle it.
    Touched = 1 << 2,
    /// To be looked at when it is settled, even without an event.
    Doubtful = 1 << 3,
    /// The record on disk is older than this one.
    Unstored = 1 << 4,
    /// Somebody is finding out whether everything that was noted is pushed.
    Asked = 1 << 5,
    /// There is a record on disk.
    Recorded = 1 << 6,
}

/// The first of two bits, one for each part: events since the look.
const DIRTY: u16 = 1 << 8;
/// The same: a change may hide behind the mtime.
const RACY: u16 = 1 << 10;

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    inodes: [u64; 2],
    mtimes: [i64; 2],
    /// Numbers into the table of devices, from 1; 0 for no directory.
    devices: [u16; 2],
    flags: u16,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// A few: the file systems that hold mailboxes.
    devices: Vec<u64>,
}

impl Records {
    /// The record of one part.
    pub(super) fn stamp(&self, id: MailboxId, part: Part) -> Option<Stamp> {
        let record = self.records.get(id.index())?;
        let at = part as usize;
        let device = *self.devices.get(usize::from(record.devices[at]).checked_sub(1)?)?;
        let is_racy = record.flags & (RACY << at) != 0;
        Some(Stamp::kept(device, record.inodes[at], record.mtimes[at], is_racy))
    }

    pub(super) fn stamps(&self, id: MailboxId) -> Stamps {
        Part::ALL.map(|part| self.stamp(id, part))
    }

    /// Makes a look the record of one part. What events told of the part is accounted for, unless `is_dirty`.
    pub(super) fn set(&mut self, id: MailboxId, part: Part, stamp: Option<Stamp>, is_dirty: bool) {
        let device = stamp.map_or(0, |stamp| self.device(stamp.device()));
        let at = part as usize;
        let record = self.record(id);
        record.devices[at] = device;
        record.inodes[at] = stamp.map_or(0, |stamp| stamp.inode());
        record.mtimes[at] = stamp.map_or(0, |stamp| stamp.mtime());
        let is_racy = stamp.is_some_and(|stamp| stamp.is_racy());
        record.set(RACY << at, is_racy);
        record.set(DIRTY << at, is_dirty);
    }

    pub(super) fn is_dirty(&self, id: MailboxId, part: Part) -> bool {
        self.records.get(id.index()).is_some_and(|record| record.flags & (DIRTY << part as usize) != 0)
    }

    /// Notes an event. This is all that the hot path pays.
    pub(super) fn touch(&mut self, id: MailboxId, part: Part) {
        self.record(id).flags |= DIRTY << part as usize | Flag::Touched as u16;
    }

    /// Has anything of the mailbox to be looked at before it is settled?
    pub(super) fn wants_look(&self, id: MailboxId) -> bool {
        let flags = self.records.get(id.index()).map_or(0, |record| record.flags);
        flags & ((DIRTY * 0b11) | Flag::Doubtful as u16) != 0
    }

    pub(super) fn is(&self, id: MailboxId, flag: Flag) -> bool {
        self.records.get(id.index()).is_some_and(|record| record.flags & flag as u16 != 0)
    }

    /// Sets a flag. True if it was not set before.
    pub(super) fn raise(&mut self, id: MailboxId, flag: Flag) -> bool {
        let record = self.record(id);
        let was = record.flags;
        record.flags |= flag as u16;
        was != record.flags
    }

    /// Clears a flag. True if it was set before.
    pub(super) fn lower(&mut self, id: MailboxId, flag: Flag) -> bool {
        let Some(record) = self.records.get_mut(id.index()) else { return false };
        let was = record.flags;
        record.flags &= !(flag as u16);
        was != record.flags
    }

    /// The mailbox is no more. Its number may become another one's; the list of the unsettled may still have it.
    pub(super) fn forget(&mut self, id: MailboxId) {
        if let Some(record) = self.records.get_mut(id.index()) {
            *record = Record { flags: record.flags & Flag::Unsettled as u16, ..Record::default() };
        }
    }

    fn record(&mut self, id: MailboxId) -> &mut Record {
        growth::at_least(&mut self.records, id.index() + 1, Record::default());
        &mut self.records[id.index()]
    }

    fn device(&mut self, device: u64) -> u16 {
        let known = self.devices.iter().position(|known| *known == device);
        let at = known.unwrap_or_else(|| {
            // Nobody has so many file systems; if somebody mounts them anew all the time, the table begins anew, and stamps with the
            // numbers of others are looked at again.
            if self.devices.len() >= usize::from(u16::MAX) {
                self.devices.clear();
            }
            self.devices.push(device);
            self.devices.len() - 1
        });
        u16::try_from(at + 1).unwrap_or(u16::MAX)
    }
}

impl Record {
    fn set(&mut self, bit: u16, value: bool) {
        if value {
            self.flags |= bit;
        } else {
            self.flags &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_gives_back_what_it_was_given() {
        let mut records = Records::default();
        let id = MailboxId(3);
        assert_eq!(records.stamps(id), [None, None]);
        let clean = Stamp::new(7, 8, (9, 10), Duration::from_secs(1000));
        let racy = Stamp::new(1, 2, (999, 999_000_000), Duration::from_secs(1000));
        records.touch(id, Part::New);
        records.set(id, Part::New, Some(clean), false);
        records.set(id, Part::Cur, Some(racy), true);
        assert_eq!(records.stamp(id, Part::New), Some(clean));
        let back = records.stamp(id, Part::Cur).expect("set");
        assert!(back == racy && back.is_racy(), "{back:?}");
        assert!(!records.is_dirty(id, Part::New) && records.is_dirty(id, Part::Cur));
        assert!(records.is(id, Flag::Touched) && records.wants_look(id));
        records.forget(id);
        assert_eq!(records.stamps(id), [None, None]);
        assert!(!records.wants_look(id));
    }

    #[test]
    fn a_million_of_them_are_forty_megabytes() {
        assert_eq!(size_of::<Record>(), 40);
    }
}
