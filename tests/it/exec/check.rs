//! `pushmaild check` with a program as the sink.

use std::fs;

use super::{JESSE, SAY, config, with_command, write_program};
use crate::support::{Config, Run, Site, pushmaild};

fn check(config: &Config, more: &[&str]) -> Run {
    config.write();
    let arguments = ["check", "-c"].map(AsRef::as_ref).into_iter();
    pushmaild(arguments.chain([config.path().as_os_str()]).chain(more.iter().map(AsRef::as_ref)))
}

#[test]
fn a_program_alone_is_a_sink() {
    let site = Site::new();
    site.maildir(JESSE);
    let program = write_program(&site, "on-mail", SAY);
    let config = config(&site, &program).set_raw("exec.concurrency", "7").set("exec.timeout", "90s");
    let run = check(&config, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    let line = format!("exec: {}, 7 at once, 1m 30s each", program.display());
    assert!(run.stdout.contains(&line), "{run:?}");
    let json = check(&config, &["--json"]).json();
    assert_eq!(json["exec"]["path"], program.to_str().expect("text"));
    assert_eq!(json["exec"]["concurrency"], 7);
}

#[test]
fn a_program_that_cannot_be_run_is_a_problem() {
    let site = Site::new();
    site.maildir(JESSE);
    fs::write(site.path("on-mail"), "#!/bin/sh\n").expect("a file can be written");
    for (program, says, hint) in [
        ("./on-mail", "cannot be run: ", "chmod 755"),
        ("./missing", "cannot be run: ", "does not exist"),
        ("/", "cannot be run: ", "name a program"),
        ("no-such-program-at-all", "is not in PATH", "write its whole path"),
    ] {
        let run = check(&with_command(&site, &[program, "{user}"]), &[]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stdout.contains("problem: ") && run.stdout.contains(says), "{run:?}");
        assert!(run.stdout.contains("hint: ") && run.stdout.contains(hint), "{run:?}");
    }
}
