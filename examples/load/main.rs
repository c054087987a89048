//! A mail server's load on as many mailboxes as you like, to see what pushmaild makes of it.
//!
//! `make` makes the mailboxes and a configuration for the daemon. `run` plays a mail server's life on them: messages come, are opened, read,
//! flagged, moved and deleted. It listens on the daemon's `push_notify` socket meanwhile, and checks that each user's last change was
//! followed by a push. The daemon may be stopped, killed and started again as often as one likes.
//!
//! It talks to nobody but that socket, and touches nothing outside its own folder. Run it with `--help` for an example.

mod make;
mod options;
mod play;
mod report;
mod run;

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;

use self::options::{Command, Options};

/// What ends the program early; a person reads it.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Make(options) => make::make(&options).map(|()| true),
        Command::Run(options) => run::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows how far it is on a terminal, in one line that is written over; nothing anywhere else.
fn show_progress(text: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // Nobody is left to tell when stderr is gone.
        let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    }
}
