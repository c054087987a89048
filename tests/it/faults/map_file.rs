//! The map file while somebody writes it, badly or well. Whatever happens to it, a user who was in
//! the map goes on to be pushed until a whole and valid file says otherwise.

use std::{fs, os::unix::fs::symlink};

use crate::support::{Config, Fence, Maildir, Receiver, Site};

const A: &str = "a@example.org";
const B: &str = "b@example.org";
const C: &str = "c@example.org";

/// A site with a map file, whose Maildirs lie outside the template of the fence.
struct Mapped {
    site: Site,
    fence: Fence,
    receiver: Receiver,
}

impl Mapped {
    fn new() -> Self {
        let site = Site::new();
        let (fence, receiver) = (Fence::new(&site), site.receiver());
        Self { site, fence, receiver }
    }

    fn config(&self) -> Config {
        self.site.config().set("mailboxes.map-file", "users").set("watch.sweep-interval", "off")
    }

    fn maildir(&self, name: &str) -> Maildir {
        Maildir::create(self.site.path("mail").join(name))
    }

    /// The file's lines for these users and Maildirs.
    fn lines(users: &[(&str, &Maildir)]) -> String {
        users.iter().map(|(user, maildir)| format!("{user}: {}\n", maildir.root().display())).collect()
    }

    /// Writes the file in place, as an editor without care or a shell's `>` does.
    fn write(&self, text: &str) {
        fs::write(self.site.path("users"), text).expect("the map file can be written");
    }

    #[track_caller]
    fn assert_pushed(&self, users: &[(&str, &Maildir)]) {
        for (user, maildir) in users {
            maildir.deliver();
            self.receiver.expect(user);
        }
        self.fence.assert_silent(&self.receiver);
    }
}

#[test]
fn a_half_written_file_takes_nobody_out_of_the_map() {
    let mapped = Mapped::new();
    let (a, b, c) = (mapped.maildir("a"), mapped.maildir("b"), mapped.maildir("c"));
    let old = Mapped::lines(&[(A, &a), (B, &b)]);
    let new = Mapped::lines(&[(A, &a), (B, &b), (C, &c)]);
    mapped.write(&old);
    let daemon = mapped.site.start(&mapped.config());

    // First nothing is there, then a half of B's line with a path that might well be one.
    for half in ["", &new[..old.len() - 2]] {
        let mark = daemon.log_mark();
        mapped.write(half);
        let line = daemon.wait_log_since(mark, "as if half written");
        assert!(line.contains("the old map stays"), "{line}");
        mapped.assert_pushed(&[(A, &a), (B, &b)]);
    }

    c.deliver();
    mapped.write(&new);
    mapped.receiver.expect(C);
    mapped.fence.after_changes(&mapped.receiver);
    mapped.assert_pushed(&[(A, &a), (B, &b), (C, &c)]);
}

#[test]
fn a_bad_line_keeps_the_old_map() {
    let mapped = Mapped::new();
    let (a, b) = (mapped.maildir("a"), mapped.maildir("b"));
    mapped.write(&Mapped::lines(&[(A, &a)]));
    let daemon = mapped.site.start(&mapped.config());

    mapped.write(&format!("{}b@example.org {}\n", Mapped::lines(&[(A, &a)]), b.root().display()));
    let line = daemon.wait_log("the old one stays");
    let place = format!("{}:2:1: ", mapped.site.path("users").display());
    assert!(line.contains(&place), "the log says where: {line}");
    assert!(line.contains("ERROR") && line.contains("hint: "), "and what to do: {line}");
    b.deliver();
    mapped.assert_pushed(&[(A, &a)]);

    mapped.write(&Mapped::lines(&[(A, &a), (B, &b)]));
    mapped.receiver.expect(B);
    mapped.fence.after_changes(&mapped.receiver);
    mapped.assert_pushed(&[(A, &a), (B, &b)]);
}

#[test]
fn a_file_replaced_by_rename_is_read() {
    let mapped = Mapped::new();
    let (a, b) = (mapped.maildir("a"), mapped.maildir("b"));
    mapped.write(&Mapped::lines(&[(A, &a)]));
    let _daemon = mapped.site.start(&mapped.config());

    b.deliver();
    let beside = mapped.site.path("users.new");
    fs::write(&beside, Mapped::lines(&[(A, &a), (B, &b)])).expect("a file can be written");
    fs::rename(&beside, mapped.site.path("users")).expect("a file can be renamed");
    mapped.receiver.expect(B);
    mapped.fence.after_changes(&mapped.receiver);
    mapped.assert_pushed(&[(A, &a), (B, &b)]);
}

