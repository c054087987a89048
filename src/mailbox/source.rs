//! Reading the sources of `[mailboxes]` and putting them together into a [`Listing`].

use std::{
    collections::{HashMap, HashSet, hash_map},
    ffi::OsStr,
    fmt, fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::{
    Username,
    map_file::{self, MapFileError},
    passwd,
    scan::{self, Outside},
    template::Template,
    username_format::UsernameFormat,
};
use crate::{proto::push_notify::Dialect, stamp::Stamp};

/// One source of users and their Maildirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `users`: a table in the configuration.
    Users(Vec<(Username, PathBuf)>),
    /// `map-file`.
    MapFile(PathBuf),
    /// `mail-location`.
    MailLocation(Template),
    /// `passwd`.
    Passwd(Passwd),
}

/// The source `passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passwd {
    /// The first user id of a person.
    pub min_uid: u32,
    /// The last one.
    pub max_uid: u32,
    /// Where the Maildir is in the home directory.
    pub maildir: PathBuf,
}

/// Which source named a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// `users`.
    Users,
    /// `map-file`.
    MapFile,
    /// `mail-location`.
    MailLocation,
    /// `passwd`.
    Passwd,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::MapFile => "map-file",
            Self::MailLocation => "mail-location",
            Self::Passwd => "passwd",
        })
    }
}

impl Source {
    /// The key in the configuration.
    #[must_use]
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Users(_) => SourceKind::Users,
            Self::MapFile(_) => SourceKind::MapFile,
            Self::MailLocation(_) => SourceKind::MailLocation,
            Self::Passwd(_) => SourceKind::Passwd,
        }
    }
}

/// All that decides who is in the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// In the order of precedence.
    pub sources: Vec<Source>,
    /// How names are normalised.
    pub username_format: UsernameFormat,
    /// The dialect that every user must be named in, if there is a push_notify sink.
    pub dialect: Option<Dialect>,
}

/// A user with a Maildir, as a source named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the source has it; normalised in the [`Listing`].
    pub user: Username,
    /// Where the Maildir is or will be.
    pub maildir: PathBuf,
    /// Device and inode of the Maildir, if it exists.
    pub identity: Option<(u64, u64)>,
    /// Who named it.
    pub source: SourceKind,
}

/// A mailbox of the listing, with all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path that the first source gave.
    pub maildir: PathBuf,
    /// Normalised, each once; the first one is the mailbox's main name.
    pub names: Vec<(Username, SourceKind)>,
}

/// Something about a source that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which source.
    pub source: SourceKind,
    /// What it is, in words.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Does a user get no push because of it?
    pub loses_pushes: bool,
}

/// What all sources together say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Each Maildir once.
    pub mailboxes: Vec<Listed>,
    /// What was left out, and why.
    pub notices: Vec<Notice>,
    /// How many users each source gave.
    pub counts: Vec<(SourceKind, usize)>,
    /// Folders in which new users or domains can appear, and what they looked like before they were read.
    pub folders: Vec<(PathBuf, Option<Stamp>)>,
    /// Is a map file without an end of its last line, so that it may be half written?
    pub incomplete: Option<PathBuf>,
}

impl Listing {
    /// Adds mailboxes that were found elsewhere, unless their paths or names are in the listing already.
    #[must_use]
    pub fn with(mut self, mut others: Vec<Listed>) -> Self {
        if !others.is_empty() {
            others.sort_by(|one, other| one.maildir.cmp(&other.maildir));
            others.dedup_by(|one, other| one.maildir == other.maildir);
            let paths: HashSet<&Path> = self.mailboxes.iter().map(|mailbox| &*mailbox.maildir).collect();
            let names: HashSet<&Username> =
                self.mailboxes.iter().flat_map(|mailbox| &mailbox.names).map(|(name, _)| name).collect();
            let is_new = |mailbox: &Listed| {
                !paths.contains(&*mailbox.maildir)
                    && !mailbox.names.iter().any(|(name, _)| names.contains(name))
            };
            others.retain(is_new);
            self.mailboxes.append(&mut others);
        }
        self
    }
}

/// A source that cannot be read at all. The map would lack its users, so there is none.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The map file is not there or not readable.
    #[error("cannot read the map file `{}`: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The map file has a line that is wrong.
    #[error("{}:{}:{}: {}", .path.display(), .error.line, .error.column, .error)]
    MapFile {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: MapFileError,
    },
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, error } => crate::path_access::hint(path, error),
            Self::MapFile { error, .. } => error.problem.hint().to_owned(),
        }
    }
}

impl Sources {
    /// Reads all sources. Blocks: on the disk, and on the user database.
    ///
    /// # Errors
    /// If a source cannot be read at all.
    pub fn read(&self) -> Result<Listing, SourceError> {
        let mut builder = Builder::default();
        for source in &self.sources {
            let mut found = Found::default();
            match source {
                Source::Users(users) => {
                    found.entries.extend(
                        users.iter().map(|(user, maildir)| explicit(user, maildir, SourceKind::Users)),
                    );
                }
                Source::MapFile(path) => {
                    let bytes = fs::read(path)
                        .map_err(|error| SourceError::Unreadable { path: path.clone(), error })?;
                    let file = map_file::parse(&bytes)
                        .map_err(|error| SourceError::MapFile { path: path.clone(), error })?;
                    found.entries.extend(
                        file.lines
                            .iter()
                            .map(|line| explicit(&line.user, &line.maildir, SourceKind::MapFile)),
                    );
                    if !file.is_complete {
                        builder.listing.incomplete = Some(path.clone());
                    }
                }
                Source::MailLocation(template) => scan::scan(template, template.root(), &mut found),
                Source::Passwd(passwd) => list_passwd(passwd, &mut found),
            }
            builder.add(source.kind(), found, self);
        }
        Ok(builder.finish())
    }

