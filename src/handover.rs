//! From one thread to another, bounded by what it is about and not by how often it happens: newer joins older under its key.

use std::{
    hash::Hash,
    mem,
    sync::{Mutex, PoisonError},
};

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

/// A map that one side fills and the other side takes as a whole.
#[derive(Debug)]
pub struct Handover<K, V> {
    /// Locked for a moment, and never across a wait: the thread that watches Maildirs is one of the two sides.
    waiting: Mutex<FxHashMap<K, V>>,
    filled: Notify,
}

impl<K, V> Default for Handover<K, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new() }
    }
}

impl<K: Eq + Hash, V> Handover<K, V> {
    /// Puts something in. `join` makes one of what waits already and what comes.
    pub fn put(&self, key: K, value: V, join: impl FnOnce(&mut V, V)) {
        use std::collections::hash_map::Entry;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        match waiting.entry(key) {
            Entry::Occupied(mut entry) => join(entry.get_mut(), value),
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
        }
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Puts something in that makes all else out of date.
    pub fn put_instead(&self, key: K, value: V) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.clear();
        waiting.insert(key, value);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Takes what is there; an empty map if there is nothing.
    pub fn take_now(&self) -> FxHashMap<K, V> {
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the keys of what waits.
    pub fn for_each_key(&self, each: &mut impl FnMut(&K)) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).keys().for_each(each);
    }

    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there is something, and takes it all. Safe to drop while it waits.
    pub async fn take(&self) -> FxHashMap<K, V> {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once() {
        let handover = Handover::default();
        for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
            handover.put(key, value, |waiting, value| *waiting += value);
        }
        let taken = handover.take().await;
        assert_eq!((taken.len(), taken["a"], taken["b"]), (2, 4, 2));
        assert!(handover.is_empty());
    }

    #[tokio::test]
    async fn what_comes_from_another_thread_wakes_the_one_who_waits() {
        let handover = std::sync::Arc::new(Handover::<u32, ()>::default());
        let filler = std::sync::Arc::clone(&handover);
        let thread = std::thread::spawn(move || filler.put(7, (), |(), ()| ()));
        assert!(handover.take().await.contains_key(&7));
        thread.join().expect("no panic");
    }
}
