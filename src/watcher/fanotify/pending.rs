//! Directories that threads are arming, or have armed and are not taken in yet.
//!
//! Events of a whole file system pass by, and only those of such directories are worth to be remembered for
//! [`Unknown`](crate::watcher::arming::Unknown), which has room for some thousands.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustc_hash::FxBuildHasher;

/// Many more than directories that are pending at once: some hundreds, and 16,000 with a disk that is slow.
const COUNTERS: usize = 1 << 15;

/// How many are pending, by a hash of their handles: two with one hash are taken for each other, so that one is remembered in vain.
#[derive(Clone, Debug)]
pub(super) struct Pending(Arc<[AtomicU32]>);

/// One directory that is pending, for as long as this lives.
#[derive(Debug)]
pub(super) struct PendingOne {
    counters: Arc<[AtomicU32]>,
    at: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Pending {
    /// To be called before the look at the directory: what the look does not see has an event that is remembered.
    pub(super) fn add(&self, kind: i32, handle: &[u8]) -> PendingOne {
        let at = place(kind, handle);
        self.0[at].fetch_add(1, Ordering::SeqCst);
        PendingOne { counters: Arc::clone(&self.0), at }
    }

    /// Never false for one that is pending.
    pub(super) fn may_contain(&self, kind: i32, handle: &[u8]) -> bool {
        self.0[place(kind, handle)].load(Ordering::SeqCst) > 0
    }
}

impl Drop for PendingOne {
    fn drop(&mut self) {
        self.counters[self.at].fetch_sub(1, Ordering::SeqCst);
    }
}

fn place(kind: i32, handle: &[u8]) -> usize {
    // The low bits of this hash are the good ones.
    FxBuildHasher.hash_one((kind, handle)) as usize % COUNTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_pending_until_the_last_arming_of_it_ends() {
        let pending = Pending::default();
        let first = pending.add(1, b"12345678");
        let second = pending.add(1, b"12345678");
        drop(first);
        assert!(pending.may_contain(1, b"12345678"));
        drop(second);
        assert!(!pending.may_contain(1, b"12345678"));
    }

    #[test]
    fn few_others_are_taken_for_one() {
        let pending = Pending::default();
        let handle =
            |number: u32| [number.to_ne_bytes(), number.wrapping_mul(2_654_435_761).to_ne_bytes()].concat();
        let all: Vec<_> = (0..512).map(|number| pending.add(1, &handle(number))).collect();
        let taken = (512..100_512).filter(|number| pending.may_contain(1, &handle(*number))).count();
        assert!(taken < 5_000, "{taken} of 100,000");
        drop(all);
        assert!(!(0..512).any(|number| pending.may_contain(1, &handle(number))));
    }
}
