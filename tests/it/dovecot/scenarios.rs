//! What takes more than one user or one client, or a Maildir that is not there yet.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::Dovecot;
use crate::support::{Fence, Push, Site};

const JESSE: &str = "jesse@example.org";

/// The badge that this project is about: mail comes, and is read on another device.
#[test]
fn a_read_on_one_client_is_a_push_for_the_other() {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    dovecot.deliver(JESSE);
    receiver.expect(JESSE);

    // The phone looks, as the push told it to, and shows one unread message.
    let mut phone = dovecot.imap(JESSE);
    phone.run("SELECT INBOX");
    phone.run("FETCH 1 (FLAGS BODY.PEEK[HEADER])");

    let mut laptop = dovecot.imap(JESSE);
    laptop.run("SELECT INBOX");
    laptop.run("FETCH 1 BODY[]");
    receiver.expect(JESSE);

    let flags = phone.run("FETCH 1 FLAGS");
    assert!(
        flags.iter().any(|line| line.contains("\\Seen")),
        "the phone sees that the message is read: {flags:?}"
    );
}

#[test]
fn a_name_written_in_capitals_is_the_same_user() {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    dovecot.deliver("Jesse@Example.ORG");
    receiver.expect(JESSE);
}

/// Dovecot writes such a message once, and links it into the other Maildirs.
#[test]
fn a_message_to_several_users_is_pushed_to_each() {
    const USERS: [&str; 3] = [JESSE, "jo@example.org", "jo@example.com"];

    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    for user in USERS {
        dovecot.create_maildir(&site, user);
    }
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    dovecot.lmtp().deliver_to_all(&USERS);
    receiver.expect_set(USERS);
}

/// Dovecot makes the directories of a user when the first message comes; that message must give a
/// push too, though the Maildir is there before its watches are.
#[test]
fn the_first_message_of_a_new_user_is_pushed() {
    const IN_KNOWN_DOMAIN: &str = "new@example.org";
    const IN_NEW_DOMAIN: &str = "new@new-domain.test";
    const WITH_DIRECTORY: &str = "prepared@new-domain.test";

    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    for user in [IN_KNOWN_DOMAIN, IN_NEW_DOMAIN, WITH_DIRECTORY] {
        if user == WITH_DIRECTORY {
            dovecot.create_home(&site, user);
            fence.assert_silent(&receiver);
        }
        assert!(!site.maildir_path(user).exists(), "{user} has no Maildir");
        dovecot.deliver(user);
        receiver.expect(user);
        // One push too many is allowed where a Maildir was found and a message in it seen.
        fence.after_changes(&receiver);

        // From now on the user is like any other.
        dovecot.deliver(user);
        receiver.expect(user);
        let mut client = dovecot.imap(user);
        client.run("SELECT INBOX");
        fence.after_changes(&receiver);
        client.run("FETCH 1 BODY[]");
        receiver.expect(user);
    }
}

/// The same where the daemon is so late that the message is older than any watch, and was even
/// seen by a client.
#[test]
fn a_message_older_than_the_watches_is_pushed() {
    const DELIVERED: &str = "delivered@example.org";
    const OPENED: &str = "opened@new-domain.test";

    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let receiver = site.receiver();
    let daemon = site.start(&site.config());

    daemon.pause();
    dovecot.deliver(DELIVERED);
    dovecot.deliver(OPENED);
    dovecot.imap(OPENED).run("SELECT INBOX");
    daemon.resume();
    receiver.expect_each([DELIVERED, OPENED]);
}

#[test]
fn many_new_users_at_once_are_all_pushed() {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    let users: Vec<String> = (0..40).map(|n| format!("user-{n}@domain-{}.test", n % 8)).collect();
    let pushes = receiver.read_during(|| {
        thread::scope(|scope| {
            for users in users.chunks(10) {
                let deliver = || users.iter().for_each(|user| dovecot.deliver(user));
                scope.spawn(deliver);
            }
        });
    });
    let mut missing: BTreeSet<&str> = users.iter().map(String::as_str).collect();
    for push in pushes {
        missing.remove(push.user.as_str());
    }
    receiver.expect_each(missing);
}

/// Messages in quick succession: the first is pushed at once, and then there is one after
/// the last, but not one for each.
#[test]
fn messages_in_quick_succession_are_gathered() {
    const INTERVAL: Duration = Duration::from_secs(2);
    const MESSAGES: u32 = 20;

    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config().set("debounce.new-mail-interval", "2s");
    let _daemon = site.start(&config);

    let started = Instant::now();
    let mut last = started;
    let mut pushes = receiver.read_during(|| {
        let mut session = dovecot.lmtp();
        for _ in 0..MESSAGES {
            last = Instant::now();
            session.deliver(JESSE);
        }
    });
    let took = started.elapsed();
    pushes.extend(fence.after_new_mail(&receiver));

    assert!(
        pushes.iter().any(|push| push.at > last),
        "a push after the last message, at {last:?}: {pushes:?}"
    );
    // Two, on a machine that delivers so few messages within one interval.
    let intervals = took.as_secs() / INTERVAL.as_secs();
    let most = 2 + usize::try_from(intervals).expect("the test is not that slow");
    assert!(pushes.len() <= most, "more than {most} pushes: {pushes:?}");
}

/// Deliveries and clients of several users at once. What each of them gives depends on how they
/// interleave; but after the last change of each user there is a push.
#[test]
fn every_user_of_a_busy_server_ends_with_a_push() {
    const BYSTANDER: &str = "bystander@busy.test";

    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    let users: Vec<String> = (0..6).map(|n| format!("user-{n}@busy.test")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    for user in users.iter().copied().chain([BYSTANDER]) {
        dovecot.create_maildir(&site, user);
        dovecot.deliver(user);
    }
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let _daemon = site.start(&site.config());

    let mut last_changes = BTreeMap::new();
    let mut pushes: Vec<Push> = receiver.read_during(|| {
        thread::scope(|scope| {
            let dovecot = &dovecot;
            let busy = |&user| (user, scope.spawn(move || keep_busy(dovecot, user)));
            let threads: Vec<_> = users.iter().map(busy).collect();
            for (user, thread) in threads {
                let last_change = thread.join().expect("the clients are served");
                last_changes.insert(user, last_change);
            }
            dovecot.imap(BYSTANDER).run("EXAMINE INBOX");
        });
    });
    pushes.extend(fence.after_changes(&receiver));

    for (user, last_change) in last_changes {
        let mut of_user = pushes.iter().filter(|push| push.user == user);
        assert!(of_user.any(|push| push.at > last_change), "no push for {user} after its last change");
    }
    assert!(pushes.iter().all(|push| push.user != BYSTANDER));
}

/// Two clients of one user and deliveries between their commands. Returns an instant before the
/// last change.
fn keep_busy(dovecot: &Dovecot, user: &str) -> Instant {
    let mut phone = dovecot.imap(user);
    let mut laptop = dovecot.imap(user);
    laptop.run("CREATE Archive");
    for _ in 0..5 {
        dovecot.deliver(user);
        phone.run("SELECT INBOX");
        dovecot.deliver(user);
        laptop.run("SELECT INBOX");
        phone.run("FETCH * BODY[]");
        laptop.run("STORE 1 +FLAGS (\\Flagged)");
        laptop.run("MOVE 1 Archive");
        phone.append("INBOX", "\\Seen");
    }
    laptop.run("NOOP");
    let last_change = Instant::now();
    laptop.run("STORE * +FLAGS (\\Answered)");
    last_change
}
