//! Programs that answer what doveadm does not, fail, or never end.

use std::fs;

use rustix::process::{Pid, test_kill_process};

use super::{config, run, script};
use crate::support::{Maildir, Site, eventually};

/// A doveadm of 2.3 that knows one user; `$MAIL` is what it says of him.
const GOOD: &str = "case \"$*\" in
'config -n') echo '# 2.3.19.1 (x): /etc/dovecot/dovecot.conf' ;;
'user *') echo jesse ;;
'user -f mail -- jesse') echo \"$MAIL\" ;;
'user -f home -- jesse') echo /home/jesse ;;
esac";

#[track_caller]
fn assert_fails(script_text: &str, says: &str, hint: &str) {
    let site = Site::new();
    let config = config(&site, &script(&site, script_text));
    for command in ["users", "check", "run"] {
        let failed = run(&config, &[command]);
        assert_eq!(failed.code, 1, "{script_text}: {failed:?}");
        let said = format!("{}{}", failed.stdout, failed.stderr);
        assert!(said.contains(says), "{script_text}, {command}: no {says:?} in {said}");
        assert!(
            said.contains("hint: ") && said.contains(hint),
            "{script_text}, {command}: no {hint:?} in {said}"
        );
    }
}

#[test]
fn answers_that_are_none() {
    assert_fails(
        "echo hello",
        "config -n` answers what doveadm does not: `hello\\n`",
        "has to be the doveadm",
    );
    assert_fails("", "answers what doveadm does not: ``", "has to be the doveadm");
    assert_fails("printf '\\033[31m\\377'", "answers what doveadm does not", "has to be the doveadm");
    let two_lines = format!("MAIL='maildir:/a\nmaildir:/b'\n{GOOD}");
    assert_fails(&two_lines, "user -f mail -- jesse` answers what doveadm does not", "has to be the doveadm");
}

#[test]
fn exit_statuses() {
    assert_fails("echo broken >&2; exit 89", "config -n` failed (exit status 89): broken", "by hand");
    assert_fails("kill -9 $$", "failed (signal 9): it does not say why", "by hand");
    let unreadable =
        "echo 'doveconf: Fatal: open(/etc/dovecot/dovecot.conf) failed: Permission denied' >&2; exit 89";
    assert_fails(
        unreadable,
        "Permission denied",
        "doveadm reads Dovecot's configuration as the daemon's user",
    );
    let late = format!("[ \"$3\" != home ] || {{ echo no >&2; exit 75; }}\nMAIL=maildir:/a\n{GOOD}");
    assert_fails(&late, "user -f home -- jesse` failed (exit status 75): no", "by hand");
}

#[test]
fn no_program() {
    let site = Site::new();
    let failed = run(&config(&site, &site.path("nowhere")), &["users"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("cannot be started: No such file or directory"), "{failed:?}");
    assert!(failed.stderr.contains("hint: doveadm is a part of Dovecot"), "{failed:?}");
}

/// What it said before is not taken for an answer, and of a flood not all is kept.
#[test]
fn a_flood() {
    let script_text = format!("[ \"$1\" != user ] || exec cat /dev/zero\n{GOOD}");
    assert_fails(&script_text, "user '*'` wrote more than", "has to be the doveadm");
}

/// A name or a path with anything in it makes no terminal do anything.
#[test]
fn odd_paths() {
    let site = Site::new();
    let config = config(&site, &script(&site, &format!("MAIL=$(printf 'maildir:re\\033lative')\n{GOOD}")));
    let found = run(&config, &["users"]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.stdout.contains("has mail in `re\\u{1b}lative`, which is no absolute path"), "{found:?}");
}

/// A doveadm that hangs holds up neither the daemon's events nor its end, and ends with it.
#[test]
fn a_doveadm_that_hangs() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("jesse"));
    let mail = format!("MAIL=maildir:{}\n", jesse.root().display());
    let command = script(&site, &format!("{mail}{GOOD}"));
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &command));

    let pid = site.path("pid");
    let shown = pid.display();
    script(
        &site,
        &format!("trap '' TERM\necho $$ > {shown}.new\nmv {shown}.new {shown}\nsleep 1000\nsleep 1000"),
    );
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_notify("RELOADING=1");
    let pid = eventually("doveadm hangs", || fs::read_to_string(&pid).ok());
    let pid = Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
    jesse.deliver();
    receiver.expect("jesse");
    daemon.stop();
    eventually("doveadm has ended with the daemon", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        (test_kill_process(pid).is_err() || state.contains(") Z ")).then_some(())
    });
}

