//! SIGHUP: the new configuration as a whole, or else the old one.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Config, Daemon, Fence, Maildir, Receiver, Site};

const JESSE: &str = "jesse@example.org";
const JO: &str = "jo@example.org";

/// Both users in the table `users`, with Maildirs that the template does not have.
fn with_users(config: Config, users: &[(&str, &Maildir)]) -> Config {
    let entries: Vec<_> =
        users.iter().map(|(user, maildir)| format!("{user:?} = {:?}", maildir.root())).collect();
    config.set_raw("mailboxes.users", &format!("{{ {} }}", entries.join(", ")))
}

/// Reloads a file that is wrong, and asserts that the log says where, and that all goes on.
#[track_caller]
fn assert_refused(
    daemon: &mut Daemon,
    (place, says): (&str, &str),
    (maildir, fence, receiver): (&Maildir, &Fence, &Receiver),
) {
    let mark = daemon.log_mark();
    daemon.reload();
    let line = daemon.wait_log_since(mark, "the old one stays");
    assert!(line.contains("ERROR") && line.contains("hint: "), "{line}");
    assert!(line.contains(place) && line.contains(says), "not {place} and {says}: {line}");
    maildir.deliver();
    receiver.expect(JESSE);
    fence.assert_silent(receiver);
}

#[test]
fn a_bad_file_keeps_the_old_configuration() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config();
    let mut daemon = site.start(&config);
    let file = config.path();
    let shown = |place: &str| format!("{}{place}: ", file.display());

    let all = (&jesse, &fence, &receiver);
    fs::write(file, "[mailboxes]\nmap-files = \"users\"\n").expect("the file can be written");
    assert_refused(&mut daemon, (&shown(":2:1"), "unknown key `map-files`"), all);
    fs::write(file, "[mailboxes\n").expect("the file can be written");
    assert_refused(&mut daemon, (&shown(":1:11"), "unclosed table"), all);
    fs::write(file, "").expect("the file can be written");
    assert_refused(&mut daemon, (&shown(""), "no source of mailboxes"), all);
    config.clone().unset("push-notify.socket").unset("push-notify.dialect").write();
    assert_refused(&mut daemon, (file.to_str().expect("the path is text"), "missing"), all);
    fs::remove_file(file).expect("the file can be removed");
    assert_refused(&mut daemon, (&shown(""), "No such file"), all);

    // Mended, it is taken.
    config.write();
    let mark = daemon.log_mark();
    daemon.reload();
    jesse.deliver();
    receiver.expect(JESSE);
    assert!(!daemon.log().lines().skip(mark).any(|line| line.contains("ERROR")), "{}", daemon.log());
}

/// The configuration is good, and the map file that it names is not.
#[test]
fn a_bad_map_file_keeps_the_old_map() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let mut daemon = site.start(&site.config());

    let map = site.path("users");
    fs::write(&map, "# a comment\njo@example.org\n").expect("the map file can be written");
    site.config().set("mailboxes.map-file", "users").write();
    let place = format!("{}:2:1: ", map.display());
    assert_refused(&mut daemon, (&place, "no `user:`"), (&jesse, &fence, &receiver));
}

#[test]
fn new_and_removed_users() {
    let site = Site::new();
    let [jesse, jo] = ["jesse", "jo"].map(|name| Maildir::create(site.path("mail").join(name)));
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let mut daemon = site.start(&with_users(site.config(), &[(JESSE, &jesse)]));
    jesse.deliver();
    receiver.expect(JESSE);

    with_users(site.config(), &[(JESSE, &jesse), (JO, &jo)]).write();
    daemon.reload();
    jo.deliver();
    receiver.expect(JO);
    jesse.deliver();
    receiver.expect(JESSE);

    with_users(site.config(), &[(JO, &jo)]).write();
    daemon.reload();
    jesse.deliver();
    fence.assert_silent(&receiver);
    jo.deliver();
    receiver.expect(JO);
}

