//! XAPS: what the plugins of Dovecot send when a phone registers and when mail changes. Pure.
//!
//! There are two wire forms of the same two requests:
//!
//! | who speaks it | transport | form | module |
//! |---|---|---|---|
//! | the dovecot-xaps-plugin by st3fan | a Unix stream socket | one line a request | [`mod@line`] |
//! | the dovecot-xaps-plugin by freswa, the recipe of docker-mailserver | HTTP | a JSON body | [`json`] |
//!
//! The answers to both are in [`reply`]. Everything here is syntax: what a user name or a token may look like is the business of
//! the types that they become.

pub mod json;
pub mod line;
pub mod reply;

use std::fmt;

use thiserror::Error;

pub use json::{BodyError, parse_notify, parse_register};
pub use line::{LineError, parse_line};

/// The most bytes of a line, its end included: a listener needs no larger buffer.
pub const MAX_LINE: usize = 64 * 1024;

/// The most bytes of an HTTP body.
pub const MAX_BODY: usize = 64 * 1024;

/// The most mailboxes of one registration, and the most events of one notification. Nobody pushes this many folders.
pub const MAX_LIST: usize = 1000;

/// A phone wants to hear of a user's mailboxes. No field but `mailboxes` is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Register {
    /// `dovecot-username` or `Username`: who logged in.
    pub username: String,
    /// `aps-account-id` or `ApsAccountId`: the account on that phone.
    pub account_id: String,
    /// `aps-device-token` or `ApsDeviceToken`, in hex. A secret: whoever has it and a certificate can push to the phone.
    pub device_token: String,
    /// `aps-subtopic` or `ApsSubtopic`.
    pub subtopic: String,
    /// `dovecot-mailboxes` or `Mailboxes`, decoded from modified UTF-7; a name that is none is kept as it came. Empty if the phone
    /// named none, as iOS 5 did.
    pub mailboxes: Vec<String>,
}

/// Something happened in a mailbox. Neither the user nor the mailbox is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// `dovecot-username` or `Username`.
    pub username: String,
    /// `dovecot-mailbox` or `Mailbox`, decoded as in [`Register::mailboxes`]. The plugins take it from Dovecot's storage, and
    /// what the phone registered comes from IMAP: below a namespace, the prefix and the separator can differ.
    pub mailbox: String,
    /// `events` or `Events`, such as `MessageNew`; missing in old plugins.
    pub events: Option<Vec<String>>,
}

/// What a line of the Unix socket asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `REGISTER`
    Register(Register),
    /// `NOTIFY`
    Notify(Notify),
}

/// Why a request cannot be written. What can be written is read as the same request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// A field that must not be empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A field with a line end or NUL, which a line has no place for.
    #[error("`{0}` contains a line end or NUL")]
    LineEnd(&'static str),
    /// Too long a list.
    #[error("`{0}` has more than {MAX_LIST} entries")]
    TooMany(&'static str),
    /// Longer than a reader takes.
    #[error("the request has {0} bytes, and the most are {most}", most = MAX_LINE.min(MAX_BODY))]
    TooLong(usize),
}

impl Notify {
    /// Is it new mail? Everything else is a change: flags, deletions, what a client put there.
    ///
    /// Without any list it is: plugins that name no events speak of deliveries only. An empty list is a change, for its sender names
    /// events, and named no new mail; a change is pushed as well, only later.
    #[must_use]
    pub fn is_new_mail(&self) -> bool {
        self.events.as_ref().is_none_or(|events| events.iter().any(|event| event == "MessageNew"))
    }
}

/// The token stays out of logs and panics.
impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register")
            .field("username", &self.username)
            .field("account_id", &self.account_id)
            .field("device_token", &format_args!("({} bytes)", self.device_token.len()))
            .field("subtopic", &self.subtopic)
            .field("mailboxes", &self.mailboxes)
            .finish()
    }
}
