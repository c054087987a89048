//! The line of the Unix socket.
//!
//! ```text
//! line    = command SP pair *( HTAB pair ) [ LF / CRLF ]
//! command = "REGISTER" / "NOTIFY"
//! pair    = key "=" ( string / list )                 in any order, each key once
//! string  = DQUOTE *( char / "\" any ) DQUOTE         Dovecot escapes ", \ and '
//! list    = "(" [ string *( "," string ) ] ")"
//!
//! REGISTER  aps-account-id aps-device-token aps-subtopic dovecot-username [ dovecot-mailboxes=list ]
//! NOTIFY    dovecot-username dovecot-mailbox [ events=list ]
//! ```
//!
//! Unknown keys are skipped; their values may also be bare words. There is no LF, CR or NUL within a line, escaped or not.

use std::str;

use thiserror::Error;

use super::{MAX_LINE, MAX_LIST, Notify, Register, Request, WriteError};
use crate::mailbox::mailbox_name;

const REGISTER: &str = "REGISTER";
const NOTIFY: &str = "NOTIFY";
const ACCOUNT_ID: &str = "aps-account-id";
const DEVICE_TOKEN: &str = "aps-device-token";
const SUBTOPIC: &str = "aps-subtopic";
const USERNAME: &str = "dovecot-username";
const MAILBOXES: &str = "dovecot-mailboxes";
const MAILBOX: &str = "dovecot-mailbox";
const EVENTS: &str = "events";

/// Why bytes are no request. None of it repeats what the peer sent, so that no token finds its way into a log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// More than [`MAX_LINE`].
    #[error("the line has {0} bytes, and the most are {MAX_LINE}")]
    TooLong(usize),
    /// A LF, CR or NUL that does not end the line.
    #[error("a line end or NUL within the line")]
    LineEnd,
    /// No text.
    #[error("the line is not UTF-8")]
    NotText,
    /// Another command.
    #[error("the command is neither `{REGISTER}` nor `{NOTIFY}`")]
    Command,
    /// Something else stands where the grammar has this.
    #[error("expected {what} at byte {at}")]
    Expected {
        /// What the grammar has.
        what: &'static str,
        /// How many bytes of the line come before.
        at: usize,
    },
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key that is there again.
    #[error("`{0}` is there twice")]
    Duplicate(&'static str),
    /// A value that must not be empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A list of more than [`MAX_LIST`].
    #[error("`{0}` has more than {MAX_LIST} entries")]
    TooMany(&'static str),
}

/// Reads a line, with its end or without.
///
/// # Errors
/// If it is no request. Nothing that a peer sends makes this panic.
pub fn parse_line(line: &[u8]) -> Result<Request, LineError> {
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong(line.len()));
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().any(|&byte| is_line_end(char::from(byte))) {
        return Err(LineError::LineEnd);
    }
    let line = str::from_utf8(line).map_err(|_| LineError::NotText)?;
    let command = line.split(' ').next().unwrap_or_default();
    let pairs = Cursor { line, at: command.len() };
    match command {
        REGISTER => register(pairs).map(Request::Register),
        NOTIFY => notify(pairs).map(Request::Notify),
        _ => Err(LineError::Command),
    }
}

fn register(mut pairs: Cursor<'_>) -> Result<Register, LineError> {
    let (mut username, mut account_id, mut device_token, mut subtopic) = (None, None, None, None);
    let mut mailboxes = None;
    pairs.expect(' ', "a space")?;
    loop {
        match pairs.key()? {
            USERNAME => once(USERNAME, &mut username, pairs.string()?)?,
            ACCOUNT_ID => once(ACCOUNT_ID, &mut account_id, pairs.string()?)?,
            DEVICE_TOKEN => once(DEVICE_TOKEN, &mut device_token, pairs.string()?)?,
            SUBTOPIC => once(SUBTOPIC, &mut subtopic, pairs.string()?)?,
            MAILBOXES => once(MAILBOXES, &mut mailboxes, pairs.list(MAILBOXES)?)?,
            _ => pairs.skip_value()?,
        }
        if pairs.is_at_end()? {
            break;
        }
    }
    Ok(Register {
        account_id: required(ACCOUNT_ID, account_id)?,
        device_token: required(DEVICE_TOKEN, device_token)?,
        subtopic: required(SUBTOPIC, subtopic)?,
        username: required(USERNAME, username)?,
        mailboxes: mailboxes.unwrap_or_default().into_iter().map(mailbox_name::decode_or_keep).collect(),
    })
}

fn notify(mut pairs: Cursor<'_>) -> Result<Notify, LineError> {
    let (mut username, mut mailbox, mut events) = (None, None, None);
    pairs.expect(' ', "a space")?;
    loop {
        match pairs.key()? {
            USERNAME => once(USERNAME, &mut username, pairs.string()?)?,
            MAILBOX => once(MAILBOX, &mut mailbox, pairs.string()?)?,
            EVENTS => once(EVENTS, &mut events, pairs.list(EVENTS)?)?,
            _ => pairs.skip_value()?,
        }
        if pairs.is_at_end()? {
            break;
        }
    }
    Ok(Notify {
        username: required(USERNAME, username)?,
        mailbox: mailbox_name::decode_or_keep(required(MAILBOX, mailbox)?),
        events,
    })
}

fn once<T>(key: &'static str, slot: &mut Option<T>, value: T) -> Result<(), LineError> {
    if slot.replace(value).is_some() { Err(LineError::Duplicate(key)) } else { Ok(()) }
}

