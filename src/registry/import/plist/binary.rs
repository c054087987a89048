//! Property lists in Apple's binary form.

use super::{DEPTH, Node, PlistError};
use crate::registry::import::after_1970;

/// A binary list keeps equal texts once, so it may say more than it has bytes; but not more than so many times.
const EXPANSION: usize = 64;
/// What a value costs beside its text.
const VALUE: usize = 32;
/// 2001-01-01, the origin of dates in binary lists, in seconds since 1970.
const EPOCH: f64 = 978_307_200.0;

/// Reads a binary list.
///
/// ```text
/// file    = "bplist0" digit *object *offset trailer
/// trailer = 6*OCTET offset-size ref-size count root table      ; the last three have 8 bytes, all numbers are big-endian
/// object  = type-and-length [ int-object if the length is 15 ] content
/// ```
///
/// # Errors
/// If it is damaged, or expands to much more than its length.
pub fn parse_binary(bytes: &[u8]) -> Result<Node, PlistError> {
    let body = bytes.len().checked_sub(32).ok_or(PlistError::Binary)?;
    let trailer = &bytes[body..];
    let number = |at: usize| usize::try_from(uint(&trailer[at..at + 8])).map_err(|_| PlistError::Binary);
    let (offset_size, ref_size) = (usize::from(trailer[6]), usize::from(trailer[7]));
    if !(1..=8).contains(&offset_size) || !(1..=8).contains(&ref_size) {
        return Err(PlistError::Binary);
    }
    let (count, root, table) = (number(8)?, number(16)?, number(24)?);
    let length = count.checked_mul(offset_size).ok_or(PlistError::Binary)?;
    let offsets = slice(&bytes[..body], table, length).ok_or(PlistError::Binary)?;
    let budget = bytes.len().saturating_mul(EXPANSION);
    Binary { objects: &bytes[..body], offsets, offset_size, ref_size, budget }.node(root, 0)
}

struct Binary<'a> {
    objects: &'a [u8],
    offsets: &'a [u8],
    offset_size: usize,
    ref_size: usize,
    /// What may still be read.
    budget: usize,
}

impl<'a> Binary<'a> {
    fn node(&mut self, object: usize, depth: usize) -> Result<Node, PlistError> {
        self.pay(VALUE)?;
        let (marker, length, content) = self.object(object).ok_or(PlistError::Binary)?;
        let refs = |times: usize| {
            let bytes = length.checked_mul(self.ref_size)?.checked_mul(times)?;
            slice(self.objects, content, bytes)
        };
        match marker >> 4 {
            0x3 => {
                let bytes = slice(self.objects, content, 8).ok_or(PlistError::Binary)?;
                let seconds = f64::from_bits(uint(bytes)) + EPOCH;
                // What is no number, or beyond all numbers, becomes one that is no time of a registration.
                Ok(Node::Date(after_1970((seconds * 1000.0) as i64)))
            }
            0x5 | 0x6 => Ok(Node::Text(self.text(marker, length, content)?)),
            0xa | 0xd if depth >= DEPTH => Err(PlistError::TooMuch),
            0xa => {
                let refs = refs(1).ok_or(PlistError::Binary)?.chunks_exact(self.ref_size);
                let values = refs.map(|value| self.node(index(value), depth + 1));
                Ok(Node::Array(values.collect::<Result<_, _>>()?))
            }
            0xd => {
                let refs = refs(2).ok_or(PlistError::Binary)?;
                let (keys, values) = refs.split_at(refs.len() / 2);
                let pairs = keys.chunks_exact(self.ref_size).zip(values.chunks_exact(self.ref_size));
                let pairs = pairs.map(|(key, value)| match self.node(index(key), DEPTH)? {
                    Node::Text(key) => Ok((key, self.node(index(value), depth + 1)?)),
                    _ => Err(PlistError::Binary),
                });
                Ok(Node::Dict(pairs.collect::<Result<_, _>>()?))
            }
            _ => Ok(Node::Other),
        }
    }

    /// The marker of an object, the length that it says, and where its content begins.
    fn object(&self, object: usize) -> Option<(u8, usize, usize)> {
        let offset = slice(self.offsets, object.checked_mul(self.offset_size)?, self.offset_size)?;
        let at = index(offset);
        let marker = *self.objects.get(at)?;
        let short = usize::from(marker & 15);
        if short < 15 || !matches!(marker >> 4, 0x4..=0x6 | 0xa | 0xd) {
            return Some((marker, short, at + 1));
        }
        let int = *self.objects.get(at + 1)?;
        if int >> 4 != 1 || int & 15 > 3 {
            return None;
        }
        let size = 1 << (int & 15);
        let length = usize::try_from(uint(slice(self.objects, at + 2, size)?)).ok()?;
        Some((marker, length, at + 2 + size))
    }

