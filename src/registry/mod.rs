//! The registry: which devices want to hear of whose mail.
//!
//! ```text
//! listener, command ─Change→ writer (group commit) → Store
//!                              ↓ life.rs: the rules, pure      ↑ lookups ─ APNs sink
//! ```

pub mod change;
pub mod device;
pub mod import;
pub mod life;
pub mod reader;
pub mod service;
pub mod sqlite;
pub mod unwritten;
pub mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{mailbox::Username, stamp::Stamps};

pub use device::{AccountId, DeviceError, DeviceToken, Topic};

/// A moment of the calendar, in milliseconds since 1970: what survives a restart and is compared with Apple's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The clock's time.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So much later; earlier than any other moment stays what it is.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; nothing if it is not earlier, as after the clock was set back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// RFC 3339, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(u64::try_from(self.0).unwrap_or(0));
        // Beyond the year 9999 there is no such text.
        let since = since.min(Duration::from_secs(253_402_300_799));
        write!(f, "{}", humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since))
    }
}

/// What a registration is found by. By account id alone, two phones restored from one backup would evict each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Whose mail, normalised as `username-format` says.
    pub user: Username,
    /// Which device.
    pub token: DeviceToken,
    /// Which account on the device.
    pub account: AccountId,
}

/// A device that wants to hear of a user's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who and what.
    pub key: Key,
    /// The `aps-subtopic`, as the phone sent it; nothing depends on it.
    pub subtopic: String,
    /// The topic that the phone was told. None where the protocol has no answer: then the credential's.
    pub topic: Option<Topic>,
    /// The mailboxes that the phone asked for.
    pub mailboxes: Vec<String>,
    /// Those of them that it was told it would hear of.
    pub acknowledged: Vec<String>,
    /// When it registered first.
    pub first_registered: Timestamp,
    /// When it registered last.
    pub last_registered: Timestamp,
    /// When it was last pushed to.
    pub last_push: Option<Timestamp>,
    /// What Apple answered then: the status, and the reason if there was one.
    pub last_answer: Option<String>,
    /// How often in a row Apple has called the token bad.
    pub bad_answers: u32,
    /// Is it pushed to?
    pub state: State,
}

/// Is a registration pushed to?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Active,
    /// Yes; but the device has registered the user with another account id since then, and this one has not come back.
    Superseded {
        /// Since when.
        since: Timestamp,
    },
    /// No, until it registers again.
    Suspended {
        /// What Apple said.
        reason: String,
    },
}

impl State {
    /// Are pushes sent?
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Suspended { .. })
    }

    /// The name, as `devices list` shows it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Superseded { .. } => "superseded",
            Self::Suspended { .. } => "suspended",
        }
    }
}

/// What a client asks for, or an import brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegistration {
    /// Who and what.
    pub key: Key,
    /// See [`Registration::subtopic`].
    pub subtopic: String,
    /// The topic of the answer, if there was an answer.
    pub topic: Option<Topic>,
    /// See [`Registration::mailboxes`].
    pub mailboxes: Vec<String>,
    /// See [`Registration::acknowledged`].
    pub acknowledged: Vec<String>,
    /// When the client asked.
    pub at: Timestamp,
}

impl From<NewRegistration> for Registration {
    /// Of a device that was not known before.
    fn from(new: NewRegistration) -> Self {
        Self {
            key: new.key,
            subtopic: new.subtopic,
            topic: new.topic,
            mailboxes: new.mailboxes,
            acknowledged: new.acknowledged,
            first_registered: new.at,
            last_registered: new.at,
            last_push: None,
            last_answer: None,
            bad_answers: 0,
            state: State::Active,
        }
    }
}

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
