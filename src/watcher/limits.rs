//! The system's limits on inotify, as far as a process can see them.

use std::fs;

/// The most watches that a user may have, and where that can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimit {
    /// How many.
    pub watches: u64,
    /// The sysctl that sets it.
    pub sysctl: &'static str,
}

/// The limit that bites first: that of the user, or that of the user namespace. None where there is no inotify.
#[must_use]
pub fn watch_limit() -> Option<WatchLimit> {
    [
        ("/proc/sys/fs/inotify/max_user_watches", "fs.inotify.max_user_watches"),
        ("/proc/sys/user/max_inotify_watches", "user.max_inotify_watches"),
    ]
    .into_iter()
    .filter_map(|(file, sysctl)| {
        let watches = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        Some(WatchLimit { watches, sysctl })
    })
    .min_by_key(|limit| limit.watches)
}

/// The command that makes room for so many watches, with a fifth to spare.
#[must_use]
pub fn remedy(watches: usize) -> String {
    let sysctl = watch_limit().map_or("fs.inotify.max_user_watches", |limit| limit.sysctl);
    let enough = (watches as u64 + watches as u64 / 5).next_multiple_of(1 << 16);
    format!(
        "`sysctl {sysctl}={enough}`, and the same as a line of /etc/sysctl.d/60-pushmaild-inotify.conf to keep it"
    )
}
