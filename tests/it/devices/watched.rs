//! With Apple as the only sink, mailboxes without a device are not watched.

use super::{ACCOUNT, TOKEN, register};
use crate::support::{Apns, Config, Site, eventually};

/// The default of `[watch] mailboxes` where Apple is the only sink.
fn config(site: &Site, apns: &Apns) -> Config {
    super::config(site, apns).unset("watch.mailboxes")
}

/// How many inotify watches the process has, as the kernel counts them.
fn watches(pid: u32) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the daemon runs") {
        let text = std::fs::read_to_string(entry.expect("it can be listed").path()).unwrap_or_default();
        count += text.lines().filter(|line| line.starts_with("inotify wd:")).count();
    }
    count
}

#[test]
fn the_first_device_arms_the_watches_and_the_last_one_disarms_them() {
    let site = Site::new();
    let users: Vec<_> = (0..20).map(|n| format!("user{n}@example.org")).collect();
    let maildirs: Vec<_> = users.iter().map(|user| site.maildir(user)).collect();
    let apns = Apns::start(site.path("apns"));
    let daemon = site.start(&config(&site, &apns));
    let folders = watches(daemon.pid());
    register(&site, &users[7], TOKEN, ACCOUNT);
    eventually("the watches are armed", || (watches(daemon.pid()) == folders + 2).then_some(()));
    // Nobody else has a device, and nobody's delivery is anybody's affair.
    maildirs[6].deliver();
    maildirs[7].deliver();
    assert_eq!(apns.nth(1).token.as_deref(), Some(TOKEN));
    apns.tell(&format!("unregistered {TOKEN} 4000000000000"));
    maildirs[7].deliver();
    eventually("the watches are gone", || (watches(daemon.pid()) == folders).then_some(()));
    // After its second push the device was gone, and it may come back.
    apns.tell("clear");
    register(&site, &users[7], TOKEN, ACCOUNT);
    eventually("the watches are armed again", || (watches(daemon.pid()) == folders + 2).then_some(()));
    maildirs[7].deliver();
    assert_eq!(apns.nth(3).status, 200);
}

#[test]
fn devices_of_the_last_run_are_watched_from_the_start() {
    let site = Site::new();
    let jo = site.maildir("jo@example.org");
    let apns = Apns::start(site.path("apns"));
    let config = config(&site, &apns);
    let daemon = site.start(&config);
    register(&site, "jo@example.org", TOKEN, ACCOUNT);
    daemon.stop();
    let _daemon = site.start(&config);
    jo.deliver();
    assert_eq!(apns.nth(1).token.as_deref(), Some(TOKEN));
}

/// A device may register before the mail server has made the Maildir, or before the map knows the user.
#[test]
fn a_device_of_a_user_who_is_not_there_yet_takes_effect_when_the_mailbox_appears() {
    let site = Site::new();
    site.maildir("somebody@example.org");
    let apns = Apns::start(site.path("apns"));
    let _daemon = site.start(&config(&site, &apns));
    register(&site, "later@example.org", TOKEN, ACCOUNT);
    let later = site.maildir("later@example.org");
    later.deliver();
    assert_eq!(apns.nth(1).token.as_deref(), Some(TOKEN));
}