    fn text(&mut self, marker: u8, length: usize, content: usize) -> Result<String, PlistError> {
        let size = if marker >> 4 == 0x6 { 2 } else { 1 };
        let length = length.checked_mul(size).ok_or(PlistError::Binary)?;
        let bytes = slice(self.objects, content, length).ok_or(PlistError::Binary)?;
        self.pay(length)?;
        if size == 1 {
            return std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| PlistError::Binary);
        }
        let units = bytes.as_chunks::<2>().0.iter().map(|&unit| u16::from_be_bytes(unit));
        char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| PlistError::Binary)
    }

    fn pay(&mut self, cost: usize) -> Result<(), PlistError> {
        self.budget = self.budget.checked_sub(cost).ok_or(PlistError::TooMuch)?;
        Ok(())
    }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// A big-endian number of at most eight bytes.
fn uint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A number that leads to something; one that is too large leads to nothing.
fn index(bytes: &[u8]) -> usize {
    usize::try_from(uint(bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::{Timestamp, import::plist::parse_xml};

    /// A binary list of these objects, the first of which is the root.
    fn binary(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"bplist00".to_vec();
        let mut offsets = Vec::new();
        for object in objects {
            offsets.push(u8::try_from(bytes.len()).expect("a small list"));
            bytes.extend(object);
        }
        let table = bytes.len() as u64;
        bytes.extend(offsets);
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 1]);
        for number in [objects.len() as u64, 0, table] {
            bytes.extend(number.to_be_bytes());
        }
        bytes
    }

    fn ascii(text: &str) -> Vec<u8> {
        assert!(text.len() < 256);
        [&[0x5f, 0x10, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
    }

    #[test]
    fn a_binary_list_is_the_same_as_its_xml() {
        // As other programs write it.
        let list = plist::Value::from_reader_xml(RECORDED).expect("a list");
        let mut bytes = Vec::new();
        list.to_writer_binary(&mut bytes).expect("a binary list");
        let parsed = parse_binary(&bytes).expect("a list");
        let guid = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";
        assert_eq!(parse_xml(RECORDED).map(|list| list.get(guid).cloned()), Ok(parsed.get(guid).cloned()));
        assert!(parsed.get(guid).is_some());
    }

    const RECORDED: &[u8] = include_bytes!("../../../../tests/transcripts/import/guid_device_maps.plist");

    #[test]
    fn a_binary_list_that_refers_to_itself_is_refused() {
        assert_eq!(parse_binary(&binary(&[vec![0xa1, 0]])), Err(PlistError::TooMuch));
        // Each of these has the next one fifteen times.
        let mut bomb: Vec<Vec<u8>> =
            (1..14).map(|next| [&[0xaf, 0x10, 15][..], &[next; 15]].concat()).collect();
        bomb.push(ascii("x"));
        assert_eq!(parse_binary(&binary(&bomb)), Err(PlistError::TooMuch));
        let long = [[&[0xaf, 0x10, 200][..], &[1; 200]].concat(), ascii(&"x".repeat(200))];
        assert_eq!(parse_binary(&binary(&long)), Err(PlistError::TooMuch));
    }

    #[test]
    fn dates_and_texts_of_binary_lists() {
        let date = |seconds: f64| [&[0x33][..], &seconds.to_bits().to_be_bytes()].concat();
        for (seconds, at) in [
            (389_102_400.5, Some(Timestamp(1_367_409_600_500))),
            (f64::NAN, None),
            (-1e300, None),
            (f64::INFINITY, Some(Timestamp(i64::MAX))),
        ] {
            assert_eq!(parse_binary(&binary(&[date(seconds)])), Ok(Node::Date(at)), "{seconds}");
        }
        let utf16 = vec![0x62, 0, b'j', 0, 0xf6];
        assert_eq!(parse_binary(&binary(&[utf16])), Ok(Node::Text("jö".to_owned())));
        assert_eq!(parse_binary(&binary(&[vec![0x61, 0xd8, 0]])), Err(PlistError::Binary));
        // A dict whose key is a dict.
        assert!(parse_binary(&binary(&[vec![0xd1, 0, 0]])).is_err());
    }

    proptest! {
        #[test]
        fn any_damage_is_noticed_or_harmless(at in any::<prop::sample::Index>(), byte: u8, length in any::<prop::sample::Index>()) {
            let list = plist::Value::from_reader_xml(RECORDED).expect("a list");
            let mut bytes = Vec::new();
            list.to_writer_binary(&mut bytes).expect("a binary list");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = parse_binary(&bytes);
            let _ = parse_binary(&bytes[..length.index(bytes.len())]);
        }
    }
}
