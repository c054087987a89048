//! The system's users, as `getpwent(3)` lists them: /etc/passwd, directory services, LDAP.
//!
//! This is one of the files where `unsafe` is allowed: neither the standard library nor rustix reads the user
//! database, and /etc/passwd alone lacks the users of macOS.
#![allow(unsafe_code, reason = "getpwent(3) has no safe wrapper that is maintained")]

use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Mutex,
};

/// One entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemUser {
    /// The login name, as bytes: nothing makes it text.
    pub name: Vec<u8>,
    /// The numeric user id.
    pub uid: u32,
    /// The home directory.
    pub home: PathBuf,
}

/// getpwent walks through one list for the whole process.
static WALK: Mutex<()> = Mutex::new(());

/// All users of the system. A directory service that does not enumerate its users lists none of them.
#[must_use]
pub fn system_users() -> Vec<SystemUser> {
    // A poisoned lock means that a walk panicked; the next one starts from the front anyway.
    let _walk = WALK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut users = Vec::new();
    // SAFETY: setpwent takes no arguments. No other walk runs, for the lock is held and this is the only caller.
    unsafe { libc::setpwent() };
    loop {
        // SAFETY: see setpwent. The result is null or points to an entry that is valid until the next call.
        let entry = unsafe { libc::getpwent().as_ref() };
        let Some(entry) = entry else { break };
        if entry.pw_name.is_null() || entry.pw_dir.is_null() {
            continue;
        }
        // SAFETY: both are not null, and point to NUL-terminated strings that live until the next getpwent.
        let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
        users.push(SystemUser {
            name: name.to_bytes().to_vec(),
            uid: entry.pw_uid,
            home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
        });
    }
    // SAFETY: as for setpwent.
    unsafe { libc::endpwent() };
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_whom_the_system_lists() {
        let listed =
            std::process::Command::new("getent").arg("passwd").output().expect("getent is part of libc-bin");
        let lines = String::from_utf8_lossy(&listed.stdout);
        let expected: Vec<_> = lines.lines().filter_map(|line| line.split(':').next()).collect();
        let users = system_users();
        let names: Vec<_> =
            users.iter().map(|user| String::from_utf8_lossy(&user.name).into_owned()).collect();
        assert_eq!(names, expected);
        assert!(users.iter().any(|user| user.uid == 0 && user.home.is_absolute()));
    }
}
