//! Property lists, XML and binary, as far as a store of devices needs them. Pure.
//!
//! Own code on quick-xml, because the crate plist panics on dates outside the years 0 to 9999, lets nested arrays overflow the stack,
//! and follows a binary list that refers to itself over and over until the memory ends. Here the depth is bounded, and the work by
//! the length of the file.

mod binary;
mod xml;

use thiserror::Error;

use crate::registry::Timestamp;

pub use binary::parse_binary;
pub use xml::parse_xml;

/// Deeper than any store.
const DEPTH: usize = 16;

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
