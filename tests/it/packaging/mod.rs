//! What is installed beside the program: service files, examples, packages, pages, tried as the tools that read them would.

#[cfg(target_os = "linux")]
mod deb;
mod docker;
mod examples;
mod launchd;
mod manual;
#[cfg(target_os = "linux")]
mod packed;
#[cfg(target_os = "linux")]
mod rpm;
mod scripts;
#[cfg(target_os = "linux")]
mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PUSHMAILD: &str = env!("CARGO_BIN_EXE_pushmaild");

/// A file of the project.
fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
#[track_caller]
fn project_text(path: &str) -> String {
    let path = project_file(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Both outputs of a program, as a test that fails shows them.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The words of a command line are ones that the program knows: clap reads them all before it
/// prints its help.
#[track_caller]
fn assert_arguments_are_known(arguments: &[&str]) {
    let output = Command::new(PUSHMAILD)
        .args(arguments)
        .arg("--help")
        .output()
        .expect("the program that was just built runs");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
}

/// Runs a program that a Debian package brings. One that is missing is a failure, never a
/// reason to skip.
#[track_caller]
fn run(command: &mut Command, package: &str) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => {
            panic!("cannot run {:?}: {error}\nhint: apt-get install {package}", command.get_program())
        }
    }
}
