//! The sink for the push_notify socket.

use std::{
    io,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use tracing::{debug, error, info, warn};

use super::{Health, Outcome, Sink, socket::RecordSocket, tally::Via, waiting::Waiting};
use crate::{
    backoff::Backoff,
    config::PushNotify,
    count::count,
    debouncer::MailboxReady,
    mailbox::{MailboxId, MailboxMap, Username},
    proto::push_notify::{Dialect, Message},
};

/// A receiver that is there and busy: it takes some ten records and needs a moment.
const FULL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(500));
/// A receiver that is not there: a look now and then, soon enough after a restart.
const GONE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A receiver that has been busy for so long hangs.
const HANGS: Duration = Duration::from_secs(10);
/// The most records sent by one retry, so that the watcher gets its turn.
const BATCH: usize = 512;

/// Why nothing is sent at the moment.
#[derive(Debug)]
struct Outage {
    since: Instant,
    kind: io::ErrorKind,
    retry: Instant,
    sent_since: usize,
}

/// The sink.
#[derive(Debug)]
pub struct PushNotifySink {
    socket: RecordSocket,
    dialect: Dialect,
    record: Vec<u8>,
    waiting: Waiting,
    /// How many names of the mailbox at the front have been sent.
    names_sent: usize,
    full: Backoff,
    gone: Backoff,
    outage: Option<Outage>,
    last_error: Option<(SystemTime, String)>,
}

impl PushNotifySink {
    /// Nothing is connected or sent yet, so the receiver need not be there.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn new(config: &PushNotify) -> io::Result<Self> {
        Ok(Self {
            socket: RecordSocket::new(&config.socket, config.dialect)?,
            dialect: config.dialect,
            record: Vec::new(),
            waiting: Waiting::default(),
            names_sent: 0,
            full: Backoff::new(FULL.0, FULL.1),
            gone: Backoff::new(GONE.0, GONE.1),
            outage: None,
            last_error: None,
        })
    }

    /// Takes over what waited in the sink that this one replaces after a reload.
    pub fn inherit(&mut self, old: Self, now: Instant) {
        self.waiting = old.waiting;
        self.names_sent = old.names_sent;
        if self.waiting.len() > 0 {
            self.outage = Some(Outage { since: now, kind: io::ErrorKind::Other, retry: now, sent_since: 0 });
        }
    }

    /// Does the mailbox wait for the receiver?
    #[must_use]
    pub fn has(&self, mailbox: MailboxId) -> bool {
        self.waiting.has(mailbox)
    }

    /// Sends to the names of a mailbox from `names_sent` on.
    fn send(&mut self, mailbox: MailboxId, map: &MailboxMap) -> io::Result<()> {
        for name in map.names(mailbox).skip(self.names_sent) {
            send_notify(&self.socket, self.dialect, name, &mut self.record)?;
            self.names_sent += 1;
        }
        self.names_sent = 0;
        Ok(())
    }

    fn failed(&mut self, error: &io::Error, now: Instant) {
        let is_full = error.kind() == io::ErrorKind::WouldBlock;
        let backoff = if is_full { &mut self.full } else { &mut self.gone };
        let wait = backoff.failed(fastrand::f64());
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            kind: io::ErrorKind::Other,
            retry: now,
            sent_since: 0,
        });
        outage.retry = now + wait;
        // Said once for each kind of trouble, not once a try.
        if std::mem::replace(&mut outage.kind, error.kind()) != error.kind() {
            let socket = self.socket.path().display();
            if is_full {
                debug!(%socket, waiting = self.waiting.len(), "the receiver is busy, and pushes wait for it: `{socket}`");
            } else {
                let hint = hint(self.socket.path(), self.dialect, error);
                self.last_error = Some((SystemTime::now(), error.to_string()));
                error!(
                    %socket, %error, waiting = self.waiting.len(), hint,
                    "cannot push through `{socket}`: {error}; each user's push is kept and tried again; hint: {hint}"
                );
            }
        }
    }

    fn worked(&mut self, now: Instant) {
        self.full.reset();
        self.gone.reset();
        if self.waiting.len() > 0 {
            return;
        }
        if let Some(outage) = self.outage.take() {
            let seconds = now.duration_since(outage.since).as_secs_f64();
            let pushes = outage.sent_since;
            let sent = count(pushes, "push", "pushes");
            if outage.kind == io::ErrorKind::WouldBlock && seconds < 10.0 {
                debug!(pushes, seconds, "the receiver has caught up: {sent} in {seconds:.1} s");
            } else if outage.kind != io::ErrorKind::Other {
                info!(
                    pushes,
                    seconds,
                    "the push_notify socket works again after {seconds:.1} s; what waited is sent: {sent}"
                );
            }
        }
    }
}

