//! The push_notify record: what Apple's mail push daemon and its relatives take on a Unix socket. Pure.
//!
//! All dialects but `short` are one fixed-size record: a header with the message type, then four NUL-padded fields.
//!
//! | dialect | socket | size | message type | d1 (128) | d2 (512) | d3 (512) | d4 (512) |
//! |---|---|---|---|---|---|---|---|
//! | `osx-10.8` | datagram | 1680 | byte 0 is ASCII `1`, `2`, `3` | 16 | 144 | 656 | 1168 |
//! | `osx-10.7` | datagram | 1680 | native u64, then a u64 pid | 16 | 144 | 656 | 1168 |
//! | `osx-10.7-32` | datagram | 1672 | native u32, then a u32 pid | 8 | 136 | 648 | 1160 |
//! | `argon` | stream | 1672 or 1671 | little-endian u32, then a u32 pid | 8 | 136 | 648 | 1160 |
//! | `short` | datagram | any | none: `NUL user NUL` | | | | |

use std::{fmt, str};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mailbox::Username;

/// Lengths in bytes of the four fields d1 to d4.
const FIELDS: [usize; 4] = [128, 512, 512, 512];
const LONG_HEADER: usize = 16;
const SHORT_HEADER: usize = 8;
const LONG_RECORD: usize = LONG_HEADER + 1664;
const SHORT_RECORD: usize = SHORT_HEADER + 1664;
/// argon's own tests send a record that lacks the last byte.
const CLIPPED_RECORD: usize = SHORT_RECORD - 1;

/// The most bytes that a receiver needs to make room for: one more than the largest record, so that too large a
/// datagram can be told from one that fits.
pub const MAX_RECORD: usize = 2048;

/// The name of a user fits d1 with the NUL that ends it, which receivers written in C rely on.
pub const MAX_USER: usize = FIELDS[0] - 1;

/// Who speaks it is in the table above; the names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// OS X Server 10.8 and later.
    #[serde(rename = "osx-10.8")]
    Osx108,
    /// OS X Lion Server, the `pushmailnow` tool of 2012, and Dovecot patched with pushnotify, on 64 bits.
    #[serde(rename = "osx-10.7")]
    Osx107,
    /// The same on 32 bits.
    #[serde(rename = "osx-10.7-32")]
    Osx107Ilp32,
    /// argon/push_notify and its Dovecot plugin: one record a connection of a stream socket.
    #[serde(rename = "argon")]
    Argon,
    /// pushnotify's inotify.pl.
    #[serde(rename = "short")]
    Short,
}

impl Dialect {
    /// The name in the configuration and in `listen --json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Osx108 => "osx-10.8",
            Self::Osx107 => "osx-10.7",
            Self::Osx107Ilp32 => "osx-10.7-32",
            Self::Argon => "argon",
            Self::Short => "short",
        }
    }

    /// Is the record the whole of a connection, rather than a datagram?
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Argon)
    }

    const fn header(self) -> usize {
        match self {
            Self::Osx108 | Self::Osx107 => LONG_HEADER,
            Self::Osx107Ilp32 | Self::Argon => SHORT_HEADER,
            Self::Short => 0,
        }
    }

    /// Can the user be named in this dialect, so that the receiver acts on it?
    ///
    /// # Errors
    /// The reason why not.
    pub fn accepts(self, user: &Username) -> Result<(), UserRefused> {
        let bytes = user.as_str().len();
        match self {
            // pushnotify.pl is this dialect's only receiver. What it drops would be pushes that nobody ever gets.
            Self::Short if !pushnotify_pl_takes(user.as_str()) => Err(UserRefused::Misread),
            // `NUL user NUL` as long as a fixed-size record would be taken for one.
            Self::Short if bytes + 2 >= CLIPPED_RECORD => {
                Err(UserRefused::TooLong { bytes, most: CLIPPED_RECORD - 3 })
            }
            Self::Short => Ok(()),
            _ if bytes > MAX_USER => Err(UserRefused::TooLong { bytes, most: MAX_USER }),
            _ => Ok(()),
        }
    }

    /// Would pushnotify.pl, one of the two receivers of `osx-10.7`, drop what is sent for this user?
    #[must_use]
    pub fn may_be_dropped(self, user: &str) -> bool {
        self == Self::Osx107 && !pushnotify_pl_takes(user)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// pushnotify.pl takes `^[a-z][-a-z0-9_]*$` and logs anything else as an invalid user.
fn pushnotify_pl_takes(user: &str) -> bool {
    user.starts_with(|first: char| first.is_ascii_lowercase())
        && user.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// Why a user cannot be named in a dialect.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UserRefused {
    /// The record has no room for the name.
    #[error("the name has {bytes} bytes, and the record has room for {most}")]
    TooLong {
        /// The name's length.
        bytes: usize,
        /// The longest that fits.
        most: usize,
    },
    /// The receiver would not read the name that was meant.
    #[error(
        "the receiver of `short` takes only names of a to z, 0 to 9, `-` and `_` that begin with a letter"
    )]
    Misread,
}

