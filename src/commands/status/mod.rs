//! `pushmaild status`: how the running daemon is.

mod table;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    thread,
    time::Duration,
};

use serde_json::{Map, Value};

use super::{fold::fold, load, output};
use crate::{
    control::{
        client::{AskError, ask},
        status::{SinkState, Status, UserStatus},
    },
    exit_code::Exit,
};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(config: &Path, json: bool, watch: bool) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let socket = &config.control.socket;
    let failed = |error: AskError| output::failure(Exit::Failed, &error, error.hint());
    if !watch {
        let status: Status = match ask(socket, "status") {
            Ok(status) => status,
            Err(error) => return failed(error),
        };
        let exit = exit(&status);
        if !json {
            return output::write_folded(exit, |out| table::write(&status, io::stdout().is_terminal(), out));
        }
        let users: Vec<UserStatus> = match ask(socket, "users") {
            Ok(users) => users,
            Err(error) => return failed(error),
        };
        return output::json(exit, &document(&status, Some(&users)));
    }
    let terminal = io::stdout().is_terminal();
    loop {
        let answer = ask::<Status>(socket, "status");
        let shown = match (&answer, json) {
            (Ok(status), true) => {
                let mut line = serde_json::to_vec(&document(status, None)).unwrap_or_default();
                line.push(b'\n');
                show(&line)
            }
            (Ok(status), false) => {
                let mut text = Vec::new();
                let _ = table::write(status, terminal, &mut text);
                show(&page(&text))
            }
            // A restart of the daemon is what somebody may be watching for. What it said before is not left there as if it were so.
            (Err(error), false) if terminal => {
                let text = format!("{error}\nhint: {}\n", error.hint());
                show(&page(text.as_bytes()))
            }
            (Err(_), _) => Ok(()),
        };
        match (shown, answer) {
            // Whoever read it has seen enough.
            (Err(_), _) => return Exit::Good,
            (Ok(()), Err(error)) if !terminal || json || matches!(error, AskError::NotAllowed { .. }) => {
                return failed(error);
            }
            _ => {}
        }
        #[expect(clippy::disallowed_methods, reason = "the clock is what it waits for")]
        thread::sleep(EVERY);
    }
}

/// Something that loses pushes makes it fail, for scripts.
fn exit(status: &Status) -> Exit {
    if is_in_trouble(status) { Exit::Failed } else { Exit::Good }
}

fn is_in_trouble(status: &Status) -> bool {
    status.sinks.iter().any(|sink| sink.state == SinkState::Trouble)
        || status.mailboxes.in_trouble > 0
        || status.map.trouble.is_some()
        || status.registry.as_ref().is_some_and(|registry| registry.trouble.is_some())
}

/// The status as one JSON object; with the users, if there are to be any.
fn document(status: &Status, users: Option<&[UserStatus]>) -> Value {
    let mut document = match serde_json::to_value(status) {
        Ok(Value::Object(status)) => status,
        _ => Map::new(),
    };
    if let Some(users) = users.and_then(|users| serde_json::to_value(users).ok()) {
        document.insert("users".to_owned(), users);
    }
    Value::Object(document)
}

fn show(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// A text in the place of the one before. Each line is cleared as it is written, and what is left below afterwards: nothing flickers.
fn page(text: &[u8]) -> Vec<u8> {
    let Some((width, height)) = output::terminal_size() else { return [text, b"\n"].concat() };
    // A line that is as wide as the terminal would lose its last letter when the rest of it is cleared.
    let text = fold(&String::from_utf8_lossy(text), width - 1);
    let mut page = b"\x1b[H".to_vec();
    for line in text.lines().take(height - 1) {
        page.extend_from_slice(line.as_bytes());
        page.extend_from_slice(b"\x1b[K\r\n");
    }
    page.extend_from_slice(b"\x1b[J");
    page
}
