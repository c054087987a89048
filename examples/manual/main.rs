//! Writes the manual pages and the shells' completions: `cargo run --example manual -- FOLDER`.
//!
//! Both come from the definition of the command line, so they say what `--help` says. An example and not a command, for only whoever builds
//! packages needs it, and the program stays without what it needs for that.

mod pages;

use std::{env, io, path::PathBuf, process::ExitCode};

#[expect(clippy::print_stderr, reason = "it is how this program speaks")]
fn main() -> ExitCode {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let written = match &folder {
        Some(folder) => pages::write(folder),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "which folder? `cargo run --example manual -- FOLDER`",
        )),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
