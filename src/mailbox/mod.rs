//! Mailboxes and the names of the users that they belong to.

mod arena;
pub mod doveadm;
mod frames;
mod index;
pub mod listing;
pub mod mailbox_name;
pub mod maildir_path;
pub mod map;
pub mod map_file;
mod os_x_server;
pub mod partition_map;
pub mod passwd;
pub mod replacement;
pub mod scan;
pub mod source;
pub mod template;
pub mod username_format;

use std::{borrow::Borrow, fmt};

use thiserror::Error;

pub use maildir_path::MaildirPath;
pub use map::MailboxMap;
pub use replacement::Replacement;

/// A mailbox, as a number into the [`MailboxMap`]. It stays the same while the mailbox exists, and may be
/// given to another mailbox afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub u32);

impl MailboxId {
    /// The number as an index into an array with an element for each mailbox.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a user as the rest of the mail system knows it, with or without a domain.
///
/// Never empty, and without control characters: a NUL would end a field of the push_notify record early, and a
/// newline would forge lines of logs and of other daemons' files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Box<str>);

/// Why something cannot be a user name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UsernameError {
    /// The name is empty.
    #[error("a user name cannot be empty")]
    Empty,
    /// The name holds a control character, NUL included.
    #[error("the user name `{}` contains the control character {:?}", .name.escape_debug(), .character)]
    Control {
        /// The name as it was given.
        name: String,
        /// The first character at fault.
        character: char,
    },
}

impl Username {
    /// Checks a name.
    ///
    /// # Errors
    /// If it is empty or holds a control character.
    pub fn new(name: &str) -> Result<Self, UsernameError> {
        Self::check(name).map(|()| Self(name.into()))
    }

    /// The same without making one.
    pub(crate) fn check(name: &str) -> Result<(), UsernameError> {
        if name.is_empty() {
            return Err(UsernameError::Empty);
        }
        match name.chars().find(|character| character.is_control()) {
            Some(character) => Err(UsernameError::Control { name: name.to_owned(), character }),
            None => Ok(()),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before the first `@`: Dovecot's `%n`.
    #[must_use]
    pub fn local(&self) -> &str {
        self.0.split_once('@').map_or(&*self.0, |(local, _)| local)
    }

    /// What comes after the first `@`, empty when there is none: Dovecot's `%d`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Sets of names can be asked for one that is only borrowed.
impl Borrow<str> for Username {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
