//! A row of the table of registrations.

use rusqlite::{Connection, Row, named_params};

use crate::{
    mailbox::Username,
    registry::{AccountId, DeviceToken, Key, Registration, State, Timestamp, Topic},
};

pub(super) const COLUMNS: &str = "user, token, account, subtopic, topic, mailboxes, acknowledged, first_registered, last_registered, \
    last_push, last_answer, bad_answers, superseded_at, suspended";

/// Adds the registration, or replaces the one with its key.
pub(super) fn put(connection: &Connection, registration: &Registration) -> rusqlite::Result<()> {
    let Registration { key, state, .. } = registration;
    let superseded_at = match state {
        State::Superseded { since } => Some(since.0),
        State::Active | State::Suspended { .. } => None,
    };
    let suspended = match state {
        State::Suspended { reason } => Some(reason),
        State::Active | State::Superseded { .. } => None,
    };
    let sql = "INSERT OR REPLACE INTO registration VALUES (:user, :token, :account, :subtopic, :topic, :mailboxes, \
        :acknowledged, :first, :last, :push, :answer, :bad, :superseded, :suspended)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":user": key.user.as_str(),
        ":token": key.token.as_bytes(),
        ":account": key.account.as_str(),
        ":subtopic": registration.subtopic,
        ":topic": registration.topic.as_ref().map(Topic::as_str),
        ":mailboxes": list_to_text(&registration.mailboxes),
        ":acknowledged": list_to_text(&registration.acknowledged),
        ":first": registration.first_registered.0,
        ":last": registration.last_registered.0,
        ":push": registration.last_push.map(|at| at.0),
        ":answer": registration.last_answer,
        ":bad": registration.bad_answers,
        ":superseded": superseded_at,
        ":suspended": suspended,
    })?;
    Ok(())
}

/// All registrations of a user.
pub(super) fn of_user(connection: &Connection, user: &Username) -> rusqlite::Result<Vec<Registration>> {
    let sql = format!("SELECT {COLUMNS} FROM registration WHERE user = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([user.as_str()], read)?.collect()
}

/// Is the user opted out?
pub(super) fn is_opted_out(connection: &Connection, user: &Username) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM opted_out WHERE user = ?1")?.exists([user.as_str()])
}

/// The registration in a row with [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Registration> {
    let superseded: Option<i64> = row.get(12)?;
    let suspended: Option<String> = row.get(13)?;
    let state = match (suspended, superseded) {
        (Some(reason), _) => State::Suspended { reason },
        (None, Some(since)) => State::Superseded { since: Timestamp(since) },
        (None, None) => State::Active,
    };
    Ok(Registration {
        key: Key { user: username(row, 0)?, token: token(row, 1)?, account: parse::<AccountId>(row, 2)? },
        subtopic: row.get(3)?,
        topic: row.get::<_, Option<String>>(4)?.and_then(|topic| topic.parse().ok()),
        mailboxes: list(row.get_ref(5)?.as_str()?),
        acknowledged: list(row.get_ref(6)?.as_str()?),
        first_registered: Timestamp(row.get(7)?),
        last_registered: Timestamp(row.get(8)?),
        last_push: row.get::<_, Option<i64>>(9)?.map(Timestamp),
        last_answer: row.get(10)?,
        bad_answers: row.get(11)?,
        state,
    })
}

pub(super) fn username(row: &Row<'_>, column: usize) -> rusqlite::Result<Username> {
    Username::new(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

pub(super) fn token(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceToken> {
    DeviceToken::from_bytes(row.get_ref(column)?.as_blob()?).map_err(|error| unreadable(column, error))
}

fn parse<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| unreadable(column, error))
}

/// A count, which SQLite has as a signed number.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// A list of mailboxes in one column, as JSON. Nothing asks for one of them.
fn list_to_text(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}
