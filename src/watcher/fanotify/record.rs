//! What a read of a fanotify descriptor gives, taken apart: `struct fanotify_event_metadata` of fanotify(7), each followed by records of
//! information, which name directories by their file handles.

/// The fields of an event before its records.
const METADATA: usize = 24;
/// The fields of a record before its handle: type, padding, length, file system, length and type of the handle.
const INFO: usize = 20;
/// A rename with the longest handles and names: while there is room for one more of these, the kernel goes on, so a read that leaves as much has
/// emptied the queue.
pub(super) const LARGEST: usize = 1024;

/// A directory, as events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory<'a> {
    /// The file system.
    pub(super) id: [u8; 8],
    /// The kind of handle, which is the file system's affair.
    pub(super) kind: i32,
    pub(super) handle: &'a [u8],
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) directory: Directory<'a>,
    pub(super) name: &'a [u8],
}

/// One event. Several things that a process did to one entry may have become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// What happened: bits as `FAN_CREATE`.
    pub(super) mask: u64,
    /// The entry, or `.` for a directory itself.
    pub(super) place: Option<Place<'a>>,
    /// The old place of a rename.
    pub(super) from: Option<Place<'a>>,
    /// The new place of a rename.
    pub(super) to: Option<Place<'a>>,
    /// What it happened to, file or directory.
    pub(super) object: Option<Directory<'a>>,
}

/// The events of one read. It ends before anything that is cut off or of another version, which the kernel never sends.
pub(super) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    pub(super) const fn new(read: &'a [u8]) -> Self {
        Self(read)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32::from_ne_bytes(chunk(self.0, 0)?) as usize;
        let (event, rest) = self.0.split_at_checked(length)?;
        let [version, _] = chunk(event, 4)?;
        let before_records = usize::from(u16::from_ne_bytes(chunk(event, 6)?));
        if version != libc::FANOTIFY_METADATA_VERSION || before_records < METADATA {
            return None;
        }
        let mut record = Record { mask: u64::from_ne_bytes(chunk(event, 8)?), ..Record::default() };
        let mut infos = event.get(before_records..)?;
        while let Some(after) = record.take_info(infos) {
            infos = after;
        }
        self.0 = rest;
        Some(record)
    }
}

impl<'a> Record<'a> {
    /// Takes in the first of the records, and returns the others.
    fn take_info(&mut self, infos: &'a [u8]) -> Option<&'a [u8]> {
        let [kind, _] = chunk(infos, 0)?;
        let length = usize::from(u16::from_ne_bytes(chunk(infos, 2)?));
        let (info, rest) = infos.split_at_checked(length)?;
        if length < INFO {
            return None;
        }
        let handle_length = u32::from_ne_bytes(chunk(info, 12)?) as usize;
        let (handle, name) = info[INFO..].split_at_checked(handle_length)?;
        let directory = Directory { id: chunk(info, 4)?, kind: i32::from_ne_bytes(chunk(info, 16)?), handle };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let place = Some(Place { directory, name });
        match kind {
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_DFID => self.place = place,
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => self.from = place,
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => self.to = place,
            libc::FAN_EVENT_INFO_TYPE_FID => self.object = Some(directory),
            // Of a later kernel, which sends only what was asked for.
            _ => {}
        }
        Some(rest)
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 sent of one sequence of steps, on four file systems: `mkdir md md/cur md/new md/tmp md/cur2`, a file made as
    /// `md/tmp/1`, renamed to `md/new/1`, linked as `md/cur/2`, both removed, `md/cur2` put in the place of `md/cur`, that renamed to `md/x`, and
    /// all directories removed.
    const CAPTURES: [(&str, usize, &[u8]); 4] = [
        ("ext4", 8, include_bytes!("../../../tests/transcripts/fanotify/ext4.bin")),
        ("tmpfs", 12, include_bytes!("../../../tests/transcripts/fanotify/tmpfs.bin")),
        ("xfs", 12, include_bytes!("../../../tests/transcripts/fanotify/xfs.bin")),
        ("btrfs", 20, include_bytes!("../../../tests/transcripts/fanotify/btrfs.bin")),
    ];

    fn name<'a>(place: Option<Place<'a>>) -> &'a str {
        std::str::from_utf8(place.expect("it is there").name).expect("it is ASCII")
    }

