//! The map: which mailboxes there are, where, and whose.
//!
//! A mailbox takes some 60 bytes: its own part of the path and its name in an arena, their address, and two entries of four bytes in hash
//! tables. The rest of the path is kept once for all that share it. Mailboxes are only ever added to a map. A new listing is a new map,
//! which takes over the numbers of the old one: see [`super::replacement`].

use std::{hash::BuildHasher, os::unix::ffi::OsStrExt, path::Path};

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{
    MailboxId, Username,
    arena::{Arena, Item},
    frames::Frames,
    index::Index,
    maildir_path::MaildirPath,
    source::SourceKind,
};

/// Instead of an address: no mailbox has this number.
const NONE: u32 = u32::MAX;
/// An entry of the index of names with this bit is the number of an [`Alias`], without it that of a mailbox.
const ALIAS: u32 = 1 << 31;

/// All mailboxes, each with a number that stays while the mailbox does.
#[derive(Clone, Debug, Default)]
pub struct MailboxMap {
    texts: Texts,
    /// Numbers that may be given out.
    free: Vec<MailboxId>,
    len: usize,
    /// The first and the last alias of a mailbox that has any.
    ends: FxHashMap<MailboxId, (u32, u32)>,
    by_path: Index,
    by_name: Index,
}

/// All paths and names.
#[derive(Clone, Debug, Default)]
struct Texts {
    /// For each mailbox the number of its frame, its own part of the path, and its main name, and for each alias its name. Before a name
    /// is the number of its source.
    arena: Arena,
    frames: Frames,
    /// Addresses of mailboxes, by number.
    slots: Vec<u32>,
    /// Further names of mailboxes. Few mailboxes have one.
    aliases: Vec<Alias>,
}

/// A name of a mailbox that has another one before it.
#[derive(Clone, Copy, Debug)]
struct Alias {
    at: u32,
    mailbox: MailboxId,
    /// The next alias of the mailbox, or [`NONE`].
    next: u32,
}

