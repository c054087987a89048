//! Texts by the million: one byte string, and for each text its address in it.

/// The most bytes that a number takes.
const MAX_NUMBER: usize = 10;

/// What can be in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    /// A number; a small one takes a byte.
    Number(usize),
    /// A text, with its length before it.
    Text(&'a [u8]),
}

/// Texts and numbers one after the other. Nothing is ever taken out: who wants to be rid of some begins a
/// new arena, as a new listing of the mailboxes does.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena(Vec<u8>);

impl Arena {
    /// Adds what belongs together, and tells where it begins. None if there is no room: addresses have 32 bits.
    pub(super) fn push(&mut self, items: &[Item<'_>]) -> Option<u32> {
        let at = u32::try_from(self.0.len()).ok()?;
        let text = |item: &Item<'_>| if let Item::Text(text) = item { text.len() } else { 0 };
        let most = items.iter().map(|item| text(item) + MAX_NUMBER).sum::<usize>();
        u32::try_from(self.0.len() + most).ok()?;
        for item in items {
            match item {
                Item::Number(number) => self.push_number(*number),
                Item::Text(text) => {
                    self.push_number(text.len());
                    self.0.extend_from_slice(text);
                }
            }
        }
        Some(at)
    }

    fn push_number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// The number at an address, and the address of what comes next.
    pub(super) fn number(&self, at: u32) -> (usize, u32) {
        let mut at = at as usize;
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.0[at];
            at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (number, at as u32);
            }
        }
    }

    /// The text at an address, and the address of what comes next.
    pub(super) fn text(&self, at: u32) -> (&[u8], u32) {
        let (length, at) = self.number(at);
        let end = at as usize + length;
        (&self.0[at as usize..end], end as u32)
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives back what was reserved for more.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_back() {
        let mut arena = Arena::default();
        let texts = [0, 1, 127, 128, 16_383, 16_384, 70_000].map(|length| vec![b'x'; length]);
        let places = texts.each_ref().map(|text| {
            arena.push(&[Item::Text(text), Item::Number(text.len()), Item::Text(b"after")]).expect("room")
        });
        for (text, at) in texts.iter().zip(places) {
            let (found, next) = arena.text(at);
            let (number, after) = arena.number(next);
            assert_eq!((found, number, arena.text(after).0), (&**text, text.len(), &b"after"[..]));
        }
    }
}
