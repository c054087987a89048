//! The map file: a line `user: /path/to/Maildir` for each user, and comments after `#`. Pure.

use std::path::PathBuf;

use thiserror::Error;

use super::{Username, UsernameError};

/// A line of the map file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// Before the colon, as written.
    pub user: Username,
    /// After the colon.
    pub maildir: PathBuf,
}

/// What the file said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFile {
    /// The lines with users, in order.
    pub lines: Vec<Line>,
    /// Does the last line end? If not, somebody may be writing the file just now.
    pub is_complete: bool,
}

/// A line that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{problem}")]
pub struct MapFileError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// No `user:`.
    #[error("no `user:` before the path")]
    NoUser,
    /// Not a name.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// Nothing after the colon.
    #[error("no path after the user")]
    NoPath,
    /// A path that depends on where somebody stands.
    #[error("the path `{}` is not absolute", .0.escape_debug())]
    Relative(String),
    /// The same user with another Maildir.
    #[error("the user `{user}` is in line {first} already, with another Maildir")]
    Twice {
        /// The name.
        user: Username,
        /// The line that has it, too.
        first: usize,
    },
    /// Bytes that are no text.
    #[error("the line is not UTF-8")]
    NotText,
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoUser | Self::NoPath | Self::Username(_) => {
                "write a line as `jesse: /var/vmail/jesse/Maildir`"
            }
            Self::Relative(_) => "write the path from the root, as in `/var/vmail/jesse/Maildir`",
            Self::Twice { .. } => "remove one of the two lines",
            Self::NotText => "save the file as UTF-8",
        }
    }
}

/// Reads a map file.
///
/// # Errors
/// The first line that cannot be read: half a map would silently leave users without pushes.
pub fn parse(bytes: &[u8]) -> Result<MapFile, MapFileError> {
    let mut lines: Vec<Line> = Vec::new();
    let mut seen = std::collections::HashMap::new();
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let error = |column, problem| MapFileError { line: index + 1, column, problem };
        let text = std::str::from_utf8(bytes).map_err(|bad| {
            let column = String::from_utf8_lossy(&bytes[..bad.valid_up_to()]).chars().count() + 1;
            error(column, Problem::NotText)
        })?;
        let content = text.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = text.chars().take_while(|character| character.is_whitespace()).count();
        // A user name may hold a colon, a path nearly never begins without a slash: the last `:` before a `/` is meant.
        let Some((name, path)) = split(content) else {
            return Err(error(indent + 1, Problem::NoUser));
        };
        let user = Username::new(name.trim_end()).map_err(|bad| error(indent + 1, bad.into()))?;
        let column =
            indent + name.chars().count() + 2 + (path.chars().count() - path.trim_start().chars().count());
        let path = path.trim_start();
        if path.is_empty() {
            return Err(error(column, Problem::NoPath));
        }
        if !path.starts_with('/') {
            return Err(error(column, Problem::Relative(path.to_owned())));
        }
        if path.contains('\0') {
            return Err(error(column, Problem::NotText));
        }
        let maildir = PathBuf::from(path);
        match seen.entry(user.clone()) {
            std::collections::hash_map::Entry::Occupied(first) => {
                let (first, other): &(usize, PathBuf) = first.get();
                if *other != maildir {
                    return Err(error(indent + 1, Problem::Twice { user, first: *first }));
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((index + 1, maildir.clone()));
                lines.push(Line { number: index + 1, user, maildir });
            }
        }
    }
    Ok(MapFile { lines, is_complete: bytes.ends_with(b"\n") })
}

/// Splits at the first colon that white space or a slash follows, else at the first colon.
pub(crate) fn split(content: &str) -> Option<(&str, &str)> {
    let end = content
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|&at| content[at + 1..].starts_with(|next: char| next == '/' || next.is_whitespace()))
        .or_else(|| content.find(':'))?;
    Some((&content[..end], &content[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_users_and_skips_comments() {
        let file =
            parse(b"# family\n\njesse: /var/mail/jesse\n  a:b@x.org :\t/p q/M\njesse: /var/mail/jesse\n")
                .expect("good");
        let users: Vec<_> =
            file.lines.iter().map(|line| (line.number, line.user.as_str(), line.maildir.to_str())).collect();
        assert_eq!(users, [(3, "jesse", Some("/var/mail/jesse")), (4, "a:b@x.org", Some("/p q/M"))]);
        assert!(file.is_complete);
        assert!(!parse(b"jesse: /var/ma").expect("good").is_complete);
        assert!(!parse(b"").expect("good").is_complete);
    }

    #[test]
    fn says_where_and_what() {
        for (text, line, column, message) in [
            ("a: /x\njesse /var", 2, 1, "no `user:` before the path"),
            ("  jesse:", 1, 9, "no path after the user"),
            ("jesse: mail/jesse", 1, 8, "the path `mail/jesse` is not absolute"),
            (": /x", 1, 1, "a user name cannot be empty"),
            ("j\u{7}: /x", 1, 1, "the user name `j\\u{7}` contains the control character '\\u{7}'"),
            ("a: /x\n\na: /y", 3, 1, "the user `a` is in line 1 already, with another Maildir"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!((error.line, error.column, error.to_string().as_str()), (line, column, message));
        }
        assert_eq!(parse(b"a: /x\nb: \xff").expect_err("no text").to_string(), "the line is not UTF-8");
    }
}
