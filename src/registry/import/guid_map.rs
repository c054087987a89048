//! `guid_device_maps.plist` of OS X Server 10.8 and later: a dict from the user's GUID to an array of dicts `aps-account-id`,
//! `aps-device-token` and `time-stamp`.
//!
//! The date is there only if Apple's feedback service has switched the device off: then the token is dead, and a phone that comes back
//! gets an entry without one.

use super::{Entry, Format, Guid, Left, ParseError, Parsed, Whose, plist::Node, shown};

/// Reads the property list.
///
/// # Errors
/// If it is one of something else.
pub fn parse(root: &Node) -> Result<Parsed, ParseError> {
    let Node::Dict(users) = root else { return Err(ParseError::Unknown) };
    if !users.is_empty() && !users.iter().any(|(key, _)| Guid::new(key).is_some()) {
        return Err(ParseError::Unknown);
    }
    let mut parsed = Parsed::new(Format::GuidMap);
    for (guid, devices) in users {
        let what = format!("GUID `{}`", shown(guid));
        let Node::Array(devices) = devices else {
            parsed.leave(what, "there is no array of devices");
            continue;
        };
        for (number, device) in (1..).zip(devices) {
            let what = format!("{what}, device {number}");
            let text = |key: &str| match device.get(key) {
                Some(Node::Text(text)) => Some(text.as_str()),
                _ => None,
            };
            if let Some(off) = device.get("time-stamp") {
                let since = match off {
                    Node::Date(Some(since)) => format!(" on {since}"),
                    _ => String::new(),
                };
                parsed.left.push(Left {
                    what,
                    why: format!("Apple's feedback service switched the device off{since}"),
                    hint: "if the phone is still there it registers again by itself",
                });
                continue;
            }
            match (text("aps-account-id"), text("aps-device-token")) {
                (Some(account), Some(token)) => parsed.add(Entry {
                    what,
                    user: Whose::Guid(guid),
                    account,
                    token,
                    subtopic: "",
                    mailboxes: Vec::new(),
                    at: None,
                }),
                (None, _) => parsed.leave(what, "there is no `aps-account-id`"),
                (_, None) => parsed.leave(what, "there is no `aps-device-token`"),
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::import::{Owner, parse as parse_any};

    const RECORDED: &[u8] = include_bytes!("../../../tests/transcripts/import/guid_device_maps.plist");

    #[test]
    fn reads_what_was_recorded() {
        let parsed = parse_any(RECORDED).expect("a store");
        assert_eq!((parsed.format, parsed.found.len()), (Format::GuidMap, 1));
        let found = &parsed.found[0];
        assert_eq!(
            Some(&found.owner),
            Guid::new("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8").map(Owner::Guid).as_ref()
        );
        assert_eq!((found.account.as_str(), found.at), ("0715A26B-CA09-4730-A419-793000CA982E", None));
        assert_eq!(&found.token.to_hex()[..8], "29183902");
        let [left] = &parsed.left[..] else { panic!("{:?}", parsed.left) };
        assert_eq!(left.what, "GUID `0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8`, device 2");
        assert_eq!(left.why, "Apple's feedback service switched the device off on 2013-05-01T12:00:00Z");
    }

    #[test]
    fn one_wrong_entry_leaves_the_others() {
        let dict = |pairs: Vec<(&str, Node)>| {
            Node::Dict(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let text = |text: &str| Node::Text(text.to_owned());
        let good = || dict(vec![("aps-account-id", text("ID")), ("aps-device-token", text("ab"))]);
        let guid = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";
        let root = dict(vec![
            (guid, Node::Array(vec![text("x"), dict(vec![("aps-account-id", text("ID"))]), good()])),
            (guid, good()),
            ("jesse", Node::Array(vec![good()])),
        ]);
        let parsed = parse(&root).expect("a store");
        let left: Vec<_> = parsed.left.iter().map(|left| left.why.as_str()).collect();
        assert_eq!(
            left,
            [
                "there is no `aps-account-id`",
                "there is no `aps-device-token`",
                "there is no array of devices",
                "the key is no GUID"
            ]
        );
        assert_eq!(parsed.found.len(), 1);
        assert!(matches!(parse(&dict(vec![("jesse", good())])), Err(ParseError::Unknown)));
        assert!(parse(&dict(vec![])).expect("a store without users").found.is_empty());
    }
}
