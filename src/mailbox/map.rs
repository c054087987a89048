//! The map: which mailboxes there are, where, and whose.

use std::{
    hash::BuildHasher,
    path::{Path, PathBuf},
};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::{
    MailboxId, Username,
    source::{Listed, SourceKind},
};

/// One mailbox.
#[derive(Debug)]
struct Mailbox {
    maildir: Box<Path>,
    names: Box<[(Username, SourceKind)]>,
}

/// All mailboxes, each with a number that stays while the mailbox does.
#[derive(Debug, Default)]
pub struct MailboxMap {
    slots: Vec<Option<Mailbox>>,
    free: Vec<MailboxId>,
    /// Numbers by path. The paths themselves are only in `slots`.
    by_path: HashTable<MailboxId>,
    /// Numbers by name, likewise.
    by_name: HashTable<NameRef>,
}

/// What a new listing changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Mailboxes that were not there before.
    pub added: Vec<MailboxId>,
    /// Mailboxes that are no more, with the path that they had. Their numbers may be in `added` again.
    pub removed: Vec<(MailboxId, PathBuf)>,
    /// How many mailboxes have other names now.
    pub renamed: usize,
}

impl MailboxMap {
    /// How many mailboxes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// One more than the largest number: the length for an array with an element for each mailbox.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// All numbers in use.
    pub fn ids(&self) -> impl Iterator<Item = MailboxId> {
        (0u32..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(number, _)| MailboxId(number))
    }

    /// Where the mailbox is. None if there is no such mailbox, any more.
    #[must_use]
    pub fn maildir(&self, id: MailboxId) -> Option<&Path> {
        self.mailbox(id).map(|mailbox| &*mailbox.maildir)
    }

    /// Whose it is: each distinct name once, the main one first.
    pub fn names(&self, id: MailboxId) -> impl ExactSizeIterator<Item = &Username> {
        let names = self.mailbox(id).map_or(&[][..], |mailbox| &mailbox.names);
        names.iter().map(|(name, _)| name)
    }

    /// The mailbox at a path.
    #[must_use]
    pub fn by_path(&self, path: &Path) -> Option<MailboxId> {
        let is_at = |id: &MailboxId| self.maildir(*id) == Some(path);
        self.by_path.find(hash_path(path), is_at).copied()
    }

    /// The mailbox of a user.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<MailboxId> {
        let is_it = |own: &NameRef| own.name(&self.slots) == name;
        self.by_name.find(hash(name), is_it).map(|own| own.mailbox)
    }

    /// Makes the map what the listing says, and tells what that changed. Mailboxes are the same if their paths are.
    pub fn replace(&mut self, listed: Vec<Listed>) -> Delta {
        let mut delta = Delta::default();
        let mut kept = vec![false; self.slots.len()];
        let mut new = Vec::new();
        let mut renamed = Vec::new();
        for mailbox in listed {
            match self.by_path(&mailbox.maildir) {
                Some(id) => {
                    kept[id.index()] = true;
                    if *self.mailbox(id).map_or(&[][..], |old| &old.names) != *mailbox.names {
                        renamed.push((id, mailbox.names));
                    }
                }
                None => new.push(mailbox),
            }
        }
        let gone: Vec<_> = self.ids().filter(|id| !kept.get(id.index()).copied().unwrap_or(false)).collect();
        for id in gone {
            if let Some(maildir) = self.remove(id) {
                delta.removed.push((id, maildir));
            }
        }
        // All old names go before the first new one comes, for a name may have moved from one mailbox to another.
        delta.renamed = renamed.len();
        for (id, _) in &renamed {
            self.unindex_names(*id);
        }
        for (id, names) in renamed {
            if let Some(Some(mailbox)) = self.slots.get_mut(id.index()) {
                mailbox.names = names.into();
            }
            self.index_names(id);
        }
        delta.added = new.into_iter().map(|mailbox| self.insert(mailbox)).collect();
        delta
    }

    /// Adds what a look at a new folder found: mailboxes whose path and names are not in the map yet.
    pub fn extend(&mut self, listed: Vec<Listed>) -> Vec<MailboxId> {
        listed
            .into_iter()
            .filter_map(|mut mailbox| {
                mailbox.names.retain(|(name, _)| self.by_name(name.as_str()).is_none());
                let is_new = !mailbox.names.is_empty() && self.by_path(&mailbox.maildir).is_none();
                is_new.then(|| self.insert(mailbox))
            })
            .collect()
    }

    fn mailbox(&self, id: MailboxId) -> Option<&Mailbox> {
        self.slots.get(id.index())?.as_ref()
    }

    fn insert(&mut self, listed: Listed) -> MailboxId {
        let path_hash = hash_path(&listed.maildir);
        let mailbox = Mailbox { maildir: listed.maildir.into(), names: listed.names.into() };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id.index()] = Some(mailbox);
                id
            }
            None => {
                let number =
                    u32::try_from(self.slots.len()).expect("fewer than 2^32 mailboxes fit into memory");
                self.slots.push(Some(mailbox));
                MailboxId(number)
            }
        };
        let slots = &self.slots;
        let rehash =
            |id: &MailboxId| slots[id.index()].as_ref().map_or(0, |mailbox| hash_path(&mailbox.maildir));
        self.by_path.insert_unique(path_hash, id, rehash);
        self.index_names(id);
        id
    }

    fn remove(&mut self, id: MailboxId) -> Option<PathBuf> {
        self.unindex_names(id);
        let mailbox = self.slots.get_mut(id.index())?.take()?;
        if let Ok(entry) = self.by_path.find_entry(hash_path(&mailbox.maildir), |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
        Some(mailbox.maildir.into())
    }

    fn index_names(&mut self, mailbox: MailboxId) {
        let Self { slots, by_name, .. } = self;
        let names = slots[mailbox.index()].as_ref().map_or(&[][..], |mailbox| &mailbox.names);
        for (nth, (name, _)) in (0u32..).zip(names) {
            by_name.insert_unique(hash(name.as_str()), NameRef { mailbox, nth }, |other| {
                hash(other.name(slots))
            });
        }
    }

    fn unindex_names(&mut self, mailbox: MailboxId) {
        let Self { slots, by_name, .. } = self;
        let names =
            slots.get(mailbox.index()).and_then(Option::as_ref).map_or(&[][..], |mailbox| &mailbox.names);
        for (nth, (name, _)) in (0u32..).zip(names) {
            if let Ok(entry) =
                by_name.find_entry(hash(name.as_str()), |other| *other == NameRef { mailbox, nth })
            {
                entry.remove();
            }
        }
    }
}

