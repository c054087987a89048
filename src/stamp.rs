//! What a look at a directory saw: enough to tell later whether it is the same one, and whether it changed.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::maildir::is_message;

/// The stamps of `new/` and `cur/`, in the order of [`crate::maildir::Part::ALL`]; none where there was no directory.
pub type Stamps = [Option<Stamp>; 2];

/// A change so soon before a look may be followed by another one that leaves the mtime as it is, where the file system's clock
/// ticks slowly: tmpfs, and kernels before 6.13 (4 ms), as git's "racily clean" files.
pub const RACY: Duration = Duration::from_millis(20);
/// The same where mtimes are whole seconds: old NFS servers.
const RACY_SECONDS: Duration = Duration::from_secs(2);

/// Device, inode and mtime of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    device: u64,
    inode: u64,
    /// Nanoseconds since 1970.
    mtime: i64,
    racy: bool,
}

impl PartialEq for Stamp {
    /// The same directory with the same mtime. Whether it was looked at too soon is a property of the look.
    fn eq(&self, other: &Self) -> bool {
        self.same_directory(other) && self.mtime == other.mtime
    }
}

impl Eq for Stamp {}

impl Stamp {
    /// Looks at a directory. A link is not followed.
    ///
    /// # Errors
    /// If there is no directory, or it cannot be looked at.
    pub fn look(directory: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(directory)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self::new(found.dev(), found.ino(), (found.mtime(), found.mtime_nsec()), now))
    }

    /// A stamp from its parts: the mtime in seconds and nanoseconds, and the time of the look since 1970.
    #[must_use]
    pub fn new(device: u64, inode: u64, (seconds, nanoseconds): (i64, i64), now: Duration) -> Self {
        // Good until the year 2262.
        let mtime = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        let margin = if nanoseconds == 0 { RACY_SECONDS } else { RACY };
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let margin = i64::try_from(margin.as_nanos()).unwrap_or(i64::MAX);
        // An mtime in the future says nothing about when the change was, so it is racy for as long as it lies there.
        Self { device, inode, mtime, racy: now.saturating_sub(mtime) < margin }
    }

    /// A stamp that was kept as its parts.
    #[must_use]
    pub const fn kept(device: u64, inode: u64, mtime: i64, racy: bool) -> Self {
        Self { device, inode, mtime, racy }
    }

    /// The same directory, of which nobody knows what has been told.
    #[must_use]
    pub const fn doubtful(self) -> Self {
        Self { racy: true, ..self }
    }

    /// The device that the directory is on.
    #[must_use]
    pub const fn device(&self) -> u64 {
        self.device
    }

    /// Its number there.
    #[must_use]
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// When it last changed: nanoseconds since 1970. See [`Self::is_racy`] for what that is worth.
    #[must_use]
    pub const fn mtime(&self) -> i64 {
        self.mtime
    }

    /// Is all as it was then, for certain?
    #[must_use]
    pub fn is_unchanged_since(&self, then: &Self) -> bool {
        self == then && !then.racy
    }

    /// Is this a look at the same directory, rather than at another one in its place?
    #[must_use]
    pub const fn same_directory(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }

    /// Was the last change so young at the look that another one may hide behind the same mtime?
    #[must_use]
    pub const fn is_racy(&self) -> bool {
        self.racy
    }
}

/// Is there a message in the directory? Stops at the first one.
///
/// # Errors
/// If the directory cannot be listed.
pub fn holds_message(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if is_message(entry?.file_name().as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_changes_are_racy() {
        for (mtime, now_ms, racy) in [
            ((100, 500_000_000), 100_510, true),
            ((100, 500_000_000), 100_520, false),
            ((100, 0), 101_900, true),
            ((100, 0), 102_000, false),
            ((200, 1), 100_000, true),
            ((-5, 1), 100_000, false),
        ] {
            let stamp = Stamp::new(1, 2, mtime, Duration::from_millis(now_ms));
            assert_eq!(stamp.is_racy(), racy, "{mtime:?} at {now_ms}");
        }
    }

    #[test]
    fn tells_another_directory_from_a_changed_one() {
        let now = Duration::from_secs(1000);
        let old = Stamp::new(1, 2, (5, 5), now);
        assert_eq!(old, Stamp::new(1, 2, (5, 5), Duration::from_secs(5)));
        assert_ne!(old, Stamp::new(1, 2, (5, 6), now));
        assert!(old.same_directory(&Stamp::new(1, 2, (9, 9), now)));
        assert!(!old.same_directory(&Stamp::new(1, 3, (5, 5), now)));
    }
}
