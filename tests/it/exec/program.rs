//! A program that is not there, or cannot be run: nothing is lost until it can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{JESSE, JO, SAY, config, runs, wait_runs, write_program};
use crate::support::{Site, eventually};

#[test]
fn a_program_that_comes_later_is_run_for_each_user_once() {
    let site = Site::new();
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let daemon = site.start(&config(&site, &site.path("on-mail")));
    let line = daemon.wait_log("on-mail` of [exec] cannot be run");
    assert!(line.contains(" WARN ") && line.contains("hint: ") && line.contains("does not exist"), "{line}");

    jesse.deliver();
    let line = daemon.wait_log("cannot be started: No such file");
    assert!(line.contains("ERROR ") && line.contains("hint: "), "{line}");
    jesse.deliver();
    jo.deliver();
    write_program(&site, "on-mail", SAY);
    wait_runs(&site, 2);
    daemon.wait_log("can be started again");
    let log = daemon.stop();
    let mut runs = runs(&site);
    runs.sort();
    runs.dedup();
    assert_eq!(runs, [format!("{JESSE} new-mail"), format!("{JO} new-mail")]);
    assert_eq!(log.matches("cannot be started").count(), 1, "said once: {log}");
}

#[test]
fn a_file_that_may_not_be_run_and_one_without_its_interpreter() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let program = write_program(&site, "on-mail", SAY);
    let text = fs::read_to_string(&program).expect("it can be read");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).expect("a mode can be set");
    let daemon = site.start(&config(&site, &program));
    daemon.wait_log("chmod 755");
    jesse.deliver();
    let line = daemon.wait_log("cannot be started: Permission denied");
    assert!(line.contains("chmod 755"), "{line}");

    fs::write(&program, text.replace("/bin/sh", "/bin/no-such-shell")).expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    let line = daemon.wait_log("cannot be started: No such file");
    assert!(line.contains("interpreter") && line.contains("/bin/no-such-shell"), "{line}");

    write_program(&site, "on-mail", SAY);
    assert_eq!(wait_runs(&site, 1), [format!("{JESSE} new-mail")]);
    daemon.stop();
}

/// A system that has no process to spare gives one later.
#[test]
#[cfg(target_os = "linux")]
fn no_process_to_be_had() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let program = write_program(&site, "on-mail", SAY);
    let daemon = site.start(&config(&site, &program));
    let pid = daemon.pid().to_string();
    // Without room for one more file there is no pipe for its output. The limit counts from the next file on.
    let limit = |files: &str| {
        let run = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={files}:")])
            .status();
        assert!(run.is_ok_and(|status| status.success()));
    };
    limit("3");
    jesse.deliver();
    let line = daemon.wait_log("cannot be started: Too many open files");
    assert!(line.contains("ERROR "), "{line}");
    limit("1024");
    assert_eq!(wait_runs(&site, 1), [format!("{JESSE} new-mail")]);
    eventually("the end of the outage", || daemon.log().contains("can be started again").then_some(()));
    daemon.stop();
}
