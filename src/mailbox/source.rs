//! The sources of `[mailboxes]`, and reading them into a [`Listing`].

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::{
    Username,
    doveadm::{self, Doveadm, DoveadmError, Memory},
    listing::{Builder, Listing},
    map_file::{MapFile, MapFileError, ReadError},
    os_x_server, passwd, scan,
    template::Template,
    username_format::UsernameFormat,
};
use crate::proto::push_notify::Dialect;

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
    /// `doveadm`.
    Doveadm(Doveadm),
    /// `os-x-server`: the partition map.
    OsXServer(PathBuf),
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

/// Which source named a user. One byte, in the map too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SourceKind {
    /// `users`.
    Users,
    /// `map-file`.
    MapFile,
    /// `mail-location`.
    MailLocation,
    /// `passwd`.
    Passwd,
    /// `doveadm`.
    Doveadm,
    /// `os-x-server`.
    OsXServer,
}

impl SourceKind {
    /// The kind that was written as this byte.
    pub(super) const fn from_byte(byte: u8) -> Self {
        match byte {
            byte if byte == Self::MapFile as u8 => Self::MapFile,
            byte if byte == Self::MailLocation as u8 => Self::MailLocation,
            byte if byte == Self::Passwd as u8 => Self::Passwd,
            byte if byte == Self::Doveadm as u8 => Self::Doveadm,
            byte if byte == Self::OsXServer as u8 => Self::OsXServer,
            _ => Self::Users,
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::MapFile => "map-file",
            Self::MailLocation => "mail-location",
            Self::Passwd => "passwd",
            Self::Doveadm => "doveadm",
            Self::OsXServer => "os-x-server",
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
            Self::Doveadm(_) => SourceKind::Doveadm,
            Self::OsXServer(_) => SourceKind::OsXServer,
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
    /// OS X Server's partition map is not there or not readable.
    #[error("cannot read the partition map `{}`: {error}", .path.display())]
    PartitionMap {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Dovecot does not say whose mail is where.
    #[error(transparent)]
    Doveadm(#[from] Arc<DoveadmError>),
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, error } => crate::path_access::hint(path, error),
            Self::MapFile { error, .. } => error.problem.hint().to_owned(),
            Self::PartitionMap { path, error } => {
                format!(
                    "{}; OS X Server keeps it in /Library/Server/Mail/Config/dovecot",
                    crate::path_access::hint(path, error)
                )
            }
            Self::Doveadm(error) => error.hint().to_owned(),
        }
    }
}

impl Sources {
    /// Reads all sources for the first time. Blocks: on the disk, on the user database, and on Dovecot.
    ///
    /// # Errors
    /// If a source cannot be read at all.
    pub fn read(&self) -> Result<Listing, SourceError> {
        let leash = doveadm::child::Leash::default();
        self.read_again(&mut Memory::new(&leash), true)
    }

    /// Reads all sources. What Dovecot answered last is taken, unless it was not asked before, or is to be asked `anew`.
    ///
    /// # Errors
    /// If a source cannot be read at all.
    pub fn read_again(&self, memory: &mut Memory, anew: bool) -> Result<Listing, SourceError> {
        let mut builder = Builder::new(self);
        for source in &self.sources {
            builder.begin(source.kind());
            match source {
                Source::Users(users) => {
                    for (user, maildir) in users {
                        explicit(user, maildir, &mut builder);
                    }
                }
                Source::MapFile(path) => read_map_file(path, &mut builder)?,
                Source::MailLocation(template) => scan::scan(template, template.root(), &mut builder),
                Source::Passwd(passwd) => list_passwd(passwd, &mut builder),
                Source::Doveadm(source) => doveadm::list(source, memory, anew, &mut builder)?,
                Source::OsXServer(path) => os_x_server::list(path, &mut builder)?,
            }
        }
        Ok(builder.finish())
    }

    /// Where the Maildir is if this folder is that of a user, for each template.
    pub fn maildirs_in(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        self.templates().filter_map(move |template| scan::maildir_in(template, folder))
    }

    /// Can a new folder have the mail or the name of somebody that no template tells?
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::OsXServer(_)))
    }

    /// The Dovecot among them.
    #[must_use]
    pub fn dovecot(&self) -> Option<&Doveadm> {
        self.sources.iter().find_map(|source| match source {
            Source::Doveadm(source) => Some(source),
            _ => None,
        })
    }

    /// The files among the sources: a change of one is a change of the map.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().filter_map(|source| match source {
            Source::MapFile(file) | Source::OsXServer(file) => Some(file.as_path()),
            _ => None,
        })
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
        let mut builder = Builder::new(self);
        builder.begin(SourceKind::MailLocation);
        scan::scan(template, folder, &mut builder);
        builder.finish()
    }
}

/// An administrator wrote the path down, so links in it are meant.
pub(super) fn explicit(user: &Username, maildir: &Path, builder: &mut Builder<'_>) {
    let identity = fs::metadata(maildir).ok().map(|found| (found.dev(), found.ino()));
    builder.entry(user, maildir, identity);
}

fn read_map_file(path: &Path, builder: &mut Builder<'_>) -> Result<(), SourceError> {
    let file = File::open(path).map_err(ReadError::from).and_then(MapFile::read);
    let file = file.map_err(|error| match error {
        ReadError::Io(error) => SourceError::Unreadable { path: path.to_owned(), error },
        ReadError::Line(error) => SourceError::MapFile { path: path.to_owned(), error },
    })?;
    if !file.is_complete {
        builder.incomplete(path);
    }
    file.into_lines(|line| {
        if let Ok(user) = Username::new(line.user) {
            explicit(&user, line.maildir, builder);
        }
    });
    Ok(())
}

fn list_passwd(config: &Passwd, builder: &mut Builder<'_>) {
    let tail: Vec<&OsStr> = config.maildir.iter().collect();
    for user in passwd::system_users() {
        if !(config.min_uid..=config.max_uid).contains(&user.uid) {
            continue;
        }
        let Some(name) = std::str::from_utf8(&user.name).ok().and_then(|name| Username::new(name).ok())
        else {
            continue;
        };
        match scan::below(&user.home, &user.home, &tail) {
            Ok((maildir, identity)) => builder.entry(&name, &maildir, identity),
            Err(outside) => builder.link(&outside),
        }
    }
}

/// Is this entry of a directory one that cannot be a user's (hidden, or not text)?
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}
