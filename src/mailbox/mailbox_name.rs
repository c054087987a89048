//! Names of mailboxes as IMAP writes them: modified UTF-7, RFC 3501 section 5.1.3. Pure.
//!
//! ```text
//! raw   = *( plain / "&-" / shift )          "&-" is the ampersand
//! plain = %x20-25 / %x27-7E                  printable US-ASCII without "&" stands for itself
//! shift = "&" base64 "-"                     UTF-16BE in base64 with "," for "/" and without "="
//! ```
//!
//! A name has exactly one such form: what is printable never hides in a shift, no shift follows another, and the bits that fill up
//! the last letter of base64 are zero. Own code, because utf7-imap panics on wrong base64 and takes any form, and imap-types has none.

use md5::{Digest, Md5};
use thiserror::Error;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The bytes are no modified UTF-7, or not the one form that a name has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the name of the mailbox is not modified UTF-7")]
pub struct NotModifiedUtf7;

/// Reads a raw name. The result may hold any character, control characters included: escape it where it is shown.
///
/// # Errors
/// If it is not what [`encode`] writes.
pub fn decode(raw: &str) -> Result<String, NotModifiedUtf7> {
    let mut name = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, shift)) = rest.split_once('&') {
        let (base64, after) = shift.split_once('-').ok_or(NotModifiedUtf7)?;
        name.push_str(plain);
        if base64.is_empty() {
            name.push('&');
        } else {
            unshift(base64, &mut name)?;
        }
        rest = after;
    }
    name.push_str(rest);
    // All that makes a form the only one is known to `encode`; asking it is shorter than a list of what is not allowed.
    if encode(&name) == raw { Ok(name) } else { Err(NotModifiedUtf7) }
}

/// Reads a raw name, or keeps it as it is: plugins hand on what the phone said, and some clients send `R&D` or UTF-8. A name that
/// nobody can read is still equal to itself.
#[must_use]
pub fn decode_or_keep(raw: String) -> String {
    decode(&raw).unwrap_or(raw)
}

/// Writes a name as raw IMAP has it: printable US-ASCII throughout.
#[must_use]
pub fn encode(name: &str) -> String {
    let mut raw = String::with_capacity(name.len());
    // The lowest `have` of the bits have not been written yet; there are fewer than six but while a character is added.
    let (mut shifted, mut bits, mut have) = (false, 0u32, 0u32);
    for character in name.chars().map(Some).chain([None]) {
        let plain = character.is_none_or(|character| matches!(character, ' '..='~'));
        if plain && shifted {
            if have > 0 {
                raw.push(letter(bits << (6 - have)));
            }
            raw.push('-');
            (shifted, bits, have) = (false, 0, 0);
        }
        let Some(character) = character else { break };
        if plain {
            raw.push(character);
            if character == '&' {
                raw.push('-');
            }
            continue;
        }
        if !shifted {
            raw.push('&');
            shifted = true;
        }
        for &mut unit in character.encode_utf16(&mut [0; 2]) {
            bits = bits << 16 | u32::from(unit);
            have += 16;
            while have >= 6 {
                have -= 6;
                raw.push(letter(bits >> have));
            }
        }
    }
    raw
}

/// Is it the mailbox that everyone has? Its name alone is the same in any case.
#[must_use]
pub fn is_inbox(name: &str) -> bool {
    name.eq_ignore_ascii_case("INBOX")
}

/// The MD5 of a decoded name in lower-case hex, under which stores of registrations keep a mailbox. Not for secrets.
#[must_use]
pub fn hash(name: &str) -> String {
    hex(Md5::digest(if is_inbox(name) { "INBOX" } else { name }).as_slice())
}

fn letter(bits: u32) -> char {
    char::from(BASE64[(bits & 63) as usize])
}

/// Adds what is between `&` and `-` to the name.
fn unshift(base64: &str, name: &mut String) -> Result<(), NotModifiedUtf7> {
    let mut units = Vec::with_capacity(base64.len() * 6 / 16);
    let (mut bits, mut have) = (0u32, 0u32);
    for byte in base64.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return Err(NotModifiedUtf7),
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 16 {
            have -= 16;
            units.push((bits >> have) as u16);
        }
    }
    for character in char::decode_utf16(units) {
        name.push(character.map_err(|_lone_surrogate| NotModifiedUtf7)?);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names_both_ways() {
        for (raw, name) in [
            ("", ""),
            ("INBOX", "INBOX"),
            ("Sent Messages", "Sent Messages"),
            ("&AOk-t&AOk-", "été"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("R&-D", "R&D"),
            ("&-&-", "&&"),
            ("a-b+c,d/e~", "a-b+c,d/e~"),
            ("&AAo-", "\n"),
            ("&AH8-", "\u{7f}"),
            ("&2D3cjA-", "💌"),
            // The two examples of RFC 3501.
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("&Jjo-!", "☺!"),
        ] {
            assert_eq!(decode(raw).as_deref(), Ok(name), "{raw}");
            assert_eq!(encode(name), raw, "{name}");
        }
    }

    #[test]
    fn other_forms_are_kept_as_they_are() {
        for raw in [
            "&",
            "R&D",
            "&AOk",
            "été",
            "a\tb",
            "&Jjo!",              // RFC 3501: no shift back before the "!"
            "&U,BTFw-&ZeVnLIqe-", // RFC 3501: a superfluous shift
            "&AEE-",              // an A that needs no shift
            "&ACY-",              // an ampersand in a shift
            "&AOl-",              // the same letter with bits left over
            "&AOkA-",             // the same with a letter too many
            "&A-",                // no whole unit
            "&2D0-",              // half a surrogate pair
            "&3Iw-",              // the other half
            "&AOk=-",             // padding
            "&AO/-",              // the base64 of MIME
            "&\u{e9}-",
        ] {
            assert_eq!(decode(raw), Err(NotModifiedUtf7), "{raw}");
            assert_eq!(decode_or_keep(raw.to_owned()), raw);
        }
    }

    #[test]
    fn inbox_is_one_mailbox() {
        assert!(is_inbox("INBOX") && is_inbox("Inbox") && !is_inbox("INBOX/a") && !is_inbox("INB"));
        assert_eq!(hash("inbox"), hash("INBOX"));
        assert_ne!(hash("archive"), hash("Archive"));
        assert_eq!(hash("INBOX"), "7e33429f656f1e6e9d79b29c3f82c57e");
        assert_eq!(hash("été"), hex(Md5::digest([0xc3, 0xa9, b't', 0xc3, 0xa9]).as_slice()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(name in any::<String>()) {
            let raw = encode(&name);
            prop_assert!(raw.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(&raw), Ok(name));
        }

        #[test]
        fn what_is_decoded_has_one_form(raw in "([ -~]{0,3}&[A-Za-z0-9+,]{0,9}-){0,4}[ -~é]{0,3}") {
            if let Ok(name) = decode(&raw) {
                prop_assert_eq!(encode(&name), raw);
            }
        }
    }
}
