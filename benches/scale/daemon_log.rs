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
    if log.contains(" polled, after ") {
        return Err("others have taken watches, and not all of the mailboxes got theirs; try again".into());
    }
    let found = |before, after| {
        milliseconds(&log, before, after).ok_or_else(|| format!("the log has no times of the start:\n{log}"))
    };
    Ok([found(", after ", " ms for the map")?, found(" ms for the map and ", " ms to arm and compare")?])
}

/// Waits for a line with this that was not among the first `known` lines.
pub(crate) fn wait_for(daemon: &Daemon, text: &str, known: usize, within: Duration) -> Result<String> {
    let start = Instant::now();
    while start.elapsed() < within {
        if let Some(line) = daemon.log().lines().skip(known).find(|line| line.contains(text)) {
            return Ok(line.to_owned());
        }
        pause(Duration::from_millis(20));
    }
    Err(format!("the log has no `{text}` within {within:?}:\n{}", daemon.log()).into())
}

/// How long a comparison took, by a line that tells of its end.
pub(crate) fn took(line: &str) -> Result<Duration> {
    milliseconds(line, " in ", " ms").ok_or_else(|| format!("no time in `{line}`").into())
}
