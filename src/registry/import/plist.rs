//! Property lists, XML and binary, as far as a store of devices needs them. Pure.
//!
//! Own code on quick-xml, because the crate plist panics on dates outside the years 0 to 9999, lets nested arrays overflow the stack,
//! and follows a binary list that refers to itself over and over until the memory ends. Here the depth is bounded, and the work by
//! the length of the file.

use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};
use thiserror::Error;

use super::{after_1970, rfc3339};
use crate::registry::Timestamp;

/// Deeper than any store.
const DEPTH: usize = 16;
/// A binary list keeps equal texts once, so it may say more than it has bytes; but not more than so many times.
const EXPANSION: usize = 64;
/// What a value costs beside its text.
const VALUE: usize = 32;
/// 2001-01-01, the origin of dates in binary lists, in seconds since 1970.
const EPOCH: f64 = 978_307_200.0;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `<dict>`, in the order of the file.
    Dict(Vec<(String, Node)>),
    /// `<array>`.
    Array(Vec<Node>),
    /// `<string>`.
    Text(String),
    /// `<date>`; none for a time that cannot be meant.
    Date(Option<Timestamp>),
    /// A number, data, or true or false.
    Other,
}

impl Node {
    /// The value of a key of a dict; the first one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(pairs) => pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Why something is no property list.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlistError {
    /// The XML is not.
    #[error("{why} at byte {at}")]
    Xml {
        /// Where the reader was.
        at: u64,
        /// What it found there.
        why: String,
    },
    /// A binary list that leads nowhere.
    #[error("the binary list is damaged")]
    Binary,
    /// More than any store.
    #[error("it is nested more than {DEPTH} deep, or refers to itself")]
    TooMuch,
}

/// A dict or an array that has not ended.
enum Open {
    Dict(Vec<(String, Node)>, Option<String>),
    Array(Vec<Node>),
}