/// What one record says. The fields borrow from the record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Obsolete; receivers ignore it.
    Create {
        /// d1.
        user: &'a str,
    },
    /// The phone registered for pushes.
    Register {
        /// d1.
        user: &'a str,
        /// d2, the `aps-account-id`.
        account_id: &'a str,
        /// d3, the `aps-device-token` in hex.
        device_token: &'a str,
        /// d4, the `aps-subtopic`.
        subtopic: &'a str,
    },
    /// Something happened to the user's mail: push.
    Notify {
        /// d1.
        user: &'a str,
        /// d2: only `argon` has it. Any other receiver takes a record with a second field for a registration.
        mailbox: Option<&'a str>,
    },
    /// `argon` only: the phone wants to hear of this mailbox.
    Subscribe {
        /// d1.
        user: &'a str,
        /// d2, the `aps-account-id`.
        account_id: &'a str,
        /// d3, the `aps-device-token` in hex.
        device_token: &'a str,
        /// d4.
        mailbox: &'a str,
    },
}

/// How the bytes arrived: the u32 form means `argon` on a stream and `osx-10.7-32` in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// As one datagram.
    Datagram,
    /// As all that a connection brought.
    Stream,
}

/// Why bytes are no push_notify record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Neither the size nor the first byte is that of any dialect.
    #[error("{0} bytes that are no push_notify record of any dialect")]
    Unknown(usize),
    /// The right size with a wrong message type.
    #[error("a record of {bytes} bytes with the unknown message type {message}")]
    MessageType {
        /// The size of the record.
        bytes: usize,
        /// The type as the header has it.
        message: u64,
    },
    /// A field that is not text.
    #[error("field d{0} is not UTF-8")]
    NotText(usize),
    /// A field that must be there and is empty.
    #[error("field d{0} is empty")]
    Empty(usize),
}

/// Why a message cannot be written in a dialect.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// A field is longer than its place, or holds a NUL.
    #[error("field d{0} does not fit")]
    Field(usize),
    /// The dialect has no such message.
    #[error("the dialect {0} has no such message")]
    Message(Dialect),
}

