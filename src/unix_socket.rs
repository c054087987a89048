//! Binding Unix sockets that other programs send to.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use thiserror::Error;

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
        }
    }
}

/// A path that was bound. It is removed when this is dropped, unless somebody else's socket is there by then.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a datagram socket with mode 0660. A stale socket is replaced.
///
/// # Errors
/// See [`BindError`].
pub fn bind_datagram(path: &Path) -> Result<(UnixDatagram, BoundPath), BindError> {
    bind(path, |path| UnixDatagram::bind(path))
}

/// Binds a stream socket with mode 0660. A stale socket is replaced.
///
/// # Errors
/// See [`BindError`].
pub fn bind_stream(path: &Path) -> Result<(UnixListener, BoundPath), BindError> {
    bind(path, |path| UnixListener::bind(path))
}

fn bind<S>(path: &Path, bind: impl Fn(&Path) -> io::Result<S>) -> Result<(S, BoundPath), BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) if is_live(path) => return Err(BindError::Live(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Set for the moment of binding: with a chmod afterwards there would be a moment with the wrong mode.
    let old = umask(Mode::from_raw_mode(0o117));
    let bound = bind(path);
    umask(old);
    let socket = bound.map_err(failed)?;
    Ok((socket, BoundPath { path: path.to_owned(), identity: identity(path) }))
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
    if stream { UnixStream::connect(path).map(drop) } else { UnixDatagram::unbound()?.connect(path) }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
