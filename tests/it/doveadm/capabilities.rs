//! Programs that the daemon starts get none of its capabilities, and it keeps its own.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use super::server::is_root;
use super::{config, script};
use crate::support::{Site, fanotify_is_refused};

/// The bit of CAP_DAC_READ_SEARCH, which the unit gives.
const DAC_READ_SEARCH: u64 = 1 << 2;

/// The number of a line such as `CapEff: 0000000000000004`, with a tab.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(line.expect("the kernel says it"), 16).expect("a number")
}

#[test]
fn doveadm_has_none_and_the_daemon_its_own() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let _receiver = site.receiver();
    // The daemon is somebody else, as under systemd, and mail is not open to that one.
    let (uid, gid) = (64999, 64999);
    chown(site.dir(), Some(uid), Some(gid)).expect("root can give files away");
    fs::set_permissions(site.dir(), fs::Permissions::from_mode(0o755))
        .expect("own directories can be opened");
    chown(site.socket(), Some(uid), Some(gid)).expect("root can give files away");
    let jesse = crate::support::Maildir::create(site.path("home/jesse/Maildir"));
    fs::set_permissions(jesse.root(), fs::Permissions::from_mode(0o700))
        .expect("own directories can be closed");

    let shown = site.path("status");
    let text = format!(
        "cat /proc/self/status > {0}.$$\nmv {0}.$$ {0}\ncase \"$*\" in
'config -n') echo '# 2.3.19.1 (x): /x' ;;
'user *') echo jesse ;;
*mail*) echo maildir:{1} ;;
*) echo /nowhere ;;
esac",
        shown.display(),
        jesse.root().display()
    );
    let command = script(&site, &text);
    let wrapper = [
        "setpriv",
        "--reuid=64999",
        "--regid=64999",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ];
    let daemon = site.launch(&config(&site, &command)).wrapped_in(wrapper).spawn();
    // It can read what is not open to it. (It may not speak to the service manager, whose socket is root's.)
    daemon.wait_log("watching 1 mailbox with 2 watches");

    let child = fs::read_to_string(&shown).expect("the script has written it");
    for name in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(set(&child, name), 0, "{name} of the program in {child}");
    }
    let own = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    assert_eq!(set(&own, "CapEff"), DAC_READ_SEARCH, "{own}");
    assert_eq!(set(&own, "CapAmb"), 0, "{own}");
    daemon.stop();
}

/// What a capability is for still works: marking a file system needs one that only the process has now.
#[test]
fn fanotify_works_with_what_the_daemon_keeps() {
    if !is_root() || fanotify_is_refused() {
        return;
    }
    let site = Site::new();
    let receiver = site.receiver();
    let jesse = site.maildir("jesse@example.org");
    // The service manager gives a capability to somebody who is not root, by way of the ambient set.
    for path in [site.dir().to_owned(), site.socket()] {
        chown(path, Some(64999), Some(64999)).expect("root can give files away");
    }
    let capabilities = "+dac_read_search,+sys_admin";
    let (inherited, ambient) =
        (format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}"));
    let wrapper = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", &inherited, &ambient];
    let config = site.config().set("watch.backend", "fanotify");
    let daemon = site.launch(&config).wrapped_in(wrapper).spawn();
    daemon.wait_log("of fanotify");
    jesse.deliver();
    receiver.expect("jesse@example.org");
    daemon.stop();
}
