//! The registry in one SQLite file.

mod record;
mod row;

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use self::row::{COLUMNS, is_opted_out, of_user, read, token, unsigned, username};
use super::{
    Counts, Key, Registration, Store, StoreError, Timestamp, Topic, Transaction, VisitPushed, VisitRecord,
};
use crate::{mailbox::Username, stamp::Stamps};

/// One file for each version of the schema: the first `n` make version `n`. None is ever changed.
const MIGRATIONS: [&str; 2] = [include_str!("../migrations/1.sql"), include_str!("../migrations/2.sql")];
/// The version that they make.
const VERSION: i64 = MIGRATIONS.len() as i64;
/// "pmld", in the file's header: whose database it is.
const APPLICATION_ID: i64 = 0x706d_6c64;
/// How long a statement waits for another process, such as `devices import`, which commits in small pieces.
const BUSY: Duration = Duration::from_secs(5);

/// A connection to the database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    /// SQLite's count of the commits of others.
    data_version: i64,
    /// Device and inode of the file. SQLite goes on in one that has no name any more, and what it writes there is gone with the process.
    file: Option<(u64, u64)>,
}

impl SqliteStore {
    /// Opens the database for writing, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// If it cannot be read or written, or belongs to another program or a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            // Apart from SQLite's own words for it, which do not name the folder.
            fs::metadata(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })?;
        }
        if !path.exists() {
            create(path).map_err(|error| StoreError::Io { path: path.to_owned(), error })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Self::connect(path, flags)?;
        store.migrate()?;
        Ok(store)
    }

    /// Opens the database for reading.
    ///
    /// # Errors
    /// If there is none, or it belongs to another program or another version.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            let error = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
            return Err(StoreError::Io { path: path.to_owned(), error });
        }
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        store.version()?;
        Ok(store)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Sqlite { path: path.to_owned(), error };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        let mut store = Self { path: path.to_owned(), connection, data_version: 0, file: inode(path).ok() };
        if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
            store.sql(write_ahead)?;
            // FULL: a commit is on disk when it returns, and not only safe from a crash of ours.
            let pragmas =
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000; PRAGMA cache_size = -1024;";
            store.sql(|connection| connection.execute_batch(pragmas))?;
        }
        store.data_version = store.read_data_version()?;
        Ok(store)
    }

    /// Runs statements, and gives an error the name of the file.
    fn sql<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// Is the file still the one that has the name?
    fn check_name(&self) -> Result<(), StoreError> {
        let is_there = match inode(&self.path) {
            Ok(found) => self.file.is_none_or(|file| file == found),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_there { Ok(()) } else { Err(StoreError::Moved(self.path.clone())) }
    }

    fn read_data_version(&self) -> Result<i64, StoreError> {
        self.sql(|connection| connection.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// The version of the schema; 0 for a file without tables.
    fn version(&self) -> Result<usize, StoreError> {
        let pragma = |name| self.sql(|it| it.pragma_query_value(None, name, |row| row.get::<_, i64>(0)));
        let version = pragma("user_version")?;
        let tables: i64 =
            self.sql(|it| it.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)))?;
        if (version != 0 || tables != 0) && pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        match usize::try_from(version) {
            Ok(version) if version <= MIGRATIONS.len() => Ok(version),
            _ => Err(StoreError::Newer { path: self.path.clone(), found: version, known: VERSION }),
        }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        if self.version()? == MIGRATIONS.len() {
            return Ok(());
        }
        // Inside the transaction once more, for two processes may start at once.
        let path = self.path.clone();
        let failed = |error| StoreError::Sqlite { path: path.clone(), error };
        self.sql(|it| it.execute_batch("BEGIN IMMEDIATE"))?;
        let migrated = self.version().and_then(|version| {
            for (number, migration) in (1..).zip(MIGRATIONS).skip(version) {
                let sql = format!(
                    "{migration}; PRAGMA user_version = {number}; PRAGMA application_id = {APPLICATION_ID};"
                );
                self.connection.execute_batch(&sql).map_err(failed)?;
            }
            Ok(())
        });
        match migrated {
            Ok(()) => self.sql(|it| it.execute_batch("COMMIT")),
            Err(error) => {
                // After some errors, such as a full disk, SQLite has done so by itself.
                let _ = self.connection.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }
}

impl Store for SqliteStore {
    fn transaction(
        &mut self,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = &self.path;
        let failed = |error| StoreError::Sqlite { path: path.clone(), error };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Another process may have brought the schema up to date since the last one.
        let found: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found != VERSION {
            return Err(StoreError::Newer { path: path.clone(), found, known: VERSION });
        }
        work(&mut SqliteTransaction { path, connection: &transaction })?;
        transaction.commit().map_err(failed)?;
        self.check_name()
    }

    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
        self.sql(|connection| of_user(connection, user))
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(Registration)) -> Result<(), StoreError> {
        self.sql(|connection| {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM registration ORDER BY user"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(read(row)?);
            }
            Ok(())
        })
    }

    fn pushed_since(&mut self, since: Timestamp, visit: &mut VisitPushed<'_>) -> Result<(), StoreError> {
        self.sql(|connection| {
            let mut statement = connection
                .prepare("SELECT token, last_push, last_answer FROM registration WHERE last_push >= ?1")?;
            let mut rows = statement.query([since.0])?;
            while let Some(row) = rows.next()? {
                visit(token(row, 0)?, Timestamp(row.get(1)?), row.get_ref(2)?.as_str_or_null()?);
            }
            Ok(())
        })
    }

    fn counts(&mut self) -> Result<Counts, StoreError> {
        self.sql(|connection| {
            connection.query_row("SELECT count(*), count(suspended) FROM registration", [], |row| {
                Ok(Counts { devices: unsigned(row, 0)?, suspended: unsigned(row, 1)? })
            })
        })
    }

    fn live_users(&mut self, visit: &mut dyn FnMut(Username)) -> Result<(), StoreError> {
        self.sql(|connection| {
            let mut statement = connection.prepare(
                "SELECT DISTINCT user FROM registration WHERE suspended IS NULL AND user NOT IN (SELECT user FROM opted_out)",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(username(row, 0)?);
            }
            Ok(())
        })
    }

    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError> {
        self.sql(|connection| is_opted_out(connection, user))
    }

    fn last_topic(&mut self) -> Result<Option<Topic>, StoreError> {
        self.sql(|connection| {
            let topic: Option<String> = connection
                .query_row("SELECT value FROM setting WHERE name = 'topic'", [], |row| row.get(0))
                .optional()?;
            Ok(topic.and_then(|topic| topic.parse().ok()))
        })
    }

    fn was_changed_by_another(&mut self) -> Result<bool, StoreError> {
        self.check_name()?;
        let version = self.read_data_version()?;
        let changed = std::mem::replace(&mut self.data_version, version) != version;
        if changed {
            // It may have been a later version of pushmaild that brought the schema up to date.
            self.version()?;
        }
        Ok(changed)
    }

    fn records(&mut self, visit: &mut VisitRecord<'_>) -> Result<bool, StoreError> {
        self.sql(|connection| record::each(connection, visit))
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::Io { path: to.to_owned(), error };
        // Whatever has the name already stays: not even a link is followed. SQLite takes an empty file, and from the start nobody else
        // can read this one.
        let file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
        let name = to.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8")).map_err(failed);
        let copied = name
            .and_then(|name| self.sql(|connection| connection.execute("VACUUM INTO ?1", [name])))
            .and_then(|_| {
                // It has what the original has, and so is for the same eyes.
                let mode = fs::metadata(&self.path).map(|found| found.permissions());
                mode.and_then(|mode| file.set_permissions(mode))
                    .and_then(|()| file.sync_all())
                    .map_err(failed)
            });
        copied.inspect_err(|_| {
            let _ = fs::remove_file(to);
        })
    }
}