/// A third of all users goes and as many come, while mail comes for the others: they are pushed in the order of their mail, and the
/// new ones are pushed what came before their watches.
#[test]
fn many_users_come_and_go_under_deliveries() {
    const CHANGED: usize = 1000;
    const KEPT: usize = 2000;
    const DELIVERED: usize = 400;
    let site = Site::new();
    let user = |number: usize| format!("user-{number:04}@example.org");
    let maildirs: Vec<Maildir> =
        (0..KEPT + 2 * CHANGED).map(|number| Maildir::create(site.path(format!("mail/{number}")))).collect();
    let write = |file: &str, users: std::ops::Range<usize>| {
        let lines: String = users
            .map(|number| format!("{}: {}\n", user(number), maildirs[number].root().display()))
            .collect();
        fs::write(site.path(file), lines).expect("the map file can be written");
    };
    let (old, new) = (0..CHANGED + KEPT, CHANGED..KEPT + 2 * CHANGED);
    // In each tenth of the new ones something waits.
    let with_mail: Vec<usize> = (CHANGED + KEPT..maildirs.len()).step_by(10).collect();
    with_mail.iter().for_each(|number| _ = maildirs[*number].deliver());
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    write("old", old);
    write("new", new);
    let config = site.config().set("watch.sweep-interval", "off").set_raw("debounce.catch-up-rate", "100000");
    let mut daemon = site.start(&config.clone().set("mailboxes.map-file", "old"));

    // Another file, since a change of the same one would be seen as soon as it is written.
    config.set("mailboxes.map-file", "new").write();
    let mut pushes = receiver.read_during(|| {
        for (nth, maildir) in maildirs[CHANGED..][..DELIVERED].iter().enumerate() {
            maildir.deliver();
            if nth == DELIVERED / 4 {
                daemon.signal(Signal::HUP);
            }
        }
        daemon.wait_notify("RELOADING=1");
        daemon.wait_notify("READY=1");
    });
    pushes.extend(fence.after_new_mail(&receiver));
    let pushed = |users: &[usize]| -> Vec<String> {
        let names: Vec<_> = users.iter().map(|number| user(*number)).collect();
        let of_them = pushes.iter().filter(|push| names.contains(&push.user));
        of_them.map(|push| push.user.clone()).collect()
    };
    let delivered: Vec<usize> = (CHANGED..CHANGED + DELIVERED).collect();
    assert_eq!(pushed(&delivered), delivered.iter().map(|number| user(*number)).collect::<Vec<_>>());
    let mut of_new = pushed(&with_mail);
    of_new.sort_unstable();
    assert_eq!(of_new, with_mail.iter().map(|number| user(*number)).collect::<Vec<_>>());
    assert_eq!(pushes.len(), delivered.len() + with_mail.len(), "and nobody else is pushed");

    // Who is gone is gone, and who came is there.
    maildirs[..CHANGED].iter().for_each(|maildir| _ = maildir.deliver());
    fence.assert_silent(&receiver);
    let came: Vec<usize> = (CHANGED + KEPT..KEPT + 2 * CHANGED).step_by(7).collect();
    came.iter().for_each(|number| _ = maildirs[*number].deliver());
    let came: Vec<_> = came.into_iter().map(user).collect();
    receiver.expect_set(came.iter().map(String::as_str));
}

/// What waits for the old socket goes to the new one.
#[test]
fn pending_pushes_move_to_the_new_socket() {
    let site = Site::new();
    let names: Vec<String> = (0..40).map(|number| format!("user-{number:02}@example.org")).collect();
    let maildirs: Vec<Maildir> = names.iter().map(|name| site.maildir(name)).collect();
    let fence = Fence::new(&site);
    let mut daemon = site.start(&site.config());
    for maildir in &maildirs {
        maildir.deliver();
    }
    let last = format!("the push of {} waits for the receiver", names[39]);
    daemon.wait_log(&last);

    let receiver = Receiver::bind(site.path("elsewhere"));
    site.config().set("push-notify.socket", "elsewhere").write();
    daemon.reload();
    receiver.expect_set(names.iter().map(String::as_str));
    fence.assert_silent(&receiver);
}

/// Nothing about the sink is new, so what waits goes on waiting.
#[test]
fn a_reload_during_an_outage_loses_nothing() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let mut daemon = site.start(&site.config());
    jesse.deliver();
    daemon.wait_log("waits for the receiver");

    for _ in 0..3 {
        daemon.reload();
    }
    let receiver = site.receiver();
    receiver.expect(JESSE);
    fence.assert_silent(&receiver);
}

/// A change that waits for an hour's quiet is not pushed by the reload, and not lost by it either.
#[test]
fn pending_changes_survive() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let message = jesse.deliver_into_cur("");
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    let mut daemon = site.start(&config);

    jesse.set_flags(&message, "S");
    daemon.reload();
    assert!(fence.after_new_mail(&receiver).is_empty(), "the change still waits");
    let pushes = daemon.stop_and_read(&receiver);
    assert!(pushes.iter().any(|push| push.user == JESSE), "{pushes:?}");
}

#[test]
fn new_debounce_times_count_from_the_next_change_on() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let message = jesse.deliver_into_cur("");
    let receiver = site.receiver();
    let config = site.config().set("debounce.change-quiet", "1h").set("debounce.change-max-wait", "1h");
    let mut daemon = site.start(&config);
    jesse.set_flags(&message, "S");

    site.config().write();
    daemon.reload();
    jesse.set_flags(&message, "FS");
    receiver.expect(JESSE);
}

/// Many at once, while mail comes: nothing stops, and each one is answered in the end.
#[test]
fn a_hail_of_reloads() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let mut daemon = site.start(&site.config());
    for _ in 0..20 {
        daemon.signal(Signal::HUP);
        jesse.deliver();
        // As systemd does, which reads its socket all the time.
        daemon.notified();
    }
    receiver.expect(JESSE);
    daemon.reload();
    receiver.drain();
    jesse.deliver();
    receiver.expect(JESSE);
    assert_eq!(daemon.exit_status(), None);
}

/// What takes a restart to change is said, rather than left for somebody to find out.
#[test]
fn a_new_backend_needs_a_restart_and_the_log_says_so() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let mut daemon = site.start(&site.config());
    site.config().set("watch.backend", "poll").write();
    daemon.reload();
    daemon.wait_log("take effect after a restart");
    jesse.deliver();
    receiver.expect(JESSE);
}

/// A relative path means the same after a reload, wherever the daemon was started.
#[test]
fn relative_paths_stay_relative_to_the_file() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("mail/jesse"));
    let receiver = site.receiver();
    let config = site
        .config()
        .set("push-notify.socket", "push_notify")
        .set_raw("mailboxes.users", &format!("{{ {JESSE:?} = {:?} }}", Path::new("mail/jesse")));
    let mut daemon = site.start(&config);
    for _ in 0..2 {
        jesse.deliver();
        receiver.expect(JESSE);
        daemon.reload();
    }
}
