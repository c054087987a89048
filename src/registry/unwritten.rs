//! Registrations that the disk has not taken yet: in memory, where look-ups find them, and in a spill file in the runtime
//! directory, where the next start does.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::{DeviceToken, Key, NewRegistration, Timestamp};
use crate::mailbox::Username;

/// So many are kept at most; about 50 MB. More clients than that do not come in an outage, but a hostile one might.
const MOST: usize = 100_000;
/// A device that comes again and again adds a line each time. The file has at most twice the lines that are needed, and so many.
const SPARE_LINES: usize = 10_000;

/// The set of them. What the file has is what the map has, or had a moment ago.
#[derive(Debug)]
pub struct Unwritten {
    path: PathBuf,
    devices_per_user: usize,
    file: Option<File>,
    /// Lines in the file.
    lines: usize,
    /// Is there anything in memory that the file does not have?
    is_behind: bool,
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
    pub fn open(path: &Path, devices_per_user: usize) -> Self {
        let mut unwritten = Self {
            path: path.to_owned(),
            devices_per_user,
            file: None,
            lines: 0,
            is_behind: false,
            by_user: HashMap::new(),
            count: 0,
        };
        match fs::read(path) {
            Ok(bytes) => {
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    unwritten.lines += 1;
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

    /// At the end of the process: tells what the next one finds, and what nobody does.
    pub fn tell_at_the_end(&mut self) {
        if self.is_empty() {
            return;
        }
        let (count, path) = (self.count, self.path.display().to_string());
        let is_kept = !self.is_behind || self.rewrite().is_ok();
        if is_kept {
            warn!(
                count,
                "registrations that the disk did not take wait in `{path}` for the next start: {count}"
            );
        } else {
            let hint = "these phones come back within a day if they are used";
            error!(
                count,
                hint,
                "registrations are lost, for neither the registry nor `{path}` can be written: {count}; hint: {hint}"
            );
        }
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
        let written = self.append(&line).and_then(|()| {
            let is_long = self.lines > 2 * self.count + SPARE_LINES;
            if self.is_behind || is_long { self.rewrite() } else { Ok(()) }
        });
        if written.is_err() {
            self.file = None;
            self.is_behind = true;
        }
        written.map(|()| true)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open_to_append(&self.path)?),
        };
        file.write_all(line)?;
        self.lines += 1;
        Ok(())
    }

    /// Puts a file in the place of the old one that has all there is, once.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut writer = BufWriter::new(file);
        let written =
            self.iter().try_for_each(|it| writer.write_all(&line(it))).and_then(|()| writer.flush());
        if let Err(error) = written.and_then(|()| fs::rename(&new, &self.path)) {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        self.file = None;
        self.lines = self.count;
        self.is_behind = false;
        Ok(())
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
            self.lines = 0;
            self.is_behind = false;
            self.by_user = HashMap::new();
            if let Err(error) = fs::remove_file(&self.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, "the spill file `{}` cannot be removed: {error}", self.path.display());
            }
        }
    }

    fn insert(&mut self, new: NewRegistration) -> bool {
        let of_user = self.by_user.get_mut(&new.key.user);
        let number = of_user.as_ref().map_or(0, |of_user| of_user.len());
        match of_user.and_then(|of_user| of_user.iter_mut().find(|old| old.key == new.key)) {
            Some(old) if old.at <= new.at => *old = new,
            Some(_) => {}
            // Nothing is left behind of one that is not taken, not even the name of its user.
            None if self.count >= MOST || number >= self.devices_per_user => return false,
            None => {
                self.by_user.entry(new.key.user.clone()).or_default().push(new);
                self.count += 1;
            }
        }
        true
    }
}

/// A process that was killed, or a full disk, may have left half a line: the next one begins after it.
fn open_to_append(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
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
        let mut unwritten = Unwritten::open(&path, 8);
        for it in [new("a", 1), new("b", 2), new("a", 3)] {
            assert!(unwritten.keep(it).expect("written"));
        }
        // The process dies in the middle of a line.
        let file = OpenOptions::new().append(true).open(&path);
        file.expect("there").write_all(b"{\"user\":\"c\"").expect("written");

        let mut next = Unwritten::open(&path, 8);
        assert_eq!(next.len(), 2);
        // And the one after it finds what this one keeps after that.
        assert!(next.keep(new("d", 4)).expect("written"));
        assert_eq!(Unwritten::open(&path, 8).len(), 3);
        next.written([(&new("d", 4).key, Timestamp(4))].into_iter());
        assert_eq!(next.of_user(&Username::new("a").expect("a name")), [new("a", 3)]);
        next.written([(&new("b", 2).key, Timestamp(2)), (&new("a", 0).key, Timestamp(1))].into_iter());
        assert_eq!(next.len(), 1, "an older one of the same device was written, and this one waits");
        next.written([(&new("a", 3).key, Timestamp(3))].into_iter());
        assert!(next.is_empty() && !path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_nothing_but_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("later").join("spill");
        let mut unwritten = Unwritten::open(&path, 8);
        assert!(unwritten.keep(new("a", 1)).is_err());
        assert_eq!(unwritten.len(), 1);
        // As soon as there is a file, it has what came before as well.
        fs::create_dir(dir.path().join("later")).expect("a folder");
        assert!(unwritten.keep(new("b", 2)).expect("written"));
        assert_eq!(Unwritten::open(&path, 8).len(), 2);
    }

    #[test]
    fn a_device_that_comes_back_again_and_again_does_not_fill_the_runtime_directory() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("spill");
        let mut unwritten = Unwritten::open(&path, 8);
        for at in 0..3 * SPARE_LINES {
            assert!(unwritten.keep(new("a", i64::try_from(at).expect("few"))).expect("written"));
        }
        let lines = fs::read(&path).expect("there").iter().filter(|byte| **byte == b'\n').count();
        assert!(lines <= SPARE_LINES + 4, "{lines} lines");
        let next = Unwritten::open(&path, 8);
        assert_eq!(next.iter().map(|it| it.at.0).collect::<Vec<_>>(), [3 * 10_000 - 1]);
    }

    #[test]
    fn one_user_does_not_take_the_place_of_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut unwritten = Unwritten::open(&dir.path().join("spill"), 2);
        let token = |token: &str| {
            let mut it = new("a", 1);
            it.key.token = token.parse().expect("digits");
            it
        };
        for (it, is_kept) in [("aa", true), ("bb", true), ("cc", false), ("aa", true)] {
            assert_eq!(unwritten.keep(token(it)).expect("written"), is_kept);
        }
        assert!(unwritten.keep(new("b", 1)).expect("written"));
        assert_eq!(unwritten.len(), 3);
    }
}
