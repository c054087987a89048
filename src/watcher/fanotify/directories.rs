//! Which mailbox a directory belongs to, by the handle that events name it with.
//!
//! A million mailboxes are two million directories, so each one has to be small. On ext4 a handle is eight bytes, and a directory costs
//! 16 bytes of the array, which grows by an eighth, and a number in a hash table of 5 bytes a place that is between 7/16 and 7/8 full:
//! 16 × 9/8 + 5 × 16/7 = 29.4 at most, and 16 + 5 × 8/7 = 21.7 at least. A longer handle (xfs 12 bytes, btrfs 20) is stored beside it.

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::key::Key;
use crate::watcher::Target;

/// The kind that ext4 has, with eight bytes: inode and generation.
const SHORT_KIND: i32 = 1;
/// No next free slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The handle; or a number: of a longer handle, or, for a free slot, of the next one.
    key: [u8; 8],
    /// See [`Target::pack`].
    target: u32,
    file_system: u16,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Short,
    Long,
    Free,
}

/// All directories that are watched.
#[derive(Debug, Default)]
pub(super) struct Directories {
    slots: Vec<Slot>,
    by_key: HashTable<u32>,
    /// Longer handles, each after its kind.
    long: Vec<Box<[u8]>>,
    free_long: Vec<u32>,
    free: Option<u32>,
}

impl Directories {
    /// What a directory is watched for.
    pub(super) fn get(&self, key: Key<'_>) -> Option<Target> {
        self.find(key).map(|number| Target::unpack(self.slots[number as usize].target))
    }

    /// Adds a directory, or finds it if it is there. None if the target is of another sort, or there is no room for another billion.
    pub(super) fn insert(&mut self, key: Key<'_>, target: Target) -> Option<(i32, Target)> {
        if let Some(number) = self.find(key) {
            return Some((i32::try_from(number).ok()?, Target::unpack(self.slots[number as usize].target)));
        }
        let packed = target.pack()?;
        let number = self.free.map_or(self.slots.len(), |free| free as usize);
        let (handle, number) = (i32::try_from(number).ok()?, u32::try_from(number).ok()?);
        let slot = match short(key) {
            Some(short) => {
                Slot { key: short, target: packed, file_system: key.file_system, shape: Shape::Short }
            }
            None => {
                let at = self.store(key)?;
                Slot { key: numbered(at), target: packed, file_system: key.file_system, shape: Shape::Long }
            }
        };
        match self.slots.get_mut(number as usize) {
            Some(free) => {
                let next = number_in(free.key);
                self.free = (next != NONE).then_some(next);
                *free = slot;
            }
            None => {
                // Not to twice the size, as a vector does.
                if self.slots.len() == self.slots.capacity() {
                    self.slots.reserve_exact((self.slots.len() / 8).max(16));
                }
                self.slots.push(slot);
            }
        }
        let Self { slots, by_key, long, .. } = self;
        by_key.insert_unique(hash(key), number, |number| hash(key_of(slots, long, *number)));
        Some((handle, target))
    }

    /// Removes what [`Self::insert`] gave a number.
    pub(super) fn remove(&mut self, number: i32) -> Option<Target> {
        let number = u32::try_from(number).ok()?;
        let slot = *self.slots.get(number as usize).filter(|slot| slot.shape != Shape::Free)?;
        let hash = hash(key_of(&self.slots, &self.long, number));
        if let Ok(entry) = self.by_key.find_entry(hash, |found| *found == number) {
            entry.remove();
        }
        if slot.shape == Shape::Long {
            self.long[number_in(slot.key) as usize] = Box::default();
            self.free_long.push(number_in(slot.key));
        }
        let next = numbered(self.free.unwrap_or(NONE));
        self.slots[number as usize] = Slot { key: next, target: 0, file_system: 0, shape: Shape::Free };
        self.free = Some(number);
        Some(Target::unpack(slot.target))
    }

    /// All targets on a file system.
    pub(super) fn on(&self, file_system: u16) -> impl Iterator<Item = Target> {
        let is_there = move |slot: &&Slot| slot.shape != Shape::Free && slot.file_system == file_system;
        self.slots.iter().filter(is_there).map(|slot| Target::unpack(slot.target))
    }

    fn find(&self, key: Key<'_>) -> Option<u32> {
        let Self { slots, long, by_key, .. } = self;
        by_key.find(hash(key), |number| key_of(slots, long, *number) == key).copied()
    }

