//! The lock that keeps a second daemon from running on the same configuration.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// The lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("another pushmaild runs with this configuration (it holds the lock `{}`)", .0.display())]
    Held(PathBuf),
    /// The file cannot be opened or made.
    #[error("cannot open the lock file `{}`: {error}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl LockError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Held(_) => "stop the other one, or give this one its own configuration".to_owned(),
            Self::Open { path, .. } => format!(
                "the lock lies beside the configuration; if the daemon's user may not write there, make the file once: `install -m 640 -g pushmaild /dev/null {}`",
                path.display()
            ),
        }
    }
}

impl InstanceLock {
    /// The lock file of a configuration file.
    #[must_use]
    pub fn path_for(configuration: &Path) -> PathBuf {
        let mut path = configuration.as_os_str().to_owned();
        path.push(".lock");
        path.into()
    }

    /// Does somebody hold the lock? Makes no file.
    #[must_use]
    pub fn is_held(configuration: &Path) -> bool {
        File::open(Self::path_for(configuration)).is_ok_and(|file| {
            flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
        })
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// If another process has it, or the file cannot be opened.
    pub fn take(configuration: &Path) -> Result<Self, LockError> {
        let path = Self::path_for(configuration);
        // A file that root made is enough: flock(2) needs no right to write, and a sandbox makes /etc read-only.
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .map_err(|error| LockError::Open { path: path.clone(), error })?,
            Err(error) => return Err(LockError::Open { path, error }),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(path)),
            Err(error) => Err(LockError::Open { path, error: error.into() }),
        }
    }
}
