//! Which directory each watch is on: four bytes for a mailbox's.
//!
//! Watch descriptors are given out in ascending order, and not again before 2^31 of them, so an array is as good as a table until
//! many have come and gone. What lies beyond it, and parents, which are few, are in a table.

use rustc_hash::FxHashMap;

use crate::{growth, watcher::Target};

/// An array at least this long is no waste.
const SMALL: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Targets {
    /// By watch descriptor: [`Target::pack`], or [`NONE`].
    array: Vec<u32>,
    /// How many of them are used.
    used: usize,
    others: FxHashMap<i32, Target>,
}

/// No watch.
const NONE: u32 = u32::MAX;

impl Targets {
    pub(super) fn get(&self, watch: i32) -> Option<Target> {
        let packed = usize::try_from(watch).ok().and_then(|at| self.array.get(at)).filter(|it| **it != NONE);
        match packed {
            Some(packed) => Some(Target::unpack(*packed)),
            None if self.others.is_empty() => None,
            None => self.others.get(&watch).copied(),
        }
    }

    pub(super) fn insert(&mut self, watch: i32, target: Target) {
        let at = usize::try_from(watch).unwrap_or(usize::MAX);
        // Half of it is used at least, or it is small.
        let has_place = at < SMALL.max(self.used.saturating_mul(2));
        match target.pack().filter(|packed| has_place && *packed != NONE) {
            Some(packed) => {
                growth::at_least(&mut self.array, at + 1, NONE);
                self.used += usize::from(self.array[at] == NONE);
                self.array[at] = packed;
            }
            None => {
                self.others.insert(watch, target);
            }
        }
    }

    pub(super) fn remove(&mut self, watch: i32) -> Option<Target> {
        let place = usize::try_from(watch).ok().and_then(|at| self.array.get_mut(at));
        match place.filter(|packed| **packed != NONE) {
            Some(packed) => {
                self.used -= 1;
                Some(Target::unpack(std::mem::replace(packed, NONE)))
            }
            None => self.others.remove(&watch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mailbox::MailboxId, maildir::Part, watcher::ParentId};

    #[test]
    fn each_watch_leads_to_its_target_however_many_come_and_go() {
        let mut targets = Targets::default();
        let part = |number: u32| Target::Part(MailboxId(number), Part::Cur);
        // For each one that stays many go, so the array could not hold them all.
        let mut kept = Vec::new();
        for number in 0..100_000_u32 {
            let watch = i32::try_from(number + 1).expect("few");
            targets.insert(watch, part(number));
            if number.is_multiple_of(50) {
                kept.push((watch, part(number)));
            } else {
                assert_eq!(targets.remove(watch), Some(part(number)));
                assert_eq!(targets.remove(watch), None);
            }
        }
        let parent = Target::Parent(ParentId(7));
        targets.insert(3, parent);
        assert_eq!(targets.get(3), Some(parent));
        for (watch, target) in kept {
            assert_eq!(targets.get(watch), Some(target));
        }
        assert_eq!((targets.get(2), targets.get(-1), targets.get(i32::MAX)), (None, None, None));
        assert!(targets.array.len() <= SMALL, "{}", targets.array.len());
    }

    #[test]
    fn many_that_stay_are_in_the_array() {
        let mut targets = Targets::default();
        for number in 0..100_000_u32 {
            let watch = i32::try_from(number + 700).expect("few");
            targets.insert(watch, Target::Part(MailboxId(number), Part::New));
        }
        assert!(targets.others.is_empty());
        assert!(targets.array.capacity() < 120_000, "{}", targets.array.capacity());
    }
}
