//! Dovecot 2.4, from recordings of what its doveadm answered: see `tests/cases/doveadm-2.4`.

use std::path::{Path, PathBuf};

use super::{config, notices, run, script, users};
use crate::support::Site;

/// A doveadm that answers what was recorded, and nothing else.
fn replay(site: &Site, scenario: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/doveadm-2.4").join(scenario);
    let text = format!(
        "for question in '{}'/*/; do
    [ \"$*\" = \"$(cat \"$question/arguments\")\" ] || continue
    cat \"$question/stderr\" >&2
    cat \"$question/stdout\"
    exit \"$(cat \"$question/status\")\"
done
echo \"nobody has recorded: $*\" >&2
exit 1",
        folder.display()
    );
    script(site, &text)
}

#[test]
fn each_user_is_where_dovecot_says() {
    let site = Site::new();
    let found = run(&config(&site, &replay(&site, "passwd-file")), &["users", "--json"]);
    let at = |user: &str, path: &str| (user.to_owned(), path.to_owned());
    assert_eq!(
        users(&found),
        [
            at("-dash", "/srv/home/dash/Maildir"),
            at("jesse", "/srv/home/jesse/Maildir"),
            at("jo@example.org", "/srv/vmail/jo/Maildir"),
            // Below mail_path, where it is no whole path.
            at("last", "/srv/home/last/Maildir/.INBOX"),
            // mail_home of the configuration.
            at("nohome", "/srv/default/nohome/Maildir"),
            at("tilde", "/srv/home/tilde/Inbox"),
        ]
    );
    let messages = [
        ("warning", "not watched, for their mail is in no Maildir: 2 of 10 users (1 mbox, 1 sdbox)"),
        ("problem", "the user `st*r` cannot be asked for: doveadm takes `*` and `?` for any letters"),
        ("warning", "the user `mboxer` keeps mail as mbox, and only Maildirs can be watched"),
        ("warning", "the user `boxer` keeps mail as sdbox, and only Maildirs can be watched"),
        ("problem", "Dovecot lists the user `sp ace`, and does not say where the mail is"),
        ("problem", "Dovecot lists the user `Upper`, and does not say where the mail is"),
    ];
    let messages: Vec<_> =
        messages.iter().map(|(how, what)| ((*how).to_owned(), format!("doveadm: {what}"))).collect();
    assert_eq!(notices(&found), messages);
}

#[test]
fn a_userdb_that_cannot_list_its_users() {
    let site = Site::new();
    let failed = run(&config(&site, &replay(&site, "static")), &["users"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("User listing returned failure"), "{failed:?}");
    assert!(failed.stderr.contains("use the source `mail-location` or `map-file`"), "{failed:?}");
}