impl MailboxMap {
    /// How many mailboxes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the largest number: the length for an array with an element for each mailbox.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.texts.slots.len()
    }

    /// All numbers in use, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = MailboxId> {
        (0u32..).zip(&self.texts.slots).filter(|(_, at)| **at != NONE).map(|(number, _)| MailboxId(number))
    }

    /// All mailboxes, and where they are.
    pub fn iter(&self) -> impl Iterator<Item = (MailboxId, MaildirPath<'_>)> {
        self.ids().filter_map(|id| Some((id, self.maildir(id)?)))
    }

    /// Where the mailbox is. None if there is no such mailbox, any more.
    #[must_use]
    pub fn maildir(&self, id: MailboxId) -> Option<MaildirPath<'_>> {
        self.texts.at(id).map(|at| self.texts.path_at(at))
    }

    /// Whose it is: each distinct name once, the main one first.
    pub fn names(&self, id: MailboxId) -> impl Iterator<Item = &str> {
        self.names_with_sources(id).map(|(name, _)| name)
    }

    /// The same, as names that outlive the map.
    pub fn usernames(&self, id: MailboxId) -> impl Iterator<Item = Username> {
        self.names(id).map(|name| Username(name.into()))
    }

    /// The same, with who named them.
    pub fn names_with_sources(&self, id: MailboxId) -> impl Iterator<Item = (&str, SourceKind)> {
        let main = self.texts.at(id).map(|at| self.texts.main_name_at(at));
        let mut next = self.ends.get(&id).map_or(NONE, |(first, _)| *first);
        let aliases = std::iter::from_fn(move || {
            let alias = self.texts.aliases.get(next as usize)?;
            next = alias.next;
            Some(self.texts.name_at(alias.at))
        });
        main.into_iter().chain(aliases)
    }

    /// The mailbox at a path.
    #[must_use]
    pub fn by_path<'a>(&self, path: impl Into<MaildirPath<'a>>) -> Option<MailboxId> {
        let path = path.into();
        self.by_path.find(hash_path(path), |number| self.texts.path_of(number) == path).map(MailboxId)
    }

    /// The mailbox of a user.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<MailboxId> {
        self.find_name(name).map(|(mailbox, _)| mailbox)
    }

    /// The mailbox of a user, and who named him.
    #[must_use]
    pub fn find_name(&self, name: &str) -> Option<(MailboxId, SourceKind)> {
        let found = self.by_name.find(hash_name(name), |entry| self.texts.entry(entry).0 == name)?;
        let mailbox = if found & ALIAS == 0 { MailboxId(found) } else { self.texts.alias(found).mailbox };
        Some((mailbox, self.texts.entry(found).1))
    }

    /// Adds a mailbox with its main name. None if there is one at that path or of that name, or no room for more.
    pub fn insert(&mut self, maildir: &Path, name: &Username, source: SourceKind) -> Option<MailboxId> {
        if self.by_path(maildir).is_some() || self.by_name(name.as_str()).is_some() {
            return None;
        }
        self.insert_new(maildir, name.as_str(), source)
    }

    /// Adds a name to a mailbox. False if somebody has it already, or if there is no such mailbox, or no room for more.
    pub fn add_name(&mut self, mailbox: MailboxId, name: &Username, source: SourceKind) -> bool {
        self.texts.at(mailbox).is_some()
            && self.by_name(name.as_str()).is_none()
            && self.add_new_name(mailbox, name.as_str(), source).is_some()
    }

    /// Adds what a look at a new folder found: mailboxes whose path and names are not in the map yet.
    pub fn extend(&mut self, others: &Self) -> Vec<MailboxId> {
        let mut added = Vec::new();
        for (other, maildir) in others.iter() {
            if self.by_path(maildir).is_some() {
                continue;
            }
            let mut mailbox = None;
            for (name, source) in others.names_with_sources(other) {
                if self.by_name(name).is_some() {
                    continue;
                }
                match mailbox {
                    None => mailbox = self.insert_new(&maildir.to_path_buf(), name, source),
                    Some(mailbox) => {
                        self.add_new_name(mailbox, name, source);
                    }
                }
            }
            added.extend(mailbox);
        }
        added
    }

    /// Gives a number back that a mailbox had which is no more. Not before everybody has forgotten that one.
    pub fn release(&mut self, id: MailboxId) {
        if self.texts.slots.get(id.index()) == Some(&NONE) {
            self.free.push(id);
        }
    }

    /// The numbers that may be given out, the next one last.
    pub(super) fn free(&self) -> &[MailboxId] {
        &self.free
    }

    /// Gives its mailboxes, which are numbered from 0 to [`Self::len`], other numbers. All below `capacity` that are neither given nor
    /// `free` are kept for nobody, until they are released.
    pub(super) fn renumber(&mut self, numbers: &[MailboxId], capacity: usize, free: Vec<MailboxId>) {
        let mut slots = vec![NONE; capacity];
        for (at, number) in self.texts.slots.iter().zip(numbers) {
            slots[number.index()] = *at;
        }
        self.texts.slots = slots;
        self.free = free;
        let new = |number: u32| numbers[number as usize].0;
        self.by_path.renumber(new);
        self.by_name.renumber(|entry| if entry & ALIAS == 0 { new(entry) } else { entry });
        for alias in &mut self.texts.aliases {
            alias.mailbox = numbers[alias.mailbox.index()];
        }
        self.ends = self.ends.drain().map(|(mailbox, ends)| (numbers[mailbox.index()], ends)).collect();
    }

    /// Gives back what was reserved for more.
    pub(super) fn shrink(&mut self) {
        self.texts.arena.shrink();
        self.texts.frames.shrink();
        self.texts.slots.shrink_to_fit();
        self.texts.aliases.shrink_to_fit();
    }

    /// How many bytes paths and names take. A map has none that are not in use.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.texts.arena.len() + self.texts.frames.text_bytes()
    }

    /// Adds a mailbox of which neither the path nor the name is in the map.
    fn insert_new(&mut self, maildir: &Path, name: &str, source: SourceKind) -> Option<MailboxId> {
        let id = match self.free.last() {
            Some(id) => *id,
            None => MailboxId(u32::try_from(self.texts.slots.len()).ok().filter(|number| *number < ALIAS)?),
        };
        let (frame, own) = self.texts.frames.split(maildir.as_os_str().as_bytes());
        let [source, name] = name_items(name, source);
        let at = self.texts.arena.push(&[Item::Number(frame), Item::Text(own), source, name])?;
        if self.free.pop().is_some() {
            self.texts.slots[id.index()] = at;
        } else {
            self.texts.slots.push(at);
        }
        self.len += 1;
        let Self { texts, by_path, .. } = self;
        by_path.insert(hash_path(maildir.into()), id.0, |number| hash_path(texts.path_of(number)));
        self.index_name(id.0);
        Some(id)
    }

    /// Adds a name that is not in the map to a mailbox that is.
    fn add_new_name(&mut self, mailbox: MailboxId, name: &str, source: SourceKind) -> Option<()> {
        let number = u32::try_from(self.texts.aliases.len()).ok().filter(|number| *number < ALIAS - 1)?;
        let at = self.texts.arena.push(&name_items(name, source))?;
        self.texts.aliases.push(Alias { at, mailbox, next: NONE });
        let ends = self.ends.entry(mailbox).or_insert((number, number));
        let last = std::mem::replace(&mut ends.1, number);
        if last != number {
            self.texts.aliases[last as usize].next = number;
        }
        self.index_name(ALIAS | number);
        Some(())
    }

    fn index_name(&mut self, entry: u32) {
        let hash_of = |entry| hash_name(self.texts.entry(entry).0);
        self.by_name.insert(hash_of(entry), entry, hash_of);
    }

    /// How many bytes it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.texts.arena.len()
            + self.texts.frames.bytes()
            + self.texts.slots.len() * size_of::<u32>()
            + self.free.len() * size_of::<MailboxId>()
            + self.texts.aliases.len() * size_of::<Alias>()
            + self.ends.capacity() * size_of::<(MailboxId, (u32, u32))>()
            + self.by_path.bytes()
            + self.by_name.bytes()
    }
}

