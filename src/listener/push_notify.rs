//! push_notify records: one a datagram, or one a connection. There is no answer.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, Interest},
    net::{UnixDatagram, UnixStream},
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    accept::Connection,
    counters::{Asked, Listener},
    desk::Desk,
    peer::{Peers, Speaker},
};
use crate::{
    mailbox::mailbox_name,
    proto::push_notify::{Arrival, MAX_RECORD, Message},
    unix_socket::BoundPath,
};

/// Datagrams of trusted senders that wait for the disk at a time. A burst of registrations after Dovecot was restarted is one for
/// each phone that is on its way; while the disk hangs, each waits 250 ms.
const AT_ONCE: usize = 1024;
/// The same for all others together: each costs a look at a directory.
const OTHERS_AT_ONCE: usize = 64;
/// Reading failed. It does not, but if it did it would again.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// An error that lasts is told of again after this time.
const SILENCE: Duration = Duration::from_secs(60);

/// argon's record, and the one of its own tests, which lacks the last byte.
const RECORD: usize = 1672;
const CLIPPED: usize = RECORD - 1;
/// Whether the last byte comes after the others, if the connection stays open.
const LAST_BYTE: Duration = Duration::from_millis(100);

/// The datagram socket, with the path that is removed when it no longer receives.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) socket: UnixDatagram,
    pub(super) _path: BoundPath,
}

impl Datagrams {
    /// Receives until the stop, and returns when all that was received is done, or after the grace period.
    ///
    /// The kernel keeps ten datagrams, and then the senders wait or give up: so the loop waits for nothing but the next one.
    pub(super) async fn run(self, desk: Arc<Desk>, stop: CancellationToken) {
        let mut inbox = Inbox::new(&desk);
        let mut told: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = inbox.tasks.join_next(), if !inbox.tasks.is_empty() => {}
                received = self.socket.async_io(Interest::READABLE, || inbox.receiver.receive(&self.socket, &desk.peers)) => {
                    match received {
                        Ok((bytes, speaker)) => inbox.take(bytes, speaker),
                        Err(error) => {
                            if told.is_none_or(|told| told.elapsed() >= SILENCE) {
                                error!(%error, "{} cannot receive, and tries again: {error}", Listener::PushNotifyDatagram);
                                told = Some(Instant::now());
                            }
                            sleep(AFTER_ERROR).await;
                        }
                    }
                }
            }
        }
        // Nobody can send any more; what was sent is in the socket. More than the kernel keeps is from one who has not noticed.
        drop(self._path);
        // The runtime looks for what came while it did something else.
        yield_now().await;
        for _ in 0..AT_ONCE {
            let Ok((bytes, speaker)) = inbox.receiver.receive(&self.socket, &desk.peers) else { break };
            inbox.take(bytes, speaker);
        }
        let _ = timeout(desk.limits.grace, async { while inbox.tasks.join_next().await.is_some() {} }).await;
    }
}

/// Reads a datagram, and who sent it.
struct Receiver {
    buffer: Vec<u8>,
    /// Room for the sender's credentials and nothing else, so that no file descriptor that a sender adds comes in.
    #[cfg(target_os = "linux")]
    credentials: Vec<u8>,
}

impl Receiver {
    fn new() -> Self {
        Self {
            // One byte more than fits, to tell what is too long.
            buffer: vec![0; MAX_RECORD + 1],
            #[cfg(target_os = "linux")]
            credentials: nix::cmsg_space!(nix::libc::ucred),
        }
    }

