//! The file `devices` of pushnotify: one registration a line.
//!
//! ```text
//! line = user ":" account-id "," device-token "," subtopic [ "," epoch-seconds ]
//! ```

use super::{Entry, Format, ParseError, Parsed, Whose, after_1970};

/// Reads the whole file.
///
/// # Errors
/// If no line of it is a registration: then it is something else.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let mut parsed = Parsed::new(Format::Pushnotify);
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let what = format!("line {}", index + 1);
        match std::str::from_utf8(line) {
            Err(_) => parsed.leave(what, "the line is not UTF-8"),
            Ok(line) => match split(line, what) {
                Ok(entry) => parsed.add(entry),
                Err(what) => {
                    parsed.leave(what, "the line is not `user:account-id,device-token,subtopic,seconds`");
                }
            },
        }
    }
    if parsed.found.is_empty() {
        return Err(ParseError::Unknown);
    }
    Ok(parsed)
}

/// From the end, for a user name may have a colon or a comma in it.
fn split(line: &str, what: String) -> Result<Entry<'_>, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = || {
        let (rest, at) = match line.rsplit_once(',') {
            Some((rest, last)) if is_number(last) => (rest, Some(last)),
            _ => (line, None),
        };
        let (rest, subtopic) = rest.rsplit_once(',')?;
        let (rest, token) = rest.rsplit_once(',')?;
        let (user, account) = rest.rsplit_once(':')?;
        Some((user, account, token, subtopic, at))
    };
    let Some((user, account, token, subtopic, at)) = parts() else { return Err(what) };
    let at = at.and_then(|seconds| after_1970(seconds.parse::<i64>().ok()?.checked_mul(1000)?));
    Ok(Entry { what, user: Whose::User(user), account, token, subtopic, mailboxes: Vec::new(), at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::{
        Timestamp,
        import::{Owner, parse as parse_any},
    };

    const RECORDED: &[u8] = include_bytes!("../../../tests/transcripts/import/pushnotify-devices");

    fn users(parsed: &Parsed) -> Vec<&str> {
        parsed
            .found
            .iter()
            .map(|found| match &found.owner {
                Owner::User(user) => user.as_str(),
                Owner::Guid(_) => panic!("no user"),
            })
            .collect()
    }

    #[test]
    fn reads_what_was_recorded() {
        let parsed = parse_any(RECORDED).expect("a store");
        assert_eq!((parsed.format, &parsed.left[..]), (Format::Pushnotify, &[][..]));
        assert_eq!(users(&parsed), ["stefan", "stefan", "jesse"]);
        let times: Vec<_> = parsed.found.iter().map(|found| found.at).collect();
        assert_eq!(times, [Some(Timestamp(1_692_241_383_000)), None, Some(Timestamp(1_692_241_390_000))]);
        assert!(parsed.found.iter().all(|found| found.subtopic == "com.apple.mobilemail"));
        assert_eq!(parsed.found[2].account.as_str(), "DB222D09-0BB8-4EE5-948C-9A1D7DCBA6CD");
    }

    #[test]
    fn a_wrong_line_leaves_the_others_and_is_named() {
        let file = b"\na:ID,ab,s,99999999999999999999\r\n  \nb:ID,ab\nc:ID,xyz,s\n\xff:ID,ab,s\nd,e:f:ID,ab,s,0\nID,ab,s\n";
        let parsed = parse_any(file).expect("a store");
        assert_eq!(users(&parsed), ["a", "d,e:f"]);
        assert!(parsed.found.iter().all(|found| found.at.is_none()));
        let places: Vec<_> = parsed.left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(places, ["line 4", "line 5", "line 6", "line 8"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(user in "[^\\p{C}\\s][^\\p{C}]{0,20}", token in "([0-9a-f]{2}){1,32}", at in proptest::option::of(40_000_000u32..)) {
            prop_assume!(!user.starts_with(['{', '[', '<', '\u{feff}']));
            let at = at.map(|at| format!(",{at}")).unwrap_or_default();
            let parsed = parse_any(format!("{user}:ID,{token},sub{at}\n").as_bytes()).expect("a store");
            prop_assert_eq!(users(&parsed), [user.as_str()]);
            prop_assert_eq!(parsed.found[0].token.to_hex(), token);
            prop_assert_eq!(parsed.found[0].at.is_some(), !at.is_empty());
        }
    }
}