impl Texts {
    fn at(&self, id: MailboxId) -> Option<u32> {
        self.slots.get(id.index()).copied().filter(|at| *at != NONE)
    }

    /// The path of a mailbox that is in the index.
    fn path_of(&self, number: u32) -> MaildirPath<'_> {
        self.path_at(self.slots[number as usize])
    }

    fn path_at(&self, at: u32) -> MaildirPath<'_> {
        let (frame, at) = self.arena.number(at);
        self.frames.path(frame, self.arena.text(at).0)
    }

    /// The main name of a mailbox, which comes after its path.
    fn main_name_at(&self, at: u32) -> (&str, SourceKind) {
        self.name_at(self.arena.text(self.arena.number(at).1).1)
    }

    /// The name that an entry of the index stands for.
    fn entry(&self, entry: u32) -> (&str, SourceKind) {
        match entry & ALIAS {
            0 => self.main_name_at(self.slots[entry as usize]),
            _ => self.name_at(self.alias(entry).at),
        }
    }

    fn alias(&self, entry: u32) -> Alias {
        self.aliases[(entry & !ALIAS) as usize]
    }

    fn name_at(&self, at: u32) -> (&str, SourceKind) {
        let (source, at) = self.arena.number(at);
        // It was text when it came; unchecked would be unsafe, and twenty bytes are checked in nanoseconds.
        let name = std::str::from_utf8(self.arena.text(at).0).unwrap_or_default();
        (name, SourceKind::from_byte(source as u8))
    }
}

fn name_items(name: &str, source: SourceKind) -> [Item<'_>; 2] {
    [Item::Number(source as usize), Item::Text(name.as_bytes())]
}

fn hash_name(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

fn hash_path(path: MaildirPath<'_>) -> u64 {
    FxBuildHasher.hash_one(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the memory of a daemon with a million mailboxes rests on.
    #[test]
    fn a_mailbox_takes_less_than_sixty_bytes() {
        let bytes = bytes_with(|number| {
            format!("/var/vmail/mail.example.org/{:02}/user{number:06}/Maildir", number % 100)
        });
        assert!(bytes < 60.0, "{bytes} bytes a mailbox");
        let bytes = bytes_with(|number| format!("/Library/Server/Mail/Data/mail/{number:036X}"));
        assert!(bytes < 85.0, "{bytes} bytes a mailbox");
    }

    /// Names and two hash tables take 44 bytes, and the length of the path one.
    #[test]
    fn paths_that_share_nothing_take_a_few_bytes_more_than_they_have() {
        let path = |number| format!("/srv/{number:06}/mail/user{number:06}/Maildir");
        let bytes = bytes_with(path);
        assert!(bytes < 45.0 + path(0).len() as f64 + 5.0, "{bytes} bytes a mailbox");
    }

    fn bytes_with(path: impl Fn(u32) -> String) -> f64 {
        let mut map = MailboxMap::default();
        for number in 0..200_000 {
            let name = Username::new(&format!("user{number:06}@mail.test")).expect("a name");
            assert!(map.insert(Path::new(&path(number)), &name, SourceKind::MapFile).is_some());
        }
        map.shrink();
        map.bytes() as f64 / 200_000.0
    }
}