    /// With nix and not with rustix, whose type for a pid cannot hold the 0 that a process in another container has.
    #[cfg(target_os = "linux")]
    fn receive(&mut self, socket: &UnixDatagram, peers: &Peers) -> io::Result<(usize, Speaker)> {
        use std::os::fd::AsRawFd;

        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

        let mut parts = [io::IoSliceMut::new(&mut self.buffer)];
        let message = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.credentials),
            MsgFlags::MSG_DONTWAIT,
        )?;
        // An error is that there was more than credentials: somebody sends file descriptors, which nobody in the field does.
        let uid = message.cmsgs().ok().and_then(|mut parts| {
            parts.find_map(|part| match part {
                // The real uid, which the kernel puts there; only root can have another one put there.
                ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.uid()),
                _ => None,
            })
        });
        // Otherwise the kernel tells always, since before the socket had a name. A sender that it does not tell is nobody.
        Ok((message.bytes, uid.map_or(Speaker::Other(u32::MAX), |uid| peers.speaker(uid))))
    }

    /// No credentials come with datagrams here. Who may write to the socket is let in, and that is for its mode to say.
    #[cfg(not(target_os = "linux"))]
    fn receive(&mut self, socket: &UnixDatagram, _: &Peers) -> io::Result<(usize, Speaker)> {
        Ok((socket.try_recv(&mut self.buffer)?, Speaker::Socket))
    }
}

/// What is done with datagrams.
struct Inbox {
    receiver: Receiver,
    desk: Arc<Desk>,
    tasks: JoinSet<()>,
    trusted: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Inbox {
    const ON: Listener = Listener::PushNotifyDatagram;

    fn new(desk: &Arc<Desk>) -> Self {
        Self {
            receiver: Receiver::new(),
            desk: Arc::clone(desk),
            tasks: JoinSet::new(),
            trusted: Arc::new(Semaphore::new(AT_ONCE)),
            others: Arc::new(Semaphore::new(OTHERS_AT_ONCE)),
        }
    }

    /// Takes the first bytes of the buffer.
    fn take(&mut self, bytes: usize, speaker: Speaker) {
        let desk = &self.desk;
        let refuse = |asked, error: &dyn std::fmt::Display| desk.malformed(Self::ON, speaker, asked, error);
        if bytes > MAX_RECORD {
            return refuse(Asked::Unknown, &"the datagram is longer than any record");
        }
        let record = &self.receiver.buffer[..bytes];
        let message = match Message::decode(record, Arrival::Datagram) {
            Ok((_, message)) => message,
            Err(error) => return refuse(Asked::Unknown, &error),
        };
        if !desk.is_in_time(speaker) {
            return refuse(Asked::Unknown, &"it sends too many");
        }
        let is_hint = match message {
            Message::Notify { mailbox, .. } => mailbox.is_none_or(mailbox_name::is_inbox),
            _ => false,
        };
        if is_hint && speaker.is_trusted() {
            // It waits for nothing, neither an owner nor a registry, and so is done when it has been polled once.
            if desk.record(Self::ON, speaker, message).now_or_never().is_some() {
                return;
            }
        }
        let permits = if speaker.is_trusted() { &self.trusted } else { &self.others };
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            return refuse(Asked::Unknown, &"too many wait already");
        };
        let (desk, record) = (Arc::clone(desk), record.to_vec());
        self.tasks.spawn(async move {
            // The same once more: the message borrows from the record.
            if let Ok((_, message)) = Message::decode(&record, Arrival::Datagram) {
                desk.record(Self::ON, speaker, message).await;
            }
            drop(permit);
        });
    }
}

/// Serves a connection, which is one record.
pub(super) async fn serve(connection: Connection<UnixStream>) {
    const ON: Listener = Listener::PushNotifyStream;
    let Connection { mut stream, speaker, seat, desk, stop } = connection;
    let mut record = [0; RECORD];
    let mut length = 0;
    while length < RECORD {
        let is_clipped = length == CLIPPED;
        let read = async {
            let read = stream.read(&mut record[length..]);
            // Without its last byte it is a whole record as well, and whoever sends that need not close the connection.
            if is_clipped { timeout(LAST_BYTE, read).await.unwrap_or(Ok(0)) } else { read.await }
        };
        let read = tokio::select! {
            read = read => read,
            () = stop.cancelled(), if length == 0 => return,
        };
        match read {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(_) => return,
        }
        seat.receiving();
    }
    if length == 0 {
        // Somebody wants to know whether we are there.
        return;
    }
    seat.answering();
    desk.in_turn(speaker).await;
    match Message::decode(&record[..length], Arrival::Stream) {
        Ok((_, message)) => desk.record(ON, speaker, message).await,
        Err(error) => desk.malformed(ON, speaker, Asked::Unknown, &error),
    }
}
