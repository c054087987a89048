//! The program: reads the arguments, and leaves the rest to the library.

use clap::Parser;
use pushmaild::{cli::Cli, commands, exit_code::Exit};

fn main() -> Exit {
    commands::run(Cli::parse())
}
