//! Property lists in XML.

use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

use super::{DEPTH, Node, PlistError};
use crate::registry::import::{rfc3339, shown};

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
            why: shown(&error.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Timestamp;

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
}
