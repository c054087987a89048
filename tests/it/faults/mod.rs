//! What goes wrong around a daemon that is to run for years: the receiver, the Maildirs, the map
//! file, the kernel's queue and the kernel's limits.

mod argon;
mod limit;
mod links;
mod maildir;
mod map_file;
mod overflow;
mod receiver;
mod unreadable;

use std::collections::BTreeMap;

use crate::support::{Daemon, Maildir, Site};

/// Users by name, each with an empty Maildir.
type Users = BTreeMap<String, Maildir>;

/// Makes so many users, `user-000@example.org` and on.
fn make_users(site: &Site, count: usize) -> Users {
    make_users_of(site, "example.org", count)
}

fn make_users_of(site: &Site, domain: &str, count: usize) -> Users {
    (0..count)
        .map(|number| {
            let user = format!("user-{number:03}@{domain}");
            let maildir = site.maildir(&user);
            (user, maildir)
        })
        .collect()
}

fn names(users: &Users) -> impl Iterator<Item = &str> {
    users.keys().map(String::as_str)
}

/// One message for everybody.
fn deliver_to_all(users: &Users) {
    for maildir in users.values() {
        maildir.deliver();
    }
}

/// Shows, while the receiver takes nothing, that the daemon has dealt with all that was done.
///
/// It is a [`Fence`](crate::support::Fence) whose pushes are seen in the log and not as
/// datagrams: round by round a message for a user of its own.
struct Marker {
    maildir: Maildir,
}

impl Marker {
    const USER: &'static str = "marker@fence.test";

    /// Makes the marker's user. To be called before the daemon starts.
    fn new(site: &Site) -> Self {
        Self { maildir: site.maildir(Self::USER) }
    }

    /// Waits until every push for new mail that came so far waits for the receiver. The marker's
    /// own push then waits, too.
    #[track_caller]
    fn wait_until_all_wait(&self, daemon: &Daemon) {
        let waits = format!("the push of {} waits for the receiver", Self::USER);
        for _ in 0..2 {
            let mark = daemon.log_mark();
            self.maildir.deliver();
            daemon.wait_log_since(mark, &waits);
        }
    }
}
