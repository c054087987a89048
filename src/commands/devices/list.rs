//! `pushmaild devices list`.

use std::io::{self, Write};

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
/// The columns that a narrow terminal does not show, by their numbers, the first ones first.
const DISPENSABLE: [usize; 5] = [2, 4, 5, 7, 6];

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
    let room = output::terminal_size().map(|(width, _)| width);
    Ok(output::write_folded(Exit::Good, |out| {
        write_table(&rows, room, out)?;
        if let (Some(user), Some(true)) = (&user, opted_out) {
            writeln!(out, "\n{user} is opted out: no device is taken")?;
        }
        Ok(())
    }))
}

/// A line for each row, in the columns for which there is room; in all of them where nothing is said of it.
fn write_table(rows: &[Row], room: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let mut widths = TITLES.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let left_out = left_out(widths, room);
    let shown = |column: &usize| !left_out.contains(column);
    for cells in std::iter::once(TITLES).chain(rows.iter().map(Row::cells)) {
        let line: Vec<_> = (0..TITLES.len())
            .filter(shown)
            .map(|column| format!("{:width$}", cells[column], width = widths[column]))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    if !left_out.is_empty() {
        let titles: Vec<_> = left_out.iter().map(|column| TITLES[*column]).collect();
        writeln!(out, "\nthere is no room here for {}; `--json` has all", titles.join(", "))?;
    }
    Ok(())
}

/// The columns without which the others have room, if they do so at all.
fn left_out(widths: [usize; 8], room: Option<usize>) -> &'static [usize] {
    let all: usize = widths.iter().map(|width| width + 2).sum();
    let needed =
        |without: usize| all - 2 - DISPENSABLE[..without].iter().map(|at| widths[*at] + 2).sum::<usize>();
    let enough = (0..DISPENSABLE.len()).find(|without| room.is_none_or(|room| needed(*without) <= room));
    &DISPENSABLE[..enough.unwrap_or(DISPENSABLE.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_left_out_until_the_others_have_room() {
        let widths = [16, 9, 36, 6, 40, 20, 20, 11];
        let titles = |room| left_out(widths, room).iter().map(|column| TITLES[*column]).collect::<Vec<_>>();
        assert_eq!(titles(None), [""; 0], "no terminal");
        assert_eq!(titles(Some(172)), [""; 0]);
        assert_eq!(titles(Some(171)), ["ACCOUNT"]);
        assert_eq!(titles(Some(134)), ["ACCOUNT"]);
        assert_eq!(titles(Some(133)), ["ACCOUNT", "TOPIC"]);
        assert_eq!(titles(Some(80)), ["ACCOUNT", "TOPIC", "REGISTERED"]);
        assert_eq!(titles(Some(10)), ["ACCOUNT", "TOPIC", "REGISTERED", "LAST ANSWER", "LAST PUSH"]);
    }
}
