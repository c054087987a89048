//! Figures that the daemon's log has.

use std::time::{Duration, Instant};

use crate::{Result, daemon::Daemon, pause};

/// The number between these two texts, where they come last.
pub(crate) fn milliseconds(log: &str, before: &str, after: &str) -> Option<Duration> {
    log.lines().rev().find_map(|line| {
        let (_, rest) = line.rsplit_once(before)?;
        let (number, _) = rest.split_once(after)?;
        Some(Duration::from_millis(number.parse().ok()?))
    })
}

/// How long the start took: until the map was there, and from then until everything was armed and compared.
pub(crate) fn start(daemon: &Daemon) -> Result<[Duration; 2]> {
    let log = daemon.log();
    if log.contains("directories polled") {
        return Err("others have taken watches, and not all of the mailboxes got theirs; try again".into());
    }
    let found = |before, after| {
        milliseconds(&log, before, after).ok_or_else(|| format!("the log has no times of the start:\n{log}"))
    };
    Ok([found(", after ", " ms for the map")?, found(" ms for the map and ", " ms to arm and compare")?])
}

/// Waits for the line that tells of the end of a comparison, and returns how long that took.
pub(crate) fn compared(daemon: &Daemon, before: &str, within: Duration) -> Result<Duration> {
    let start = Instant::now();
    while start.elapsed() < within {
        if let Some(took) = milliseconds(&daemon.log(), before, " ms") {
            return Ok(took);
        }
        pause(Duration::from_millis(50));
    }
    Err(format!("no comparison within {within:?}:\n{}", daemon.log()).into())
}
