//! `pushmaild devices list`.

use serde::Serialize;

use super::{Place, failed, output};
use crate::{
    cli::ListDevicesArgs,
    exit_code::Exit,
    mailbox::Username,
    registry::{Registration, State, Store, Timestamp},
};

/// A registration in `--json`; the keys are stable.
#[derive(Serialize)]
struct Row {
    user: String,
    /// Whole only with `--tokens`.
    token: String,
    account: String,
    subtopic: String,
    topic: Option<String>,
    mailboxes: Vec<String>,
    acknowledged: Vec<String>,
    first_registered: String,
    last_registered: String,
    last_push: Option<String>,
    last_answer: Option<String>,
    bad_answers: u32,
    state: &'static str,
    superseded_since: Option<String>,
    suspended_because: Option<String>,
}

impl Row {
    fn new(registration: Registration, whole_token: bool) -> Self {
        let Registration { key, state, .. } = registration;
        let (superseded_since, suspended_because) = match &state {
            State::Active => (None, None),
            State::Superseded { since } => (Some(since.to_string()), None),
            State::Suspended { reason } => (None, Some(reason.clone())),
        };
        Self {
            user: key.user.as_str().to_owned(),
            token: if whole_token { key.token.to_hex() } else { key.token.to_string() },
            account: key.account.as_str().to_owned(),
            subtopic: registration.subtopic,
            topic: registration.topic.map(|topic| topic.as_str().to_owned()),
            mailboxes: registration.mailboxes,
            acknowledged: registration.acknowledged,
            first_registered: registration.first_registered.to_string(),
            last_registered: registration.last_registered.to_string(),
            last_push: registration.last_push.as_ref().map(Timestamp::to_string),
            last_answer: registration.last_answer,
            bad_answers: registration.bad_answers,
            state: state.as_str(),
            superseded_since,
            suspended_because,
        }
    }

    fn cells(&self) -> [&str; 8] {
        [
            &self.user,
            &self.token,
            &self.account,
            self.state,
            self.topic.as_deref().unwrap_or("-"),
            &self.last_registered,
            self.last_push.as_deref().unwrap_or("-"),
            self.last_answer.as_deref().unwrap_or("-"),
        ]
    }
}

const TITLES: [&str; 8] =
    ["USER", "TOKEN", "ACCOUNT", "STATE", "TOPIC", "REGISTERED", "LAST PUSH", "LAST ANSWER"];

#[derive(Serialize)]
struct Document<'a> {
    devices: &'a [Row],
    /// Of the user that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    opted_out: Option<bool>,
}

pub(super) fn run(arguments: &ListDevicesArgs) -> Result<Exit, Exit> {
    let place = Place::load(&arguments.config)?;
    let user: Option<Username> = arguments.user.as_ref().map(|user| place.normalise(user)).transpose()?;
    let mut store = place.read()?;
    let mut rows = Vec::new();
    let mut take = |registration| rows.push(Row::new(registration, arguments.tokens));
    let read = match &user {
        Some(user) => store.of_user(user).map(|all| all.into_iter().for_each(take)),
        None => store.for_each(&mut take),
    };
    read.map_err(|error| failed(&error))?;
    let opted_out = user.as_ref().map(|user| store.is_opted_out(user)).transpose();
    let opted_out = opted_out.map_err(|error| failed(&error))?;
    if arguments.json {
        return Ok(output::json(Exit::Good, &Document { devices: &rows, opted_out }));
    }
    Ok(output::write(Exit::Good, |out| {
        let mut widths = TITLES.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row.cells()) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for cells in std::iter::once(TITLES).chain(rows.iter().map(Row::cells)) {
            let line: Vec<_> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        if let (Some(user), Some(true)) = (&user, opted_out) {
            writeln!(out, "\n{user} is opted out: no device is taken")?;
        }
        Ok(())
    }))
}
