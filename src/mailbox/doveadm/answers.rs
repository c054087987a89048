//! What doveadm prints, as it is in 2.3 and in 2.4. Pure.
//!
//! `doveadm user '*'` prints a name a line. `doveadm user -f FIELD A B C` prints the field of one user after the other, and between two
//! users an empty line, always: a user without an answer leaves two of them side by side. Of a user whom it does not find it prints
//! nothing, of one without the field 2.3 prints an empty line and 2.4 nothing.

use super::super::{Username, UsernameError};

/// Which way of saying where mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `mail_location`, to 2.3.
    Location,
    /// `mail_driver` and `mail_path`, from 2.4 on.
    DriverAndPath,
}

/// What Dovecot's configuration says where the user database does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which Dovecot it is.
    pub version: Version,
    /// 2.4: `mail_driver`.
    pub driver: String,
    /// 2.4: `mail_inbox_path`, with variables.
    pub inbox_path: String,
    /// 2.4: `mailbox_list_layout`.
    pub layout: String,
    /// The namespace with the INBOX, and the setting by which it is elsewhere than the user database says.
    pub namespace: Option<(String, String)>,
}

/// Reads what `doveadm config -n` prints: a comment with the version, and all that is not the default. None if it is something else.
#[must_use]
pub fn settings(text: &str) -> Option<Settings> {
    let mut settings = Settings {
        version: version(text.lines().next()?)?,
        driver: String::new(),
        inbox_path: String::new(),
        layout: String::new(),
        namespace: None,
    };
    let mut blocks: Vec<&str> = Vec::new();
    let (mut has_inbox, mut elsewhere) = (false, None);
    for line in text.lines().map(str::trim) {
        if let Some(block) = line.strip_suffix('{') {
            blocks.push(block.trim());
            if blocks.len() == 1 {
                (has_inbox, elsewhere) = (false, None);
            }
        } else if line == "}" {
            let namespace = blocks.pop().and_then(|block| block.strip_prefix("namespace"));
            if let (Some(name), true, true) = (namespace, blocks.is_empty(), has_inbox) {
                settings.namespace = elsewhere.take().map(|setting| (name.trim().to_owned(), setting));
            }
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim(), unquote(value.trim()));
            match (blocks.as_slice(), key) {
                ([], "mail_driver") => settings.driver = value,
                ([], "mail_inbox_path") => settings.inbox_path = value,
                ([], "mailbox_list_layout") => settings.layout = value,
                ([block], "inbox") if block.starts_with("namespace") => has_inbox = value == "yes",
                ([block], "location" | "mail_driver" | "mail_path" | "mail_inbox_path")
                    if block.starts_with("namespace") && !value.is_empty() =>
                {
                    elsewhere = Some(format!("{key} = {value}"));
                }
                _ => {}
            }
        }
    }
    Some(settings)
}

/// Which Dovecot says `# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf`.
fn version(line: &str) -> Option<Version> {
    let mut numbers = line.strip_prefix("# ")?.split('.');
    let major: u32 = numbers.next()?.parse().ok()?;
    let minor: u32 = numbers.next()?.parse().ok()?;
    Some(if (major, minor) < (2, 4) { Version::Location } else { Version::DriverAndPath })
}

/// 2.4 puts values with special characters into quotes.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        text.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    text
}

/// Reads the names that `doveadm user '*'` prints, and those of them that are none.
#[must_use]
pub fn users(text: &[u8]) -> (Vec<Username>, Vec<String>) {
    let (mut users, mut wrong) = (Vec::new(), Vec::new());
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line).map(Username::new) {
            // doveadm takes these for a mask, and lists whom it fits.
            Ok(Ok(user)) if user.as_str().contains(['*', '?']) => {
                wrong.push(format!(
                    "the user `{user}` cannot be asked for: doveadm takes `*` and `?` for any letters"
                ));
            }
            Ok(Ok(user)) => users.push(user),
            Ok(Err(error @ (UsernameError::Empty | UsernameError::Control { .. }))) => {
                wrong.push(error.to_string());
            }
            Err(_) => wrong.push(format!(
                "the user name `{}` is not UTF-8",
                String::from_utf8_lossy(line).escape_debug()
            )),
        }
    }
    (users, wrong)
}

