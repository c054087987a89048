//! What becomes of registrations in use.

use std::collections::BTreeSet;

use super::{ACCOUNT, OTHER_ACCOUNT, OTHER_TOKEN, TOKEN, config, register};
use crate::support::{Apns, Site, eventually, pushmaild};

const JO: &str = "jo@example.org";

/// The tokens of the user's devices, as the registry has them.
fn tokens(site: &Site, user: &str) -> BTreeSet<(String, String)> {
    use pushmaild::registry::{Store, sqlite::SqliteStore};
    let mut store = SqliteStore::open_read_only(&site.path("registry.db")).expect("the registry is there");
    let user = pushmaild::mailbox::Username::new(user).expect("a name");
    let found = store.of_user(&user).expect("the registry can be read");
    found.into_iter().map(|it| (it.key.token.to_hex(), it.key.account.to_string())).collect()
}

#[test]
fn two_phones_with_one_account_id_are_both_told() {
    let site = Site::new();
    let jo = site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let _daemon = site.start(&config(&site, &apns));
    register(&site, JO, TOKEN, ACCOUNT);
    register(&site, JO, OTHER_TOKEN, ACCOUNT);
    jo.deliver();
    let told: BTreeSet<_> = apns.wait_for(2).into_iter().filter_map(|request| request.token).collect();
    assert_eq!(told, BTreeSet::from([TOKEN.to_owned(), OTHER_TOKEN.to_owned()]));
}

#[test]
fn all_names_of_a_mailbox_and_any_case_of_them_share_its_devices() {
    let site = Site::new();
    let jo = site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let maildir = site.maildir_path(JO);
    let users = format!("{{ alias = '{0}', jo = '{0}' }}", maildir.display());
    let config = config(&site, &apns).set_raw("mailboxes.users", &users);
    let _daemon = site.start(&config);
    register(&site, "Alias", TOKEN, ACCOUNT);
    register(&site, "JO@EXAMPLE.ORG", OTHER_TOKEN, OTHER_ACCOUNT);
    // The same device under a second name is not pushed to twice.
    register(&site, "jo", TOKEN, ACCOUNT);
    jo.deliver();
    let told: BTreeSet<_> = apns.wait_for(2).into_iter().filter_map(|request| request.token).collect();
    assert_eq!(told, BTreeSet::from([TOKEN.to_owned(), OTHER_TOKEN.to_owned()]));

    // A fence: what had been sent twice would have come before this.
    jo.deliver();
    apns.wait_for(4);
    assert_eq!(apns.received().len(), 4);
}

#[test]
fn an_unregistered_device_is_removed_and_the_other_one_stays() {
    let site = Site::new();
    let jo = site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let _daemon = site.start(&config(&site, &apns));
    register(&site, JO, TOKEN, ACCOUNT);
    register(&site, JO, OTHER_TOKEN, OTHER_ACCOUNT);
    // Some time of the future: not registered since.
    apns.tell(&format!("unregistered {TOKEN} 4000000000000"));
    jo.deliver();
    apns.wait_for(2);
    eventually("the dead device is removed", || {
        (tokens(&site, JO) == BTreeSet::from([(OTHER_TOKEN.to_owned(), OTHER_ACCOUNT.to_owned())]))
            .then_some(())
    });
}

#[test]
fn a_device_that_registered_after_its_410_stays() {
    let site = Site::new();
    let jo = site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let daemon = site.start(&config(&site, &apns));
    register(&site, JO, TOKEN, ACCOUNT);
    apns.tell(&format!("unregistered {TOKEN} 1000000000000"));
    jo.deliver();
    apns.wait_for(1);
    daemon.wait_log("answers 410 Unregistered");
    apns.tell("clear");
    jo.deliver();
    assert_eq!(apns.nth(2).status, 200);
}

#[test]
fn push_prints_what_apple_answers() {
    let site = Site::new();
    site.maildir(JO);
    let apns = Apns::start(site.path("apns"));
    let config = config(&site, &apns);
    let _daemon = site.start(&config);
    register(&site, JO, TOKEN, ACCOUNT);
    let path = config.path().to_str().expect("a path of a test");
    let run = pushmaild(["push", "-c", path, "Jo@example.org"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("29183902…") && run.stdout.contains("200, accepted"), "{run:?}");
    assert!(!run.stdout.contains(TOKEN), "{run:?}");

    apns.tell(&format!("bad-token {TOKEN}"));
    let run = pushmaild(["push", "-c", path, "--json", JO]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.json()[0]["answer"], "400 BadDeviceToken");

    let run = pushmaild(["push", "-c", path, "nobody@example.org"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("has no registered device") && run.stderr.contains("hint:"), "{run:?}");
}
