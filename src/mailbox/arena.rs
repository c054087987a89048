//! Texts by the million: one byte string, and for each text its address in it.

/// The most bytes that a length takes.
const MAX_PREFIX: usize = 10;

/// Texts one after the other, each with its length before it. Nothing is ever taken out: who wants to be rid of some begins a
/// new arena, as a new listing of the mailboxes does.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena(Vec<u8>);

impl Arena {
    /// Adds texts that belong together, and tells where they begin. None if there is no room: addresses have 32 bits.
    pub(super) fn push(&mut self, texts: &[&[u8]]) -> Option<u32> {
        let at = u32::try_from(self.0.len()).ok()?;
        let most = texts.iter().map(|text| text.len() + MAX_PREFIX).sum::<usize>();
        u32::try_from(self.0.len() + most).ok()?;
        for text in texts {
            let mut length = text.len();
            while length >= 0x80 {
                self.0.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            self.0.push(length as u8);
            self.0.extend_from_slice(text);
        }
        Some(at)
    }

    /// The text at an address, and the address of the next one.
    pub(super) fn text(&self, at: u32) -> (&[u8], u32) {
        let mut at = at as usize;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let end = at + length;
        (&self.0[at..end], end as u32)
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
    fn texts_come_back() {
        let mut arena = Arena::default();
        let texts = [0, 1, 127, 128, 16_383, 16_384, 70_000].map(|length| vec![b'x'; length]);
        let places = texts.each_ref().map(|text| arena.push(&[text, b"after"]).expect("room"));
        for (text, at) in texts.iter().zip(places) {
            let (found, next) = arena.text(at);
            assert_eq!((found, arena.text(next).0), (&**text, &b"after"[..]));
        }
    }
}