/// Takes the answers for so many users apart, empty where there is none. None if that can be done in no way, or in several.
#[must_use]
pub fn values(text: &[u8], users: usize) -> Option<Vec<&[u8]>> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // The last one ends with a newline.
    if lines.pop()? != b"" {
        return None;
    }
    if users == 0 {
        return lines.is_empty().then(Vec::new);
    }
    // A line for each of them, and one between each two.
    if lines.len() == 2 * users - 1 && lines.iter().skip(1).step_by(2).all(|between| between.is_empty()) {
        return Some(lines.into_iter().step_by(2).collect());
    }
    // Nothing for those who have no answer.
    let mut values = Vec::with_capacity(users);
    let mut lines = lines.into_iter().peekable();
    for number in 0..users {
        if number > 0 && !lines.next()?.is_empty() {
            return None;
        }
        values.push(lines.next_if(|line| !line.is_empty()).unwrap_or_default());
    }
    lines.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_of_several_users() {
        for (text, users, expected) in [
            ("a\n", 1, Some(vec!["a"])),
            ("", 1, Some(vec![""])),
            ("\n", 1, Some(vec![""])),
            ("a\n\nb\n", 2, Some(vec!["a", "b"])),
            ("a\n\n\n\nb\n", 3, Some(vec!["a", "", "b"])),
            ("a\n\n\nb\n", 3, Some(vec!["a", "", "b"])),
            ("\nb\n", 2, Some(vec!["", "b"])),
            ("\n\n\n", 4, Some(vec!["", "", "", ""])),
            ("\n\n\n", 2, Some(vec!["", ""])),
            // One printed an empty line, and another one nothing: who is who?
            ("a\n\n\n\n\nb\n", 4, None),
            ("a\nb\n", 2, None),
            ("a\nb\n", 1, None),
            ("a", 1, None),
            ("a\n\nb\n", 1, None),
        ] {
            let expected = expected.map(|values| values.into_iter().map(str::as_bytes).collect::<Vec<_>>());
            assert_eq!(values(text.as_bytes(), users), expected, "{text:?} for {users}");
        }
    }

    #[test]
    fn other_output_is_no_configuration() {
        for text in
            ["", "\n", "mail_location = maildir:~/Maildir\n", "# two.three\n", "# 2\n", "2.3.19 (x): /y\n"]
        {
            assert_eq!(settings(text), None, "{text:?}");
        }
        assert_eq!(settings("# 2.2.24 (a82c823): /x\n").map(|found| found.version), Some(Version::Location));
        assert_eq!(settings("# 2.4.0 (x): /x\n").map(|found| found.version), Some(Version::DriverAndPath));
        assert_eq!(settings("# 3.0.0 (x): /x\n").map(|found| found.version), Some(Version::DriverAndPath));
    }

    #[test]
    fn a_namespace_with_a_location_of_its_own() {
        let text = "# 2.3.19.1 (x): /x\nmail_location = maildir:~/M\nnamespace inbox {\n  inbox = yes\n  location = maildir:~/N\n  \
                    mailbox Drafts {\n    special_use = \\Drafts\n  }\n}\nnamespace other {\n  location = maildir:/o\n}\n";
        let found = settings(text).expect("a configuration");
        assert_eq!(found.namespace, Some(("inbox".to_owned(), "location = maildir:~/N".to_owned())));
        let without = text.replace("  location = maildir:~/N\n", "  location = \n");
        assert_eq!(settings(&without).expect("a configuration").namespace, None);
    }

    proptest! {
        /// Answers that are there are never another user's, however doveadm leaves out those that are not.
        #[test]
        fn nobody_gets_the_answer_of_another(
            answers in prop::collection::vec(prop::option::of("[a-z/]{0,3}"), 1..9)
        ) {
            let printed: Vec<_> =
                answers.iter().map(|answer| answer.as_ref().map_or(String::new(), |line| format!("{line}\n"))).collect();
            let expected: Vec<_> = answers.iter().map(|answer| answer.as_deref().unwrap_or_default().as_bytes()).collect();
            if let Some(found) = values(printed.join("\n").as_bytes(), answers.len()) {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert!(answers.len() > 1);
            }
        }

        #[test]
        fn any_bytes_are_taken(text in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..20) {
            let _ = values(&text, count);
            let _ = users(&text);
            let _ = settings(&String::from_utf8_lossy(&text));
        }
    }
}
