//! Dovecot's `mail_location`, forwards and backwards.

use std::{ffi::OsStr, path::Path};

use proptest::prelude::*;
use pushmaild::mailbox::{
    Username,
    template::{MatchError, Template, TemplateError},
};

fn user_of(template: &Template, path: impl AsRef<Path>) -> Result<String, MatchError> {
    let below: Vec<&OsStr> =
        path.as_ref().strip_prefix(template.root()).expect("below the root").iter().collect();
    template.user_of(&below).map(|user| user.to_string())
}

#[test]
fn folders_tell_their_users() {
    for (location, path, user) in [
        ("maildir:/var/vmail/%d/%n/Maildir", "/var/vmail/example.org/jo/Maildir", Some("jo@example.org")),
        ("maildir:/var/vmail/%d/%n/Maildir", "/var/vmail/example.org/jo/mail", None),
        ("maildir:/var/vmail/%d/%n/Maildir", "/var/vmail/example.org/.jo/Maildir", None),
        ("maildir:/var/vmail/%u", "/var/vmail/jo@example.org", Some("jo@example.org")),
        ("maildir:/var/vmail/%Ld/%1Ln/%Ln", "/var/vmail/example.org/j/jo", Some("jo@example.org")),
        ("maildir:/var/vmail/%Ld/%1Ln/%Ln", "/var/vmail/example.org/x/jo", None),
        ("maildir:/srv/%1n/%1.1n/%n@%d", "/srv/j/o/jo@example.org", Some("jo@example.org")),
        ("maildir:/home/%n/Maildir:LAYOUT=fs:INDEX=/var/index/%u", "/home/jo/Maildir", Some("jo")),
        ("maildir:/home/%n/mail:INBOX=/var/mail/%n:CONTROL=/x", "/var/mail/jo", Some("jo")),
        ("/var/vmail/%{domain}/%{user | username | lower}", "/var/vmail/a.org/jo", Some("jo@a.org")),
        ("maildir:/m/box-%n", "/m/box-jo", Some("jo")),
        ("maildir:/m/box-%n", "/m/jo", None),
        ("maildir:/m/%u/%d", "/m/jo@a.org/a.org", Some("jo@a.org")),
        ("maildir:/m/%u/%d", "/m/jo@a.org/b.org", None),
        ("maildir:/m/%Ln", "/m/Jo", None),
    ] {
        let template = Template::parse(location).expect(location);
        assert_eq!(user_of(&template, path).ok().as_deref(), user, "{location} {path}");
    }
}

#[test]
fn a_folder_that_may_be_two_users_is_neither() {
    let template = Template::parse("maildir:/m/%n-%d").expect("it can be read");
    assert!(matches!(user_of(&template, "/m/a-b-c"), Err(MatchError::Ambiguous(users)) if users.len() == 2));
    assert_eq!(user_of(&template, "/m/a-b").as_deref(), Ok("a@b"));
    assert!(template.loses().is_some_and(|loses| loses.contains("more than one way")));
}

