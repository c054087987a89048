//! The program and its arguments, with their placeholders: `["/usr/local/bin/on-mail", "{user}", "{kind}"]`. Pure.
//!
//! Each argument is one argument of the program, whatever a user's name holds: there is no shell, nothing is split, and what has been put
//! in is not looked at again.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::queue::Push;

/// What may stand in braces.
const PLACEHOLDERS: [(&str, Placeholder); 3] =
    [("user", Placeholder::User), ("kind", Placeholder::Kind), ("path", Placeholder::Path)];

/// A program to run, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name without a slash that is looked up in `PATH` each time.
    pub program: PathBuf,
    /// What comes after its name.
    pub arguments: Vec<Argument>,
}

/// One argument, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Put(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    User,
    Kind,
    Path,
}

/// Braces with a word in them that means nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown placeholder `{{{0}}}`")]
pub struct UnknownPlaceholder(String);

impl Argument {
    /// Takes an argument apart. Braces around anything but a word are text, so that JSON can be written as it is.
    ///
    /// # Errors
    /// If a word in braces is no placeholder.
    pub fn parse(text: &str) -> Result<Self, UnknownPlaceholder> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}').filter(|(word, _)| is_word(word)) {
                Some((word, after)) => {
                    let known = PLACEHOLDERS.into_iter().find(|(name, _)| *name == word);
                    let (_, placeholder) = known.ok_or_else(|| UnknownPlaceholder(word.to_owned()))?;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Put(placeholder));
                    rest = after;
                }
                None => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Has it a placeholder?
    #[must_use]
    pub fn varies(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Put(_)))
    }

    /// The argument as the program gets it. A path is passed as its bytes are.
    #[must_use]
    pub fn of(&self, push: &Push) -> OsString {
        let mut argument = OsString::new();
        for piece in &self.0 {
            argument.push(match piece {
                Piece::Text(text) => OsStr::new(text),
                Piece::Put(Placeholder::User) => OsStr::new(push.user.as_str()),
                Piece::Put(Placeholder::Kind) => OsStr::new(push.kind.label()),
                Piece::Put(Placeholder::Path) => push.maildir.as_os_str(),
            });
        }
        argument
    }
}

impl Command {
    /// Has its program a name that is looked up in `PATH`?
    #[must_use]
    pub fn is_looked_up(program: &Path) -> bool {
        !program.as_os_str().as_encoded_bytes().contains(&b'/')
    }
}

/// `{}` is one, too: elsewhere it means something, and here it is a mistake.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        classifier::Kind,
        mailbox::{MailboxId, Username},
    };

    fn expand(argument: &str, user: &str) -> String {
        let push = Push {
            user: Username::new(user).expect("a name"),
            mailbox: MailboxId(0),
            maildir: Path::new("/mail/{kind}").into(),
            kind: Kind::NewMail,
            since: Instant::now(),
            events: 1,
        };
        Argument::parse(argument).expect("known placeholders").of(&push).into_string().expect("text")
    }

    #[test]
    fn placeholders_stand_anywhere_and_are_expanded_once() {
        for (argument, user, expected) in [
            ("{user}", "jesse", "jesse"),
            ("--for={user}:{kind}!", "jo", "--for=jo:new-mail!"),
            ("{user}{user}", "jo", "jojo"),
            ("{user}", "{path}", "{path}"),
            ("{path}", "jo", "/mail/{kind}"),
            ("{user}", "$(reboot) '\"\\ -rf", "$(reboot) '\"\\ -rf"),
            ("", "jo", ""),
            ("{\"user\": \"{user}\"}", "jo", "{\"user\": \"jo\"}"),
            ("{{user}}", "jo", "{jo}"),
            ("{user", "jo", "{user"),
            ("user}", "jo", "user}"),
            ("{ user }", "jo", "{ user }"),
        ] {
            assert_eq!(expand(argument, user), expected, "{argument}");
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        for (argument, word) in [("{usr}", "usr"), ("a{}b", ""), ("{user}{mail-box}", "mail-box")] {
            assert_eq!(Argument::parse(argument), Err(UnknownPlaceholder(word.to_owned())));
        }
    }
}
