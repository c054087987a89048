//! One table of behaviour for all backends, each with its own column: inotify and the notify crate see names
//! and pairs, while polling sees only that a directory changed.
//!
//! The rule for all of them is: never a push too few. The columns say where polling gives one too
//! many.

use crate::support::{Fence, Maildir, Push, Site};

const JESSE: &str = "jesse@example.org";

/// What one thing that happens to a mailbox gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    /// A push after some quiet.
    Change,
    /// A push at once.
    NewMail,
}

use Outcome::{Change, NewMail, Nothing};

/// One thing that happens.
struct Case {
    name: &'static str,
    /// Done before the daemon starts.
    before: fn(&Maildir),
    action: fn(&Maildir),
    inotify: Outcome,
    notify: Outcome,
    poll: Outcome,
}

const fn case(
    name: &'static str,
    before: fn(&Maildir),
    action: fn(&Maildir),
    [inotify, notify, poll]: [Outcome; 3],
) -> Case {
    Case { name, before, action, inotify, notify, poll }
}

fn nothing(_: &Maildir) {}

fn delivered(maildir: &Maildir) {
    maildir.deliver();
}

fn opened(maildir: &Maildir) {
    maildir.deliver();
    maildir.open_mailbox();
}

/// The one message that is in the mailbox.
fn only(maildir: &Maildir) -> String {
    let names = [maildir.names("new"), maildir.names("cur")].concat();
    let [name] = names.as_slice() else { panic!("not one message: {names:?}") };
    name.split(":2,").next().expect("split gives one part at least").to_owned()
}

#[rustfmt::skip] // a row a line
const CASES: &[Case] = &[
    //                                        before     action                                          inotify  notify   poll
    case("delivery by rename",                nothing,   |m| { m.deliver(); },                          [NewMail, NewMail, NewMail]),
    case("delivery by link",                  nothing,   |m| { m.deliver_by_link(); },                  [NewMail, NewMail, NewMail]),
    case("a second delivery",                 delivered, |m| { m.deliver(); },                          [NewMail, NewMail, NewMail]),
    case("delivery into cur",                 nothing,   |m| { m.deliver_into_cur(""); },               [NewMail, NewMail, Change]),
    case("delivery into cur by link",         nothing,   |m| { m.deliver_into_cur_by_link("F"); },      [NewMail, NewMail, Change]),
    case("delivery into cur of a read one",   nothing,   |m| { m.deliver_into_cur("S"); },              [Change,  Change,  Change]),
    case("opening",                           delivered, Maildir::open_mailbox,                         [Nothing, Nothing, Change]),
    case("opening and reading at once",       delivered, |m| m.set_flags(&only(m), "S"),                [Change,  Change,  Change]),
    case("reading",                           opened,    |m| m.set_flags(&only(m), "S"),                [Change,  Change,  Change]),
    case("deleting in new",                   delivered, |m| m.expunge(&only(m)),                       [Change,  Change,  Change]),
    case("deleting in cur",                   opened,    |m| m.expunge(&only(m)),                       [Change,  Change,  Change]),
    case("moving out",                        opened,    |m| m.move_to(&only(m), &archive(m)),          [Change,  Change,  Change]),
    case("moving in",                         |m| { archive(m).deliver_into_cur(""); }, |m| archive(m).move_to(&only(&archive(m)), m), [NewMail, NewMail, Change]),
    case("writing in tmp",                    nothing,   |m| write(m, "tmp/1700000000.M1P1.test"),      [Nothing, Nothing, Nothing]),
    case("Dovecot's own files",               nothing,   |m| write(m, "dovecot-uidlist.lock"),          [Nothing, Nothing, Nothing]),
    case("the mailbox is made",               |m| m.remove(), |m| { Maildir::create(m.root()).deliver(); }, [NewMail, NewMail, NewMail]),
    case("the user is made",                  remove_user, |m| { Maildir::create(m.root()).deliver(); }, [NewMail, NewMail, NewMail]),
];

/// A folder beside INBOX, which nobody watches.
fn archive(maildir: &Maildir) -> Maildir {
    Maildir::create(maildir.path(".Archive"))
}

fn write(maildir: &Maildir, name: &str) {
    std::fs::write(maildir.path(name), "").expect("a file can be written");
}

fn remove_user(maildir: &Maildir) {
    let folder = maildir.root().parent().expect("a Maildir is in a user's folder");
    std::fs::remove_dir_all(folder).expect("a user's folder can be removed");
}

/// What the daemon makes of a case. Changes wait for an hour here, or until the daemon stops; so
/// what comes before is new mail.
fn outcome(case: &Case, backend: &str) -> Outcome {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    (case.before)(&jesse);
    if jesse.root().exists() {
        jesse.age();
    }
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site
        .config()
        .set("watch.backend", backend)
        .set("watch.poll-interval", "50ms")
        .set("watch.sweep-interval", "off")
        .set("debounce.change-quiet", "1h")
        .set("debounce.change-max-wait", "1h");
    let daemon = site.start(&config);

    (case.action)(&jesse);
    // Twice, for polling looks at one directory after the other: it may have passed jesse's, and
    // come to the fence's in the same round.
    let mut at_once = fence.after_new_mail(&receiver);
    at_once.extend(fence.after_new_mail(&receiver));
    let later = daemon.stop_and_read(&receiver);

    let is_for_jesse = |push: &&Push| push.user == JESSE;
    match (at_once.iter().filter(is_for_jesse).count(), later.iter().filter(is_for_jesse).count()) {
        (0, 0) => Nothing,
        (0, 1) => Change,
        (1, 0) => NewMail,
        // A Maildir that appears may be found step by step.
        (1.., _) if case.name.ends_with("is made") => NewMail,
        // Polling may find the two halves of one delivery in two rounds.
        (1, 1) if backend == "poll" => NewMail,
        (at_once, later) => panic!("{}: {at_once} pushes at once, {later} later", case.name),
    }
}

#[track_caller]
fn assert_column(backend: &str, column: fn(&Case) -> Outcome) {
    let mut complaints = Vec::new();
    for case in CASES {
        let (expected, found) = (column(case), outcome(case, backend));
        if found != expected {
            complaints.push(format!("{}: {found:?}, and not {expected:?}", case.name));
        }
    }
    assert!(complaints.is_empty(), "with {backend}:\n{}", complaints.join("\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn inotify() {
    assert_column("inotify", |case| case.inotify);
}

/// The same as inotify: names and pairs.
#[test]
#[cfg(target_os = "linux")]
fn fanotify() {
    if !crate::support::fanotify_is_refused() {
        assert_column("fanotify", |case| case.inotify);
    }
}

/// On Linux, where the crate has inotify below; FSEvents and kqueue tell less.
#[test]
#[cfg(target_os = "linux")]
fn notify() {
    assert_column("notify", |case| case.notify);
}

#[test]
fn poll() {
    assert_column("poll", |case| case.poll);
}

/// The rule for all, in the table itself.
#[test]
fn no_column_has_a_push_too_few() {
    for case in CASES {
        for outcome in [case.notify, case.poll] {
            assert!(case.inotify == Nothing || outcome != Nothing, "{}", case.name);
        }
    }
}
