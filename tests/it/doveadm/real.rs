//! The Dovecot of this machine, 2.3 in Debian 12.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;

use super::server::{NOBODY, Server, is_root};
use super::{config, notices, run, users};
use crate::support::{Maildir, Site, eventually, pushmaild_in};

const LOCATION: &str = "mail_location = maildir:~/Maildir";

/// A line of a passwd-file, with its home below the folder `home` of the site.
fn user(site: &Site, name: &str, extra: &str) -> String {
    format!("{name}:{{PLAIN}}x:1000:1000::{}/home/{name}::{extra}\n", site.dir().display())
}

#[test]
fn each_user_of_a_passwd_file_is_where_dovecot_says() {
    let site = Site::new();
    let root = site.dir().display().to_string();
    let lines = [
        user(&site, "jesse", ""),
        user(
            &site,
            "jo@example.org",
            &format!("userdb_mail=maildir:{root}/vmail/jo/Maildir:LAYOUT=fs:INDEX=/nowhere"),
        ),
        user(&site, "inbox", "userdb_mail=maildir:~/Mail:INBOX=~/Inbox"),
        user(&site, "mboxer", "userdb_mail=mbox:~/mail:INBOX=/var/mail/mboxer"),
        user(&site, "boxer", "userdb_mail=mdbox:~/mdbox"),
        user(&site, "relative", "userdb_mail=maildir:mail/relative"),
        "homeless:{PLAIN}x:1000:1000::::\n".to_owned(),
        format!("apart:{{PLAIN}}x:1000:1000::::userdb_mail=maildir:{root}/apart\n"),
        user(&site, "-dash", ""),
        // Dovecot lists this name as it is written, and looks it up in lower case.
        user(&site, "Upper", ""),
        user(&site, "w*ld", ""),
    ];
    let server = Server::with_users(&site, LOCATION, &lines.concat());
    let config = config(&site, &server.doveadm);
    let found = run(&config, &["users", "--json"]);
    let at = |user: &str, path: &str| (user.to_owned(), format!("{root}/{path}"));
    assert_eq!(
        users(&found),
        [
            at("-dash", "home/-dash/Maildir"),
            at("apart", "apart"),
            at("inbox", "home/inbox/Inbox"),
            at("jesse", "home/jesse/Maildir"),
            at("jo@example.org", "vmail/jo/Maildir"),
        ]
    );
    let messages = [
        ("warning", "not watched, for their mail is in no Maildir: 2 of 10 users (1 mbox, 1 mdbox)"),
        ("problem", "the user `w*ld` cannot be asked for: doveadm takes `*` and `?` for any letters"),
        ("warning", "the user `mboxer` keeps mail as mbox, and only Maildirs can be watched"),
        ("warning", "the user `boxer` keeps mail as mdbox, and only Maildirs can be watched"),
        ("problem", "the user `relative` has mail in `mail/relative`, which is no absolute path"),
        ("problem", "the user `homeless` has mail in `~/Maildir`, and no home"),
        ("problem", "Dovecot lists the user `Upper`, and does not say where the mail is"),
    ];
    let messages: Vec<_> =
        messages.iter().map(|(how, what)| ((*how).to_owned(), format!("doveadm: {what}"))).collect();
    assert_eq!(notices(&found), messages);

    // `check` says how many, and fails for those whose pushes are lost by mistake.
    let check = run(&config, &["check"]);
    assert_eq!(check.code, 1, "{check:?}");
    assert!(check.stdout.contains("source         doveadm: 5 users"), "{check:?}");
    assert!(check.stdout.contains("hint: let Dovecot's user database give a `home`"), "{check:?}");
    let document = run(&config, &["check", "--json"]).json();
    assert_eq!(document["sources"], serde_json::json!([{ "source": "doveadm", "users": 5 }]));
}

