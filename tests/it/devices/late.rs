//! Ends and starts while Apple, or the disk with the registry, is away.

use std::fs;

use rustix::process::Signal;

use super::{ACCOUNT, TOKEN, config, register};
use crate::support::{Apns, Config, Daemon, Maildir, Site};

const JO: &str = "jo@example.org";

/// A mailbox whose user has a device, after a daemon that has ended in good order.
fn with_device(site: &Site, config: &Config) -> (Maildir, String) {
    let jo = site.maildir(JO);
    let message = jo.deliver_into_cur("");
    jo.age();
    let daemon = site.start(config);
    register(site, JO, TOKEN, ACCOUNT);
    daemon.stop();
    (jo, message)
}

fn is_pushed_after_the_next_start(end: impl FnOnce(Daemon)) {
    let site = Site::new();
    let mut apns = Apns::start(site.path("apns"));
    let config = config(&site, &apns).set("watch.sweep-interval", "off");
    let (jo, _) = with_device(&site, &config);
    apns.kill();
    let daemon = site.start(&config);
    jo.deliver();
    daemon.wait_log("cannot push through Apple");
    end(daemon);
    apns.start_again();
    let _daemon = site.start(&config);
    assert_eq!(apns.next().token.as_deref(), Some(TOKEN));
}

#[test]
fn what_waits_for_apple_at_a_stop_is_pushed_by_the_next_start() {
    is_pushed_after_the_next_start(|daemon| {
        let log = daemon.stop();
        assert!(log.contains("they go out after the next start"), "{log}");
    });
}

#[test]
fn what_waits_for_apple_at_a_kill_is_pushed_by_the_next_start() {
    is_pushed_after_the_next_start(|daemon| {
        daemon.signal(Signal::KILL);
        drop(daemon);
    });
}

/// The registry's disk comes late: nobody knows who has a device, nor what was told, and both are known in the end.
#[test]
fn a_registry_that_comes_late_hides_nobody() {
    for mailboxes in ["all", "registered"] {
        let site = Site::new();
        let mut apns = Apns::start(site.path("apns"));
        let (disk, away) = (site.path("disk"), site.path("away"));
        fs::create_dir(&disk).expect("a folder can be made");
        let config = config(&site, &apns)
            .set("registry.url", "sqlite:disk/registry.db")
            .set("watch.mailboxes", mailboxes)
            .set("watch.sweep-interval", "off");
        let (jo, message) = with_device(&site, &config);
        // Read while the daemon is stopped, which only the record tells.
        jo.set_flags(&message, "S");
        jo.age();
        fs::rename(&disk, &away).expect("it can be moved");
        let launch = site.launch(&config).env("RUNTIME_DIRECTORY", site.dir());
        let daemon = launch.start();
        daemon.wait_log("the records of the mailboxes cannot be read");
        if mailboxes == "all" {
            // Told by an event, to nobody as far as is known.
            jo.deliver();
        }
        fs::rename(&away, &disk).expect("it can be moved");
        daemon.wait_log("the registry can be written again");
        assert_eq!(apns.next().token.as_deref(), Some(TOKEN), "{mailboxes}");
    }
}
