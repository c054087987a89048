//! What paths of mailboxes share: mostly all but one name, which is that of the user.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use super::{
    arena::{Arena, Item},
    index::Index,
    maildir_path::MaildirPath,
};

/// The most components after the user's own: `mail/Maildir` has two.
const MOST_BELOW: usize = 2;
/// Bytes that a frame takes beside its text: its address, and an entry of the index.
const ENTRY: usize = 14;
/// What frames may take before they have saved anything.
const CREDIT: usize = 4096;
/// The same for each path: where no two share a thing, a path takes so much more, and one byte for the number.
const CREDIT_FOR_PATH: usize = 2;

/// All frames: what comes before and after the own part of a path, each once, by number. Number 0 is nothing around a whole path.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    arena: Arena,
    /// Addresses of frames; number 1 is the first.
    slots: Vec<u32>,
    by_text: Index,
    /// The path that came last: what this one has in common with the next one at its end is no user's own.
    previous: Vec<u8>,
    /// Bytes that paths have saved, or may take more.
    earned: usize,
    /// Bytes that frames take.
    spent: usize,
}

impl Frames {
    /// Takes a path apart: into the number of its frame, which is new if need be, and its own part.
    ///
    /// A new one costs more than the path that it is for, and is worth it only if others follow. So it is made of what frames have saved
    /// until then.
    pub(super) fn split<'a>(&mut self, path: &'a [u8]) -> (usize, &'a [u8]) {
        let mut splits = (0..=MOST_BELOW).rev().filter_map(|below| MaildirPath::split(path, below));
        self.earned += CREDIT_FOR_PATH;
        let known = splits.clone().find_map(|split| Some((self.find(split)?, split)));
        let (number, split) = known
            .or_else(|| self.add(splits.find(|split| self.previous.ends_with(split.after))?))
            .unwrap_or((0, MaildirPath { before: &[], own: path, after: &[] }));
        self.earned += (path.len() - split.own.len()).saturating_sub(1);
        self.previous.clear();
        self.previous.extend_from_slice(path);
        (number, split.own)
    }

    /// A path put together.
    pub(super) fn path<'a>(&'a self, number: usize, own: &'a [u8]) -> MaildirPath<'a> {
        let (before, after) = number.checked_sub(1).map(|slot| self.frame(slot)).unwrap_or_default();
        MaildirPath { before, own, after }
    }

    fn frame(&self, slot: usize) -> (&[u8], &[u8]) {
        let (before, next) = self.arena.text(self.slots[slot]);
        (before, self.arena.text(next).0)
    }

    fn find(&self, split: MaildirPath<'_>) -> Option<usize> {
        let wanted = (split.before, split.after);
        let slot = self.by_text.find(hash(wanted), |slot| self.frame(slot as usize) == wanted)?;
        Some(slot as usize + 1)
    }

    fn add<'a>(&mut self, split: MaildirPath<'a>) -> Option<(usize, MaildirPath<'a>)> {
        let MaildirPath { before, after, .. } = split;
        let spent = self.spent + before.len() + after.len() + ENTRY;
        if spent > self.earned + CREDIT {
            return None;
        }
        let slot = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(self.arena.push(&[Item::Text(before), Item::Text(after)])?);
        let Self { arena, slots, by_text, .. } = self;
        by_text.insert(hash((before, after)), slot, |slot| {
            let (before, next) = arena.text(slots[slot as usize]);
            hash((before, arena.text(next).0))
        });
        self.spent = spent;
        Some((slot as usize + 1, split))
    }

    /// Gives back what was reserved for more.
    pub(super) fn shrink(&mut self) {
        self.arena.shrink();
        self.slots.shrink_to_fit();
    }

    /// How many bytes their texts take.
    pub(super) fn text_bytes(&self) -> usize {
        self.arena.len()
    }

    /// How many bytes they take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.arena.len() + self.slots.len() * size_of::<u32>() + self.by_text.bytes() + self.previous.len()
    }
}

fn hash(frame: (&[u8], &[u8])) -> u64 {
    FxBuildHasher.hash_one(frame)
}
