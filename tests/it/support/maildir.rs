//! Maildirs changed without a server: what MDAs, mail readers and administrators do to the files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const MESSAGE: &str = "From: sender@example.com\n\
    Subject: hello\n\
    \n\
    Hello.\n";

/// A Maildir, or the place for one.
///
/// A message is named by its unique name, the part before `:2,`, which stays the same while the
/// message moves from `new/` to `cur/` and changes its flags.
#[derive(Clone, Debug)]
pub(crate) struct Maildir {
    root: PathBuf,
}

impl Maildir {
    /// Makes `tmp`, `new` and `cur`, and the directories above them, in the order of Dovecot.
    pub(crate) fn create(root: impl Into<PathBuf>) -> Self {
        let maildir = Self::at(root);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.root.join(part)).expect("a Maildir can be made");
        }
        maildir
    }

    /// Names a Maildir that something else makes, or has made.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the Maildir, such as `cur`.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Makes `new` and `cur` look as if nothing had happened in them for an hour.
    ///
    /// A directory that changed just before a look may have changed just after it as well, with
    /// the same mtime, and the daemon gives the user the benefit of that doubt.
    pub(crate) fn age(&self) {
        let past = SystemTime::now() - Duration::from_secs(3600);
        for part in ["new", "cur"] {
            let folder = File::open(self.path(part)).expect("a folder can be opened");
            folder.set_modified(past).expect("the owner may set the time");
        }
    }

    /// Removes the Maildir with all that is in it.
    pub(crate) fn remove(&self) {
        fs::remove_dir_all(&self.root).expect("the Maildir can be removed");
    }

    /// Delivers as Dovecot, Postfix and Exim do: written in `tmp/`, renamed into `new/`.
    pub(crate) fn deliver(&self) -> String {
        let unique = self.write_tmp();
        self.rename(&format!("tmp/{unique}"), &format!("new/{unique}"));
        unique
    }

    /// Delivers as qmail, procmail and maildrop do: linked into `new/`, then removed from `tmp/`.
    pub(crate) fn deliver_by_link(&self) -> String {
        let unique = self.write_tmp();
        let tmp = self.path("tmp").join(&unique);
        fs::hard_link(&tmp, self.path("new").join(&unique)).expect("a message can be linked");
        fs::remove_file(tmp).expect("a message can be removed");
        unique
    }

    /// Puts a message straight into `cur/`, as an IMAP APPEND or a filter that sets flags does.
    /// `flags` are Maildir's letters: `""`, `"S"`, `"FS"`.
    pub(crate) fn deliver_into_cur(&self, flags: &str) -> String {
        let unique = self.write_tmp();
        self.rename(&format!("tmp/{unique}"), &format!("cur/{unique}:2,{flags}"));
        unique
    }

    /// The same by link(2).
    pub(crate) fn deliver_into_cur_by_link(&self, flags: &str) -> String {
        let unique = self.write_tmp();
        let tmp = self.path("tmp").join(&unique);
        let cur = self.path("cur").join(format!("{unique}:2,{flags}"));
        fs::hard_link(&tmp, cur).expect("a message can be linked");
        fs::remove_file(tmp).expect("a message can be removed");
        unique
    }

    /// Moves all of `new/` to `cur/`, without flags: what any client does when it opens the
    /// mailbox, before it reads anything.
    pub(crate) fn open_mailbox(&self) {
        for name in self.names("new") {
            self.rename(&format!("new/{name}"), &format!("cur/{name}:2,"));
        }
    }

    /// Gives a message, wherever it is, exactly these flags. One in `new/` moves to `cur/`.
    pub(crate) fn set_flags(&self, unique: &str, flags: &str) {
        let path = self.find(unique);
        let renamed = self.path("cur").join(format!("{unique}:2,{flags}"));
        fs::rename(path, renamed).expect("a message can be renamed");
    }

    /// Removes a message, wherever it is.
    pub(crate) fn expunge(&self, unique: &str) {
        fs::remove_file(self.find(unique)).expect("a message can be removed");
    }

    /// Moves a message, under the name it has, into the `cur/` of another Maildir.
    pub(crate) fn move_to(&self, unique: &str, other: &Self) {
        let path = self.find(unique);
        let name = path.file_name().expect("a message has a name");
        fs::rename(&path, other.path("cur").join(name)).expect("a message can be moved");
    }

    /// Where a message is now.
    #[track_caller]
    pub(crate) fn find(&self, unique: &str) -> PathBuf {
        let is_it = |name: &String| name.split(":2,").next() == Some(unique);
        ["new", "cur"]
            .into_iter()
            .find_map(|part| {
                let name = self.names(part).into_iter().find(is_it)?;
                Some(self.path(part).join(name))
            })
            .unwrap_or_else(|| panic!("no message {unique} in {}", self.root.display()))
    }

    /// The names in `new`, `cur` or `tmp`, sorted.
    pub(crate) fn names(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(part)).expect("the Maildir can be read");
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("the Maildir can be read").file_name();
                name.into_string().expect("names of messages are ASCII")
            })
            .collect();
        names.sort();
        names
    }

    fn write_tmp(&self) -> String {
        let unique = unique_name();
        fs::write(self.path("tmp").join(&unique), MESSAGE).expect("a message can be written");
        unique
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("a message can be renamed");
    }
}

/// A unique name in the form that maildir(5) recommends, without the clock: a counter is enough.
fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("1700000000.M{count:06}P{}.test", process::id())
}
