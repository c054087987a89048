//! What a program is told, whatever a user is called.

use std::collections::BTreeMap;
use std::fs;

use super::{JESSE, config, with_command, write_program};
use crate::support::{Maildir, Site, eventually};

/// Each thing that it was told on a line of its own, in a file that appears when it is whole.
const TELL: &str = "{ printf '%s\\n' \"$#\" \"$@\" \"$PUSHMAILD_USER\" \"$PUSHMAILD_KIND\" \"$PUSHMAILD_PATH\" \
     \"${NOTIFY_SOCKET-none}\"; cat | wc -c; } > \"$site/told-$$.new\"; mv \"$site/told-$$.new\" \"$site/told-$$\"";

fn told(site: &Site) -> Vec<Vec<String>> {
    let files =
        fs::read_dir(site.dir()).expect("the site can be listed").map(|entry| entry.expect("an entry"));
    files
        .filter(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("told-") && !name.ends_with(".new")
        })
        .map(|file| fs::read_to_string(file.path()).expect("the file can be read"))
        .map(|text| text.lines().map(|line| line.trim().to_owned()).collect())
        .collect()
}

/// No shell sees a name, and what is put in is not looked at again.
#[test]
fn names_are_passed_as_they_are() {
    let names = [
        "jesse",
        "two words",
        "$(touch pwned)",
        "`touch pwned`; touch pwned",
        "a'b\"c\\d",
        "{user}{kind}",
        "{path}",
        "-rf",
        "--help",
        "*",
        "ünïcödé ☃",
    ];
    let site = Site::new();
    let program = write_program(&site, "on-mail", TELL);
    let maildirs: BTreeMap<&str, Maildir> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (*name, Maildir::create(site.path(format!("mail box {number}")))))
        .collect();
    let users: Vec<String> = maildirs
        .iter()
        .map(|(name, maildir)| {
            format!("{} = {}", serde_json::Value::from(*name), serde_json::json!(maildir.root()))
        })
        .collect();
    let command = ["--", "{user}", "x{user}/{kind} {path}", "$HOME", ""];
    let command: Vec<&str> = [program.to_str().expect("text")].into_iter().chain(command).collect();
    let config =
        with_command(&site, &command).set_raw("mailboxes.users", &format!("{{ {} }}", users.join(", ")));
    let daemon = site.start(&config);

    for maildir in maildirs.values() {
        maildir.deliver();
    }
    let told = eventually("a run for each", || Some(told(&site)).filter(|told| told.len() == names.len()));
    daemon.stop();
    for (name, maildir) in &maildirs {
        let path = maildir.root().to_str().expect("text");
        let long = format!("x{name}/new-mail {path}");
        let expected = ["5", "--", name, &long, "$HOME", "", name, "new-mail", path, "none", "0"];
        assert!(told.iter().any(|told| told == &expected), "{expected:?} is not among {told:?}");
    }
    assert!(!site.path("pwned").exists());
}

#[test]
fn a_change_and_a_mailbox_with_two_names() {
    let site = Site::new();
    let program = write_program(&site, "on-mail", TELL);
    let maildir = site.maildir(JESSE);
    let message = maildir.deliver_into_cur("");
    let users = format!("{{ second = {:?} }}", maildir.root());
    let daemon = site.start(&config(&site, &program).set_raw("mailboxes.users", &users));

    maildir.set_flags(&message, "S");
    let told = eventually("two runs", || Some(told(&site)).filter(|told| told.len() == 2));
    let log = daemon.stop();
    for name in [JESSE, "second"] {
        assert!(told.iter().any(|told| told[1] == name && told[2] == "change"), "{told:?}");
        assert!(log.contains(&format!("pushed {name} through {}: change, ", program.display())), "{log}");
    }
}

/// Without a slash it is looked up; with one it starts at the configuration file, wherever the daemon was started.
#[test]
fn where_the_program_is() {
    for name in ["on-mail", "./on-mail", "sub/../on-mail"] {
        let site = Site::new();
        fs::create_dir(site.path("sub")).expect("a folder can be made");
        write_program(&site, "on-mail", TELL);
        let maildir = site.maildir(JESSE);
        let path = std::env::var("PATH").expect("there is a PATH");
        let path = format!("{}:{path}", site.dir().display());
        let daemon = site.launch(&with_command(&site, &[name])).env("PATH", path).start();
        maildir.deliver();
        eventually("a run", || (told(&site).len() == 1).then_some(()));
        daemon.stop();
    }
}