/// The file that is named may be a link to one that is written elsewhere.
#[test]
fn a_file_behind_a_link_is_followed() {
    let mapped = Mapped::new();
    let (a, b) = (mapped.maildir("a"), mapped.maildir("b"));
    let elsewhere = mapped.site.path("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    fs::write(elsewhere.join("real"), Mapped::lines(&[(A, &a)])).expect("the map file can be written");
    symlink(elsewhere.join("real"), mapped.site.path("users")).expect("a link");
    let daemon = mapped.site.start(&mapped.config());

    fs::write(elsewhere.join("real"), Mapped::lines(&[(A, &a), (B, &b)]))
        .expect("the map file can be written");
    daemon.wait_log("the map of mailboxes has changed");
    mapped.assert_pushed(&[(A, &a), (B, &b)]);
}

#[test]
fn a_file_that_is_gone_for_a_while_keeps_the_old_map() {
    let mapped = Mapped::new();
    let (a, b) = (mapped.maildir("a"), mapped.maildir("b"));
    mapped.write(&Mapped::lines(&[(A, &a)]));
    let daemon = mapped.site.start(&mapped.config());

    fs::remove_file(mapped.site.path("users")).expect("the map file can be removed");
    daemon.wait_log("the map of mailboxes cannot be read; the old one stays");
    mapped.assert_pushed(&[(A, &a)]);

    b.deliver();
    mapped.write(&Mapped::lines(&[(B, &b)]));
    mapped.receiver.expect(B);
    mapped.fence.after_changes(&mapped.receiver);
    // A is not in the new file.
    a.deliver();
    mapped.fence.assert_silent(&mapped.receiver);
    mapped.assert_pushed(&[(B, &b)]);
}

#[test]
fn each_distinct_name_of_a_maildir_gets_a_datagram() {
    let mapped = Mapped::new();
    let a = mapped.maildir("a");
    // Once more under the same name, and once with capitals that username-format makes small.
    mapped.write(&Mapped::lines(&[(A, &a), (B, &a), (A, &a), ("B@Example.org", &a)]));
    let daemon = mapped.site.start(&mapped.config());
    a.deliver();
    mapped.receiver.expect_set([A, B]);
    mapped.fence.assert_silent(&mapped.receiver);

    mapped.write(&Mapped::lines(&[(A, &a), (C, &a)]));
    daemon.wait_log("the map of mailboxes has changed");
    a.deliver();
    mapped.receiver.expect_set([A, C]);
    mapped.fence.assert_silent(&mapped.receiver);
}

#[test]
fn a_user_moves_to_another_maildir() {
    let mapped = Mapped::new();
    let (old, new) = (mapped.maildir("old"), mapped.maildir("new"));
    new.deliver();
    mapped.write(&Mapped::lines(&[(A, &old)]));
    let _daemon = mapped.site.start(&mapped.config());
    mapped.assert_pushed(&[(A, &old)]);

    mapped.write(&Mapped::lines(&[(A, &new)]));
    // The phone has another mailbox to look at.
    mapped.receiver.expect(A);
    mapped.fence.after_changes(&mapped.receiver);
    old.deliver();
    mapped.fence.assert_silent(&mapped.receiver);
    mapped.assert_pushed(&[(A, &new)]);
}

/// Two users change places, so that each name and each Maildir is in the map all the time.
#[test]
fn users_exchange_their_maildirs() {
    let mapped = Mapped::new();
    let (one, two) = (mapped.maildir("one"), mapped.maildir("two"));
    mapped.write(&Mapped::lines(&[(A, &one), (B, &two)]));
    let daemon = mapped.site.start(&mapped.config());
    mapped.assert_pushed(&[(A, &one), (B, &two)]);

    mapped.write(&Mapped::lines(&[(A, &two), (B, &one)]));
    daemon.wait_log("the map of mailboxes has changed");
    mapped.fence.after_changes(&mapped.receiver);
    mapped.assert_pushed(&[(A, &two), (B, &one)]);
}