/// One name of one mailbox, without a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NameRef {
    mailbox: MailboxId,
    nth: u32,
}

impl NameRef {
    fn name(self, slots: &[Option<Mailbox>]) -> &str {
        slots[self.mailbox.index()]
            .as_ref()
            .and_then(|mailbox| mailbox.names.get(self.nth as usize))
            .map_or("", |(name, _)| name.as_str())
    }
}

fn hash(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

fn hash_path(path: &Path) -> u64 {
    FxBuildHasher.hash_one(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(path: &str, names: &[&str]) -> Listed {
        let name = |name: &&str| (Username::new(name).expect("a name"), SourceKind::Users);
        Listed { maildir: path.into(), names: names.iter().map(name).collect() }
    }

    #[test]
    fn numbers_stay_with_their_mailboxes() {
        let mut map = MailboxMap::default();
        let first = map.replace(vec![listed("/a", &["a", "alias"]), listed("/b", &["b"])]);
        assert_eq!(first.added, [MailboxId(0), MailboxId(1)]);
        let second = map.replace(vec![listed("/b", &["b", "alias"]), listed("/c", &["c"])]);
        assert_eq!(second.removed, [(MailboxId(0), PathBuf::from("/a"))]);
        assert_eq!((second.added, second.renamed), (vec![MailboxId(0)], 1));
        assert_eq!(map.by_name("alias"), Some(MailboxId(1)), "the alias moved");
        assert_eq!(map.by_name("a"), None);
        assert_eq!(map.by_name("c"), map.by_path(Path::new("/c")));
    }

    #[test]
    fn a_new_folder_cannot_take_a_name_away() {
        let mut map = MailboxMap::default();
        map.replace(vec![listed("/a", &["a"])]);
        assert!(map.extend(vec![listed("/other", &["a"]), listed("/a", &["z"])]).is_empty());
        assert_eq!(map.extend(vec![listed("/b", &["a", "b"])]).len(), 1);
        assert_eq!(map.by_name("a"), Some(MailboxId(0)));
    }

    proptest! {
        /// Whatever listings come one after the other, the map finds just what the last one has.
        #[test]
        fn the_last_listing_counts(
            listings in proptest::collection::vec(
                proptest::collection::btree_map(0u8..12, proptest::collection::btree_set(0u8..3, 1..3), 0..10), 1..6),
        ) {
            let mut map = MailboxMap::default();
            for listing in &listings {
                let mailboxes = listing.iter().map(|(path, names)| {
                    // The names move between mailboxes from one listing to the next.
                    let names: Vec<_> = names.iter().map(|name| format!("{}", (path + name + u8::try_from(listings.len()).unwrap_or(0)) as u16 * 16 + u16::from(*path))).collect();
                    listed(&format!("/{path}"), &names.iter().map(String::as_str).collect::<Vec<_>>())
                }).collect::<Vec<_>>();
                map.replace(mailboxes.clone());
                prop_assert_eq!(map.len(), mailboxes.len());
                prop_assert_eq!(map.ids().count(), mailboxes.len());
                for mailbox in &mailboxes {
                    let id = map.by_path(&mailbox.maildir).expect("listed");
                    prop_assert_eq!(map.names(id).count(), mailbox.names.len());
                    for (name, _) in &mailbox.names {
                        prop_assert_eq!(map.by_name(name.as_str()), Some(id));
                    }
                }
            }
        }
    }
}
