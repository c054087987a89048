//! What the machine has room for, and what its kernel uses.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{time::clock_getcpuclockid, unistd::Pid};

use crate::{Result, daemon::Daemon, mailboxes::Store, pause, site::Site};

/// A backend of the daemon for which there are goals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Backend {
    Inotify,
    Fanotify,
}

impl Backend {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
        }
    }

    /// Why it cannot be measured here, if so: a daemon that is asked to use it says it.
    pub(crate) fn refusal(self, store: &mut Store) -> Result<Option<String>> {
        let site = Site::new()?;
        let configuration = site.configuration(&store.mailboxes(1)?, self, "off");
        match Daemon::start(&site, &configuration, "info") {
            Ok(daemon) if daemon.log().contains(&format!("of {}", self.as_str())) => Ok(None),
            Ok(daemon) => Ok(Some(daemon.log().trim().to_owned())),
            Err(error) => Ok(Some(error.to_string())),
        }
    }
}

/// Mailboxes for which nine tenths of the watches that a user of the system may have are enough.
pub(crate) fn room_for_watches() -> Result<usize> {
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches")?.trim().parse()?;
    Ok(limit / 10 * 9 / 2 / 1000 * 1000)
}

/// Of a process's memory what is its own: not the program's file, which the kernel can read again.
pub(crate) fn anonymous_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kilobytes(&status, "RssAnon:").ok_or_else(|| "no RssAnon".into())
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let number = text.lines().find_map(|line| line.strip_prefix(key))?.trim_end_matches("kB").trim();
    number.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Memory that programs can still have, in bytes.
pub(crate) fn available_memory() -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    kilobytes(&meminfo, "MemAvailable:").ok_or_else(|| "/proc/meminfo has no MemAvailable".into())
}

/// The bytes of the kernel's objects that watch something, of all processes: what `/sys/kernel/slab` counts of those caches, which some
/// others share. `None` for who is not root.
pub(crate) fn kernel_memory() -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        // Such as `4000 N0=4000`.
        fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()
    };
    let mut caches = Vec::new();
    for name in ["inotify_inode_mark", "fanotify_mark", "fsnotify_mark_connector"] {
        // Caches of one size are one cache with several names.
        let cache = fs::canonicalize(Path::new("/sys/kernel/slab").join(name)).ok()?;
        if !caches.contains(&cache) {
            caches.push(cache);
        }
    }
    let bytes = |cache: &Path| {
        Some(
            number(&format!("{}/objects", cache.display()))?
                * number(&format!("{}/slab_size", cache.display()))?,
        )
    };
    caches.iter().map(|cache| bytes(cache)).sum()
}

/// Drops what the kernel has cached of all disks. It slows down everybody on the machine for a while.
pub(crate) fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}

/// The time on the CPU that a process has had, threads that have ended included.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(clock.now()?.into())
}

/// Waits until a process has done next to nothing for a while.
pub(crate) fn wait_until_idle(pid: u32, within: Duration) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(500);
    let start = Instant::now();
    let mut quiet = 0;
    let mut before = cpu_time(pid)?;
    while quiet < 3 {
        if start.elapsed() > within {
            return Err(format!("the daemon is busy for longer than {within:?}").into());
        }
        pause(LOOK);
        let now = cpu_time(pid)?;
        quiet = if now.saturating_sub(before) < Duration::from_millis(10) { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}
