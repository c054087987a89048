//! Registrations out of the stores of other daemons, so that phones need not register again.
//!
//! The parsers are pure: bytes in, [`Parsed`] out. A file is known by its content. Nothing in a file can stop the rest of it from
//! being read, or make more of it than there is: what cannot be taken is [`Left`], with its place and the reason.

pub mod guid_map;
pub mod merge;
pub mod plist;
pub mod pushnotify;
pub mod redis;
pub mod xapsd;

use std::{fmt, time::SystemTime};

use thiserror::Error;

use super::{AccountId, DeviceToken, Timestamp};
use crate::mailbox::{Username, mailbox_name};

/// The same bounds as for what a client says: the most bytes of a user name and characters of a subtopic, the most mailboxes of a
/// registration and bytes of a name.
const SHORT_TEXT: usize = 255;
const MAILBOXES: usize = 1000;
const MAILBOX_NAME: usize = 1000;
/// So much of a text out of a file is shown in a message.
const SHOWN: usize = 64;

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `database.json` or `xapsd.json` of the daemon for Dovecot's xaps plugin.
    Xapsd,
    /// The file `devices` of pushnotify.
    Pushnotify,
    /// `guid_device_maps.plist` of OS X Server 10.8 and later.
    GuidMap,
    /// The Redis database of argon's `push_notify`.
    Argon,
}

impl Format {
    /// The name for `--json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xapsd => "xapsd",
            Self::Pushnotify => "pushnotify",
            Self::GuidMap => "guid-device-maps",
            Self::Argon => "argon",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xapsd => "database of xapsd",
            Self::Pushnotify => "devices of pushnotify",
            Self::GuidMap => "guid_device_maps of OS X Server",
            Self::Argon => "Redis database of push_notify",
        })
    }
}

/// The GUID of a user of OS X Server, which is also the name of the folder with the mail. In capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(Box<str>);

impl Guid {
    /// Reads `0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8`, in either case.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_guid = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        is_guid.then(|| Self(text.to_ascii_uppercase().into()))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose registration it is, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A name, not normalised.
    User(Username),
    /// Whoever has this GUID.
    Guid(Guid),
}

/// A registration of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is in the store, for messages.
    pub what: String,
    /// Whose.
    pub owner: Owner,
    /// The `aps-account-id`.
    pub account: AccountId,
    /// The `aps-device-token`.
    pub token: DeviceToken,
    /// The `aps-subtopic`; empty where the store has none.
    pub subtopic: String,
    /// The mailboxes that the phone asked for; empty where the store has none.
    pub mailboxes: Vec<String>,
    /// So many more mailboxes are in the store as a hash only, and nobody knows of what.
    pub unknown_mailboxes: usize,
    /// When the phone registered last, if the store knows.
    pub at: Option<Timestamp>,
}

/// Something in a store that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What, or where it is.
    pub what: String,
    /// Why not.
    pub why: String,
    /// What to do about it, if anything.
    pub hint: &'static str,
}

/// What a store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Whose store it is.
    pub format: Format,
    /// What can be taken.
    pub found: Vec<Found>,
    /// What cannot.
    pub left: Vec<Left>,
}

impl Parsed {
    const fn new(format: Format) -> Self {
        Self { format, found: Vec::new(), left: Vec::new() }
    }

    fn add(&mut self, entry: Entry<'_>) {
        match entry.check() {
            Ok(found) => self.found.push(found),
            Err(left) => self.left.push(left),
        }
    }

    fn leave(&mut self, what: String, why: impl fmt::Display) {
        self.left.push(Left { what, why: why.to_string(), hint: "" });
    }
}

/// Why a file is no store of registrations.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Nothing is in it.
    #[error("the file is empty")]
    Empty,
    /// It begins as JSON does.
    #[error("the file is not whole as JSON: {0}")]
    Json(serde_json::Error),
    /// It is a property list.
    #[error("the file is not whole as a property list: {0}")]
    Plist(#[from] plist::PlistError),
    /// It may be anything.
    #[error("the file is none of the stores that can be imported")]
    Unknown,
}

impl ParseError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::Unknown => {
                "known are xapsd's database.json, pushnotify's devices, OS X Server's guid_device_maps.plist, and redis://HOST for push_notify"
            }
            Self::Json(_) | Self::Plist(_) => "copy it again while the daemon that writes it is stopped",
        }
    }
}

/// Reads a store, whichever it is.
///
/// # Errors
/// If it is none, or if it is broken in a way that hides where its entries are.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    if bytes.starts_with(b"bplist") {
        return guid_map::parse(&plist::parse_binary(bytes)?);
    }
    let content = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    match content.first() {
        None => Err(ParseError::Empty),
        Some(b'{' | b'[') => xapsd::parse(content),
        Some(b'<') => guid_map::parse(&plist::parse_xml(content)?),
        Some(_) => pushnotify::parse(bytes),
    }
}

