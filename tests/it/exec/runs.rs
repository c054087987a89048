//! How many programs run, and what becomes of pushes meanwhile.

use super::{JESSE, SAY, WAIT, config, go, runs, wait_runs, write_program};
use crate::support::Site;

/// However much happens while the program of a user runs, it is one more run, and of the stronger kind.
#[test]
fn what_comes_during_a_run_is_one_run_after_it() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", &format!("{SAY}; {WAIT}"));
    let jesse = site.maildir(JESSE);
    let message = jesse.deliver_into_cur("S");
    jesse.age();
    let daemon = site.start(&config(&site, &program));

    jesse.set_flags(&message, "FS");
    assert_eq!(wait_runs(&site, 1), [format!("{JESSE} change")]);
    for _ in 0..3 {
        let mark = daemon.log_mark();
        jesse.deliver();
        daemon.wait_log_since(mark, "the push of jesse@example.org waits for the run before it");
    }
    let mark = daemon.log_mark();
    jesse.set_flags(&message, "S");
    daemon.wait_log_since(mark, "waits for the run before it");
    assert_eq!(runs(&site).len(), 1, "one run of a user at a time");

    go(&site, JESSE);
    wait_runs(&site, 2);
    let line = daemon.wait_log(": new mail, ");
    assert!(line.contains(" INFO ") && line.contains("pushed jesse@example.org through "), "{line}");
    daemon.stop();
    assert_eq!(runs(&site), [format!("{JESSE} change"), format!("{JESSE} new-mail")]);
}

#[test]
fn no_more_than_so_many_at_once() {
    let site = Site::new();
    let users: Vec<String> = (0..7).map(|number| format!("user-{number}@example.org")).collect();
    let maildirs: Vec<_> = users.iter().map(|user| site.maildir(user)).collect();
    let program = write_program(&site, "on-mail", &format!("{SAY}; {WAIT}"));
    let daemon = site.start(&config(&site, &program).set_raw("exec.concurrency", "2"));

    for maildir in &maildirs {
        maildir.deliver();
    }
    // Each one that ends makes room for one.
    let mut gone = Vec::new();
    for count in 2..=users.len() {
        let running = wait_runs(&site, count);
        assert_eq!(running.len(), count);
        let user = running[gone.len()].split(' ').next().expect("a user").to_owned();
        go(&site, &user);
        gone.push(user);
    }
    for user in &users {
        go(&site, user);
    }
    daemon.stop();
    let mut all: Vec<_> = runs(&site).iter().map(|run| run.replace(" new-mail", "")).collect();
    all.sort();
    assert_eq!(all, users, "each user has had one run");
}

/// Hundreds of users at once: nobody is left out, and nobody is told twice.
#[test]
fn many_users_at_once() {
    let site = Site::new();
    let users: Vec<String> = (0..300).map(|number| format!("user-{number:03}@example.org")).collect();
    let maildirs: Vec<_> = users.iter().map(|user| site.maildir(user)).collect();
    let program = write_program(&site, "on-mail", SAY);
    let daemon = site.start(&config(&site, &program));
    for maildir in &maildirs {
        maildir.deliver();
    }
    wait_runs(&site, users.len());
    let log = daemon.stop();
    let mut all: Vec<_> = runs(&site).iter().map(|run| run.replace(" new-mail", "")).collect();
    all.sort();
    assert_eq!(all, users);
    assert_eq!(log.matches(" INFO pushed user-").count(), users.len(), "one line a push");
    assert!(log.contains("stopped; every push is sent"), "{log}");
}
