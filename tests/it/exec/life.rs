//! Reload, stop and restart while programs run: nobody is told less than once.

use rustix::process::Signal;

use super::{JESSE, JO, SAY, WAIT, config, go, is_gone, pid_in, runs, wait_runs, write_program};
use crate::records::wait_recorded;
use crate::support::{PATIENCE, Site};

#[test]
fn a_reload_takes_another_program() {
    let site = Site::new();
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let slow = write_program(&site, "slow", &format!("{SAY}; {WAIT}; echo slow >> \"$site/runs\""));
    let quick = write_program(&site, "quick", "echo \"quick $1\" >> \"$site/runs\"");
    let mut daemon = site.start(&config(&site, &slow).set_raw("exec.concurrency", "1"));
    jesse.deliver();
    wait_runs(&site, 1);
    let mark = daemon.log_mark();
    jesse.deliver();
    daemon.wait_log_since(mark, "waits for the run before it");

    // There is room for the next one now; what runs goes on, and what waits for it takes the new program.
    config(&site, &quick).set_raw("exec.concurrency", "2").write();
    daemon.reload();
    jo.deliver();
    assert_eq!(wait_runs(&site, 2)[1], format!("quick {JO}"));
    go(&site, JESSE);
    let all = wait_runs(&site, 4);
    assert_eq!(all[2..], ["slow".to_owned(), format!("quick {JESSE}")]);
    daemon.stop();
}

#[test]
fn a_reload_brings_the_sink_and_takes_it_away() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let program = write_program(&site, "on-mail", &format!("echo $$ > \"$site/pid\"; {SAY}; {WAIT}"));
    let mut daemon = site.start(&site.config());
    let socket = site.socket();
    let both = config(&site, &program).set("push-notify.socket", &socket.to_string_lossy());
    both.write();
    daemon.reload();
    jesse.deliver();
    receiver.expect(JESSE);
    wait_runs(&site, 1);
    let pid = pid_in(&site.path("pid"));

    site.config().write();
    daemon.reload();
    crate::support::eventually("the end of the program", || is_gone(pid).then_some(()));
    jesse.deliver();
    receiver.expect(JESSE);
    daemon.stop();
    assert_eq!(runs(&site).len(), 1);
}

/// What runs gets the time that is left, and what waits is run in it.
#[test]
fn a_stop_waits_for_programs_that_end() {
    let site = Site::new();
    let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
    let program = write_program(&site, "on-mail", &format!("{SAY}; {WAIT}"));
    let mut daemon = site.start(&config(&site, &program).set_raw("exec.concurrency", "1"));
    jesse.deliver();
    wait_runs(&site, 1);
    jo.deliver();
    daemon.signal(Signal::TERM);
    daemon.wait_notify("STOPPING=1");
    go(&site, JESSE);
    go(&site, JO);
    assert!(daemon.wait_exit(PATIENCE).success());
    let log = daemon.log();
    assert_eq!(runs(&site), [format!("{JESSE} new-mail"), format!("{JO} new-mail")]);
    assert!(log.contains("stopped; every push is sent"), "{log}");
}

/// What does not end is ended, even if it does not listen, and the next start tells of it.
#[test]
fn a_stop_ends_programs_and_the_next_start_runs_them_again() {
    for ignores in ["", "trap '' TERM; "] {
        let site = Site::new();
        let (jesse, jo) = (site.maildir(JESSE), site.maildir(JO));
        jesse.age();
        jo.age();
        let body = format!("{ignores}echo $$ > \"$site/pid\"; {SAY}; {WAIT}");
        let program = write_program(&site, "on-mail", &body);
        let config = config(&site, &program).set_raw("exec.concurrency", "1");
        site.start(&config).stop();

        let mut daemon = site.start(&config);
        jesse.deliver();
        wait_runs(&site, 1);
        let pid = pid_in(&site.path("pid"));
        jo.deliver();
        daemon.signal(Signal::TERM);
        assert!(daemon.wait_exit(PATIENCE).success());
        assert!(is_gone(pid));
        let log = daemon.log();
        assert!(log.contains("stopped; 2 pushes could not be sent: programs of [exec] did not end in time; they go out after the next start"), "{log}");

        go(&site, JESSE);
        go(&site, JO);
        let daemon = site.start(&config);
        wait_runs(&site, 3);
        daemon.stop();
        let mut again = runs(&site).split_off(1);
        again.sort();
        assert_eq!(again, [format!("{JESSE} new-mail"), format!("{JO} new-mail")]);

        // All is told now.
        site.start(&config).stop();
        assert_eq!(runs(&site).len(), 3);
    }
}

/// A mailbox is not recorded as told of while its program runs, however long.
#[test]
fn killed_while_the_program_runs() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    jesse.age();
    let program = write_program(&site, "on-mail", &format!("{SAY}; [ $1 = {JO} ] || {{ {WAIT}; }}"));
    let config = config(&site, &program).set("watch.sweep-interval", "off");
    site.start(&config).stop();

    let daemon = site.start(&config);
    jesse.deliver();
    wait_runs(&site, 1);
    // A mailbox that has come since then has its record: so would this one, if it were thought to be told of.
    let jo = site.maildir(JO);
    jo.deliver();
    wait_recorded(&site.path("pushmaild.db"), [&jo]);
    daemon.signal(Signal::KILL);
    drop(daemon);
    let before = runs(&site).len();

    go(&site, JESSE);
    let daemon = site.start(&config);
    let again = wait_runs(&site, before + 1);
    daemon.stop();
    assert_eq!(again[before..], [format!("{JESSE} new-mail")]);
}
