//! The registry as the daemon has it: a handle, and behind it one thread that writes and one that reads. A disk that does not
//! answer holds them up and nobody else.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, warn};

use super::{
    Counts, DeviceToken, NewRegistration, Registration, Store, StoreError, Timestamp, Topic,
    change::{Applied, Change},
    life::Refused,
    reader::{self, Lookup, Stored},
    unwritten::Unwritten,
    writer::{Request, Writer},
};
use crate::{handover::Handover, mailbox::Username};

/// A client waits so long for the disk. Dovecot's plugins wait one second and five, inside the user's IMAP session.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long the end waits for the disk.
const STOP: Duration = Duration::from_secs(5);
/// Changes on their way to the writer. Beyond that the disk is too slow, and registrations go to the spill file.
const QUEUE: usize = 8192;

/// Opens the store anew: at the start, and after it failed.
pub type Open = Box<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send>;

/// Whose mailboxes need be watched.
#[derive(Debug)]
pub enum Live {
    /// The user has a device to push to now, or none any more.
    User(bool),
    /// Everything was read again: these are the users, and nobody else.
    All(Vec<Username>),
    /// Nothing can be read, and so far it is known of these users only.
    Unread(Vec<Username>),
}

/// What the rest of the daemon is told about the registry. The key is the user; none for [`Live::All`] and
/// [`Live::Unread`].
pub type Events = Handover<Option<Username>, Live>;

/// How the registry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be written at the moment.
    pub trouble: Option<String>,
    /// Registrations that wait for the disk.
    pub unwritten: usize,
}

/// What a registration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is on disk.
    Stored,
    /// The disk does not answer. It is in memory and in the spill file, and counts.
    Waiting,
    /// The user wants no push: nothing was kept.
    OptedOut,
}

/// Why a registration is not taken.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The registry's rules.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The disk has been out for so long that no more is kept.
    #[error("the registry cannot be written, and too many registrations wait for that")]
    TooManyWait,
}

/// What the two threads and the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Locked for a moment: to look at it, and to append a line to a file in the runtime directory.
    unwritten: Mutex<Unwritten>,
    trouble: Mutex<Option<String>>,
    /// Has it been said that the spill file cannot be written? In an outage each registration would say so.
    is_spill_told: AtomicBool,
    /// How often the writer has opened the store.
    pub(super) generation: watch::Sender<u64>,
    pub(super) events: Arc<Events>,
}

impl Shared {
    pub(super) fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle. The threads end when the last one is dropped, after what they were given is done.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    writer: SyncSender<Request>,
    reader: SyncSender<Lookup>,
}

/// The threads, to wait for at the end.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<JoinHandle<()>>,
    /// Closed when they have ended. Behind a lock only so that a handle may be shared.
    running: Mutex<Receiver<()>>,
    shared: Arc<Shared>,
}

