//! Binding Unix sockets that other programs send to.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::unistd::Group;
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, RawMode, chownat},
    process::umask,
};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Connections that the kernel keeps until they are accepted. Nobody is turned away during a burst; Linux lowers it to `somaxconn`.
const BACKLOG: i32 = 4096;
/// What a datagram socket may hold, where that is counted in bytes: on macOS and BSD, whose 8 KiB are four records. Linux counts
/// datagrams instead (`net.unix.max_dgram_qlen`, 10), and does not let a socket have more.
const DATAGRAM_BUFFER: usize = 256 * 1024;

/// Whoever accepts connections does so within this time.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// Who may send to a socket, as far as the file system decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The permission bits.
    pub mode: u32,
    /// The group; none for the one that the system gives a new file.
    pub group: Option<u32>,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: 0o660, group: None }
    }
}

/// A group that is not there, or cannot be looked up.
#[derive(Debug, Error)]
#[error("{}: `{}`", .error.as_deref().unwrap_or("there is no such group"), .name.escape_debug())]
pub struct UnknownGroup {
    /// Its name.
    pub name: String,
    /// Why it cannot be looked up.
    pub error: Option<String>,
}

impl Access {
    /// With these permission bits, for the group of this name, if there is to be one. Asks the user database, and waits for the answer.
    ///
    /// # Errors
    /// If the group is not there, or cannot be looked up.
    pub fn with_group(mode: u32, group: Option<&str>) -> Result<Self, UnknownGroup> {
        let number = |name: &str| match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(UnknownGroup { name: name.to_owned(), error: None }),
            Err(error) => Err(UnknownGroup { name: name.to_owned(), error: Some(error.to_string()) }),
        };
        Ok(Self { mode, group: group.map(number).transpose()? })
    }
}

/// Why a path cannot be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// There is something that is no socket.
    #[error("`{}` is there already, and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// Somebody listens.
    #[error("`{}` is in use: somebody listens there", .0.display())]
    Live(PathBuf),
    /// The system refuses.
    #[error("cannot bind `{}`: {error}", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The socket cannot be given to the group.
    #[error("cannot give `{}` to the group {group}: {error}", .path.display())]
    Group {
        /// The path.
        path: PathBuf,
        /// The group's number.
        group: u32,
        /// Why.
        error: io::Error,
    },
}

impl BindError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotASocket(_) => "name another path, or remove it if it is not needed".to_owned(),
            Self::Live(_) => {
                "stop the other program, or name another path; a sink and a listener cannot share one"
                    .to_owned()
            }
            Self::Io { path, error } => {
                path.parent().map_or_else(String::new, |folder| crate::path_access::hint(folder, error))
            }
            Self::Group { .. } => {
                "only root may give a file to any group; make the daemon's user a member of this one \
                                   (under systemd: `SupplementaryGroups=`)"
                    .to_owned()
            }
        }
    }
}

/// A path that was bound. It is removed when this is dropped, unless somebody else's socket is there by then.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl BoundPath {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a datagram socket. A stale socket is replaced. Each datagram tells who sent it, where the system can do that.
///
/// # Errors
/// See [`BindError`].
pub fn bind_datagram(path: &Path, access: Access) -> Result<(UnixDatagram, BoundPath), BindError> {
    let (socket, bound) = bind(path, Type::DGRAM, access)?;
    Ok((socket.into(), bound))
}

/// Binds a stream socket. A stale socket is replaced.
///
/// # Errors
/// See [`BindError`].
pub fn bind_stream(path: &Path, access: Access) -> Result<(UnixListener, BoundPath), BindError> {
    let (socket, bound) = bind(path, Type::STREAM, access)?;
    socket.listen(BACKLOG).map_err(|error| BindError::Io { path: path.to_owned(), error })?;
    Ok((socket.into(), bound))
}

/// The umask is the whole process's, so that two threads must not borrow it at a time.
static UMASK: Mutex<()> = Mutex::new(());

/// The order matters:
///
/// 1. The socket asks for the senders' credentials before it has a name, so that no datagram comes without.
/// 2. It is bound under an umask, and so has its mode from the first moment. With a chmod afterwards, anybody could connect between
///    the two; and a chmod by path follows a link that somebody puts there.
/// 3. It is given to its group. Until then the group's bits are for the daemon's own group, which lets in nobody new; a stream
///    socket refuses everybody, because
/// 4. only now does it listen.
///
/// The umask is for the whole process: files that other threads make at that moment have the socket's mode, at most. So bind before
/// there are such threads.
fn bind(path: &Path, kind: Type, access: Access) -> Result<(Socket, BoundPath), BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) if is_live(path) => return Err(BindError::Live(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let socket = Socket::new(Domain::UNIX, kind, None).map_err(failed)?;
    let address = SockAddr::unix(path).map_err(failed)?;
    if kind == Type::DGRAM {
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_socket_passcred(&socket, true).map_err(|error| failed(error.into()))?;
        // A system that gives less still works.
        let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER);
    }
    bind_with_mode(&socket, &address, access.mode).map_err(failed)?;
    let bound = BoundPath { path: path.to_owned(), identity: identity(path) };
    if let Some(group) = access.group {
        chownat(CWD, path, None, Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| BindError::Group { path: path.to_owned(), group, error: error.into() })?;
    }
    Ok((socket, bound))
}

fn bind_with_mode(socket: &Socket, address: &SockAddr, mode: u32) -> io::Result<()> {
    let _alone = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    let old = umask(Mode::from_raw_mode((0o777 & !mode) as RawMode));
    let result = socket.bind(address);
    umask(old);
    result
}

/// Does somebody listen at the path? Asks by connecting, which sends nothing.
#[must_use]
pub fn is_live(path: &Path) -> bool {
    !matches!(probe(path, false), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Connects to a receiver and sends nothing.
///
/// # Errors
/// What a sender would get: `NotFound`, `ConnectionRefused`, `PermissionDenied`, or `EPROTOTYPE` for the wrong type.
pub fn probe(path: &Path, stream: bool) -> io::Result<()> {
    if stream {
        connect_stream(path, PROBE_PATIENCE).map(drop)
    } else {
        UnixDatagram::unbound()?.connect(path)
    }
}

/// Connects to somebody who accepts, or would: where a server hangs and others wait for it already, a plain `connect` waits for ever. Reads
/// and writes get the same patience.
///
/// # Errors
/// `WouldBlock` after that time.
pub fn connect_stream(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_accepts_nobody_is_not_waited_for_without_end() {
        let site = tempfile::tempdir().expect("a folder");
        let path = site.path().join("socket");
        let server = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        server.bind(&SockAddr::unix(&path).expect("a short path")).expect("a free path");
        server.listen(0).expect("it listens");
        let connect = || connect_stream(&path, Duration::from_millis(20));
        let waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).collect();
        assert!(!waiting.is_empty());
        assert_eq!(connect().expect_err("there is no room").kind(), io::ErrorKind::WouldBlock);
    }
}
