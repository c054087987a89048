//! Two daemons on one configuration would push everything twice.

use crate::support::{PATIENCE, Receiver, Site, pushmaild};

const JESSE: &str = "jesse@example.org";

#[test]
fn a_second_instance_is_refused() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let config = site.config();
    let daemon = site.start(&config);

    let mut second = site.launch(&config).spawn();
    assert_eq!(second.wait_exit(PATIENCE).code(), Some(1));
    let log = second.log();
    assert!(log.contains("another pushmaild runs with this configuration"), "{log}");
    assert!(log.contains("\nhint: "), "{log}");
    assert_eq!(second.notified(), Vec::<String>::new(), "the service manager hears nothing of it");

    // The first one is not disturbed, and lets go when it ends.
    jesse.deliver();
    receiver.expect(JESSE);
    daemon.stop();
    let _third = site.start(&config);
    jesse.deliver();
    receiver.expect(JESSE);
}

/// The lock goes with the process, however that ends.
#[test]
fn a_daemon_that_was_killed_leaves_no_lock() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    drop(site.start(&site.config()));
    let _daemon = site.start(&site.config());
    jesse.deliver();
    receiver.expect(JESSE);
}

#[test]
fn another_configuration_is_another_instance() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receivers = [site.receiver(), Receiver::bind(site.path("other"))];
    let other = site
        .config()
        .at(site.path("other.toml"))
        .set("push-notify.socket", "other")
        .set("control.socket", "other.sock");
    let _daemons = [site.start(&site.config()), site.start(&other)];
    jesse.deliver();
    for receiver in receivers {
        receiver.expect(JESSE);
    }
}

/// `check` beside a daemon says that it runs, and takes no lock away from one that is to start.
#[test]
fn check_sees_the_running_daemon() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config();
    config.write();
    let check = || {
        let words = ["check".as_ref(), "--json".as_ref(), "-c".as_ref(), config.path().as_os_str()];
        let run = pushmaild(words);
        assert_eq!(run.code, 0, "{run:?}");
        run.json()["running"].clone()
    };
    assert_eq!(check(), false);
    let daemon = site.start(&config);
    assert_eq!(check(), true);
    daemon.stop();
    assert_eq!(check(), false);
}
