//! One user's Maildir and what Dovecot does in it. Nothing is remembered: what is there is looked up, so that it may be anybody's.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

const MESSAGE: &str = "From: sender@example.com\nSubject: hello\n\nHello.\n";

/// A message in `cur/`, by the parts of its file's name.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    name: String,
}

impl Message {
    /// The name without flags.
    fn base(&self) -> &str {
        self.name.split(":2,").next().unwrap_or_default()
    }

    fn flags(&self) -> &str {
        self.name.split_once(":2,").map_or("", |(_, flags)| flags)
    }

    pub(crate) fn has(&self, flag: char) -> bool {
        self.flags().contains(flag)
    }

    /// The file's name with this flag on or off. Flags are in the order of the alphabet.
    fn toggled(&self, flag: char) -> String {
        let mut flags: Vec<char> = self.flags().chars().filter(|&other| other != flag).collect();
        if !self.has(flag) {
            flags.push(flag);
        }
        flags.sort_unstable();
        format!("{}:2,{}", self.base(), String::from_iter(flags))
    }
}

/// A Maildir.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    path: PathBuf,
}

/// A message that lies in `tmp/` and needs one system call to be there.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    from: PathBuf,
    to: PathBuf,
}

impl Ready {
    /// As Dovecot, Postfix and Exim do.
    pub(crate) fn rename(&self) -> io::Result<()> {
        fs::rename(&self.from, &self.to)
    }

    /// As qmail, procmail and maildrop do; [`clean_up`](Self::clean_up) comes after it.
    pub(crate) fn link(&self) -> io::Result<()> {
        fs::hard_link(&self.from, &self.to)
    }

    pub(crate) fn clean_up(&self) -> io::Result<()> {
        fs::remove_file(&self.from)
    }
}

impl Mailbox {
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The messages in `cur/`.
    pub(crate) fn messages(&self) -> io::Result<Vec<Message>> {
        Ok(self.names("cur")?.into_iter().map(|name| Message { name }).collect())
    }

    /// How many are in `new/`.
    pub(crate) fn unopened(&self) -> io::Result<usize> {
        Ok(self.names("new")?.len())
    }

    /// Writes a message that is to come into `new/`.
    pub(crate) fn prepare(&self) -> io::Result<Ready> {
        let name = unique_name();
        let ready = Ready { from: self.path.join("tmp").join(&name), to: self.path.join("new").join(&name) };
        fs::write(&ready.from, MESSAGE)?;
        Ok(ready)
    }

    /// Links a message of another mailbox of the same file system, as a server copies, that is to come into `cur/` with its flags.
    pub(crate) fn prepare_copy(&self, message: &Message, of: &Self) -> io::Result<Ready> {
        let name = unique_name();
        let to = self.path.join("cur").join(format!("{name}:2,{}", message.flags()));
        let ready = Ready { from: self.path.join("tmp").join(name), to };
        fs::hard_link(of.file(message), &ready.from)?;
        Ok(ready)
    }

    /// Puts a message there that is to have been there always, with these flags.
    pub(super) fn fill(&self, flags: &str) -> io::Result<()> {
        fs::write(self.path.join("cur").join(format!("{}:2,{flags}", unique_name())), MESSAGE)
    }

    /// Moves all of `new/` to `cur/` without flags, as opening the mailbox does.
    pub(crate) fn open(&self) -> io::Result<()> {
        for name in self.names("new")? {
            fs::rename(self.path.join("new").join(&name), self.path.join("cur").join(format!("{name}:2,")))?;
        }
        Ok(())
    }

    /// Sets a flag of Maildir's, or takes it away.
    pub(crate) fn toggle(&self, message: &Message, flag: char) -> io::Result<()> {
        fs::rename(self.file(message), self.path.join("cur").join(message.toggled(flag)))
    }

    pub(crate) fn expunge(&self, message: &Message) -> io::Result<()> {
        fs::remove_file(self.file(message))
    }

    fn file(&self, message: &Message) -> PathBuf {
        self.path.join("cur").join(&message.name)
    }

    fn names(&self, part: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path.join(part))? {
            // Whatever has no name of ours is left alone.
            if let Ok(name) = entry?.file_name().into_string()
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        // The order of a directory is not the same everywhere, and a seed should mean the same.
        names.sort_unstable();
        Ok(names)
    }
}

/// In Dovecot's form, `1700000000.M42P1234.load,S=51,W=55`, with a counter in the place of microseconds.
fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (size, lines) = (MESSAGE.len(), MESSAGE.matches('\n').count());
    format!("{seconds}.M{count:06}P{}.load,S={size},W={}", process::id(), size + lines)
}
