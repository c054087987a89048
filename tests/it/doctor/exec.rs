//! Chains that end at a program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{JESSE, assert_cause, assert_healthy};
use crate::support::{Config, Site, eventually};

/// A site whose program is this script.
fn site_with(script: &str) -> (Site, Config) {
    let site = Site::new();
    site.maildir(JESSE);
    fs::write(site.path("on-mail"), format!("#!/bin/sh\n{script}\n")).expect("it can be written");
    fs::set_permissions(site.path("on-mail"), fs::Permissions::from_mode(0o755)).expect("it can be set");
    let config = site.config().without("push-notify").set_raw("exec.command", r#"["./on-mail", "{user}"]"#);
    (site, config)
}

#[test]
fn a_program_that_runs() {
    let (site, config) = site_with("echo \"$1\" >> \"$(dirname \"$0\")/ran\"");
    let _daemon = site.start(&config);
    assert!(assert_healthy(&config, &[JESSE]).contains("✔ program"));
    site.maildir(JESSE).deliver();
    eventually("the push is seen", || {
        // While the program runs, the push waits for its end.
        super::doctor(&config, &[JESSE]).stdout.contains("new-mail through exec, delivered").then_some(())
    });
    assert_healthy(&config, &[JESSE]);
    assert_eq!(fs::read_to_string(site.path("ran")).expect("it ran"), format!("{JESSE}\n"));
}

#[test]
fn a_program_that_fails() {
    let (site, config) = site_with("echo no such phone >&2; exit 3");
    let daemon = site.start(&config);
    site.maildir(JESSE).deliver();
    daemon.wait_log("exit status");
    eventually("the failure is told", || {
        let (run, links) = super::links(&config, &[JESSE]);
        let broken = |name: &str| links.contains(&(name.to_owned(), "broken".to_owned()));
        (broken("program") && !broken("last push") && run.stdout.contains("no such phone")).then_some(())
    });
}

#[test]
fn a_program_that_is_gone() {
    let (site, config) = site_with("true");
    let _daemon = site.start(&config);
    fs::remove_file(site.path("on-mail")).expect("it is there");
    assert_cause(&config, JESSE, "program", "cannot be run", "does not exist");
}

#[test]
fn a_program_that_still_runs_is_no_fault() {
    let (site, config) =
        site_with("dir=$(dirname \"$0\"); touch \"$dir/ran\"; while [ -d \"$dir\" ]; do sleep 0.02; done");
    let _daemon = site.start(&config);
    site.maildir(JESSE).deliver();
    eventually("the program runs", || site.path("ran").exists().then_some(()));
    assert!(assert_healthy(&config, &[JESSE]).contains("a push is on its way through exec"));
}

#[test]
fn a_daemon_that_has_not_been_told_of_the_sink() {
    let (site, config) = site_with("true");
    let without = site.config();
    let _receiver = site.receiver();
    let mut daemon = site.start(&without);
    let socket = site.socket();
    let both = config.set("push-notify.socket", &socket.to_string_lossy());
    both.write();
    assert_cause(&both, JESSE, "program", "the daemon runs without [exec]", "systemctl reload pushmaild");
    daemon.reload();
    assert_healthy(&both, &[JESSE]);

    let elsewhere = both.set("push-notify.socket", "elsewhere");
    elsewhere.write();
    let _other = crate::support::Receiver::bind(site.path("elsewhere"));
    assert_cause(&elsewhere, JESSE, "socket", "the daemon pushes through", "systemctl reload pushmaild");
    daemon.reload();
    assert_healthy(&elsewhere, &[JESSE]);
}