impl Threads {
    /// Waits for them, but not for a disk that does not answer. All handles must be gone.
    pub fn join(self) {
        let running = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        if running.recv_timeout(STOP) == Err(RecvTimeoutError::Timeout) {
            error!("the registry's disk does not answer at the end");
            self.shared.unwritten().tell_at_the_end();
            return;
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        self.shared.unwritten().tell_at_the_end();
    }
}

/// What became of a change, when it is known.
pub type Answer = oneshot::Receiver<Result<Applied, NotStored>>;

/// What the threads need to know.
#[derive(Debug)]
pub struct Settings {
    /// The spill file.
    pub spill: PathBuf,
    /// The most devices of a user.
    pub devices_per_user: usize,
    /// Registrations that have not come back for so long are removed.
    pub expire: Duration,
    /// Is there anybody to whom it matters who has a device? Else there are only records of mailboxes here.
    pub has_clients: bool,
}

impl Registry {
    /// Starts the threads. A store that cannot be opened is no error: it is tried again, and meanwhile registrations wait.
    ///
    /// # Errors
    /// If there are no threads to be had.
    pub fn start(
        open: Open,
        open_reader: Open,
        settings: &Settings,
    ) -> io::Result<(Self, Arc<Events>, Threads)> {
        let events = Arc::new(Events::default());
        let shared = Arc::new(Shared {
            unwritten: Mutex::new(Unwritten::open(&settings.spill, settings.devices_per_user)),
            trouble: Mutex::default(),
            is_spill_told: AtomicBool::new(false),
            generation: watch::Sender::default(),
            events: Arc::clone(&events),
        });
        let (writer, requests) = sync_channel(QUEUE);
        let (reader, lookups) = sync_channel(QUEUE);
        // The writer makes the tables that the reader reads.
        let (opened, is_opened) = channel::<()>();
        let work = Writer::new(open, Arc::clone(&shared), settings, opened);
        let (run, running) = channel::<()>();
        let threads = vec![
            thread::Builder::new().name("registry-write".to_owned()).spawn({
                let run = run.clone();
                move || {
                    work.run(&requests);
                    drop(run);
                }
            })?,
            thread::Builder::new().name("registry-read".to_owned()).spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let _ = is_opened.recv();
                    reader::run(&open_reader, &shared, &lookups);
                    drop(run);
                }
            })?,
        ];
        let threads = Threads { threads, running: Mutex::new(running), shared: Arc::clone(&shared) };
        Ok((Self { shared, writer, reader }, events, threads))
    }

    /// Registers a device. The answer comes when it is on disk, or after [`PATIENCE`].
    ///
    /// # Errors
    /// If the rules refuse it, or too many wait for the disk already.
    pub async fn register(&self, new: NewRegistration) -> Result<Registered, RegisterError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { change: Change::Register(new.clone()), reply: Some(reply) };
        if self.writer.try_send(request).is_ok()
            && let Ok(Ok(Ok(applied))) = tokio::time::timeout(PATIENCE, answer).await
        {
            return match applied {
                Applied::Done(_) => Ok(Registered::Stored),
                Applied::OptedOut => Ok(Registered::OptedOut),
                Applied::Refused(refused) => Err(refused.into()),
            };
        }
        self.keep(new)
    }

    fn keep(&self, new: NewRegistration) -> Result<Registered, RegisterError> {
        let user = new.key.user.clone();
        let mut unwritten = self.shared.unwritten();
        let is_first = unwritten.is_empty();
        let kept = unwritten.keep(new);
        if !matches!(kept, Ok(false)) {
            // Before anybody else can see who waits and tell of all users.
            self.shared.events.put(Some(user.clone()), Live::User(true), |old, new| *old = new);
        }
        drop(unwritten);
        if is_first {
            warn!(
                "the registry does not take registrations in time; they wait in memory and in the spill file"
            );
        }
        match kept {
            Ok(false) => return Err(RegisterError::TooManyWait),
            Ok(true) => self.shared.is_spill_told.store(false, Relaxed),
            Err(error) if self.shared.is_spill_told.swap(true, Relaxed) => {
                debug!(%error, user = %user, "a registration of {user} is in memory only, too");
            }
            Err(error) => {
                error!(%error, user = %user, "a registration of {user} is in memory only, for the spill file cannot be written: {error}");
            }
        }
        Ok(Registered::Waiting)
    }

    /// Hands a change to the writer; tells when it is on disk.
    ///
    /// # Errors
    /// If the store cannot be written now.
    pub async fn change(&self, change: Change) -> Result<Applied, NotStored> {
        self.ask(change)?.await.map_err(|_| NotStored)?
    }

    /// Hands a change to the writer. The answer comes when it is on disk, or cannot be.
    ///
    /// # Errors
    /// If the writer has too much to do.
    pub fn ask(&self, change: Change) -> Result<Answer, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.writer.try_send(Request { change, reply: Some(reply) }).map_err(|_| NotStored)?;
        Ok(answer)
    }

    /// Hands a change to the writer, and does not wait.
    ///
    /// # Errors
    /// If the writer has too much to do.
    pub fn submit(&self, change: Change) -> Result<(), NotStored> {
        self.writer.try_send(Request { change, reply: None }).map_err(|_| NotStored)
    }

    /// The registrations of these users, those that wait for the disk included.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn of_users(&self, users: Vec<Username>) -> Result<Vec<Registration>, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.reader.try_send(Lookup::OfUsers(users, reply)).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }

    /// What the last process stored of each mailbox. None if no records have ever been kept here.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn records(&self) -> Result<Option<Stored>, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.reader.try_send(Lookup::Records(reply)).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }

    /// How often the store was opened, to hear of it: after an error it may be another one, without what was stored.
    #[must_use]
    pub fn opened(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// The topic of the last credential that was used.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn last_topic(&self) -> Result<Option<Topic>, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.reader.try_send(Lookup::LastTopic(reply)).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }

    /// How many registrations are stored.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn counts(&self) -> Result<Counts, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.reader.try_send(Lookup::Counts(reply)).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }

    /// The last push of each device that was pushed to since a moment, in order of time, and whether Apple called its token bad.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn pushed_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(DeviceToken, Timestamp, bool)>, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.reader.try_send(Lookup::PushedSince(since, reply)).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }

    /// How the registry is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health { trouble: self.shared.trouble().clone(), unwritten: self.shared.unwritten().len() }
    }
}

/// The store cannot be read or written now; the log says why.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the registry cannot be used at the moment")]
pub struct NotStored;

/// Where the spill file is: in the runtime directory, which is memory on most systems; beside the database if there is none.
#[must_use]
pub fn spill_path(database: &Path) -> PathBuf {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY")
        .and_then(|list| std::env::split_paths(&list).next())
        .or_else(|| database.parent().map(Path::to_owned))
        .unwrap_or_default();
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    runtime.join(format!("{name}.spill"))
}
