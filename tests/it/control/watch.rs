//! `pushmaild status --watch`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::JESSE;
use crate::support::Site;

#[test]
fn one_object_a_line_until_nobody_reads() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    let mut child = Command::new(env!("CARGO_BIN_EXE_pushmaild"))
        .args(["status", "--watch", "--json", "-c"])
        .arg(config.path())
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("it can be read");
        serde_json::from_str(&line).expect("a line is an object")
    };
    assert_eq!(next()["pushes"], Value::Array(Vec::new()));
    jesse.deliver();
    receiver.expect(JESSE);
    while next()["pushes"][0]["user"] != JESSE {}
    drop(lines);
    assert!(child.wait().expect("it ends").success(), "a reader that has seen enough is no failure");
}

#[test]
fn on_a_terminal_it_shows_that_a_daemon_comes_and_goes() {
    let site = Site::new();
    site.maildir(JESSE);
    let config = site.config();
    config.write();
    // script(1) gives it a terminal.
    let command =
        format!("{} status --watch -c {}", env!("CARGO_BIN_EXE_pushmaild"), config.path().display());
    let mut child = Command::new("timeout")
        .args(["60", "script", "-qfec", &command, "/dev/null"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("script can be started");
    let mut screen = BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n');
    let mut until = |text: &str| {
        for line in screen.by_ref() {
            let line = line.expect("it can be read");
            if String::from_utf8_lossy(&line).contains(text) {
                return;
            }
        }
        panic!("it ended before it said {text:?}");
    };
    until("no daemon answers");
    let daemon = site.start(&config);
    until("1 of 1 watched");
    daemon.stop();
    until("no daemon answers");
    // timeout(1) leads a group, in which script(1) is.
    kill_process_group(Pid::from_child(&child), Signal::KILL).expect("it still runs");
    child.wait().expect("it ends");
}
