//! xapsd's `database.json` (freswa), and `xapsd.json` (st3fan), which has fewer fields.
//!
//! ```text
//! {"Users":{"<user>":{"Accounts":{"<account-id>":
//!     {"DeviceToken":"<hex>","Mailboxes":["INBOX"],"RegistrationTime":"<RFC 3339>"}}}}}
//! ```
//!
//! Go writes an empty list or map as null, and a time that was never set as the year 1. A key `AppleCerts` beside `Users` is none of
//! our business.

use serde_json::Value;

use super::{Entry, Format, ParseError, Parsed, Whose, mailbox, rfc3339, shown};

/// Reads the whole file.
///
/// # Errors
/// If it is not JSON, or not of xapsd.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let document: Value = serde_json::from_slice(bytes).map_err(ParseError::Json)?;
    let mut parsed = Parsed::new(Format::Xapsd);
    let users = match document.get("Users") {
        Some(Value::Object(users)) => users,
        Some(Value::Null) => return Ok(parsed),
        _ => return Err(ParseError::Unknown),
    };
    for (user, value) in users {
        let what = format!("user `{}`", shown(user));
        let accounts = match value.get("Accounts") {
            Some(Value::Object(accounts)) => accounts,
            Some(Value::Null) => continue,
            _ => {
                parsed.leave(what, "there is no `Accounts`");
                continue;
            }
        };
        for (account, value) in accounts {
            let what = format!("{what}, account `{}`", shown(account));
            let Some(token) = value.get("DeviceToken").and_then(Value::as_str) else {
                parsed.leave(what, "there is no `DeviceToken`");
                continue;
            };
            let mailboxes = value.get("Mailboxes").and_then(Value::as_array);
            parsed.add(Entry {
                what,
                user: Whose::User(user),
                account,
                token,
                subtopic: "",
                mailboxes: mailboxes.into_iter().flatten().filter_map(Value::as_str).map(mailbox).collect(),
                at: value.get("RegistrationTime").and_then(Value::as_str).and_then(rfc3339),
            });
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{
        Timestamp,
        import::{Owner, parse as parse_any},
    };

    const RECORDED: &[u8] = include_bytes!("../../../tests/transcripts/import/xapsd-database.json");

    #[test]
    fn reads_what_was_recorded() {
        let parsed = parse_any(RECORDED).expect("a store");
        assert_eq!((parsed.format, &parsed.left[..]), (Format::Xapsd, &[][..]));
        let found: Vec<_> = parsed
            .found
            .iter()
            .map(|it| {
                let Owner::User(user) = &it.owner else { panic!("no user") };
                (user.as_str(), it.account.as_str(), it.token.to_string(), it.mailboxes.join(","), it.at)
            })
            .collect();
        let at = Some(Timestamp(1_682_797_000_413));
        assert_eq!(
            found,
            [
                (
                    "Mixed.Case@Example.org",
                    "E8CD34AD-98D3-4489-A6BB-86B1D082FECE",
                    "a66216ad…".to_owned(),
                    "INBOX".to_owned(),
                    None
                ),
                (
                    "jo@example.org",
                    "0715A26B-CA09-4730-A419-793000CA982E",
                    "29183902…".to_owned(),
                    String::new(),
                    None
                ),
                (
                    "jo@example.org",
                    "DB222D09-0BB8-4EE5-948C-9A1D7DCBA6CD",
                    "5f8fef99…".to_owned(),
                    "INBOX,Open Orders,Sent Messages".to_owned(),
                    at
                ),
            ]
        );
    }

    #[test]
    fn one_wrong_entry_leaves_the_others() {
        let json = r#"{"AppleCerts":[[]],"Users":{"a":null,"b":{"Accounts":null},"c":{"Accounts":{"x":{"DeviceToken":7},
            "y":{"DeviceToken":"abc"},"ü":{"DeviceToken":"ab"},"z":{"DeviceToken":"ab","Mailboxes":["Entw&APw-rfe",1],"RegistrationTime":3}}},
            "":{"Accounts":{"z":{"DeviceToken":"ab"}}}}}"#;
        let parsed = parse(json.as_bytes()).expect("a store");
        assert_eq!(parsed.found.len(), 1);
        assert_eq!(
            (&parsed.found[0].mailboxes[..], parsed.found[0].at),
            (&["Entwürfe".to_owned()][..], None)
        );
        let left: Vec<_> = parsed.left.iter().map(|left| format!("{}: {}", left.what, left.why)).collect();
        assert_eq!(
            left,
            [
                "user ``, account `z`: a user name cannot be empty",
                "user `a`: there is no `Accounts`",
                "user `c`, account `x`: there is no `DeviceToken`",
                "user `c`, account `y`: the device token is not an even number of hexadecimal digits, 256 at most",
                "user `c`, account `ü`: the account id is not 1 to 64 printable ASCII characters",
            ]
        );
        assert!(parse(br#"{"Users":null}"#).expect("a store").found.is_empty());
    }
}