fn required(key: &'static str, value: Option<String>) -> Result<String, LineError> {
    let value = value.ok_or(LineError::Missing(key))?;
    if value.is_empty() { Err(LineError::Empty(key)) } else { Ok(value) }
}

const fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\0')
}

/// A place in the line.
struct Cursor<'a> {
    line: &'a str,
    /// Always between two characters.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn take(&mut self, character: char) -> bool {
        let is_there = self.rest().starts_with(character);
        if is_there {
            self.at += character.len_utf8();
        }
        is_there
    }

    const fn expected<T>(&self, what: &'static str) -> Result<T, LineError> {
        Err(LineError::Expected { what, at: self.at })
    }

    fn expect(&mut self, character: char, what: &'static str) -> Result<(), LineError> {
        if self.take(character) { Ok(()) } else { self.expected(what) }
    }

    /// After a value: goes to the next pair, if there is one.
    fn is_at_end(&mut self) -> Result<bool, LineError> {
        if self.rest().is_empty() { Ok(true) } else { self.expect('\t', "a tab").map(|()| false) }
    }

    fn key(&mut self) -> Result<&'a str, LineError> {
        let rest = self.rest();
        let end =
            rest.find(|character: char| !character.is_ascii_graphic() || matches!(character, '=' | '"'));
        match end {
            Some(end) if end > 0 && rest[end..].starts_with('=') => {
                self.at += end + 1;
                Ok(&rest[..end])
            }
            _ => self.expected("a key and `=`"),
        }
    }

    fn string(&mut self) -> Result<String, LineError> {
        self.expect('"', "a double quote")?;
        let mut value = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(['"', '\\']) else {
                self.at = self.line.len();
                return self.expected("a double quote");
            };
            value.push_str(&rest[..end]);
            self.at += end;
            if self.take('"') {
                return Ok(value);
            }
            self.at += 1;
            let Some(escaped) = self.rest().chars().next() else {
                return self.expected("a character after the backslash");
            };
            value.push(escaped);
            self.at += escaped.len_utf8();
        }
    }

    fn list(&mut self, key: &'static str) -> Result<Vec<String>, LineError> {
        self.expect('(', "an opening parenthesis")?;
        let mut values = Vec::new();
        if self.take(')') {
            return Ok(values);
        }
        loop {
            if values.len() == MAX_LIST {
                return Err(LineError::TooMany(key));
            }
            values.push(self.string()?);
            if self.take(')') {
                return Ok(values);
            }
            self.expect(',', "a comma or a closing parenthesis")?;
        }
    }

    /// The value of a key of a later plugin.
    fn skip_value(&mut self) -> Result<(), LineError> {
        match self.rest().bytes().next() {
            Some(b'"') => self.string().map(drop),
            Some(b'(') => self.list("a list").map(drop),
            _ => {
                self.at += self.rest().find('\t').unwrap_or(self.rest().len());
                Ok(())
            }
        }
    }
}

impl Request {
    /// Writes the line as the plugin does, with CRLF.
    ///
    /// # Errors
    /// If a field is empty or has a line end, or the line would be too long.
    pub fn to_line(&self) -> Result<String, WriteError> {
        let mut line;
        match self {
            Self::Register(register) => {
                line = format!("{REGISTER} ");
                write_pair(&mut line, ACCOUNT_ID, &register.account_id)?;
                line.push('\t');
                write_pair(&mut line, DEVICE_TOKEN, &register.device_token)?;
                line.push('\t');
                write_pair(&mut line, SUBTOPIC, &register.subtopic)?;
                line.push('\t');
                write_pair(&mut line, USERNAME, &register.username)?;
                line.push('\t');
                write_list(
                    &mut line,
                    MAILBOXES,
                    register.mailboxes.iter().map(|name| mailbox_name::encode(name)),
                )?;
            }
            Self::Notify(notify) => {
                line = format!("{NOTIFY} ");
                write_pair(&mut line, USERNAME, &notify.username)?;
                line.push('\t');
                write_pair(&mut line, MAILBOX, &mailbox_name::encode(&notify.mailbox))?;
                if let Some(events) = &notify.events {
                    line.push('\t');
                    write_list(&mut line, EVENTS, events.iter())?;
                }
            }
        }
        line.push_str("\r\n");
        if line.len() > MAX_LINE { Err(WriteError::TooLong(line.len())) } else { Ok(line) }
    }
}

fn write_pair(line: &mut String, key: &'static str, value: &str) -> Result<(), WriteError> {
    if value.is_empty() {
        return Err(WriteError::Empty(key));
    }
    line.push_str(key);
    line.push('=');
    write_string(line, key, value)
}

fn write_list(
    line: &mut String,
    key: &'static str,
    values: impl ExactSizeIterator<Item = impl AsRef<str>>,
) -> Result<(), WriteError> {
    if values.len() > MAX_LIST {
        return Err(WriteError::TooMany(key));
    }
    line.push_str(key);
    line.push_str("=(");
    for (index, value) in values.enumerate() {
        if index > 0 {
            line.push(',');
        }
        write_string(line, key, value.as_ref())?;
    }
    line.push(')');
    Ok(())
}

fn write_string(line: &mut String, key: &'static str, value: &str) -> Result<(), WriteError> {
    line.push('"');
    for character in value.chars() {
        if is_line_end(character) {
            return Err(WriteError::LineEnd(key));
        }
        if matches!(character, '"' | '\\' | '\'') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
    Ok(())
}
