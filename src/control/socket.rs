//! The control socket: one line in, one JSON document out.
//!
//! ```text
//! C: status LF          S: the status          { … }
//! C: users LF           S: all mailboxes       [ { … }, … ]
//! C: user NAME LF       S: the user's mailbox  { … } or null
//! C: anything else      S: { "error": … }
//! ```

use std::{io, os::unix, time::Duration};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::process::geteuid;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::UCred},
    time::timeout,
};
use tracing::{debug, error};

use super::{
    clients,
    desk::{Desk, NoAnswer},
};
use crate::unix_socket::BoundPath;

/// Clients at a time; others wait to be let in.
const CLIENTS: usize = 16;
/// The longest line: a user name, and what comes before it.
const LINE: u64 = 1024;
/// A client has to ask within this time.
const ASK: Duration = Duration::from_secs(2);
/// And to take each piece of the answer within this time.
const TAKE: Duration = Duration::from_secs(5);

/// Answers clients until it is dropped; then the socket's path is removed.
pub(super) async fn serve(listener: unix::net::UnixListener, path: BoundPath, desk: Desk) {
    let group = std::fs::metadata(path.path()).map(|found| unix::fs::MetadataExt::gid(&found)).ok();
    let listener = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "the control socket cannot be served: {error}"),
    };
    let accept = async || Ok(listener.accept().await?.0);
    let serve = |mut stream| {
        let desk = desk.clone();
        async move {
            // A client that has gone, or takes too long, is nobody's trouble but its own.
            if let Err(error) = converse(&mut stream, group, &desk).await {
                debug!(%error, "a client of the control socket: {error}");
            }
        }
    };
    clients::let_in(CLIENTS, accept, serve).await;
}

async fn converse(stream: &mut UnixStream, group: Option<u32>, desk: &Desk) -> io::Result<()> {
    let line = match timeout(ASK, line(stream)).await {
        Ok(line) => line?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    // Not before the line is read: what is left unread when a connection ends takes the answer with it.
    let peer = stream.peer_cred()?;
    if !may_ask(peer, group).await {
        debug!(uid = peer.uid(), "uid {} may not see the status", peer.uid());
        return answer(
            stream,
            &Refusal::new("only root, the daemon's user and members of the socket's group are answered"),
        )
        .await;
    }
    match line.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        Some(("status", "")) => match desk.status(Duration::ZERO).await {
            Ok(status) => answer(stream, &*status).await,
            Err(error) => answer(stream, &Refusal::from(error)).await,
        },
        Some(("user", user)) if !user.is_empty() => match desk.user(user.to_owned()).await {
            Ok(user) => answer(stream, &user).await,
            Err(error) => answer(stream, &Refusal::from(error)).await,
        },
        Some(("users", "")) => users(stream, desk).await,
        _ => answer(stream, &Refusal::new("ask for `status`, `users` or `user NAME`, on one line")).await,
    }
}

/// The first line, without its end. None if it is too long, has no end, or is no text.
async fn line(stream: &mut UnixStream) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = stream.take(LINE);
    while !line.contains(&b'\n') {
        if limited.read_buf(&mut line).await? == 0 {
            return Ok(None);
        }
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    line.truncate(end);
    Ok(String::from_utf8(line).ok())
}

/// All mailboxes, some at a time: there may be a million.
async fn users(stream: &mut UnixStream, desk: &Desk) -> io::Result<()> {
    let mut from = Some(0);
    let mut separator = "[\n";
    while let Some(number) = from {
        // What has been written cannot be taken back: a document without an end says that it is not all.
        let (users, next) = desk.users(number).await.map_err(io::Error::other)?;
        let mut text = Vec::new();
        for user in users {
            text.extend_from_slice(std::mem::replace(&mut separator, ",\n").as_bytes());
            serde_json::to_writer(&mut text, &user)?;
        }
        write(stream, &text).await?;
        from = next;
    }
    write(stream, if separator == "[\n" { b"[]\n" } else { b"\n]\n" }).await
}

async fn answer(stream: &mut UnixStream, document: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(document)?;
    text.push(b'\n');
    write(stream, &text).await?;
    stream.shutdown().await
}

async fn write(stream: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    for piece in text.chunks(64 * 1024) {
        timeout(TAKE, stream.write_all(piece)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

#[derive(Serialize)]
struct Refusal {
    error: String,
}

impl Refusal {
    fn new(error: impl Into<String>) -> Self {
        Self { error: error.into() }
    }
}

impl From<NoAnswer> for Refusal {
    fn from(error: NoAnswer) -> Self {
        Self::new(error.to_string())
    }
}

/// Whoever reads this learns who gets mail, and when. The file's mode says the same, but a folder or a mode may have been opened by
/// mistake.
async fn may_ask(peer: UCred, group: Option<u32>) -> bool {
    if peer.uid() == 0 || peer.uid() == geteuid().as_raw() || Some(peer.gid()) == group {
        return true;
    }
    // The user database may be a directory service that takes its time.
    let is_member = tokio::task::spawn_blocking(move || {
        let groups =
            group.zip(User::from_uid(Uid::from_raw(peer.uid())).ok().flatten()).and_then(|(group, user)| {
                let name = std::ffi::CString::new(user.name).ok()?;
                Some((group, getgrouplist(&name, user.gid).ok()?))
            });
        groups.is_some_and(|(group, groups)| groups.contains(&Gid::from_raw(group)))
    });
    is_member.await.unwrap_or(false)
}