/// Wrong answers while the daemon runs leave the map as it was, other sources go on, and the reason is said once.
#[test]
fn wrong_answers_later() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("jesse"));
    let jo = Maildir::create(site.path("jo"));
    let command = script(&site, &format!("MAIL=maildir:{}\n{GOOD}", jesse.root().display()));
    fs::write(site.path("users"), "# nobody\n").expect("a file can be written");
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &command).set("mailboxes.map-file", "users"));
    script(&site, "echo garbage $$");
    daemon.reload();
    fs::write(site.path("users"), format!("jo: {}\n", jo.root().display())).expect("a file can be written");
    daemon.reload();
    jesse.deliver();
    receiver.expect("jesse");
    jo.deliver();
    receiver.expect("jo");
    let log = daemon.stop();
    assert_eq!(log.matches("Dovecot's users stay as they were").count(), 1, "{log}");
}

/// A passwd-file that is being written has no users for a moment.
#[test]
fn a_list_that_is_suddenly_empty() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("jesse"));
    let command = script(&site, &format!("MAIL=maildir:{}\n{GOOD}", jesse.root().display()));
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &command));
    script(&site, &format!("MAIL=maildir:{}\n[ \"$2\" != '*' ] || exit 0\n{GOOD}", jesse.root().display()));
    daemon.reload();
    daemon.wait_log("it lists no user any more");
    jesse.deliver();
    receiver.expect("jesse");
    daemon.stop();
}

/// Without an answer that could stay, the map stays: a reading that does not ask must not take silence for nobody.
#[test]
fn another_doveadm_that_does_not_answer() {
    let site = Site::new();
    let (jesse, jo) = (Maildir::create(site.path("jesse")), Maildir::create(site.path("jo")));
    let command = script(&site, &format!("MAIL=maildir:{}\n{GOOD}", jesse.root().display()));
    let map = site.path("users");
    fs::write(&map, "# nobody\n").expect("a file can be written");
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &command).set("mailboxes.map-file", "users"));
    config(&site, &site.path("nowhere")).set("mailboxes.map-file", "users").write();
    daemon.reload();
    let mark = daemon.log_mark();
    fs::write(&map, format!("jo: {}\n", jo.root().display())).expect("a file can be written");
    daemon.wait_log_since(mark, "the old one stays");
    jesse.deliver();
    receiver.expect("jesse");
    config(&site, &command).set("mailboxes.map-file", "users").write();
    daemon.reload();
    jo.deliver();
    receiver.expect("jo");
    let log = daemon.stop();
    assert!(!log.contains("1 removed"), "{log}");
}

/// What Dovecot said stays also when no more was changed than how often it is asked.
#[test]
fn another_refresh_while_dovecot_is_away() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("jesse"));
    let command = script(&site, &format!("MAIL=maildir:{}\n{GOOD}", jesse.root().display()));
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &command));
    script(&site, "exit 75");
    let seldom = format!("{{ command = {:?}, refresh = \"2h\" }}", command);
    config(&site, &command).set_raw("mailboxes.doveadm", &seldom).write();
    daemon.reload();
    daemon.wait_log("Dovecot's users stay as they were");
    jesse.deliver();
    receiver.expect("jesse");
    daemon.stop();
}

/// While Dovecot is asked again and does not answer, other sources are read.
#[test]
fn a_map_file_that_changes_while_doveadm_hangs() {
    let site = Site::new();
    let (jesse, jo) = (Maildir::create(site.path("jesse")), Maildir::create(site.path("jo")));
    let good = format!("MAIL=maildir:{}\n{GOOD}", jesse.root().display());
    let command = script(&site, &good);
    let map = site.path("users");
    fs::write(&map, "# nobody\n").expect("a file can be written");
    let receiver = site.receiver();
    let often = format!("{{ command = {:?}, refresh = \"5s\" }}", command);
    let config =
        config(&site, &command).set_raw("mailboxes.doveadm", &often).set("mailboxes.map-file", "users");
    let daemon = site.start(&config);
    let (hangs, go) = (site.path("hangs"), site.path("go"));
    let wait = format!(
        "touch {}; while [ ! -e {} ] && [ -d {} ]; do sleep 0.05; done",
        hangs.display(),
        go.display(),
        site.dir().display()
    );
    script(&site, &format!("{wait}\n{good}"));
    eventually("doveadm hangs", || hangs.exists().then_some(()));
    fs::write(&map, format!("jo: {}\n", jo.root().display())).expect("a file can be written");
    daemon.wait_log("1 added");
    jo.deliver();
    receiver.expect("jo");
    jesse.deliver();
    receiver.expect("jesse");
    fs::write(&go, "").expect("a file can be written");
    daemon.stop();
}
