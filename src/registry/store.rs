//! What a store of registrations and records has to be able to do, whichever kind it is, and why one cannot. `tests/it/registry` has the
//! contract behind the trait.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{DeviceToken, Key, Registration, Timestamp, Topic};
use crate::{mailbox::Username, stamp::Stamps};

/// Why a store cannot do what it is asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A later version of pushmaild made it.
    #[error(
        "the database `{}` has schema version {found}, and this pushmaild knows versions up to {known}", .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is something else.
    #[error("`{}` is a SQLite database of another program", .0.display())]
    Foreign(PathBuf),
    /// SQLite says no.
    #[error("the database `{}`: {error}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
    /// Its name leads elsewhere now, or nowhere.
    #[error("the database `{}` was removed or replaced while it was open", .0.display())]
    Moved(PathBuf),
    /// The file system says no.
    #[error("the database `{}`: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

const FULL: &str = "the disk is full: make room; what waits is written then";

fn must_be_writable(path: &Path) -> String {
    format!(
        "the daemon's user must be able to write to `{}` and to make files beside it; the unit's StateDirectory= sees to /var/lib/pushmaild",
        path.display()
    )
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Newer { .. } => {
                "install that version of pushmaild again, or bring back the copy that was made before it"
                    .to_owned()
            }
            Self::Foreign(_) => "name another file in `[registry] url`".to_owned(),
            Self::Moved(_) => {
                "it is opened anew, and made if it is not there; stop the daemon before the file is moved"
                    .to_owned()
            }
            Self::Io { path, error } => match error.kind() {
                io::ErrorKind::StorageFull => FULL.to_owned(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => must_be_writable(path),
                _ => crate::path_access::hint(path, error),
            },
            Self::Sqlite { path, error } => match error.sqlite_error_code() {
                Some(Code::DatabaseCorrupt | Code::NotADatabase) => format!(
                    "move `{}` away (with its -wal and -shm) and bring back a copy made by `pushmaild devices backup`; without one, phones register again within a day",
                    path.display()
                ),
                Some(Code::DiskFull) => FULL.to_owned(),
                // What SQLite calls an I/O error: there was no room for the file that connections share.
                _ if error
                    .sqlite_error()
                    .is_some_and(|it| it.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
                {
                    FULL.to_owned()
                }
                Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => must_be_writable(path),
                Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                    "another program holds the database; see `fuser` on the file".to_owned()
                }
                _ => "see the error above, and the disk's health".to_owned(),
            },
        }
    }
}

/// Is told of a token, when it was last pushed to, and what was answered.
pub type VisitPushed<'a> = dyn FnMut(DeviceToken, Timestamp, Option<&str>) + 'a;

/// Is told of the path of a Maildir, and what its record says.
pub type VisitRecord<'a> = dyn FnMut(&[u8], Stamps) + 'a;

/// Where registrations and records are kept. A transaction is on disk when [`Store::transaction`] returns, or not there at all: on the disk where
/// the next process will look for it.
pub trait Store: Send {
    /// Runs `work` in one transaction. Whatever it returns as an error leaves everything as it was.
    ///
    /// # Errors
    /// What `work` returned, or what the disk said.
    fn transaction(
        &mut self,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// All registrations of a user.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError>;

    /// Every registration, ordered by user.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn for_each(&mut self, visit: &mut dyn FnMut(Registration)) -> Result<(), StoreError>;

    /// The token of each registration that was pushed to since a moment, when that was, and what was answered. A store may know a
    /// way that does not read all of every registration.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn pushed_since(&mut self, since: Timestamp, visit: &mut VisitPushed<'_>) -> Result<(), StoreError> {
        self.for_each(&mut |registration| {
            if let Some(at) = registration.last_push.filter(|at| *at >= since) {
                visit(registration.key.token, at, registration.last_answer.as_deref());
            }
        })
    }

    /// How many registrations there are. A store may know a way that does not read them.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn counts(&mut self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        self.for_each(&mut |registration| {
            counts.devices += 1;
            counts.suspended += u64::from(!registration.state.is_live());
        })?;
        Ok(counts)
    }

    /// Each user with a live registration, once.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn live_users(&mut self, visit: &mut dyn FnMut(Username)) -> Result<(), StoreError>;

    /// Is the user opted out?
    ///
    /// # Errors
    /// If the store cannot be read.
    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError>;

    /// The topic of the last credential that was used.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn last_topic(&mut self) -> Result<Option<Topic>, StoreError>;

    /// Has another process changed anything since the last call?
    ///
    /// # Errors
    /// If the store cannot be read, or is not the one any more that has its name.
    fn was_changed_by_another(&mut self) -> Result<bool, StoreError>;

    /// The record of each mailbox, by the path of its Maildir. False if none have ever been kept.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn records(&mut self, visit: &mut VisitRecord<'_>) -> Result<bool, StoreError>;

    /// Makes a consistent copy while others write.
    ///
    /// # Errors
    /// If the copy cannot be made, or there is something at its path.
    fn backup(&mut self, to: &Path) -> Result<(), StoreError>;
}

/// How many registrations there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub devices: u64,
    /// Those that are not pushed to until the device comes back.
    pub suspended: u64,
}

/// What can be done inside a transaction, which sees its own changes.
pub trait Transaction {
    /// See [`Store::of_user`].
    ///
    /// # Errors
    /// If the store cannot be read.
    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError>;

    /// Adds the registration, or replaces the one with its key.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn put(&mut self, registration: &Registration) -> Result<(), StoreError>;

    /// Removes a registration.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn delete(&mut self, key: &Key) -> Result<(), StoreError>;

    /// Notes a push that went well, of a registration that is still there.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn pushed(&mut self, key: &Key, at: Timestamp) -> Result<(), StoreError>;

    /// Removes all registrations that were last made before a moment, and tells whose they were.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn expire(&mut self, before: Timestamp) -> Result<Vec<Username>, StoreError>;

    /// See [`Store::is_opted_out`].
    ///
    /// # Errors
    /// If the store cannot be read.
    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError>;

    /// Opts a user out or in again.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_opted_out(&mut self, user: &Username, out: bool) -> Result<(), StoreError>;

    /// See [`Store::last_topic`].
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_last_topic(&mut self, topic: &Topic) -> Result<(), StoreError>;

    /// Adds or replaces records, and removes others. From then on records are kept.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn keep_records(&mut self, kept: &[(PathBuf, Stamps)], gone: &[PathBuf]) -> Result<(), StoreError>;

    /// Writes, and changes nothing: does the disk take it?
    ///
    /// # Errors
    /// If the store cannot be written.
    fn touch(&mut self) -> Result<(), StoreError>;
}
