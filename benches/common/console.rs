//! What a benchmark says: tables on stdout, everything else on stderr.

use std::{process::ExitCode, thread, time::Duration};

use crate::Result;

/// The exit status for how many users were left untold, or for what went wrong.
pub(crate) fn exit(untold: Result<usize>) -> ExitCode {
    match untold {
        Ok(0) => ExitCode::SUCCESS,
        Ok(untold) => {
            progress(&format!("{untold} users were left untold"));
            ExitCode::FAILURE
        }
        Err(error) => {
            progress(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "stdout is for the tables")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "for a gap that is meant, and for what has no way to call")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
