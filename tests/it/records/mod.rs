//! What everybody has been told of, kept on a disk that may fail, for mailboxes that come and go: after the last change there is a push,
//! whenever the daemon was not there.

mod catch_up;
mod databases;
mod disks;
mod mailboxes;
mod pending;

use std::collections::BTreeSet;
use std::path::Path;

use pushmaild::registry::{Store, sqlite::SqliteStore};
use rustix::process::Signal;

use crate::support::{Config, Daemon, Maildir, Site, eventually};

const DATABASE: &str = "registry.db";

/// With the database in the site, and without the sweep: what is told is told by an event or a record.
fn config(site: &Site) -> Config {
    site.config().set("registry.url", "sqlite:registry.db").set("watch.sweep-interval", "off")
}

/// A mailbox with a message that came long ago and was opened.
fn old_mailbox(site: &Site, user: &str) -> (Maildir, String) {
    let maildir = site.maildir(user);
    let message = maildir.deliver_into_cur("");
    maildir.age();
    (maildir, message)
}

/// The Maildirs with a record for which `counts` says yes. None if the database cannot be read or has never had records.
pub(crate) fn recorded(database: &Path, counts: impl Fn(bool) -> bool) -> Option<BTreeSet<Vec<u8>>> {
    let mut store = SqliteStore::open_read_only(database).ok()?;
    let mut maildirs = BTreeSet::new();
    let are_kept = store
        .records(&mut |maildir, stamps| {
            let is_told = stamps.iter().all(|stamp| stamp.is_some_and(|stamp| !stamp.is_racy()));
            if counts(is_told) {
                maildirs.insert(maildir.to_owned());
            }
        })
        .ok()?;
    are_kept.then_some(maildirs)
}

/// Waits until the mailboxes have records that say that everything is told.
#[track_caller]
pub(crate) fn wait_recorded<'a>(database: &Path, maildirs: impl IntoIterator<Item = &'a Maildir>) {
    let maildirs: Vec<_> = maildirs.into_iter().map(|it| it.root().as_os_str().as_encoded_bytes()).collect();
    eventually("records", || {
        let found = recorded(database, |is_told| is_told)?;
        maildirs.iter().all(|maildir| found.contains(*maildir)).then_some(())
    });
}

/// Ends the daemon at once, and waits for its end.
fn kill(daemon: Daemon) {
    daemon.signal(Signal::KILL);
    drop(daemon);
}