    fn store(&mut self, key: Key<'_>) -> Option<u32> {
        let bytes = [&key.kind.to_ne_bytes(), key.handle].concat().into_boxed_slice();
        if let Some(at) = self.free_long.pop() {
            self.long[at as usize] = bytes;
            return Some(at);
        }
        self.long.push(bytes);
        u32::try_from(self.long.len() - 1).ok()
    }

    /// What all of it takes, without what the allocator adds to long handles.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.by_key.allocation_size()
    }
}

fn short(key: Key<'_>) -> Option<[u8; 8]> {
    key.handle.try_into().ok().filter(|_| key.kind == SHORT_KIND)
}

/// A number in the place of a handle.
fn numbered(number: u32) -> [u8; 8] {
    u64::from(number).to_ne_bytes()
}

fn number_in(key: [u8; 8]) -> u32 {
    u32::try_from(u64::from_ne_bytes(key)).unwrap_or(NONE)
}

/// The key of a slot in use.
fn key_of<'a>(slots: &'a [Slot], long: &'a [Box<[u8]>], number: u32) -> Key<'a> {
    let slot = &slots[number as usize];
    let file_system = slot.file_system;
    if slot.shape == Shape::Long
        && let Some((kind, handle)) = long[number_in(slot.key) as usize].split_first_chunk()
    {
        return Key { file_system, kind: i32::from_ne_bytes(*kind), handle };
    }
    Key { file_system, kind: SHORT_KIND, handle: &slot.key }
}

fn hash(key: Key<'_>) -> u64 {
    use std::hash::BuildHasher;
    FxBuildHasher.hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mailbox::MailboxId, maildir::Part};

    fn target(number: u32) -> Target {
        let part = if number.is_multiple_of(2) { Part::New } else { Part::Cur };
        Target::Part(MailboxId(number / 2), part)
    }

    fn on_ext4(number: u32) -> [u8; 8] {
        // The inodes of one directory are neighbours; generations are random.
        let generation = number.wrapping_mul(2_654_435_761);
        [number.to_ne_bytes(), generation.to_ne_bytes()].concat().try_into().expect("eight bytes")
    }

    #[test]
    fn a_directory_of_ext4_takes_at_most_32_bytes() {
        let mut directories = Directories::default();
        let mut most = 0.0_f64;
        for number in 0..100_000 {
            let handle = on_ext4(number);
            let key = Key { file_system: 0, kind: 1, handle: &handle };
            directories.insert(key, target(number)).expect("there is room");
            if number > 10_000 {
                most = most.max(directories.bytes() as f64 / f64::from(number + 1));
            }
        }
        let all = directories.bytes() as f64 / 100_000.0;
        assert!((16.0..26.0).contains(&all), "{all} bytes a directory for 100,000");
        assert!(most <= 32.0, "{most} bytes a directory at most on the way");
        for number in 0..100_000 {
            let handle = on_ext4(number);
            let key = Key { file_system: 0, kind: 1, handle: &handle };
            assert_eq!(directories.get(key), Some(target(number)));
            assert_eq!(directories.get(Key { file_system: 1, ..key }), None);
            assert_eq!(directories.get(Key { kind: 2, ..key }), None);
        }
    }

    #[test]
    fn what_is_removed_makes_room() {
        let mut directories = Directories::default();
        let handles: Vec<_> = (0..1000u32).map(|number| [number; 5].map(u32::to_ne_bytes).concat()).collect();
        for round in 0..3 {
            let mut numbers = Vec::new();
            for (at, handle) in (0..).zip(&handles) {
                // Short and long ones.
                let handle = &handle[..if at % 2 == 0 { 8 } else { 20 }];
                let key = Key { file_system: round, kind: 1, handle };
                let (number, found) = directories.insert(key, target(at)).expect("there is room");
                assert_eq!(found, target(at));
                assert_eq!(
                    directories.insert(key, target(at + 1)),
                    Some((number, target(at))),
                    "it is there"
                );
                numbers.push(number);
            }
            assert_eq!(directories.on(round).count(), 1000);
            for (at, number) in (0..).zip(&numbers) {
                assert_eq!(directories.remove(*number), Some(target(at)));
                assert_eq!(directories.remove(*number), None);
            }
            assert_eq!(directories.on(round).count(), 0);
            assert_eq!((directories.slots.len(), directories.long.len()), (1000, 500), "round {round}");
        }
        assert!(directories.by_key.is_empty());
    }

    #[test]
    fn targets_are_kept_whole() {
        for target in [target(0), target(1), Target::Part(MailboxId(0x7fff_ffff), Part::Cur)] {
            assert_eq!(target.pack().map(Target::unpack), Some(target));
        }
        assert_eq!(Target::Part(MailboxId(0x8000_0000), Part::New).pack(), None);
    }
}