/// Reads XML.
///
/// # Errors
/// If it is not well formed, or no property list.
pub fn parse_xml(bytes: &[u8]) -> Result<Node, PlistError> {
    let text = std::str::from_utf8(bytes).map_err(|error| PlistError::Xml {
        at: error.valid_up_to() as u64,
        why: "the text is not UTF-8".to_owned(),
    })?;
    let mut xml = Xml(Reader::from_str(text));
    let config = xml.0.config_mut();
    config.expand_empty_elements = true;
    config.check_end_names = true;
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    loop {
        let value = match xml.next()? {
            Event::Start(element) => match element.name().as_ref() {
                "plist" if open.is_empty() && root.is_none() => continue,
                "dict" | "array" if open.len() >= DEPTH => return Err(PlistError::TooMuch),
                "dict" => {
                    open.push(Open::Dict(Vec::new(), None));
                    continue;
                }
                "array" => {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
                "key" => {
                    let content = xml.content()?;
                    match open.last_mut() {
                        Some(Open::Dict(_, key @ None)) => *key = Some(content),
                        _ => return Err(xml.error("a key that is out of place")),
                    }
                    continue;
                }
                "string" => Node::Text(xml.content()?),
                "date" => Node::Date(rfc3339(xml.content()?.trim())),
                "data" | "integer" | "real" | "true" | "false" => {
                    xml.content()?;
                    Node::Other
                }
                _ => return Err(xml.error("an element that no property list has")),
            },
            Event::End(element) if element.name().as_ref() == "plist" => continue,
            // The reader has seen to it that this is the end of what was opened last.
            Event::End(_) => match open.pop() {
                Some(Open::Dict(pairs, None)) => Node::Dict(pairs),
                Some(Open::Array(values)) => Node::Array(values),
                _ => return Err(xml.error("a key without a value")),
            },
            Event::Text(text) if text.trim().is_empty() => continue,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            Event::Eof => break,
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::Empty(_) => {
                return Err(xml.error("text that is out of place"));
            }
        };
        match open.last_mut() {
            Some(Open::Array(values)) => values.push(value),
            Some(Open::Dict(pairs, key)) => match key.take() {
                Some(key) => pairs.push((key, value)),
                None => return Err(xml.error("a value without a key")),
            },
            None if root.is_none() => root = Some(value),
            None => return Err(xml.error("a second value")),
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        _ => Err(xml.error("the file ends")),
    }
}

struct Xml<'a>(Reader<&'a [u8]>);

impl<'a> Xml<'a> {
    fn error(&self, why: &str) -> PlistError {
        PlistError::Xml { at: self.0.buffer_position(), why: why.to_owned() }
    }

    fn next(&mut self) -> Result<Event<'a>, PlistError> {
        self.0.read_event().map_err(|error| PlistError::Xml {
            at: self.0.error_position(),
            // Names of elements out of the file are in it.
            why: super::shown(&error.to_string()),
        })
    }

    /// The text up to the end of the element.
    fn content(&mut self) -> Result<String, PlistError> {
        let mut content = String::new();
        loop {
            match self.next()? {
                Event::Text(text) => content.push_str(&text),
                Event::CData(text) => content.push_str(&text),
                Event::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(character)) => content.push(character),
                    Ok(None) => {
                        let known = resolve_xml_entity(&name);
                        content.push_str(known.ok_or_else(|| self.error("an unknown entity"))?);
                    }
                    Err(_) => return Err(self.error("no character")),
                },
                Event::End(_) => return Ok(content),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Start(_) | Event::Empty(_) => return Err(self.error("an element inside a text")),
                Event::Decl(_) | Event::DocType(_) | Event::Eof => return Err(self.error("the file ends")),
            }
        }
    }
}

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

    fn xml(text: &str) -> Result<Node, PlistError> {
        parse_xml(text.as_bytes())
    }

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn reads_all_kinds_of_values() {
        let list = xml("<?xml version=\"1.0\"?>\n<!DOCTYPE plist PUBLIC \"x\" \"y\">\n<!-- c --><plist version=\"1.0\"><dict>\
            <key>a&amp;b</key><string>x<!-- c -->&#x41;&lt;<![CDATA[<&>]]></string><key>n</key><integer>1</integer>\
            <key>l</key><array><true/><data>AA==</data><array/><string/></array>\
            <key>d</key><date>2013-05-01T12:00:00Z</date></dict></plist>\n")
        .expect("a list");
        assert_eq!(list.get("a&b"), Some(&text("xA<<&>")));
        assert_eq!(list.get("d"), Some(&Node::Date(Some(Timestamp(1_367_409_600_000)))));
        let inner = vec![Node::Other, Node::Other, Node::Array(Vec::new()), text("")];
        assert_eq!(list.get("l"), Some(&Node::Array(inner)));
        assert_eq!(list.get("n"), Some(&Node::Other));
        // What the crate plist cannot bear.
        for date in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "never"] {
            assert!(matches!(xml(&format!("<date>{date}</date>")), Ok(Node::Date(_))), "{date}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (list, why) in [
            ("<dict>", "the file ends at byte 6"),
            ("<dict><key>a</key></dict>", "a key without a value at byte 25"),
            ("<dict><string>a</string></dict>", "a value without a key at byte 24"),
            ("<dict><key>a</key><key>b</key></dict>", "a key that is out of place at byte 30"),
            ("<array><key>a</key></array>", "a key that is out of place at byte 19"),
            ("<string>a<b/></string>", "an element inside a text at byte 13"),
            ("<string>&x;</string>", "an unknown entity at byte 11"),
            ("<string>&#0;</string>", "no character at byte 12"),
            ("<string>a", "the file ends at byte 9"),
            ("<string>a</string>b", "text that is out of place at byte 19"),
            ("<string>a</string><string>a</string>", "a second value at byte 36"),
            ("<script/>", "an element that no property list has at byte 9"),
        ] {
            assert_eq!(xml(list).map_err(|error| error.to_string()), Err(why.to_owned()), "{list}");
        }
        assert!(xml("<array></dict>").is_err() && parse_xml(b"<\xff>").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(xml(&"<array>".repeat(1_000_000)), Err(PlistError::TooMuch));
        let nested = |depth| format!("{}{}", "<array>".repeat(depth), "</array>".repeat(depth));
        assert!(xml(&nested(DEPTH)).is_ok() && xml(&nested(DEPTH + 1)).is_err());
    }

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

    const RECORDED: &[u8] = include_bytes!("../../../tests/transcripts/import/guid_device_maps.plist");

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
        assert_eq!(parse_binary(&binary(&[utf16])), Ok(text("jö")));
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
