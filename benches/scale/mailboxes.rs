//! The mailboxes: Maildirs in folders of a thousand, with the two directories that are watched and nothing else, for a million of them
//! has to fit on the machine.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use crate::{Result, play::Tree, progress};

/// Mailboxes in one folder.
const IN_A_FOLDER: usize = 1000;
const THREADS: usize = 4;

/// A folder with mailboxes, which grows as more are asked for.
pub(crate) struct Store {
    folder: PathBuf,
    made: usize,
}

/// The first so many mailboxes of a store, and the files that name them.
pub(crate) struct Mailboxes<'a> {
    store: &'a Store,
    count: usize,
}

impl Store {
    /// What is there already is used.
    pub(crate) fn at(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let made = match fs::read_to_string(folder.join("made")) {
            Ok(made) => made.trim().parse()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { folder, made })
    }

    /// The first `count` mailboxes, made if they are not there yet.
    pub(crate) fn mailboxes(&mut self, count: usize) -> Result<Mailboxes<'_>> {
        if self.made < count {
            let start = Instant::now();
            self.make(count)?;
            let (new, seconds) = (count - self.made, start.elapsed().as_secs_f64());
            progress(&format!("{new} mailboxes made in {}, {seconds:.0} s", self.folder.display()));
            fs::write(self.folder.join("made"), count.to_string())?;
            self.made = count;
        }
        Mailboxes::new(self, count)
    }

    fn make(&self, count: usize) -> Result<()> {
        let folders: Vec<usize> = (self.made / IN_A_FOLDER..count.div_ceil(IN_A_FOLDER)).collect();
        let make_folder = |folder: usize| -> io::Result<()> {
            let first = folder * IN_A_FOLDER;
            make_dir(&self.folder.join(folder.to_string()))?;
            for user in first.max(self.made)..(first + IN_A_FOLDER).min(count) {
                let maildir = self.maildir(user);
                make_dir(&maildir)?;
                make_dir(&maildir.join("new"))?;
                make_dir(&maildir.join("cur"))?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let makers: Vec<_> = folders
                .chunks(folders.len().div_ceil(THREADS))
                .map(|some| scope.spawn(move || some.iter().try_for_each(|&folder| make_folder(folder))))
                .collect();
            makers
                .into_iter()
                .try_for_each(|maker| maker.join().map_err(|_| "a maker panicked")?.map_err(Into::into))
        })
    }

    fn maildir(&self, user: usize) -> PathBuf {
        let mut path = self.folder.join((user / IN_A_FOLDER).to_string());
        path.push(format!("u{user:07}"));
        path
    }
}

/// What an interrupted run has left is used.
fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

impl<'a> Mailboxes<'a> {
    fn new(store: &'a Store, count: usize) -> Result<Self> {
        let mailboxes = Self { store, count };
        mailboxes.write_files()?;
        Ok(mailboxes)
    }

    /// Fewer of them, if there are more than `most`.
    pub(crate) fn at_most(&self, most: usize) -> Result<Self> {
        Self::new(self.store, self.count.min(most))
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many are watched.
    pub(crate) fn directories(&self) -> usize {
        2 * self.count
    }

    pub(crate) fn maildir(&self, user: usize) -> PathBuf {
        self.store.maildir(user)
    }

    /// The daemon's map file: a line `user: /path` for each.
    pub(crate) fn map_file(&self) -> PathBuf {
        self.store.folder.join(format!("users-{}", self.count))
    }

    /// The paths alone, for the C program.
    pub(crate) fn list(&self) -> PathBuf {
        self.store.folder.join(format!("list-{}", self.count))
    }

    fn write_files(&self) -> Result<()> {
        let (mut map, mut list) = (String::new(), String::new());
        for user in 0..self.count {
            let maildir = self.maildir(user);
            writeln!(map, "{}: {}", Tree::name(user), maildir.display())?;
            writeln!(list, "{}", maildir.display())?;
        }
        fs::write(self.map_file(), map)?;
        Ok(fs::write(self.list(), list)?)
    }
}