/// Turns on the write-ahead log, which the file then keeps.
///
/// To do so, SQLite goes from a lock for reading to one for writing. If two are at it at once, each with the first of them, waiting would be
/// a deadlock, so it refuses at once and the busy timeout does not count. Whoever is refused waits for the other's end with a lock that it
/// can wait for, and looks again.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")?;
            }
            result => return result,
        }
    }
}

/// Makes the file, empty, which SQLite takes as a new database. The -wal and the -shm take its mode, and its owner if root makes them.
fn create(path: &Path) -> io::Result<()> {
    // Tokens are nobody else's affair.
    let file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
        Ok(file) => file,
        // Two processes may start at once.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => return Ok(()),
        Err(error) => return Err(error),
    };
    // Root may be first here with `devices import`, and the daemon has to write to it afterwards, which is who owns the folder.
    let folder =
        fs::metadata(path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    if rustix::process::geteuid().is_root() && folder.uid() != 0 {
        fchown(&file, Some(folder.uid()), Some(folder.gid())).inspect_err(|_| {
            let _ = fs::remove_file(path);
        })?;
    }
    Ok(())
}

struct SqliteTransaction<'a> {
    path: &'a Path,
    connection: &'a Connection,
}

impl SqliteTransaction<'_> {
    fn sql<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(self.connection).map_err(|error| StoreError::Sqlite { path: self.path.to_owned(), error })
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn of_user(&mut self, user: &Username) -> Result<Vec<Registration>, StoreError> {
        self.sql(|connection| of_user(connection, user))
    }

    fn put(&mut self, registration: &Registration) -> Result<(), StoreError> {
        self.sql(|connection| row::put(connection, registration))
    }

    fn delete(&mut self, key: &Key) -> Result<(), StoreError> {
        self.sql(|connection| {
            connection
                .prepare_cached("DELETE FROM registration WHERE user = ?1 AND token = ?2 AND account = ?3")?
                .execute((key.user.as_str(), key.token.as_bytes(), key.account.as_str()))
        })?;
        Ok(())
    }

    fn pushed(&mut self, key: &Key, at: Timestamp) -> Result<(), StoreError> {
        self.sql(|connection| {
            connection
                .prepare_cached(
                    "UPDATE registration SET last_push = ?4, last_answer = '200', bad_answers = 0 \
                     WHERE user = ?1 AND token = ?2 AND account = ?3",
                )?
                .execute((key.user.as_str(), key.token.as_bytes(), key.account.as_str(), at.0))
        })?;
        Ok(())
    }

    fn expire(&mut self, before: Timestamp) -> Result<Vec<Username>, StoreError> {
        self.sql(|connection| {
            let mut statement = connection
                .prepare_cached("DELETE FROM registration WHERE last_registered < ?1 RETURNING user")?;
            let users = statement.query_map([before.0], |row| username(row, 0))?;
            users.collect()
        })
    }

    fn is_opted_out(&mut self, user: &Username) -> Result<bool, StoreError> {
        self.sql(|connection| is_opted_out(connection, user))
    }

    fn set_opted_out(&mut self, user: &Username, out: bool) -> Result<(), StoreError> {
        let sql = if out {
            "INSERT OR IGNORE INTO opted_out VALUES (?1)"
        } else {
            "DELETE FROM opted_out WHERE user = ?1"
        };
        self.sql(|connection| connection.execute(sql, [user.as_str()]))?;
        Ok(())
    }

    fn set_last_topic(&mut self, topic: &Topic) -> Result<(), StoreError> {
        self.sql(|it| it.execute("INSERT OR REPLACE INTO setting VALUES ('topic', ?1)", [topic.as_str()]))?;
        Ok(())
    }

    fn keep_records(&mut self, kept: &[(PathBuf, Stamps)], gone: &[PathBuf]) -> Result<(), StoreError> {
        self.sql(|connection| record::keep(connection, kept, gone))
    }

    fn touch(&mut self) -> Result<(), StoreError> {
        self.sql(|it| it.pragma_update(None, "user_version", VERSION))
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