#[test]
fn other_formats_alone_are_no_problem() {
    let site = Site::new();
    Maildir::create(site.path("home/jesse/Maildir"));
    let lines = [user(&site, "jesse", ""), user(&site, "mboxer", "userdb_mail=mbox:~/mail")].concat();
    let server = Server::with_users(&site, LOCATION, &lines);
    let _receiver = site.receiver();
    let check = run(&config(&site, &server.doveadm), &["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stdout.contains("1 of 2 users (1 mbox)"), "{check:?}");
}

#[test]
fn names_are_normalised_and_earlier_sources_win() {
    let site = Site::new();
    let lines =
        [user(&site, "jo@one.test", ""), user(&site, "jo@two.test", ""), user(&site, "jesse", "")].concat();
    let server = Server::with_users(&site, LOCATION, &lines);
    let config = config(&site, &server.doveadm)
        .set("mailboxes.username-format", "%n@here")
        .set_raw("mailboxes.users", "{ jesse = \"/srv/jesse\" }");
    let found = run(&config, &["users", "--json"]);
    let rows: Vec<_> = found.json()["users"].as_array().expect("a list").clone();
    let row = |number: usize, key: &str| rows[number][key].as_str().expect("text").to_owned();
    assert_eq!(rows.len(), 2, "{found:?}");
    assert_eq!(
        (row(0, "user"), row(0, "maildir"), row(0, "source")),
        ("jesse@here".into(), "/srv/jesse".into(), "users".into())
    );
    assert_eq!((row(1, "user"), row(1, "source")), ("jo@here".into(), "doveadm".into()));
    let (_, message) = notices(&found).remove(0);
    assert!(message.contains("the user `jo@here` has two Maildirs"), "{found:?}");
}

/// A user may make any link in his own home.
#[test]
fn a_link_out_of_a_home_is_not_followed() {
    let site = Site::new();
    let outside = Maildir::create(site.path("outside/Maildir"));
    fs::create_dir_all(site.path("home/evil")).expect("folders can be made");
    symlink(outside.root(), site.path("home/evil/Maildir")).expect("a link can be made");
    let server = Server::with_users(&site, LOCATION, &user(&site, "evil", ""));
    let found = run(&config(&site, &server.doveadm), &["users", "--json"]);
    assert_eq!(users(&found), []);
    assert!(found.stdout.contains("is a link to"), "{found:?}");
}

#[test]
fn a_userdb_that_cannot_list_its_users() {
    let site = Site::new();
    let settings = format!(
        "{LOCATION}\npassdb {{\n  driver = static\n  args = password=x\n}}\nuserdb {{\n  driver = static\n  args = uid=1000 gid=1000 home=/srv/%u\n}}"
    );
    let server = Server::start(&site, &settings);
    let config = config(&site, &server.doveadm);
    for command in ["users", "check", "run"] {
        let failed = run(&config, &[command]);
        assert_eq!(failed.code, 1, "{failed:?}");
        let said = format!("{}{}", failed.stdout, failed.stderr);
        assert!(said.contains("user '*'` failed (exit status 75)"), "{failed:?}");
        assert!(said.contains("User listing returned failure"), "{failed:?}");
        assert!(said.contains("`static`, which cannot") || said.contains("such as `static`"), "{failed:?}");
        assert!(said.contains("use the source `mail-location` or `map-file`"), "{failed:?}");
    }
}

#[test]
fn a_namespace_with_its_own_location_is_reported() {
    let site = Site::new();
    let settings = format!("{LOCATION}\nnamespace inbox {{\n  inbox = yes\n  location = maildir:~/Other\n}}");
    let server = Server::with_users(&site, &settings, &user(&site, "jesse", ""));
    let found = run(&config(&site, &server.doveadm), &["users", "--json"]);
    let notices = notices(&found);
    assert_eq!(notices.len(), 1, "{found:?}");
    assert_eq!(notices[0].0, "problem");
    assert!(
        notices[0]
            .1
            .contains("the namespace `inbox` has a place of its own for INBOX, `location = maildir:~/Other`")
    );
}

/// More users than fit into one call.
#[test]
fn thousands_of_users() {
    let site = Site::new();
    let lines: Vec<_> =
        (0..2500).map(|number| user(&site, &format!("user{number}@example.org"), "")).collect();
    let server = Server::with_users(&site, LOCATION, &lines.concat());
    let found = run(&config(&site, &server.doveadm), &["users", "--json"]);
    let users = users(&found);
    assert_eq!(users.len(), 2500);
    for (user, maildir) in users {
        assert_eq!(maildir, format!("{}/home/{user}/Maildir", site.dir().display()));
    }
}

/// The daemon pushes for them, asks again when it is told to, and goes on with what it knows when nobody answers.
#[test]
fn the_daemon_follows_dovecot() {
    let site = Site::new();
    let jesse = Maildir::create(site.path("home/jesse/Maildir"));
    let jo = Maildir::create(site.path("home/jo/Maildir"));
    let mut server = Server::with_users(&site, LOCATION, &user(&site, "jesse", ""));
    let receiver = site.receiver();
    let mut daemon = site.start(&config(&site, &server.doveadm));
    jesse.deliver();
    receiver.expect("jesse");

    let add = |name: &str| {
        let mut file = OpenOptions::new().append(true).open(site.path("passwd")).expect("it is there");
        file.write_all(user(&site, name, "").as_bytes()).expect("a line can be written");
    };
    add("jo");
    // Dovecot does not look at the file more often than once a second.
    eventually("Dovecot lists jo", || {
        daemon.reload();
        daemon.log().contains("1 added, 0 removed").then_some(())
    });
    jo.deliver();
    receiver.expect("jo");

    // Nobody answers: said once, and everybody stays.
    server.stop();
    let mark = daemon.log_mark();
    daemon.reload();
    daemon.reload();
    let said = daemon.wait_log_since(mark, "Dovecot's users stay as they were");
    assert!(said.contains("WARN") && said.contains("hint: does Dovecot run?"), "{said}");
    let log = daemon.log();
    assert_eq!(log.matches("Dovecot's users stay as they were").count(), 1, "{log}");
    jo.deliver();
    receiver.expect("jo");

    server.resume();
    let mark = daemon.log_mark();
    daemon.reload();
    daemon.wait_log_since(mark, "doveadm answers again");
    // Another time is another trouble.
    server.stop();
    let mark = daemon.log_mark();
    daemon.reload();
    daemon.wait_log_since(mark, "Dovecot's users stay as they were");
    jesse.deliver();
    receiver.expect("jesse");
    daemon.stop();
}

/// Nobody has to tell the daemon to ask again.
#[test]
fn a_new_user_is_found_by_the_refresh() {
    let site = Site::new();
    let jo = Maildir::create(site.path("home/jo/Maildir"));
    let server = Server::with_users(&site, LOCATION, &user(&site, "jesse", ""));
    let receiver = site.receiver();
    let command = server.doveadm.display();
    let config = config(&site, &server.doveadm)
        .set_raw("mailboxes.doveadm", &format!("{{ command = \"{command}\", refresh = \"5s\" }}"))
        .set("watch.sweep-interval", "1s");
    let daemon = site.start(&config);
    let lines = [user(&site, "jesse", ""), user(&site, "jo", "")].concat();
    fs::write(site.path("passwd"), lines).expect("a file can be written");
    daemon.wait_log("the map of mailboxes has changed: 1 added");
    jo.deliver();
    receiver.expect("jo");
    daemon.stop();
}

/// Who may not use the socket is told which lines let him, and with one of them it works.
#[test]
fn an_unprivileged_user_is_told_what_to_configure() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let server = Server::with_users(&site, LOCATION, &user(&site, "jesse", ""));
    let config = config(&site, &server.doveadm);
    config.write();
    let file = config.path().to_str().expect("the path is text");
    let as_group = |group: u32| {
        let (uid, gid) = ("--reuid=64999".to_owned(), format!("--regid={group}"));
        pushmaild_in(&["setpriv", &uid, &gid, "--clear-groups"], ["users", "-c", file])
    };
    let refused = as_group(64999);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["`group = pushmaild`", "unix_listener auth-userdb", "`mode = 0660`"] {
        assert!(refused.stderr.contains(part), "{part} is in {refused:?}");
    }
    // Dovecot's own group, which the socket has here.
    let allowed = as_group(NOBODY.1);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(allowed.stdout.contains("jesse"), "{allowed:?}");
}
