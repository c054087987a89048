//! The bodies of `POST /register` and `POST /notify`.
//!
//! ```text
//! register = { "ApsAccountId": string, "ApsDeviceToken": string, "ApsSubtopic": string, "Username": string,
//!              "Mailboxes": [ string, … ] }                   "Mailboxes" may be missing or null
//! notify   = { "Username": string, "Mailbox": string, "Events": [ string, … ] }  "Events" may be missing or null
//! ```
//!
//! Keys come in any order, each once; unknown keys are skipped.

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use super::{MAX_BODY, MAX_LIST, Notify, Register, WriteError};
use crate::mailbox::mailbox_name;

const ACCOUNT_ID: &str = "ApsAccountId";
const DEVICE_TOKEN: &str = "ApsDeviceToken";
const SUBTOPIC: &str = "ApsSubtopic";
const USERNAME: &str = "Username";
const MAILBOXES: &str = "Mailboxes";
const MAILBOX: &str = "Mailbox";
const EVENTS: &str = "Events";

/// Why a body is no request. None of it repeats what the peer sent, so that no token finds its way into a log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// More than [`MAX_BODY`].
    #[error("the body has {0} bytes, and the most are {MAX_BODY}")]
    TooLong(usize),
    /// Not JSON, or not of this form: no object, a value of another type, a key twice.
    #[error("the body is not the JSON that is expected, at line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// In bytes, as `serde_json` counts them.
        column: usize,
    },
    /// A key that must be there, or null in its place.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value that must not be empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A list of more than [`MAX_LIST`].
    #[error("`{0}` has more than {MAX_LIST} entries")]
    TooMany(&'static str),
}

/// What must be there is optional here, so that our errors name what is missing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterBody {
    aps_account_id: Option<String>,
    aps_device_token: Option<String>,
    aps_subtopic: Option<String>,
    username: Option<String>,
    mailboxes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotifyBody {
    username: Option<String>,
    mailbox: Option<String>,
    events: Option<Vec<String>>,
}

/// Reads the body of `POST /register`.
///
/// # Errors
/// If it is none. Nothing that a peer sends makes this panic.
pub fn parse_register(body: &[u8]) -> Result<Register, BodyError> {
    let body: RegisterBody = object(body)?;
    let mailboxes = bounded(MAILBOXES, body.mailboxes)?.unwrap_or_default();
    Ok(Register {
        account_id: required(ACCOUNT_ID, body.aps_account_id)?,
        device_token: required(DEVICE_TOKEN, body.aps_device_token)?,
        subtopic: required(SUBTOPIC, body.aps_subtopic)?,
        username: required(USERNAME, body.username)?,
        mailboxes: mailboxes.into_iter().map(mailbox_name::decode_or_keep).collect(),
    })
}

/// Reads the body of `POST /notify`.
///
/// # Errors
/// If it is none. Nothing that a peer sends makes this panic.
pub fn parse_notify(body: &[u8]) -> Result<Notify, BodyError> {
    let body: NotifyBody = object(body)?;
    let events = bounded(EVENTS, body.events)?;
    Ok(Notify {
        username: required(USERNAME, body.username)?,
        mailbox: mailbox_name::decode_or_keep(required(MAILBOX, body.mailbox)?),
        events,
    })
}

fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    if body.len() > MAX_BODY {
        return Err(BodyError::TooLong(body.len()));
    }
    // serde would also read an array, as the values of the keys in our order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(BodyError::Json { line: 1, column: 0 });
    }
    serde_json::from_slice(body)
        .map_err(|error| BodyError::Json { line: error.line(), column: error.column() })
}

fn required(key: &'static str, value: Option<String>) -> Result<String, BodyError> {
    let value = value.ok_or(BodyError::Missing(key))?;
    if value.is_empty() { Err(BodyError::Empty(key)) } else { Ok(value) }
}

fn bounded(key: &'static str, list: Option<Vec<String>>) -> Result<Option<Vec<String>>, BodyError> {
    match list {
        Some(list) if list.len() > MAX_LIST => Err(BodyError::TooMany(key)),
        list => Ok(list),
    }
}

impl Register {
    /// Writes the body of `POST /register` as the plugin does.
    ///
    /// # Errors
    /// If a field is empty, or the body would be too long.
    pub fn to_json(&self) -> Result<String, WriteError> {
        let mut body = String::from("{");
        write_pair(&mut body, ACCOUNT_ID, &self.account_id)?;
        body.push(',');
        write_pair(&mut body, DEVICE_TOKEN, &self.device_token)?;
        body.push(',');
        write_pair(&mut body, SUBTOPIC, &self.subtopic)?;
        body.push(',');
        write_pair(&mut body, USERNAME, &self.username)?;
        body.push(',');
        write_list(&mut body, MAILBOXES, self.mailboxes.iter().map(|name| mailbox_name::encode(name)))?;
        finish(body)
    }
}

impl Notify {
    /// Writes the body of `POST /notify` as the plugin does.
    ///
    /// # Errors
    /// If a field is empty, or the body would be too long.
    pub fn to_json(&self) -> Result<String, WriteError> {
        let mut body = String::from("{");
        write_pair(&mut body, USERNAME, &self.username)?;
        body.push(',');
        write_pair(&mut body, MAILBOX, &mailbox_name::encode(&self.mailbox))?;
        if let Some(events) = &self.events {
            body.push(',');
            write_list(&mut body, EVENTS, events.iter().cloned())?;
        }
        finish(body)
    }
}

fn write_pair(body: &mut String, key: &'static str, value: &str) -> Result<(), WriteError> {
    if value.is_empty() {
        return Err(WriteError::Empty(key));
    }
    body.push_str(&format!("\"{key}\":{}", serde_json::Value::from(value)));
    Ok(())
}

/// The plugin puts a space before a list, and only there.
fn write_list(
    body: &mut String,
    key: &'static str,
    values: impl ExactSizeIterator<Item = String>,
) -> Result<(), WriteError> {
    if values.len() > MAX_LIST {
        return Err(WriteError::TooMany(key));
    }
    body.push_str(&format!("\"{key}\": {}", serde_json::Value::from_iter(values)));
    Ok(())
}

fn finish(mut body: String) -> Result<String, WriteError> {
    body.push('}');
    if body.len() > MAX_BODY { Err(WriteError::TooLong(body.len())) } else { Ok(body) }
}
