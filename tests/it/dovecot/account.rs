//! Who the test's Dovecot runs as.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// An unprivileged account, with the names that Dovecot's configuration wants.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) group: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The account of the test itself, or `nobody` for root: Dovecot refuses to handle mail, and
    /// to take logins, as root.
    pub(super) fn unprivileged() -> Self {
        let of: &[&str] = if rustix::process::geteuid().is_root() { &["nobody"] } else { &[] };
        let number = |option| id(option, of).parse().expect("ids are numbers");
        Self { user: id("-un", of), group: id("-gn", of), uid: number("-u"), gid: number("-g") }
    }

    /// Makes a file or directory the account's own.
    pub(super) fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("own files can be given away by root");
    }
}

/// What id(1) answers. Names of users are not worth a dependency.
fn id(option: &str, of: &[&str]) -> String {
    let output = Command::new("id").arg(option).args(of).output();
    let output = output.expect("id(1) can be run");
    assert!(output.status.success(), "id {option} {of:?}: {output:?}");
    let name = String::from_utf8(output.stdout).expect("names are UTF-8");
    name.trim().to_owned()
}