    #[test]
    fn captures_of_four_file_systems() {
        for (file_system, handle, read) in CAPTURES {
            let records: Vec<_> = Records::new(read).collect();
            let find = |mask: u64, wanted: &str| {
                let found = records.iter().find(|record| {
                    record.mask & mask != 0
                        && record.place.or(record.to).is_some_and(|place| place.name == wanted.as_bytes())
                });
                *found.unwrap_or_else(|| panic!("{file_system}: no {mask:x} of {wanted}: {records:?}"))
            };
            let new = find(libc::FAN_CREATE, "new").object.expect("what was made");
            let tmp = find(libc::FAN_CREATE, "tmp").object.expect("what was made");
            let cur = find(libc::FAN_CREATE, "cur").object.expect("what was made");
            assert_eq!(new.handle.len(), handle, "{file_system}");
            assert!(new != tmp && tmp != cur && new.id == tmp.id, "{file_system}");

            let delivery = find(libc::FAN_RENAME, "1");
            assert_eq!((name(delivery.from), name(delivery.to)), ("1", "1"), "{file_system}");
            assert_eq!(delivery.from.expect("it has one").directory, tmp, "{file_system}");
            assert_eq!(delivery.to.expect("it has one").directory, new, "{file_system}");
            // Linked and removed by one process: one event.
            assert_eq!(
                find(libc::FAN_CREATE, "2").mask,
                libc::FAN_CREATE | libc::FAN_DELETE,
                "{file_system}"
            );
            assert_eq!(find(libc::FAN_DELETE, "1").place.expect("it has one").directory, new);
            // The directory that another one took the place of.
            let replaced = records.iter().find(|record| {
                record.mask == libc::FAN_DELETE_SELF | libc::FAN_ONDIR
                    && record.place.is_some_and(|place| place.directory == cur)
            });
            assert_eq!(name(replaced.unwrap_or_else(|| panic!("{file_system}: {records:?}")).place), ".");
            // And the one that was moved.
            let moved = find(libc::FAN_RENAME, "x");
            assert_eq!(moved.mask, libc::FAN_RENAME | libc::FAN_ONDIR, "{file_system}");
            assert_eq!(moved.object, find(libc::FAN_CREATE, "cur2").object, "{file_system}");
        }
    }

    /// As the kernel sends it: no records, and no descriptor.
    #[test]
    fn an_overflow_has_no_records() {
        let mut read = 24u32.to_ne_bytes().to_vec();
        read.extend([libc::FANOTIFY_METADATA_VERSION, 0]);
        read.extend(24u16.to_ne_bytes());
        read.extend(libc::FAN_Q_OVERFLOW.to_ne_bytes());
        read.extend([0xff; 8]);
        let records: Vec<_> = Records::new(&read).collect();
        assert_eq!(records, [Record { mask: libc::FAN_Q_OVERFLOW, ..Record::default() }]);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        for (file_system, _, read) in CAPTURES {
            let all = Records::new(read).count();
            for end in 0..read.len() {
                assert!(Records::new(&read[..end]).count() < all, "{file_system}: {end}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(read: Vec<u8>) {
            Records::new(&read).for_each(drop);
        }

        #[test]
        fn no_byte_makes_it_panic(at in 0usize..1576, byte: u8, which in 0usize..4) {
            let mut read = CAPTURES[which].2.to_vec();
            if let Some(place) = read.get_mut(at) {
                *place = byte;
            }
            Records::new(&read).for_each(drop);
        }
    }
}