#[test]
fn what_a_template_loses_is_said() {
    for (location, loses) in [
        ("maildir:/var/vmail/%d/%n", None),
        ("maildir:/var/vmail/%u", None),
        ("maildir:/var/vmail/%n@%d", None),
        ("maildir:/home/%n/Maildir", Some("domain")),
        ("maildir:/var/vmail/%Ld/%Ln", Some("case")),
        ("maildir:/var/vmail/%n%d", Some("more than one way")),
    ] {
        let found = Template::parse(location).expect(location).loses();
        assert_eq!(found.is_some(), loses.is_some(), "{location}: {found:?}");
        assert!(
            loses.is_none_or(|word| found.is_some_and(|found| found.contains(word))),
            "{location}: {found:?}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    for (location, message) in [
        ("mbox:~/mail:INBOX=/var/mail/%u", "`mbox` mailboxes cannot be watched, only Maildirs"),
        ("mdbox:~/mdbox", "`mdbox` mailboxes cannot be watched, only Maildirs"),
        ("maildir:~/Maildir", "the path `~/Maildir` is not absolute"),
        ("maildir:%h/Maildir", "unknown variable `%h`"),
        ("maildir:mail/%n", "the path `mail/%n` is not absolute"),
        ("maildir:/var/vmail", "no %u, %n or %d: all users would share one Maildir"),
        (
            "maildir:/var/%1n/Maildir",
            "the whole of %u or %n is nowhere in the path, so the folders do not tell whose they are",
        ),
        (
            "maildir:/var/%d/Maildir",
            "the whole of %u or %n is nowhere in the path, so the folders do not tell whose they are",
        ),
        ("maildir:/var/../%n", "the path contains `..`"),
        ("maildir:/var/%2.256Hn/%n", "unknown variable `%2.256H`"),
    ] {
        let error = Template::parse(location).expect_err(location);
        assert_eq!(error.to_string(), message);
        assert!(!error.hint().is_empty());
    }
    assert!(matches!(Template::parse("maildir:/x/%q"), Err(TemplateError::Format(_))));
}

#[test]
fn no_name_leads_out_of_the_root() {
    for location in
        ["maildir:/root/%d/%n/Maildir", "maildir:/root/%n", "maildir:/root/%u/Maildir", "maildir:/root/.%n"]
    {
        let template = Template::parse(location).expect(location);
        for name in ["..", ".", "../x", "a/../../b", "/etc", "..@..", "jo@..", "jo@/", ".@a", "a/b@c", ".ssh"]
        {
            let user = Username::new(name).expect("a name");
            if let Some(path) = template.expand(&user) {
                let below: Vec<_> =
                    path.strip_prefix("/root").expect("below the root").components().collect();
                assert!(
                    below.iter().all(|part| matches!(part, std::path::Component::Normal(_))),
                    "{location} {name}: {path:?}"
                );
                assert_eq!(below.len(), template.components().len(), "{location} {name}: {path:?}");
            }
        }
    }
}

fn whole_template() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("maildir:/v/%d/%n/Maildir"),
        Just("maildir:/v/%u"),
        Just("maildir:/v/%d/%1n/%n"),
        Just("maildir:/v/%1n/%1.1n/%u/mail"),
        Just("maildir:/v/%n@%d/Maildir:LAYOUT=fs"),
        Just("maildir:/v/x%d/y%n"),
        Just("maildir:/v/%2Ld/%d/%n"),
    ]
}

proptest! {
    /// match(expand(user)) = user, wherever the template keeps the whole name. The second letter is
    /// a folder in one of the templates, which cannot be called `.`.
    #[test]
    fn backwards_is_the_inverse_of_forwards(
        location in whole_template(),
        local in "[A-Za-z0-9+_ÄÖÜßé-]{2}[A-Za-z0-9.+_ÄÖÜßé-]{0,12}",
        domain in "[A-Za-z0-9][a-zA-Z0-9.@-]{0,12}",
    ) {
        let template = Template::parse(location).expect("good");
        prop_assert!(template.loses().is_none());
        let user = Username::new(&format!("{local}@{domain}")).expect("a name");
        let path = template.expand(&user).expect("nothing leads away");
        prop_assert!(path.starts_with(template.root()));
        prop_assert_eq!(user_of(&template, path), Ok(user.to_string()));
    }

    /// Whatever the folders are called, a match expands to them again.
    #[test]
    fn a_match_is_never_wrong(
        location in prop_oneof![whole_template(), Just("maildir:/v/%n-%d"), Just("maildir:/v/%Ln/%n%d"), Just("maildir:/v/%Un")],
        names in proptest::collection::vec("[a-zA-Z.@-]{1,8}", 1..4),
    ) {
        let template = Template::parse(location).expect("good");
        let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
        if let Ok(user) = template.user_of(&names) {
            let mut path = template.root().to_owned();
            path.extend(&names);
            prop_assert_eq!(template.expand(&user), Some(path));
        }
    }
}
