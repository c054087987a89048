//! The users, their Maildirs, and deliveries to them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::Result;

const MESSAGE: &str = "Subject: a benchmark\n\nHello\n";

/// The Maildirs of one rival; each has its own, so that a delivery wakes nobody else.
pub(crate) struct Maildirs {
    root: PathBuf,
    users: usize,
    /// Numbers the messages, so that no name comes twice.
    delivered: usize,
}

/// A message that lies in `tmp/` and needs only its rename.
pub(crate) struct Ready {
    from: PathBuf,
    to: PathBuf,
}

impl Ready {
    /// Delivers the message. Returns the instant before: the datagram may well arrive before rename(2) returns.
    pub(crate) fn deliver(&self) -> Result<Instant> {
        let before = Instant::now();
        fs::rename(&self.from, &self.to)?;
        Ok(before)
    }
}

impl Maildirs {
    pub(crate) fn create(root: PathBuf, users: usize) -> Result<Self> {
        for user in 0..users {
            for part in ["tmp", "new", "cur"] {
                fs::create_dir_all(root.join(user_name(user)).join(part))?;
            }
        }
        Ok(Self { root, users, delivered: 0 })
    }

    pub(crate) fn users(&self) -> usize {
        self.users
    }

    /// The map: a line `user: /path` for each user. Both pushmaild and the C program read it.
    pub(crate) fn write_map(&self, to: &Path) -> Result<()> {
        let line = |user| format!("{}: {}\n", user_name(user), self.maildir(user).display());
        Ok(fs::write(to, (0..self.users).map(line).collect::<String>())?)
    }

    /// The paths of all `new/`, one a line, as `inotifywait --fromfile` reads them.
    pub(crate) fn write_list(&self, to: &Path) -> Result<()> {
        let line = |user| format!("{}\n", self.maildir(user).join("new").display());
        Ok(fs::write(to, (0..self.users).map(line).collect::<String>())?)
    }

    /// Writes a message for a user into `tmp/`.
    pub(crate) fn write_message(&mut self, user: usize) -> Result<Ready> {
        let ready = self.next(user);
        fs::write(&ready.from, MESSAGE)?;
        Ok(ready)
    }

    /// Makes a message for each of `users`. They are links to one file a user, which are made and removed faster
    /// than files; to those who watch the directories a rename is a rename.
    pub(crate) fn link_messages(&mut self, users: &[usize]) -> Result<Vec<Ready>> {
        for user in 0..self.users {
            fs::write(self.maildir(user).join("tmp/source"), MESSAGE)?;
        }
        let mut messages = Vec::with_capacity(users.len());
        for &user in users {
            let ready = self.next(user);
            fs::hard_link(self.maildir(user).join("tmp/source"), &ready.from)?;
            messages.push(ready);
        }
        Ok(messages)
    }

    fn next(&mut self, user: usize) -> Ready {
        self.delivered += 1;
        let name = format!("1700000000.M{}P1.bench", self.delivered);
        let maildir = self.maildir(user);
        Ready { from: maildir.join("tmp").join(&name), to: maildir.join("new").join(&name) }
    }

    fn maildir(&self, user: usize) -> PathBuf {
        self.root.join(user_name(user))
    }
}

/// The name of a user, and of the Maildir.
fn user_name(user: usize) -> String {
    format!("user{user:05}")
}

/// The user whom an osx-10.8 record of type notify names. Each byte of the record is checked, so that no rival is
/// fast by sending less.
pub(crate) fn user_of(record: &[u8]) -> Result<usize> {
    let name =
        record.get(16..144).and_then(|field| field.split(|&byte| byte == 0).next()).unwrap_or_default();
    let padding = || record[1..16].iter().chain(&record[16 + name.len()..]);
    Some(name)
        .filter(|_| record.len() == 1680 && record[0] == b'3' && padding().all(|&byte| byte == 0))
        .and_then(|name| std::str::from_utf8(name).ok()?.strip_prefix("user")?.parse().ok())
        .ok_or_else(|| format!("no osx-10.8 record for one of our users: {} bytes", record.len()).into())
}
