//! Chains that end at the push_notify socket.

use std::fs;
use std::os::unix::{ffi::OsStrExt, fs::symlink};

use super::{JESSE, JO, assert_cause, assert_healthy, doctor, links};
use crate::support::{Maildir, Site, pushmaild_in};

#[test]
fn a_healthy_user_and_a_healthy_daemon() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    let before = jesse.names("new");
    let text = assert_healthy(&config, &[JESSE]);
    for part in ["✔ map", "mail-location", "✔ watched", "as on disk", "none since the daemon started"] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    jesse.deliver();
    receiver.expect(JESSE);
    let text = assert_healthy(&config, &[JESSE]);
    assert!(text.contains("new-mail through push-notify, delivered"), "{text}");
    assert_healthy(&config, &[]);
    assert!(receiver.drain().is_empty(), "nobody is pushed to");
    assert_eq!(jesse.names("new").len(), before.len() + 1, "nothing is written into a Maildir");
    // The name as people may write it.
    assert_healthy(&config, &["Jesse@Example.ORG"]);
}

#[test]
fn a_user_who_is_not_in_the_map() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    assert_cause(
        &config,
        "jese@example.org",
        "map",
        "no source has the user",
        "did you mean `jesse@example.org`?",
    );
    assert_cause(&config, "root", "map", "no source has the user `root`", "pushmaild users");
}

#[test]
fn a_user_whose_folder_is_a_link_that_is_not_followed() {
    let site = Site::new();
    site.maildir(JESSE);
    Maildir::create(site.path("outside/Maildir"));
    symlink(site.path("outside"), site.path("vmail/example.org/jo")).expect("a link can be made");
    let _receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    let (run, _) = links(&config, &[JO]);
    let text = doctor(&config, &[JO]).stdout;
    assert!(run.code == 1 && text.contains("✘ map"), "{text}");
    let all = doctor(&config, &[]).stdout;
    assert!(all.contains("is a link to") && all.contains("broken: map"), "{all}");
}

#[test]
fn a_maildir_that_is_not_there() {
    let site = Site::new();
    let _receiver = site.receiver();
    let users = format!("{{ jesse = {:?} }}", site.path("nowhere/Maildir"));
    let config = site.config().unset("mailboxes.mail-location").set_raw("mailboxes.users", &users);
    let _daemon = site.start(&config);
    assert_cause(&config, "jesse", "Maildir", "there is no Maildir at", "the first delivery makes it");
}

#[test]
fn a_daemon_that_does_not_run() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config();
    config.write();
    assert_cause(&config, JESSE, "daemon", "no daemon answers", "systemctl start pushmaild");
}

#[test]
fn a_map_that_has_changed_since_the_daemon_read_it() {
    let site = Site::new();
    site.maildir(JESSE);
    let jo = Maildir::create(site.path("jo/Maildir"));
    let _receiver = site.receiver();
    let config = site.config();
    let mut daemon = site.start(&config);
    let changed = config.set_raw("mailboxes.users", &format!("{{ jo = {:?} }}", jo.root()));
    changed.write();
    assert_cause(
        &changed,
        "jo",
        "watched",
        "the daemon does not know this user",
        "systemctl reload pushmaild",
    );
    daemon.reload();
    assert_healthy(&changed, &["jo"]);
}

