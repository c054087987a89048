//! The exec sink: real programs, which say what they were told and wait until they are let go.

mod arguments;
mod check;
mod ends;
mod life;
mod program;
mod runs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Config, Site, eventually};

const JESSE: &str = "jesse@example.org";
const JO: &str = "jo@example.org";

/// A line for a run that began.
const SAY: &str = "printf '%s %s\\n' \"$1\" \"$2\" >> \"$site/runs\"";
/// Waits until the test has made the file `go-USER`. Ends with the site, too, whatever becomes of the test and the daemon.
const WAIT: &str = "while [ ! -e \"$site/go-$1\" ] && [ -d \"$site\" ]; do sleep 0.02; done";

/// A shell script that knows the site as `$site`.
fn write_program(site: &Site, name: &str, body: &str) -> PathBuf {
    let path = site.path(name);
    let text = format!("#!/bin/sh\nsite='{}'\n{body}\n", site.dir().display());
    // Written elsewhere and renamed, so that no start finds half of it, or finds it open.
    let new = site.path(format!("{name}.new"));
    fs::write(&new, text).expect("the program can be written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    fs::rename(&new, &path).expect("it can be renamed");
    path
}

/// The site's configuration with this program, told user and kind, as the only sink.
fn config(site: &Site, program: &Path) -> Config {
    with_command(site, &[&program.to_string_lossy(), "{user}", "{kind}"])
}

fn with_command(site: &Site, command: &[&str]) -> Config {
    let command = serde_json::to_string(command).expect("text is JSON");
    site.config().without("push-notify").set_raw("exec.command", &command)
}

/// The lines of [`SAY`] so far.
fn runs(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.path("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for so many runs.
#[track_caller]
fn wait_runs(site: &Site, count: usize) -> Vec<String> {
    eventually(&format!("{count} runs"), || Some(runs(site)).filter(|runs| runs.len() >= count))
}

/// Lets the programs of a user go on.
fn go(site: &Site, user: &str) {
    fs::write(site.path(format!("go-{user}")), "").expect("the file can be made");
}

/// A process that a program wrote the number of.
#[track_caller]
fn pid_in(path: &Path) -> i32 {
    eventually("the number of a process", || fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// Has the process ended? One that nobody has buried yet has.
fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    match stat {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => {
            let pid = rustix::process::Pid::from_raw(pid).expect("the number of a process");
            rustix::process::test_kill_process(pid).is_err()
        }
    }
}
