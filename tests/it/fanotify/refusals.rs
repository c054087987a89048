//! Where the privilege is missing: said at the start, with what to do, and by `check` before.

use super::JESSE;
use crate::support::{PATIENCE, Site, pushmaild};

/// The command that takes the privilege away, from root too.
const WITHOUT: [&str; 3] = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];

#[test]
fn without_the_privilege_the_daemon_says_so_and_ends() {
    let site = Site::new();
    site.maildir(JESSE);
    let config = site.config().set("watch.backend", "fanotify");
    let launch = site.launch(&config);
    let launch = if rustix::process::geteuid().is_root() { launch.wrapped_in(WITHOUT) } else { launch };
    let mut daemon = launch.spawn();
    let status = daemon.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let log = daemon.log();
    assert!(log.contains("the fanotify backend cannot be used: CAP_SYS_ADMIN is missing"), "{log}");
    assert!(log.contains("hint: grant it, as the drop-in"), "{log}");
}

#[test]
fn check_says_whether_it_works() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config().set("watch.backend", "fanotify");
    config.write();
    let path = config.path().to_string_lossy().into_owned();
    let run = pushmaild(["check", "-c", &path]);
    match crate::support::fanotify_is_refused() {
        false => {
            assert_eq!(run.code, 0, "{run:?}");
            assert!(run.stdout.contains("\nwatching       fanotify (set in the configuration), "), "{run:?}");
        }
        true => {
            assert_eq!(run.code, 1, "{run:?}");
            assert!(run.stdout.contains("the fanotify backend cannot be used: CAP_SYS_ADMIN"), "{run:?}");
        }
    }
}
