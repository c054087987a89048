//! What the integration tests share: a [`Site`] to build a mail server in, the [`Daemon`] under
//! test, the [`Receiver`] of its datagrams, [`Maildir`]s to change, and the [`Fence`] that makes
//! "no push" something a test can see instead of wait for.
//!
//! ```ignore
//! let site = Site::new();
//! let jesse = site.maildir("jesse@example.org");
//! let receiver = site.receiver();
//! let daemon = site.start(&site.config());
//!
//! jesse.deliver();
//! receiver.expect("jesse@example.org");
//! daemon.stop();
//! ```
//!
//! Nothing here sleeps for a guessed time. What has to happen is waited for, up to [`PATIENCE`];
//! what must not happen is shown by a fence. A slow machine makes the tests slow, not red.
#![allow(dead_code, reason = "a toolbox: not every helper has a user in every state of the tests")]

mod apns;
mod browser;
mod cli;
mod config;
mod daemon;
mod example;
mod fence;
mod maildir;
mod receiver;
mod service_manager;
mod site;

use std::env;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::apns::{Apns, apns_simulator};
pub(crate) use self::browser::Browser;
pub(crate) use self::cli::{
    Run, bound_by_modes, fanotify_is_refused, pushmaild, pushmaild_in, with_20_watches,
};
pub(crate) use self::config::Config;
pub(crate) use self::daemon::{Daemon, Launch};
pub(crate) use self::example::example;
pub(crate) use self::fence::Fence;
pub(crate) use self::maildir::Maildir;
pub(crate) use self::receiver::{Push, Receiver};
pub(crate) use self::site::Site;

/// How long a test waits for what must happen. Only a failing test ever waits this long, so it is
/// generous: many tests at once on two busy cores are no reason to fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A number that whoever runs the tests may set.
pub(crate) fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Asks `probe` again and again until it answers, and panics when it has not after [`PATIENCE`].
///
/// For conditions that nothing announces, such as a file that another process removes. Where
/// there is something to block on, block on that.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    patiently(probe).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// Like [`eventually`], for where a panic would be too much, such as in a destructor.
pub(crate) fn patiently<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = probe();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks, where nothing says when to look")]
fn pause() {
    thread::sleep(Duration::from_millis(10));
}
