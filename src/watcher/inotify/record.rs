//! What a read of an inotify descriptor gives, taken apart: `struct inotify_event` of inotify(7), one after the other.

use std::ffi::CStr;

use rustix::fs::inotify::ReadFlags;

/// The fields before the name.
const HEADER: usize = 16;
/// The longest name, with its NUL, is padded to a multiple of the header. While there is room for one more event of this size, the kernel
/// goes on: if a read leaves as much, it has emptied the queue.
pub(super) const LARGEST: usize = HEADER + 256;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) watch: i32,
    pub(super) flags: ReadFlags,
    /// Joins the two halves of a rename.
    pub(super) cookie: u32,
    /// The entry's name. None if the event is about the directory itself.
    pub(super) name: Option<&'a [u8]>,
}

/// The events of one read. It ends before anything that is cut off, which the kernel never does.
pub(super) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    pub(super) const fn new(read: &'a [u8]) -> Self {
        Self(read)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = self.0.split_first_chunk::<HEADER>()?;
        let field = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let (name, rest) = rest.split_at_checked(u32::from_ne_bytes(field(12)) as usize)?;
        self.0 = rest;
        let name = CStr::from_bytes_until_nul(name).ok().map(CStr::to_bytes).filter(|name| !name.is_empty());
        Some(Record {
            watch: i32::from_ne_bytes(field(0)),
            flags: ReadFlags::from_bits_retain(u32::from_ne_bytes(field(4))),
            cookie: u32::from_ne_bytes(field(8)),
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(watch: i32, flags: u32, cookie: u32, name: &[u8]) -> Vec<u8> {
        let length = u32::try_from(name.len()).expect("it is short");
        [&watch.to_ne_bytes()[..], &flags.to_ne_bytes(), &cookie.to_ne_bytes(), &length.to_ne_bytes(), name]
            .concat()
    }

    #[test]
    fn events_with_and_without_a_name() {
        let read = [
            bytes(3, ReadFlags::MOVED_TO.bits(), 77, b"1700000000.M1P1.host\0\0\0\0\0\0\0\0\0\0\0\0"),
            bytes(-1, ReadFlags::QUEUE_OVERFLOW.bits(), 0, b""),
        ]
        .concat();
        let records: Vec<_> = Records::new(&read).collect();
        assert_eq!(
            records,
            [
                Record {
                    watch: 3,
                    flags: ReadFlags::MOVED_TO,
                    cookie: 77,
                    name: Some(b"1700000000.M1P1.host".as_slice()),
                },
                Record { watch: -1, flags: ReadFlags::QUEUE_OVERFLOW, cookie: 0, name: None },
            ]
        );
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let whole = bytes(1, ReadFlags::CREATE.bits(), 0, b"name\0\0\0\0");
        let read = [&whole[..], &whole[..]].concat();
        for end in whole.len()..read.len() {
            assert_eq!(Records::new(&read[..end]).count(), 1);
        }
        for end in 0..whole.len() {
            assert_eq!(Records::new(&whole[..end]).count(), 0);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(read: Vec<u8>) {
            let names: usize = Records::new(&read).filter_map(|record| record.name).map(<[u8]>::len).sum();
            proptest::prop_assert!(names <= read.len());
        }
    }
}
