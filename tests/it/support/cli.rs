//! The commands that end by themselves, and what can be taken away from a program before it runs.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use rustix::process::geteuid;

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard output as the JSON document that it has to be.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// Runs `pushmaild` with these arguments to its end.
#[track_caller]
pub(crate) fn pushmaild<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    pushmaild_in(&[], arguments)
}

/// The same behind another command, as [`Launch::wrapped_in`](super::Launch::wrapped_in).
#[track_caller]
pub(crate) fn pushmaild_in<S: AsRef<OsStr>>(wrapper: &[&str], arguments: impl IntoIterator<Item = S>) -> Run {
    let mut words = wrapper.to_vec();
    words.push(env!("CARGO_BIN_EXE_pushmaild"));
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program can be started");
    Run {
        code: output.status.code().expect("no signal ends the program"),
        stdout: String::from_utf8(output.stdout).expect("all output is text"),
        stderr: String::from_utf8(output.stderr).expect("all output is text"),
    }
}

/// A wrapper that makes file modes count for root, too. Anybody else needs none.
///
/// Root without these two capabilities still owns the files of the test, and so is like the owner
/// of the mail, whom a `chmod 000` does stop.
pub(crate) fn bound_by_modes() -> Vec<&'static str> {
    if geteuid().is_root() {
        vec!["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    } else {
        Vec::new()
    }
}

/// A wrapper that leaves room for 20 inotify watches, in a user namespace of its own: the limits
/// below `/proc/sys/fs/inotify` are the host's, and no affair of a test.
pub(crate) fn with_20_watches() -> Vec<&'static str> {
    let script = "echo 20 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    vec!["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
}

/// Is this process not allowed to mark a file system? Then tests of the fanotify backend say so, and those of its refusal are all there is.
#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
pub(crate) fn fanotify_is_refused() -> bool {
    match pushmaild::watcher::fanotify::probe([std::env::temp_dir().as_path()]) {
        Ok(_) => false,
        Err(refusal) => {
            println!("not tested with fanotify: {refusal}");
            true
        }
    }
}
