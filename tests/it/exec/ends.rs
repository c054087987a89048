//! Programs that fail, hang, flood, or leave others behind.

use std::fs;

use super::{JESSE, JO, SAY, config, is_gone, pid_in, wait_runs, write_program};
use crate::support::{Daemon, Site, eventually};

/// A loop that ends with the site.
const FOREVER: &str = "while [ -d \"$site\" ]; do sleep 0.05; done";

/// Waits for the line about a run that failed.
#[track_caller]
fn wait_failed(daemon: &Daemon) -> String {
    daemon.wait_log("failed: ")
}

#[test]
fn a_status_is_told_with_the_last_words() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", "echo one; echo 'no such \u{1b}[1mphone' >&2; exit 7");
    let jesse = site.maildir(JESSE);
    let daemon = site.start(&config(&site, &program));
    jesse.deliver();
    let line = wait_failed(&daemon);
    assert!(
        line.contains(" WARN ")
            && line.contains("for jesse@example.org failed: exit status 7: one / no such "),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "a program cannot paint in the log: {line}");
    // It is not run again: whoever wants that does it in the program.
    let log = daemon.stop();
    assert_eq!(log.matches("failed: ").count(), 1, "{log}");
    assert!(log.contains("stopped; every push is sent"), "{log}");
}

#[test]
fn a_signal_is_told() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", "kill -9 $$");
    let jesse = site.maildir(JESSE);
    let daemon = site.start(&config(&site, &program));
    jesse.deliver();
    assert!(wait_failed(&daemon).contains("ended by signal 9"));
}

/// A hundred failures of one kind are not a hundred warnings, and the end of them is told.
#[test]
fn many_failures_are_few_lines() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", &format!("{SAY}; [ -e \"$site/good\" ] || exit 3"));
    let maildirs: Vec<_> =
        (0..40).map(|number| site.maildir(&format!("user-{number}@example.org"))).collect();
    let jesse = site.maildir(JESSE);
    let daemon = site.start(&config(&site, &program));
    for maildir in &maildirs {
        maildir.deliver();
    }
    wait_runs(&site, maildirs.len());
    eventually("a line for each", || {
        (daemon.log().matches("failed: exit status 3").count() == 40).then_some(())
    });
    let lines = daemon.log();
    let lines: Vec<_> = lines.lines().filter(|line| line.contains("failed: exit status 3")).collect();
    assert_eq!(lines.iter().filter(|line| line.contains(" WARN ")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("DEBUG ")).count(), 39, "{lines:?}");

    fs::write(site.path("good"), "").expect("the file can be made");
    jesse.deliver();
    daemon.wait_log("works again, after 40 runs that failed");
    daemon.stop();
}

/// SIGTERM goes to everybody whom the program has started, and each can end well.
#[test]
fn a_program_that_hangs_is_asked_to_end() {
    let site = Site::new();
    let other = format!("sh -c 'trap \"touch \\\"$1\\\"; exit\" TERM; {FOREVER}' -- \"$site/other-ended\"");
    let body = format!(
        "site=$site; export site; {other} & echo $! > \"$site/other\"; echo $$ > \"$site/pid\"; \
         trap 'echo good bye; exit 0' TERM; {FOREVER}"
    );
    let program = write_program(&site, "on-mail", &body);
    let jesse = site.maildir(JESSE);
    let daemon = site.start(&config(&site, &program).set("exec.timeout", "3s"));
    jesse.deliver();
    let (pid, other) = (pid_in(&site.path("pid")), pid_in(&site.path("other")));
    let line = wait_failed(&daemon);
    assert!(
        line.contains(" WARN ")
            && line.contains("ended after 3s, its timeout: ")
            && line.contains("good bye"),
        "{line}"
    );
    assert!(is_gone(pid) && is_gone(other));
    assert!(site.path("other-ended").exists(), "it was asked, and not killed");
    let log = daemon.stop();
    assert!(log.contains("stopped; every push is sent"), "{log}");
}

/// One that does not listen is killed five seconds later, with all that it has started; the others go on meanwhile.
#[test]
fn a_program_that_does_not_listen_is_killed() {
    let site = Site::new();
    let body = format!(
        "{SAY}; [ $1 = {JO} ] && exit 0; trap '' TERM; ({FOREVER}) & echo $! > \"$site/other\"; \
         echo $$ > \"$site/pid\"; {FOREVER}"
    );
    let program = write_program(&site, "on-mail", &body);
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let config = config(&site, &program).set("exec.timeout", "3s").set_raw("exec.concurrency", "2");
    let daemon = site.start(&config);
    jesse.deliver();
    let (pid, other) = (pid_in(&site.path("pid")), pid_in(&site.path("other")));
    jo.deliver();
    daemon.wait_log("pushed jo@example.org");
    assert!(!is_gone(pid), "it does not listen");
    let line = wait_failed(&daemon);
    assert!(line.contains("ended after 3s, its timeout"), "{line}");
    eventually("the end of both", || (is_gone(pid) && is_gone(other)).then_some(()));
    daemon.stop();
}

/// The most memory that the daemon has had, in bytes.
#[cfg(target_os = "linux")]
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the line is there");
    let number = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    number.expect("a number") * 1024
}

/// What a program prints is read as fast as it comes, and forgotten.
#[test]
#[cfg(target_os = "linux")]
fn a_flood_costs_nothing_and_holds_nobody_up() {
    let site = Site::new();
    // The first one floods until it is ended, the second one ends by itself after 200 MB.
    let body = format!(
        "{SAY}; case $1 in {JESSE}) echo $$ > \"$site/pid\"; exec yes;; \
         {JO}) yes | head -c 200000000; echo the end >&2; exit 9;; esac"
    );
    let program = write_program(&site, "on-mail", &body);
    let [jesse, jo, third] = [JESSE, JO, "third@example.org"].map(|user| site.maildir(user));
    let daemon = site.start(&config(&site, &program).set("exec.timeout", "20s"));
    let before = peak(&daemon);
    jesse.deliver();
    let pid = pid_in(&site.path("pid"));
    jo.deliver();
    third.deliver();
    daemon.wait_log("pushed third@example.org");
    assert!(!is_gone(pid), "it still floods");
    let line = daemon.wait_log("failed: exit status 9");
    assert!(line.ends_with("the end") && line.len() < 1000, "{line}");
    let grown = peak(&daemon).saturating_sub(before);
    assert!(grown < 16 << 20, "grown by {grown} bytes");
    daemon.stop();
    assert!(is_gone(pid));
}

/// One that the program has left behind, and that holds its output, is nobody's business.
#[test]
fn a_program_that_leaves_another_behind_has_ended() {
    let site = Site::new();
    let body = format!("({FOREVER}) & echo $! > \"$site/other\"; echo 'all good'; exit 0");
    let program = write_program(&site, "on-mail", &body);
    let jesse = site.maildir(JESSE);
    let daemon = site.start(&config(&site, &program));
    jesse.deliver();
    let other = pid_in(&site.path("other"));
    daemon.wait_log("pushed jesse@example.org");
    assert!(!is_gone(other));
    daemon.stop();
}

/// Whoever starts the daemon may have told the system to forget about children.
#[test]
fn ends_are_known_also_where_sigchld_was_ignored() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", "exit 0");
    let jesse = site.maildir(JESSE);
    let ignoring = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "--"];
    let daemon = site.launch(&config(&site, &program)).wrapped_in(ignoring).start();
    jesse.deliver();
    daemon.wait_log("pushed jesse@example.org");
    daemon.stop();
}
