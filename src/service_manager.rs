//! Telling systemd how the daemon does (`sd_notify(3)`). Without `NOTIFY_SOCKET`, as under launchd, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// How much longer a start may take from each message on.
const EXTENSION: Duration = Duration::from_secs(30);
/// Variables by which the service manager speaks to the daemon, and to no program that it starts: what such a program said would be taken
/// for the daemon's word.
pub const NOT_FOR_CHILDREN: [&str; 4] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"];

/// All watches are armed, or a reload is over.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The stop begins.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The start takes long, and goes on.
pub fn still_starting(status: &str) {
    let microseconds = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(microseconds), NotifyState::Status(status)]);
}

/// The main loop goes round.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is wanted: twice in the time after which systemd loses patience.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot tell the service manager: {error}");
    }
}
