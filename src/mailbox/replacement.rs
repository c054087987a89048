//! What a new listing does to the map.
//!
//! The new map is made beside the old one, by a thread that nobody waits for, and then takes its place in one go. In between
//! nothing is half changed: a name that moves from one mailbox to another is with the one until then, and with the other from then on.

use super::{MailboxId, MailboxMap};

/// A map that can take the place of another one.
#[derive(Debug, Default)]
pub struct Replacement {
    /// The new map.
    pub map: MailboxMap,
    /// Mailboxes that were not there before.
    pub added: Vec<MailboxId>,
    /// Mailboxes that are no more. Their numbers stay theirs until they are [released](MailboxMap::release).
    pub removed: Vec<MailboxId>,
    /// How many mailboxes have other names now.
    pub renamed: usize,
}

impl Replacement {
    /// Makes a listing the replacement of a map: mailboxes are the same if their paths are, and keep their numbers. Takes time that is
    /// proportional to both.
    ///
    /// `listed` has no number but those from 0 on, as a map has that was only ever added to.
    #[must_use]
    pub fn of(old: &MailboxMap, mut listed: MailboxMap) -> Self {
        listed.shrink();
        let mut kept = vec![false; old.capacity()];
        let mut numbers = Vec::with_capacity(listed.len());
        let mut free = old.free().to_vec();
        let mut capacity = old.capacity();
        let mut added = Vec::new();
        let mut renamed = 0;
        for (new, maildir) in listed.iter() {
            numbers.push(if let Some(id) = old.by_path(maildir) {
                kept[id.index()] = true;
                renamed += usize::from(!old.names_with_sources(id).eq(listed.names_with_sources(new)));
                id
            } else {
                let id = free.pop().unwrap_or_else(|| {
                    capacity += 1;
                    // There are fewer mailboxes than 2^31 in each of the two, and so fewer numbers than 2^32.
                    MailboxId((capacity - 1) as u32)
                });
                added.push(id);
                id
            });
        }
        let removed = old.ids().filter(|id| !kept[id.index()]).collect();
        listed.renumber(&numbers, capacity, free);
        Self { map: listed, added, removed, renamed }
    }

    /// Is the new map as the old one was?
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.renamed == 0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::mailbox::{Username, source::SourceKind};

    fn map(mailboxes: &[(&str, &[&str])]) -> MailboxMap {
        let mut map = MailboxMap::default();
        for (path, names) in mailboxes {
            let mut names =
                names.iter().map(|name| (Username::new(name).expect("a name"), SourceKind::Users));
            let (first, kind) = names.next().expect("a mailbox has a name");
            let id = map.insert(Path::new(path), &first, kind).expect("a new mailbox");
            assert!(names.all(|(name, kind)| map.add_name(id, &name, kind)));
        }
        map
    }

    /// Replaces, and forgets what is gone at once.
    fn replace(map: &mut MailboxMap, listed: MailboxMap) -> (Vec<MailboxId>, Vec<MailboxId>, usize) {
        let Replacement { map: new, added, removed, renamed } = Replacement::of(map, listed);
        *map = new;
        for id in &removed {
            map.release(*id);
        }
        (added, removed, renamed)
    }

    #[test]
    fn numbers_stay_with_their_mailboxes() {
        let ids = |numbers: &[u32]| numbers.iter().map(|number| MailboxId(*number)).collect::<Vec<_>>();
        let mut now = MailboxMap::default();
        assert_eq!(replace(&mut now, map(&[("/a", &["a", "alias"]), ("/b", &["b"])])).0, ids(&[0, 1]));
        let second = Replacement::of(&now, map(&[("/c", &["c"]), ("/b", &["b", "alias"])]));
        assert_eq!((&second.added, &second.removed, second.renamed), (&ids(&[2]), &ids(&[0]), 1));
        now = second.map;
        assert_eq!(now.by_name("alias"), Some(MailboxId(1)), "the alias moved");
        assert_eq!((now.by_name("a"), now.maildir(MailboxId(0))), (None, None));
        assert_eq!(now.by_name("c"), now.by_path(Path::new("/c")));

        // As long as somebody remembers the old one, its number is nobody else's, whatever comes meanwhile.
        assert_eq!(now.extend(&map(&[("/d", &["d"])])), ids(&[3]));
        let all: [(&str, &[&str]); 4] =
            [("/c", &["c"]), ("/b", &["b", "alias"]), ("/d", &["d"]), ("/e", &["e"])];
        assert_eq!(replace(&mut now, map(&all)), (ids(&[4]), vec![], 0));
        now.release(MailboxId(0));
        now.release(MailboxId(1));
        assert_eq!(now.extend(&map(&[("/f", &["f"]), ("/g", &["g"])])), ids(&[0, 5]));
        assert!(Replacement::of(&now, now_listed(&now)).is_nothing());
    }

    /// A listing that says what the map says.
    fn now_listed(map: &MailboxMap) -> MailboxMap {
        let mut listed = MailboxMap::default();
        assert_eq!(listed.extend(map).len(), map.len());
        listed
    }

    #[test]
    fn a_new_folder_cannot_take_a_name_away() {
        let mut now = map(&[("/a", &["a"])]);
        assert!(now.extend(&map(&[("/other", &["a"]), ("/a", &["z"])])).is_empty());
        assert_eq!(now.extend(&map(&[("/b", &["a2", "b"])])).len(), 1);
        assert_eq!(now.extend(&map(&[("/c", &["a", "c"])])).len(), 1);
        assert_eq!(now.by_name("a"), Some(MailboxId(0)));
        assert_eq!(now.by_name("c"), now.by_path(Path::new("/c")));
    }