#[test]
fn a_directory_that_the_daemon_cannot_watch() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config();
    let wrapper = crate::support::bound_by_modes();
    fs::set_permissions(jesse.path("cur"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .expect("it can be set");
    let _daemon = site.launch(&config).wrapped_in(&wrapper).start();
    // Root may look, and the daemon's user may not: what the daemon says is what counts.
    assert_cause(&config, JESSE, "watched", "the daemon cannot watch it", "the daemon's user");
    // And whoever is as limited as the daemon sees it himself.
    let file = config.path().to_str().expect("the path is text");
    let run = pushmaild_in(&wrapper, ["doctor", "-c", file, JESSE]);
    assert!(run.stdout.contains("✘ Maildir") && run.stdout.contains("mode 0000"), "{}", run.stdout);
}

#[test]
fn a_receiver_that_is_not_there() {
    let site = Site::new();
    site.maildir(JESSE);
    let config = site.config();
    let _daemon = site.start(&config);
    assert_cause(&config, JESSE, "socket", "cannot be reached", "is the push daemon running?");
}

#[test]
fn a_change_that_waits_for_quiet_is_no_fault() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let unique = jesse.deliver_into_cur("S");
    let _receiver = site.receiver();
    let config = site.config().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    let _daemon = site.start(&config);
    jesse.set_flags(&unique, "FS");
    crate::support::eventually("it waits", || {
        doctor(&config, &[JESSE]).stdout.contains("the push goes out in").then_some(())
    });
    assert_healthy(&config, &[JESSE]);
}

#[test]
fn a_name_that_no_user_can_have_is_a_wrong_argument() {
    let site = Site::new();
    let config = site.config();
    config.write();
    let run = doctor(&config, &["new\nline"]);
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn a_push_that_waits_for_a_receiver_is_not_the_cause() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let config = site.config();
    let daemon = site.start(&config);
    jesse.deliver();
    daemon.wait_log("cannot push through");
    assert_cause(&config, JESSE, "socket", "cannot be reached", "is the push daemon running?");
    assert!(doctor(&config, &[JESSE]).stdout.contains("! waiting        a push waits in push-notify"));
}

#[test]
fn a_new_that_is_a_link() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    fs::rename(jesse.path("new"), site.path("elsewhere")).expect("it can be moved");
    symlink(site.path("elsewhere"), jesse.path("new")).expect("a link can be made");
    let _receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    assert_cause(&config, JESSE, "Maildir", "cannot be watched", "is a symbolic link");
}

/// Whoever owns the folder chooses where a link in it leads.
#[test]
fn nothing_that_others_chose_reaches_the_terminal() {
    let site = Site::new();
    site.maildir(JESSE);
    symlink("/\x1b]0;owned\x07\x1b[2J\u{9b}31m", site.path("vmail/example.org/jo"))
        .expect("a link can be made");
    let _receiver = site.receiver();
    let config = site.config();
    let daemon = site.start(&config);
    let file = config.path().to_str().expect("the path is text");
    let shown =
        [doctor(&config, &[]), doctor(&config, &[JO]), crate::support::pushmaild(["users", "-c", file])];
    for run in shown {
        let text = format!("{}{}", run.stdout, run.stderr);
        assert!(text.contains("]0;owned") && !text.contains(['\x1b', '\x07', '\u{9b}']), "{text:?}");
    }
    let log = daemon.log();
    assert!(log.contains("]0;owned") && !log.contains(['\x1b', '\x07', '\u{9b}']), "{log:?}");
}

#[test]
fn a_path_that_is_no_text() {
    let site = Site::new();
    let partition = site.path(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let guid = "0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8";
    Maildir::create(partition.join(guid));
    fs::create_dir(partition.join("users")).expect("a folder can be made");
    symlink(format!("../{guid}"), partition.join("users/jesse")).expect("a link can be made");
    let map = [b"default:", partition.as_os_str().as_bytes(), b"\n"].concat();
    fs::write(site.path("partition_map.conf"), map).expect("it can be written");
    let _receiver = site.receiver();
    let config = site.config().unset("mailboxes.mail-location");
    let config = config.set("mailboxes.os-x-server", "partition_map.conf");
    let _daemon = site.start(&config);
    assert_healthy(&config, &["jesse"]);
}

#[test]
fn a_configuration_that_is_named_by_way_of_a_link() {
    let site = Site::new();
    site.maildir(JESSE);
    let _receiver = site.receiver();
    let config = site.config();
    let _daemon = site.start(&config);
    symlink(site.dir(), site.path("link")).expect("a link can be made");
    let name = config.path().file_name().expect("it has a name");
    assert_healthy(&config.clone().at(site.path("link").join(name)), &[JESSE]);
}
