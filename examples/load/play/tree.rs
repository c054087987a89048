//! The mailboxes: their users' names, where they are, and how they are made.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::mailbox::Mailbox;

const DOMAIN: &str = "example.org";
/// Letters of the alphabet, of which a name has two before its number.
const LETTERS: usize = 26;

/// `ROOT/example.org/aq/aq000042/Maildir` and so on, for users from number 0 on.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    users: usize,
}

impl Tree {
    /// The tree of so many users below `root`, whether it is there or not.
    pub(crate) fn new(root: impl Into<PathBuf>, users: usize) -> Self {
        Self { root: root.into(), users }
    }

    /// The tree that is there.
    pub(crate) fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let mut users = 0;
        for folder in fs::read_dir(root.join(DOMAIN))? {
            for user in fs::read_dir(folder?.path())? {
                let name = format!("{}@{DOMAIN}", user?.file_name().to_string_lossy());
                users += usize::from(Self::number(&name).is_some());
            }
        }
        Ok(Self { root, users })
    }

    pub(crate) const fn users(&self) -> usize {
        self.users
    }

    /// The configuration's `mail-location`.
    pub(crate) fn mail_location(&self) -> String {
        format!("maildir:{}/%d/%2n/%n/Maildir", self.root.display())
    }

    /// A user's name. The letters go round, so that no folder above the users' holds many.
    pub(crate) fn name(user: usize) -> String {
        format!("{}{user:06}@{DOMAIN}", letters(user))
    }

    /// The user who has this name.
    pub(crate) fn number(name: &str) -> Option<usize> {
        let user = name.split('@').next()?.get(2..)?.parse().ok()?;
        (Self::name(user) == name).then_some(user)
    }

    pub(crate) fn path(&self, user: usize) -> PathBuf {
        let name = Self::name(user);
        let local = name.split('@').next().unwrap_or_default();
        let mut path = self.root.join(DOMAIN);
        path.extend([&local[..2], local, "Maildir"]);
        path
    }

    pub(crate) fn mailbox(&self, user: usize) -> Mailbox {
        Mailbox::at(self.path(user))
    }

    /// Makes what is not there yet, each new mailbox with some messages, of which every other was read, and counts the mailboxes.
    pub(crate) fn make(&self, threads: usize, messages: usize, made: &AtomicUsize) -> io::Result<()> {
        for folder in 0..self.users.min(LETTERS * LETTERS) {
            fs::create_dir_all(self.root.join(DOMAIN).join(letters(folder)))?;
        }
        let each = self.users.div_ceil(threads.max(1)).max(1);
        thread::scope(|scope| {
            let makers: Vec<_> = (0..self.users)
                .step_by(each)
                .map(|first| {
                    scope.spawn(move || self.make_some(first..(first + each).min(self.users), messages, made))
                })
                .collect();
            makers.into_iter().try_for_each(|maker| match maker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn make_some(
        &self,
        users: std::ops::Range<usize>,
        messages: usize,
        made: &AtomicUsize,
    ) -> io::Result<()> {
        for user in users {
            let maildir = self.path(user);
            if let Some(folder) = maildir.parent() {
                make_dir(folder)?;
            }
            make_dir(&maildir)?;
            make_dir(&maildir.join("tmp"))?;
            make_dir(&maildir.join("new"))?;
            if make_dir(&maildir.join("cur"))? {
                let mailbox = self.mailbox(user);
                (0..messages).try_for_each(|number| mailbox.fill(["S", ""][number % 2]))?;
            }
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn letters(user: usize) -> String {
    let letter = |number: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[number % LETTERS]);
    [letter(user / LETTERS), letter(user)].iter().collect()
}

/// Was it made, and not there before?
fn make_dir(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