/// An entry of a store, in the words of the store.
struct Entry<'a> {
    what: String,
    user: Whose<'a>,
    account: &'a str,
    token: &'a str,
    subtopic: &'a str,
    mailboxes: Vec<String>,
    at: Option<Timestamp>,
}

enum Whose<'a> {
    User(&'a str),
    Guid(&'a str),
}

impl Entry<'_> {
    fn check(self) -> Result<Found, Left> {
        let checked = (|| -> Result<_, String> {
            let owner = match self.user {
                Whose::User(name) if name.len() > SHORT_TEXT => {
                    return Err(format!("the user name has more than {SHORT_TEXT} bytes"));
                }
                Whose::User(name) => {
                    Username::new(name).map(Owner::User).map_err(|error| error.to_string())?
                }
                Whose::Guid(text) => Guid::new(text).map(Owner::Guid).ok_or("the key is no GUID")?,
            };
            let token = self.token.parse().map_err(|error: super::DeviceError| error.to_string())?;
            let account = self.account.parse().map_err(|error: super::DeviceError| error.to_string())?;
            Ok((owner, token, account))
        })();
        let (owner, token, account) = match checked {
            Ok(checked) => checked,
            Err(why) => return Err(Left { what: self.what, why, hint: "" }),
        };
        let mut mailboxes = self.mailboxes;
        mailboxes.retain(|name| name.len() <= MAILBOX_NAME);
        mailboxes.truncate(MAILBOXES);
        Ok(Found {
            what: self.what,
            owner,
            account,
            token,
            subtopic: self.subtopic.chars().filter(|it| !it.is_control()).take(SHORT_TEXT).collect(),
            mailboxes,
            unknown_mailboxes: 0,
            at: self.at,
        })
    }
}

/// A mailbox as the store has it, which is as the plugin heard it of the phone.
fn mailbox(name: &str) -> String {
    mailbox_name::decode_or_keep(name.to_owned())
}

/// A text out of a store in one line, and not too long.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Reads an RFC 3339 time. None for what is no time, and for what cannot be one of a registration: Go writes no time as the year 1.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let sign = match offset.as_bytes()[0] {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = offset[1..].split_once(':')?;
            let number = |digits: &str| {
                let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits.parse::<i64>().ok().filter(|_| is_number)
            };
            (local, sign * (number(hours)? * 60 + number(minutes)?))
        }
    };
    let time: SystemTime = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    after_1970(Timestamp::from(time).0 - offset * 60_000)
}

/// A time of a registration. No phone registered for mail in 1970: that is a field that nobody filled in.
fn after_1970(milliseconds: i64) -> Option<Timestamp> {
    (milliseconds > 365 * 24 * 3600 * 1000).then_some(Timestamp(milliseconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_offsets_and_fractions() {
        for (text, milliseconds) in [
            ("2023-04-29T14:36:40.413465243-05:00", Some(1_682_797_000_413)),
            ("2023-04-29T19:36:40Z", Some(1_682_797_000_000)),
            ("2023-04-29T21:36:40+02:00", Some(1_682_797_000_000)),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z", None),
            ("2023-04-29", None),
            ("2023-04-29T21:36:40", None),
            ("2023-04-29T21:36:40+02é0", None),
            ("2023-04-29T21:36:40++2:00", None),
            ("é+02:00", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(text), milliseconds.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn a_guid_is_one_in_any_case() {
        let guid = Guid::new("0c69e1e7-6dc7-41b1-ad12-1c596ac7ebc8").expect("a GUID");
        assert_eq!(guid.to_string(), "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8");
        assert_eq!(Guid::new("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBCG"), None);
        assert_eq!(Guid::new("jesse"), None);
    }

    #[test]
    fn what_is_no_store_is_an_error() {
        for bytes in [&b""[..], b" \n", b"\xef\xbb\xbf"] {
            assert!(matches!(parse(bytes), Err(ParseError::Empty)), "{bytes:?}");
        }
        for bytes in
            [&b"[]"[..], b"{}", b"{\"Users\":[]}", b"hello", b"a:b,c,d", b"jo: /var/mail/jo\n", b"\0\0\0"]
        {
            assert!(matches!(parse(bytes), Err(ParseError::Unknown)), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"{\"Users\":{"[..], b"{\"Users\":{}} {", b"{\"Users\"=(1);}"] {
            assert!(matches!(parse(bytes), Err(ParseError::Json(_))), "{}", bytes.escape_ascii());
        }
        for bytes in [
            &b"<plist>"[..],
            b"<html></html>",
            b"bplist00",
            b"bplist01 and more than thirty-two bytes of nothing",
        ] {
            assert!(matches!(parse(bytes), Err(ParseError::Plist(_))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(shown("a\nb\0"), "a\\nb\\0");
        assert_eq!(shown(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
