//! Numbers by the hash of what they stand for. The things themselves are elsewhere, so an entry has four bytes.

use hashbrown::HashTable;

/// Tables that an index is made of. A table that is full moves all its entries at once, which for a million of them would take
/// longer than a push may wait; a sixty-fourth part takes a millisecond or two.
const TABLES: usize = 64;

/// A hash table of numbers that grows in small steps.
#[derive(Clone, Debug)]
pub(super) struct Index(Box<[HashTable<u32>]>);

impl Default for Index {
    fn default() -> Self {
        Self(vec![HashTable::new(); TABLES].into())
    }
}

impl Index {
    /// The number with this hash of which `is_it` says so.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0[table(hash)].find(hash, |number| is_it(*number)).copied()
    }

    /// Adds a number that is not in the index. `hash_of` is the hash of any number in it.
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.0[table(hash)].insert_unique(hash, number, |number| hash_of(*number));
    }

    /// Calls what has stayed in its place by other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        for number in self.0.iter_mut().flat_map(HashTable::iter_mut) {
            *number = new(*number);
        }
    }

    /// How many bytes it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|table| table.allocation_size() + size_of_val(table)).sum()
    }
}

/// By bits that the tables themselves do not look at: those take the lowest ones and the highest seven.
fn table(hash: u64) -> usize {
    (hash >> 40) as usize % TABLES
}
