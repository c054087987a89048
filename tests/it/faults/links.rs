//! Symbolic links under the template's root. A user who may write there could point one at
//! somebody else's mail, so what leads out is reported and never followed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Fence, Maildir, Run, Site, pushmaild};

const JESSE: &str = "jesse@example.org";

fn link(target: &Path, at: &Path) {
    symlink(target, at).unwrap_or_else(|e| panic!("{} to {}: {e}", at.display(), target.display()));
}

fn run(site: &Site, command: &[&str]) -> Run {
    let config = site.config();
    config.write();
    let file = config.path().to_str().expect("the path is text");
    pushmaild(command.iter().copied().chain(["-c", file]))
}

/// Asserts that the commands report `link`, and that a daemon does not follow it.
#[track_caller]
fn assert_not_followed(site: &Site, link: &Path, outside: &Maildir) {
    let fence = Fence::new(site);
    let receiver = site.receiver();

    let shown = link.to_str().expect("the path is text");
    let users = run(site, &["users"]);
    assert_eq!(users.code, 0, "{users:?}");
    assert!(users.stdout.contains(shown), "`users` names the link {shown}: {users:?}");
    let check = run(site, &["check"]);
    assert_eq!(check.code, 1, "pushes are lost, so `check` fails: {check:?}");
    assert!(check.stdout.contains(shown), "`check` names the link {shown}: {check:?}");
    assert!(check.stdout.contains("hint: "), "{check:?}");

    let daemon = site.start(&site.config().set("watch.sweep-interval", "1s"));
    outside.deliver();
    outside.deliver_into_cur("");
    fence.assert_silent(&receiver);
    // Two more, since the first may have begun before the deliveries.
    for _ in 0..3 {
        let mark = daemon.log_mark();
        daemon.wait_log_since(mark, "sweep");
    }
    fence.assert_silent(&receiver);
    daemon.wait_log(shown);
}

#[test]
fn a_user_folder_that_leads_out() {
    let site = Site::new();
    site.maildir(JESSE);
    let outside = Maildir::create(site.path("outside/Maildir"));
    let evil = site.path("vmail/example.org/evil");
    link(&site.path("outside"), &evil);
    assert_not_followed(&site, &evil, &outside);
}

#[test]
fn a_domain_folder_that_leads_out() {
    let site = Site::new();
    site.maildir(JESSE);
    let outside = Maildir::create(site.path("outside/evil/Maildir"));
    let domain = site.path("vmail/evil.test");
    link(&site.path("outside"), &domain);
    assert_not_followed(&site, &domain, &outside);
}

#[test]
fn a_maildir_that_leads_out() {
    let site = Site::new();
    let outside = Maildir::create(site.path("outside/Maildir"));
    let evil = site.maildir_path("evil@example.org");
    fs::create_dir_all(evil.parent().expect("it has a folder")).expect("a folder can be made");
    link(outside.root(), &evil);
    assert_not_followed(&site, &evil, &outside);
}

#[test]
fn a_new_that_leads_out() {
    let site = Site::new();
    let evil = site.maildir("evil@example.org");
    let outside = Maildir::create(site.path("outside/Maildir"));
    for part in ["new", "cur"] {
        fs::remove_dir(evil.path(part)).expect("an empty folder can be removed");
        link(&outside.path(part), &evil.path(part));
    }
    assert_not_followed(&site, &evil.path("new"), &outside);
}

/// The folders become links while they are watched.
#[test]
fn a_link_that_appears_is_not_followed() {
    let site = Site::new();
    let evil = site.maildir("evil@example.org");
    let jesse = site.maildir(JESSE);
    let outside = Maildir::create(site.path("outside/Maildir"));
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("watch.sweep-interval", "1s"));

    for part in ["new", "cur"] {
        fs::remove_dir(evil.path(part)).expect("an empty folder can be removed");
        link(&outside.path(part), &evil.path(part));
    }
    link(&site.path("outside"), &site.path("vmail/example.org/evil-too"));
    fence.after_changes(&receiver);
    outside.deliver();
    outside.deliver_into_cur("");
    for _ in 0..3 {
        let mark = daemon.log_mark();
        daemon.wait_log_since(mark, "sweep");
    }
    fence.assert_silent(&receiver);
    // Whoever made the link gets nothing by it, and takes nothing away from others.
    jesse.deliver();
    receiver.expect(JESSE);
}

/// A link that stays under the root is how people give a user another name.
#[test]
fn a_link_inside_the_root_is_one_mailbox_of_two_names() {
    const ALIAS: &str = "alias@example.org";

    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    link(Path::new("jesse"), &site.path("vmail/example.org/alias"));
    let receiver = site.receiver();

    let users = run(&site, &["users", "--json"]).json();
    let row = users["users"].as_array().into_iter().flatten().find(|row| row["user"] == ALIAS);
    assert_eq!(row.expect("the alias is a user")["shares_with"], serde_json::json!([JESSE]));

    let _daemon = site.start(&site.config());
    jesse.deliver();
    receiver.expect_set([JESSE, ALIAS]);
    fence.assert_silent(&receiver);
}

/// The daemon learns that the second name leads to a Maildir that it watches already when it tries to watch it
/// again.
#[test]
fn a_second_name_that_appears_is_pushed_too() {
    const ALIAS: &str = "alias@example.org";

    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("watch.sweep-interval", "off"));

    link(Path::new("jesse"), &site.path("vmail/example.org/alias"));
    daemon.wait_log("the map of mailboxes has changed");
    // The one mailbox of both names is armed anew after that.
    fence.after_changes(&receiver);
    jesse.deliver();
    receiver.expect_set([JESSE, ALIAS]);
    fence.assert_silent(&receiver);
}

/// The same for a whole domain, all of whose users have a second name at once.
#[test]
fn a_second_domain_that_appears_is_pushed_too() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let daemon = site.start(&site.config().set("watch.sweep-interval", "off"));

    link(Path::new("example.org"), &site.path("vmail/example.com"));
    daemon.wait_log("the map of mailboxes has changed");
    fence.after_changes(&receiver);
    jesse.deliver();
    receiver.expect_set([JESSE, "jesse@example.com"]);
    fence.assert_silent(&receiver);
}