    /// One thing that can happen to a map.
    #[derive(Clone, Debug)]
    enum Step {
        /// The sources are read.
        Listed(BTreeMap<u8, BTreeSet<u8>>),
        /// What they said takes the map's place.
        Applied,
        /// A folder appears: nothing, or one mailbox with these names.
        Appeared(u8, BTreeSet<u8>),
        /// The first mailbox that is gone is forgotten.
        Forgotten,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let names = || proptest::collection::btree_set(0u8..24, 1..4);
        let step = prop_oneof![
            proptest::collection::btree_map(0u8..12, names(), 0..10).prop_map(Step::Listed),
            Just(Step::Applied),
            (0u8..12, names()).prop_map(|(path, names)| Step::Appeared(path, names)),
            Just(Step::Forgotten),
        ];
        proptest::collection::vec(step, 1..60)
    }

    /// The mailboxes with a path and a name that nobody has before them.
    fn listing(wanted: &BTreeMap<u8, BTreeSet<u8>>) -> MailboxMap {
        let mut map = MailboxMap::default();
        for (path, names) in wanted {
            let mut at = None;
            for name in names {
                let name = Username::new(&format!("n{name}")).expect("a name");
                match at {
                    None => at = map.insert(Path::new(&format!("/{path}")), &name, SourceKind::Passwd),
                    Some(at) => _ = map.add_name(at, &name, SourceKind::MapFile),
                }
            }
        }
        map
    }

    fn said(map: &MailboxMap) -> BTreeMap<PathBuf, Vec<(String, SourceKind)>> {
        let names = |id| map.names_with_sources(id).map(|(name, source)| (name.to_owned(), source)).collect();
        map.ids().map(|id| (map.maildir(id).expect("in use").to_path_buf(), names(id))).collect()
    }

    proptest! {
        /// Whatever happens to a map in which order, it says what the last listing and the folders since then say, everything in it is
        /// found, a number means the same mailbox until that is forgotten, and nothing is kept of what is gone.
        #[test]
        fn the_last_listing_counts(steps in steps()) {
            let mut now = MailboxMap::default();
            let mut read: Option<MailboxMap> = None;
            let mut model = BTreeMap::new();
            let mut gone: Vec<MailboxId> = Vec::new();
            let mut owners: BTreeMap<u32, PathBuf> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Listed(wanted) => read = Some(listing(&wanted)),
                    Step::Applied => if let Some(listed) = read.take() {
                        model = said(&listed);
                        let change = Replacement::of(&now, listed);
                        prop_assert_eq!(change.is_nothing(), model == said(&now));
                        for id in &change.removed {
                            prop_assert!(now.maildir(*id).is_some() && change.map.maildir(*id).is_none());
                        }
                        for id in &change.added {
                            prop_assert!(change.map.maildir(*id).is_some_and(|path| now.by_path(path).is_none()));
                        }
                        gone.extend(change.removed);
                        now = change.map;
                    },
                    Step::Appeared(path, names) => {
                        let appeared = listing(&BTreeMap::from([(path, names)]));
                        let path = PathBuf::from(format!("/{path}"));
                        let taken: BTreeSet<_> = model.values().flatten().map(|(name, _): &(String, _)| name.clone()).collect();
                        let mut names = said(&appeared).remove(&path).unwrap_or_default();
                        names.retain(|(name, _)| !taken.contains(name));
                        let is_new = !names.is_empty() && !model.contains_key(&path);
                        prop_assert_eq!(now.extend(&appeared).len(), usize::from(is_new));
                        if is_new {
                            model.insert(path, names);
                        }
                    }
                    Step::Forgotten => if let Some(id) = gone.pop() {
                        owners.remove(&id.0);
                        now.release(id);
                    },
                }
                prop_assert_eq!(&said(&now), &model);
                prop_assert_eq!(now.len(), model.len());
                for id in now.ids() {
                    let path = now.maildir(id).expect("in use");
                    prop_assert_eq!(now.by_path(path), Some(id));
                    prop_assert_eq!(owners.entry(id.0).or_insert_with(|| path.into()), &path.to_path_buf());
                    for name in now.names(id) {
                        prop_assert_eq!(now.by_name(name), Some(id));
                    }
                }
                for name in (0..24).map(|name| format!("n{name}")) {
                    let is_there = model.values().flatten().any(|(there, _)| *there == name);
                    prop_assert_eq!(now.by_name(&name).is_some(), is_there);
                }
            }
        }
    }

    /// Years of reloads: whatever comes and goes, texts and numbers are those of what is there.
    #[test]
    fn ten_thousand_listings_leave_nothing_behind() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut now = MailboxMap::default();
        for _ in 0..10_000 {
            let mut listed = MailboxMap::default();
            let mut live = 0;
            for _ in 0..20 {
                let (path, name) = (random.u32(0..40), random.u32(0..200));
                let path = format!("/{}", "x".repeat(path as usize));
                let name = format!("{name}{}", "y".repeat(name as usize));
                if listed
                    .insert(Path::new(&path), &Username::new(&name).expect("a name"), SourceKind::Users)
                    .is_some()
                {
                    live += path.len() + name.len();
                }
            }
            replace(&mut now, listed);
            // Two lengths and a source for each.
            assert!(now.text_bytes() <= live + 5 * now.len(), "{} for {live}", now.text_bytes());
            assert!(now.capacity() <= 40, "no more numbers than mailboxes of two listings");
        }
    }
}
