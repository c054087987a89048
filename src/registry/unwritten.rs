//! Registrations that the disk has not taken yet: in memory, where look-ups find them, and in a spill file in the runtime
//! directory, where the next start does.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{DeviceToken, Key, NewRegistration, Timestamp};
use crate::mailbox::Username;

/// So many are kept at most; about 50 MB. More clients than that do not come in an outage, but a hostile one might.
const MOST: usize = 100_000;

/// The set of them. What the file has is what the map has, or had a moment ago.
#[derive(Debug)]
pub struct Unwritten {
    path: PathBuf,
    file: Option<File>,
    by_user: HashMap<Username, Vec<NewRegistration>>,
    count: usize,
}

/// One line of the spill file.
#[derive(Serialize, Deserialize)]
struct Line {
    user: String,
    token: String,
    account: String,
    subtopic: String,
    topic: Option<String>,
    mailboxes: Vec<String>,
    acknowledged: Vec<String>,
    at: Timestamp,
}

impl Unwritten {
    /// Takes up what a process before this one left in the spill file.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let mut unwritten = Self { path: path.to_owned(), file: None, by_user: HashMap::new(), count: 0 };
        match fs::read(path) {
            Ok(bytes) => {
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    match parse(line) {
                        Some(new) => {
                            unwritten.insert(new);
                        }
                        // The last line of a process that was killed, or of a full disk.
                        None => warn!(
                            "a line of the spill file `{}` cannot be read and is left out",
                            path.display()
                        ),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(%error, "the spill file `{}` cannot be read: {error}", path.display()),
        }
        unwritten
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those of one user.
    #[must_use]
    pub fn of_user(&self, user: &Username) -> &[NewRegistration] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NewRegistration> {
        self.by_user.values().flatten()
    }

    /// Keeps one more. False if there are too many.
    ///
    /// # Errors
    /// If the spill file cannot be written: it is in memory all the same.
    pub fn keep(&mut self, new: NewRegistration) -> io::Result<bool> {
        let line = line(&new);
        if !self.insert(new) {
            return Ok(false);
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?),
        };
        file.write_all(&line)?;
        Ok(true)
    }

    /// These are on disk now, or never will be. When none is left, the spill file goes.
    pub fn written<'a>(&mut self, written: impl Iterator<Item = (&'a Key, Timestamp)>) {
        if self.is_empty() {
            return;
        }
        for (key, at) in written {
            if let Some(of_user) = self.by_user.get_mut(&key.user) {
                let before = of_user.len();
                of_user.retain(|new| new.key != *key || new.at > at);
                self.count -= before - of_user.len();
                if of_user.is_empty() {
                    self.by_user.remove(&key.user);
                }
            }
        }
        if self.is_empty() {
            self.file = None;
            self.by_user = HashMap::new();
            if let Err(error) = fs::remove_file(&self.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, "the spill file `{}` cannot be removed: {error}", self.path.display());
            }
        }
    }

    fn insert(&mut self, new: NewRegistration) -> bool {
        let of_user = self.by_user.entry(new.key.user.clone()).or_default();
        match of_user.iter_mut().find(|old| old.key == new.key) {
            Some(old) if old.at <= new.at => *old = new,
            Some(_) => {}
            None if self.count >= MOST => return false,
            None => {
                of_user.push(new);
                self.count += 1;
            }
        }
        true
    }
}

fn line(new: &NewRegistration) -> Vec<u8> {
    let line = Line {
        user: new.key.user.to_string(),
        token: new.key.token.to_hex(),
        account: new.key.account.to_string(),
        subtopic: new.subtopic.clone(),
        topic: new.topic.as_ref().map(ToString::to_string),
        mailboxes: new.mailboxes.clone(),
        acknowledged: new.acknowledged.clone(),
        at: new.at,
    };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn parse(line: &[u8]) -> Option<NewRegistration> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let token: DeviceToken = line.token.parse().ok()?;
    let topic = match line.topic {
        Some(topic) => Some(topic.parse().ok()?),
        None => None,
    };
    Some(NewRegistration {
        key: Key { user: Username::new(&line.user).ok()?, token, account: line.account.parse().ok()? },
        subtopic: line.subtopic,
        topic,
        mailboxes: line.mailboxes,
        acknowledged: line.acknowledged,
        at: line.at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(user: &str, at: i64) -> NewRegistration {
        NewRegistration {
            key: Key {
                user: Username::new(user).expect("a name"),
                token: "abcd".parse().expect("digits"),
                account: "id".parse().expect("an id"),
            },
            subtopic: "com.apple.mobilemail".to_owned(),
            topic: "a.topic".parse().ok(),
            mailboxes: vec!["INBOX".to_owned(), "é\n".to_owned()],
            acknowledged: Vec::new(),
            at: Timestamp(at),
        }
    }

    #[test]
    fn the_next_process_finds_what_this_one_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("spill");
        let mut unwritten = Unwritten::open(&path);
        for it in [new("a", 1), new("b", 2), new("a", 3)] {
            assert!(unwritten.keep(it).expect("written"));
        }
        // The process dies in the middle of a line.
        let file = OpenOptions::new().append(true).open(&path);
        file.expect("there").write_all(b"{\"user\":\"c\"").expect("written");

        let mut next = Unwritten::open(&path);
        assert_eq!(next.len(), 2);
        assert_eq!(next.of_user(&Username::new("a").expect("a name")), [new("a", 3)]);
        next.written([(&new("b", 2).key, Timestamp(2)), (&new("a", 0).key, Timestamp(1))].into_iter());
        assert_eq!(next.len(), 1, "an older one of the same device was written, and this one waits");
        next.written([(&new("a", 3).key, Timestamp(3))].into_iter());
        assert!(next.is_empty() && !path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_nothing_but_the_file() {
        let mut unwritten = Unwritten::open(Path::new("/nonexistent/spill"));
        assert!(unwritten.keep(new("a", 1)).is_err());
        assert_eq!(unwritten.len(), 1);
    }
}