impl Sink for PushNotifySink {
    fn via(&self) -> Via {
        Via::PushNotify
    }

    fn offer(&mut self, ready: &MailboxReady, map: &MailboxMap, now: Instant) -> Outcome {
        // While others wait, this one queues up behind them.
        if self.outage.is_none() {
            match self.send(ready.mailbox, map) {
                Ok(()) => return Outcome::Delivered,
                Err(error) => self.failed(&error, now),
            }
        }
        self.waiting.insert(ready);
        Outcome::Waiting
    }

    fn due(&self) -> Option<Instant> {
        self.outage.as_ref().map(|outage| outage.retry)
    }

    fn retry(&mut self, map: &MailboxMap, now: Instant, sent: &mut dyn FnMut(&MailboxReady)) {
        for _ in 0..BATCH {
            let Some(ready) = self.waiting.front() else { break };
            match self.send(ready.mailbox, map) {
                Ok(()) => {
                    self.waiting.remove(ready.mailbox);
                    sent(&ready);
                    self.full.reset();
                    self.gone.reset();
                    if let Some(outage) = &mut self.outage {
                        outage.sent_since += 1;
                        outage.retry = now;
                    }
                }
                Err(error) => return self.failed(&error, now),
            }
        }
        self.worked(now);
    }

    fn forget(&mut self, mailbox: MailboxId) {
        if self.waiting.front().is_some_and(|front| front.mailbox == mailbox) {
            self.names_sent = 0;
        }
        self.waiting.remove(mailbox);
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn health(&self) -> Health {
        let target = self.socket.path().display().to_string();
        let trouble = self.outage.as_ref().and_then(|outage| match outage.kind {
            // What was inherited from another sink has not been tried yet.
            io::ErrorKind::Other => None,
            io::ErrorKind::WouldBlock if outage.since.elapsed() < HANGS => None,
            io::ErrorKind::WouldBlock => Some("the receiver does not read".to_owned()),
            _ => self.last_error.as_ref().map(|(_, message)| message.clone()),
        });
        Health { target, trouble, last_error: self.last_error.clone() }
    }
}

/// Sends one notify record.
fn send_notify(socket: &RecordSocket, dialect: Dialect, name: &str, record: &mut Vec<u8>) -> io::Result<()> {
    let message = Message::Notify { user: name, mailbox: (dialect == Dialect::Argon).then_some("INBOX") };
    if let Err(error) = message.encode(dialect, record) {
        // The map refuses such names, so this is ours to repair and no reason to hold up everybody else.
        warn!(user = %name, %error, "the user {name} in the map cannot be named in the record: {error}");
        return Ok(());
    }
    socket.send(record)
}

/// Sends one notify record to each of the users, for the command `send`: waits a little where the receiver is busy.
///
/// # Errors
/// The first one, with the user that it is about.
pub fn send_now(
    config: &PushNotify,
    users: &[Username],
    patience: Duration,
) -> Result<(), (Username, io::Error)> {
    let failed = |user: &Username| {
        let user = user.clone();
        |error| (user, error)
    };
    let mut record = Vec::new();
    for user in users {
        let socket = RecordSocket::new(&config.socket, config.dialect).map_err(failed(user))?;
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::new(FULL.0, Duration::from_millis(50));
        loop {
            match send_notify(&socket, config.dialect, user.as_str(), &mut record) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a receiver's buffer tells nobody when it has room again"
                    )]
                    std::thread::sleep(backoff.failed(fastrand::f64()));
                }
                Err(error) => return Err(failed(user)(error)),
            }
        }
    }
    Ok(())
}

/// What to do about an error of the socket.
#[must_use]
pub fn hint(path: &Path, dialect: Dialect, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("is the push daemon running? {}", crate::path_access::hint(path, error))
        }
        io::ErrorKind::ConnectionRefused => {
            "the socket is there, but nobody listens: is the push daemon running?".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            let folder = crate::path_access::blocking_component(path);
            let hint = match folder {
                Some(_) => crate::path_access::hint(path, error),
                None => {
                    "put it into the socket's group: `SupplementaryGroups=`, by `systemctl edit pushmaild`"
                        .to_owned()
                }
            };
            format!("the daemon's user must be able to write to the socket and to enter its folder; {hint}")
        }
        io::ErrorKind::WouldBlock => "the receiver does not read: is the push daemon hanging?".to_owned(),
        _ if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            format!(
                "the socket is of the other type: {dialect} wants a {} socket",
                if dialect.is_stream() { "stream" } else { "datagram" }
            )
        }
        _ => "see the error above".to_owned(),
    }
}