impl<'a> Message<'a> {
    /// The user that the record is about.
    #[must_use]
    pub const fn user(&self) -> &'a str {
        match *self {
            Self::Create { user }
            | Self::Register { user, .. }
            | Self::Notify { user, .. }
            | Self::Subscribe { user, .. } => user,
        }
    }

    /// The message's name, as `listen` prints it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Register { .. } => "register",
            Self::Notify { .. } => "notify",
            Self::Subscribe { .. } => "subscribe",
        }
    }

    const fn number(&self) -> u32 {
        match self {
            Self::Create { .. } => 1,
            Self::Register { .. } => 2,
            Self::Notify { .. } => 3,
            Self::Subscribe { .. } => 4,
        }
    }

    const fn fields(&self) -> [&'a str; 4] {
        match *self {
            Self::Create { user } => [user, "", "", ""],
            Self::Notify { user, mailbox } => match mailbox {
                Some(mailbox) => [user, mailbox, "", ""],
                None => [user, "", "", ""],
            },
            Self::Register { user, account_id, device_token, subtopic } => {
                [user, account_id, device_token, subtopic]
            }
            Self::Subscribe { user, account_id, device_token, mailbox } => {
                [user, account_id, device_token, mailbox]
            }
        }
    }

    /// Writes the record into `out`, replacing what was there. The pid is 0, as the tools of the field leave it.
    ///
    /// # Errors
    /// If a field does not fit, or the dialect does not have the message.
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let argon_only = matches!(self, Self::Subscribe { .. } | Self::Notify { mailbox: Some(_), .. });
        let allowed = match dialect {
            Dialect::Argon => !matches!(self, Self::Create { .. }),
            Dialect::Short => matches!(self, Self::Notify { mailbox: None, .. }),
            Dialect::Osx108 | Dialect::Osx107 | Dialect::Osx107Ilp32 => !argon_only,
        };
        if !allowed {
            return Err(EncodeError::Message(dialect));
        }
        out.clear();
        if dialect == Dialect::Short {
            out.push(0);
            out.extend_from_slice(self.user().as_bytes());
            out.push(0);
            let taken_for_another = out.len() >= CLIPPED_RECORD || self.user().contains('\0');
            return if taken_for_another { Err(EncodeError::Field(1)) } else { Ok(()) };
        }
        match dialect {
            Dialect::Osx108 => out.extend(self.number().to_string().bytes()),
            Dialect::Osx107 => out.extend(u64::from(self.number()).to_ne_bytes()),
            Dialect::Osx107Ilp32 => out.extend(self.number().to_ne_bytes()),
            Dialect::Argon | Dialect::Short => out.extend(self.number().to_le_bytes()),
        }
        let mut end = dialect.header();
        for (index, (text, room)) in self.fields().into_iter().zip(FIELDS).enumerate() {
            if text.len() >= room || text.contains('\0') {
                return Err(EncodeError::Field(index + 1));
            }
            out.resize(end, 0);
            out.extend_from_slice(text.as_bytes());
            end += room;
        }
        out.resize(end, 0);
        Ok(())
    }

    /// Reads a record of any dialect.
    ///
    /// # Errors
    /// If it is none. Nothing that a peer sends makes this panic.
    pub fn decode(bytes: &'a [u8], arrival: Arrival) -> Result<(Dialect, Self), DecodeError> {
        let (dialect, number) = recognise(bytes, arrival)?;
        if dialect == Dialect::Short {
            let user = text(bytes, 1..bytes.len(), 1)?;
            return if user.is_empty() {
                Err(DecodeError::Empty(1))
            } else {
                Ok((dialect, Self::Notify { user, mailbox: None }))
            };
        }
        let mut at = dialect.header();
        let mut fields = [""; 4];
        for (index, (field, room)) in fields.iter_mut().zip(FIELDS).enumerate() {
            *field = text(bytes, at..at + room, index + 1)?;
            at += room;
        }
        let [user, d2, d3, d4] = fields;
        let needed = if matches!(number, 2 | 4) { 4 } else { 1 };
        if let Some(empty) = fields[..needed].iter().position(|field| field.is_empty()) {
            return Err(DecodeError::Empty(empty + 1));
        }
        let message = match number {
            1 => Self::Create { user },
            2 => Self::Register { user, account_id: d2, device_token: d3, subtopic: d4 },
            3 => Self::Notify { user, mailbox: (!d2.is_empty()).then_some(d2) },
            4 => Self::Subscribe { user, account_id: d2, device_token: d3, mailbox: d4 },
            message => return Err(DecodeError::MessageType { bytes: bytes.len(), message }),
        };
        // In a datagram, the two that only argon knows give it away.
        let dialect = match (dialect, message) {
            (Dialect::Osx107Ilp32, Self::Subscribe { .. } | Self::Notify { mailbox: Some(_), .. }) => {
                Dialect::Argon
            }
            (Dialect::Osx108 | Dialect::Osx107, Self::Subscribe { .. }) => {
                return Err(DecodeError::MessageType { bytes: bytes.len(), message: number });
            }
            _ => dialect,
        };
        Ok((dialect, message))
    }
}

/// Tells the dialects apart by size and first bytes, and reads the message type.
fn recognise(bytes: &[u8], arrival: Arrival) -> Result<(Dialect, u64), DecodeError> {
    let unknown = Err(DecodeError::Unknown(bytes.len()));
    match bytes {
        [ascii @ b'1'..=b'3', ..] if bytes.len() == LONG_RECORD => {
            Ok((Dialect::Osx108, u64::from(ascii - b'0')))
        }
        _ if bytes.len() == LONG_RECORD => {
            match bytes.first_chunk().map(|&chunk| u64::from_ne_bytes(chunk)) {
                Some(number @ 1..=3) => Ok((Dialect::Osx107, number)),
                _ => unknown,
            }
        }
        _ if matches!(bytes.len(), SHORT_RECORD | CLIPPED_RECORD) => {
            let (dialect, number) = match (arrival, bytes.first_chunk()) {
                (Arrival::Stream, Some(&chunk)) => (Dialect::Argon, u32::from_le_bytes(chunk)),
                (Arrival::Datagram, Some(&chunk)) if bytes.len() == SHORT_RECORD => {
                    (Dialect::Osx107Ilp32, u32::from_ne_bytes(chunk))
                }
                (Arrival::Datagram, Some(&chunk)) => (Dialect::Argon, u32::from_le_bytes(chunk)),
                (_, None) => return unknown,
            };
            Ok((dialect, u64::from(number)))
        }
        [0, ..] => Ok((Dialect::Short, 3)),
        _ => unknown,
    }
}

/// The text of a field: up to its first NUL, or all of it, for some senders fill a field to the brim. A clipped
/// record lacks the last byte of the last field.
fn text(bytes: &[u8], range: std::ops::Range<usize>, number: usize) -> Result<&str, DecodeError> {
    let field = &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    str::from_utf8(&field[..end]).map_err(|_| DecodeError::NotText(number))
}
