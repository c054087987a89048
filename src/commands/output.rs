//! What people and scripts read.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

use super::fold::fold;
use crate::exit_code::Exit;

/// Says what went wrong and what to do, on stderr.
pub(super) fn failure(exit: Exit, message: impl Display, hint: impl Display) -> Exit {
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(stderr, "{} {message}", paint(stderr.is_terminal(), "31;1", "error:"));
    let hint = hint.to_string();
    if !hint.is_empty() {
        let _ = writeln!(stderr, "{} {hint}", paint(stderr.is_terminal(), "36", "hint:"));
    }
    exit
}

/// Text in a colour, on a terminal.
pub(super) fn paint(terminal: bool, colour: &str, text: &str) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Writes with a function. A reader that has seen enough (`| head`) is no failure.
pub(super) fn write(exit: Exit, writer: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Exit {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match writer(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => failure(Exit::Failed, format_args!("cannot write the output: {error}"), ""),
    }
}

/// Writes with a function what people read: on a terminal, long lines are folded.
pub(super) fn write_folded(exit: Exit, writer: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Exit {
    write(exit, |out| match terminal_size() {
        None => writer(out),
        Some((width, _)) => {
            let mut text = Vec::new();
            writer(&mut text)?;
            out.write_all(fold(&String::from_utf8_lossy(&text), width).as_bytes())
        }
    })
}

/// Columns and rows of the terminal, if standard output is one.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let or = |size: u16, usual| if size < 2 { usual } else { size.into() };
    // A terminal that does not know its size says 0.
    Some(
        rustix::termios::tcgetwinsize(io::stdout())
            .map_or((80, 24), |size| (or(size.ws_col, 80), or(size.ws_row, 24))),
    )
}

/// Writes one JSON document.
pub(super) fn json(exit: Exit, document: &impl Serialize) -> Exit {
    write(exit, |out| {
        serde_json::to_writer_pretty(&mut *out, document)?;
        writeln!(out)
    })
}

/// Shows how far something long has come, on a terminal only.
pub(super) struct Progress {
    what: &'static str,
    total: usize,
    shown: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        Self { what, total, shown: false }
    }

    pub(super) fn at(&mut self, done: usize) {
        if done % 4096 == 4095 {
            self.show(done);
        }
    }

    /// For steps that are rare by themselves.
    pub(super) fn show(&mut self, done: usize) {
        if done > 0 && io::stderr().is_terminal() {
            self.shown = true;
            let _ = write!(io::stderr(), "\r{} {done} of {}", self.what, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