    /// Where the Maildir is if this folder is that of a user, for each template.
    pub fn maildirs_in(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        self.templates().filter_map(move |template| scan::maildir_in(template, folder))
    }

    /// The templates among the sources.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.sources.iter().filter_map(|source| match source {
            Source::MailLocation(template) => Some(template),
            _ => None,
        })
    }

    /// What a look at a part of the template's tree finds: for a folder that appeared while the daemon runs.
    #[must_use]
    pub fn read_below(&self, template: &Template, folder: &Path) -> Listing {
        let mut builder = Builder::default();
        let mut found = Found::default();
        scan::scan(template, folder, &mut found);
        builder.add(SourceKind::MailLocation, found, self);
        builder.finish()
    }
}

/// What one source gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) notices: Vec<Notice>,
    pub(super) folders: Vec<(PathBuf, Option<Stamp>)>,
}

/// An administrator wrote the path down, so links in it are meant.
fn explicit(user: &Username, maildir: &Path, source: SourceKind) -> Entry {
    Entry {
        user: user.clone(),
        identity: fs::metadata(maildir).ok().map(|found| (found.dev(), found.ino())),
        maildir: maildir.to_owned(),
        source,
    }
}

fn list_passwd(config: &Passwd, found: &mut Found) {
    for user in passwd::system_users() {
        if !(config.min_uid..=config.max_uid).contains(&user.uid) {
            continue;
        }
        let Some(name) = std::str::from_utf8(&user.name).ok().and_then(|name| Username::new(name).ok())
        else {
            continue;
        };
        let tail: Vec<&OsStr> = config.maildir.iter().collect();
        match scan::below(&user.home, &user.home, &tail) {
            Ok((maildir, identity)) => {
                found.entries.push(Entry { user: name, maildir, identity, source: SourceKind::Passwd });
            }
            Err(outside) => found.notices.push(link_notice(SourceKind::Passwd, &outside)),
        }
    }
}

pub(super) fn link_notice(source: SourceKind, outside: &Outside) -> Notice {
    Notice {
        source,
        message: format!(
            "`{}` is a link to `{}`, and is not followed",
            outside.link.display(),
            outside.target.display()
        ),
        hint: "a user could point it at somebody else's mail; name the Maildir under `users` or in the map file if it is right",
        loses_pushes: true,
    }
}

/// Puts sources together: the first to name a user wins, and one Maildir is one mailbox.
#[derive(Debug, Default)]
struct Builder {
    listing: Listing,
    users: HashMap<Username, usize>,
    by_identity: FxHashMap<(u64, u64), usize>,
    by_path: FxHashMap<PathBuf, usize>,
}

impl Builder {
    fn add(&mut self, kind: SourceKind, found: Found, sources: &Sources) {
        self.listing.notices.extend(found.notices);
        self.listing.folders.extend(found.folders);
        let mut count = 0;
        for entry in found.entries {
            let user = match sources.normalise(&entry.user) {
                Ok(user) => user,
                Err(notice) => {
                    self.listing.notices.push(Notice { source: kind, ..notice });
                    continue;
                }
            };
            let mailbox = self.mailbox_of(&entry);
            match self.users.entry(user.clone()) {
                hash_map::Entry::Vacant(free) => {
                    free.insert(mailbox);
                    self.listing.mailboxes[mailbox].names.push((user, kind));
                    count += 1;
                }
                // An earlier source wins, as the documents say; within one source it is a mistake.
                hash_map::Entry::Occupied(first) => {
                    let (first, other) = (&self.listing.mailboxes[*first.get()], &entry.maildir);
                    let same_source =
                        first.names.iter().any(|(name, source)| *name == user && *source == kind);
                    if same_source && first.maildir != *other {
                        self.listing.notices.push(Notice {
                            source: kind,
                            message: format!(
                                "the user `{user}` has two Maildirs, `{}` and `{}`; the second is left out",
                                first.maildir.display(),
                                other.display()
                            ),
                            hint: "two names that differ in case are one user unless `username-format` keeps the case",
                            loses_pushes: true,
                        });
                    }
                }
            }
        }
        self.listing.counts.push((kind, count));
    }

    /// Drops mailboxes that got no name, because their users have others.
    fn finish(mut self) -> Listing {
        self.listing.mailboxes.retain(|mailbox| !mailbox.names.is_empty());
        self.listing
    }

    fn mailbox_of(&mut self, entry: &Entry) -> usize {
        let next = self.listing.mailboxes.len();
        // Different paths to one folder (links, bind mounts) are one mailbox, and so are equal paths to nothing yet.
        let at = match entry.identity {
            Some(identity) => *self.by_identity.entry(identity).or_insert(next),
            None => *self.by_path.entry(entry.maildir.clone()).or_insert(next),
        };
        if at == next {
            self.listing.mailboxes.push(Listed { maildir: entry.maildir.clone(), names: Vec::new() });
        }
        at
    }
}

impl Sources {
    fn normalise(&self, user: &Username) -> Result<Username, Notice> {
        let refused = |message, hint| Notice { source: SourceKind::Users, message, hint, loses_pushes: true };
        let name = self.username_format.apply(user).map_err(|error| {
            refused(
                format!("the user `{user}` is left out: {error}"),
                "check `username-format` under [mailboxes]",
            )
        })?;
        if let Some(dialect) = self.dialect {
            dialect.accepts(&name).map_err(|error| {
                refused(
                    format!("the user `{name}` is left out, for {dialect} cannot name it: {error}"),
                    "use another dialect if the receiver knows one, or give the Maildir a shorter or plainer name",
                )
            })?;
        }
        Ok(name)
    }
}

/// Is this entry of a directory one that cannot be a user's (hidden, or not text)?
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
