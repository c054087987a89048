//! The commands beside `run`, as people and scripts use them.

mod check;
mod devices;
mod listen;
mod send;
mod users;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Config, Run, pushmaild, pushmaild_in};

/// Writes the configuration, and runs a command with it.
#[track_caller]
fn with_config(config: &Config, command: &[&str]) -> Run {
    with_config_in(&[], config, command)
}

/// The same behind another command.
#[track_caller]
fn with_config_in(wrapper: &[&str], config: &Config, command: &[&str]) -> Run {
    config.write();
    let file = config.path().to_str().expect("the path is text");
    pushmaild_in(wrapper, command.iter().copied().chain(["-c", file]))
}

/// What a command shows on a terminal that is so wide, without colours.
#[track_caller]
fn on_a_terminal(columns: usize, config: &Config, command: &[&str]) -> String {
    config.write();
    let (program, file) = (env!("CARGO_BIN_EXE_pushmaild"), config.path().display());
    let command = format!("stty rows 24 cols {columns}; {program} {} -c {file}", command.join(" "));
    // script(1) gives it a terminal.
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).env("NO_COLOR", "1").output();
    let text = String::from_utf8(output.expect("script can be started").stdout).expect("it is text");
    text.replace("\r\n", "\n")
}

/// One of the recorded datagrams, all of which are about the user `jesse`.
fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/push_notify");
    fs::read(folder.join(format!("{name}.bin"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The keys of a JSON object, sorted.
fn keys(value: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn help_and_version_are_good() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "listen"]] {
        let run = pushmaild(arguments);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{run:?}");
    }
}
