//! The system calls of fanotify(7) that nothing safe wraps with file handles: this file is the one with `unsafe` in the backend.
#![allow(
    unsafe_code,
    reason = "no maintained crate has fanotify with file handles, nor name_to_handle_at(2)"
)]

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use libc::c_int;
use rustix::path::Arg;

/// What the mark asks for. Both halves of a rename come in one event. `FAN_DELETE_SELF` tells of a directory that another one took the place
/// of, which no other event does.
const MASK: u64 =
    libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_RENAME | libc::FAN_DELETE_SELF | libc::FAN_ONDIR;

/// The longest file handle, `MAX_HANDLE_SZ`.
const HANDLE: usize = 128;

/// What the kernel calls a directory for as long as its file system lives, whatever its path. Larger than what is stored of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileHandle {
    pub(super) kind: i32,
    /// The kernel's number of the mount that it was found in.
    pub(super) mount: i32,
    bytes: [u8; HANDLE],
    length: usize,
}

impl FileHandle {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Opens a fanotify group that tells directories and names, with a queue that has no end if that is allowed.
pub(super) fn init() -> io::Result<OwnedFd> {
    let base =
        libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DFID_NAME_TARGET | libc::FAN_NONBLOCK | libc::FAN_CLOEXEC;
    let unlimited = libc::FAN_UNLIMITED_QUEUE | libc::FAN_UNLIMITED_MARKS;
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in [base | unlimited, base | libc::FAN_UNLIMITED_QUEUE, base] {
        // SAFETY: fanotify_init takes two numbers and touches no memory of ours.
        let number = unsafe { libc::fanotify_init(flags, 0) };
        if number >= 0 {
            // SAFETY: the descriptor was opened just now, and nobody else knows of it.
            return Ok(unsafe { OwnedFd::from_raw_fd(number) });
        }
        last = io::Error::last_os_error();
        if last.raw_os_error() != Some(libc::EPERM) {
            break;
        }
    }
    Err(last)
}

/// Marks the file system that a directory is on. To do it twice is to do it once.
pub(super) fn mark(group: impl AsFd, directory: impl AsFd) -> io::Result<()> {
    change_mark(group, libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM, MASK, directory)
}

/// Removes all marks of file systems.
pub(super) fn unmark_all(group: impl AsFd, directory: impl AsFd) -> io::Result<()> {
    change_mark(group, libc::FAN_MARK_FLUSH | libc::FAN_MARK_FILESYSTEM, 0, directory)
}

fn change_mark(group: impl AsFd, flags: u32, mask: u64, directory: impl AsFd) -> io::Result<()> {
    // SAFETY: both descriptors are open for as long as they are borrowed, and the path is a constant that ends with NUL.
    let result = unsafe {
        libc::fanotify_mark(
            group.as_fd().as_raw_fd(),
            flags,
            mask,
            directory.as_fd().as_raw_fd(),
            c".".as_ptr(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The handle of an open directory.
pub(super) fn handle_of(directory: impl AsFd) -> io::Result<FileHandle> {
    handle(directory.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

/// The handle of whatever is there, also of a link at the end of the path.
pub(super) fn handle_at(path: &Path) -> io::Result<FileHandle> {
    path.into_with_c_str(|path| Ok(handle(libc::AT_FDCWD, path, 0)))?
}

fn handle(directory: RawFd, path: &CStr, flags: c_int) -> io::Result<FileHandle> {
    /// `struct file_handle` with room for every handle there is.
    #[repr(C)]
    struct Raw {
        length: u32,
        kind: c_int,
        bytes: [u8; HANDLE],
    }
    let mut raw = Raw { length: HANDLE as u32, kind: 0, bytes: [0; HANDLE] };
    let mut mount: c_int = 0;
    // SAFETY: the path ends with NUL; `raw` begins as `struct file_handle` does, and `length` is the room that follows, which is all that
    // the kernel writes to, with `mount`. A number that is no descriptor is an error, and nothing is done to a descriptor.
    let result = unsafe {
        libc::name_to_handle_at(
            directory,
            path.as_ptr(),
            (&raw mut raw).cast::<libc::file_handle>(),
            &raw mut mount,
            flags,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = HANDLE.min(raw.length as usize);
    Ok(FileHandle { kind: raw.kind, mount, bytes: raw.bytes, length })
}

/// The id of the file system that an open directory is on, as events have it.
pub(super) fn file_system_id(directory: impl AsFd) -> io::Result<[u8; 8]> {
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one `struct statfs`, for which there is room.
    let result = unsafe { libc::fstatfs(directory.as_fd().as_raw_fd(), found.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros is a good value of this struct of numbers, and the kernel has filled it in.
    let found = unsafe { found.assume_init() };
    // SAFETY: both are eight bytes without padding, and any bytes are good.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(found.f_fsid) })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_handle_is_of_the_directory_and_not_of_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = folder.path().join("old");
        std::fs::create_dir(&old).expect("a folder");
        let before = handle_of(File::open(&old).expect("it is there")).expect("it has one");
        let new = folder.path().join("new");
        std::fs::rename(&old, &new).expect("it can be renamed");
        std::fs::create_dir(&old).expect("a folder");
        let [after, other] = [&new, &old].map(|path| {
            let file = File::open(path).expect("it is there");
            handle_of(file).expect("it has one")
        });
        assert_eq!((before.kind, before.bytes()), (after.kind, after.bytes()));
        assert_ne!(before.bytes(), other.bytes());
        assert!(!before.bytes().is_empty());

        let by_path = handle_at(&new).expect("it has one");
        assert_eq!((by_path.kind, by_path.mount, by_path.bytes()), (after.kind, after.mount, after.bytes()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&new, &link).expect("a link");
        assert_ne!(handle_at(&link).expect("it has its own").bytes(), after.bytes());
        assert!(
            handle_at(&folder.path().join("none"))
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn the_id_is_one_for_a_file_system() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("sub")).expect("a folder");
        let id = |path: &std::path::Path| {
            file_system_id(File::open(path).expect("it is there")).expect("it has one")
        };
        assert_eq!(id(folder.path()), id(&folder.path().join("sub")));
        let device = |path: &str| std::fs::metadata(path).map(|found| found.dev()).ok();
        if device("/proc") != folder.path().metadata().map(|found| found.dev()).ok() {
            assert_ne!(id(folder.path()), id("/proc".as_ref()));
        }
    }

    #[test]
    fn a_descriptor_of_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = File::open(folder.path()).expect("it is there");
        assert!(mark(&directory, &directory).is_err());
        assert!(unmark_all(&directory, &directory).is_err());
    }
}
