//! Which backend `auto` stands for, here and for so many mailboxes.

use std::path::PathBuf;

use super::limits::{self, WatchLimit};
use crate::config::Backend;

/// Mailboxes whose file systems are tried: there are few of those, and on a cold disk each look takes a while.
const PROBED: usize = 256;

/// A backend, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Never `auto`.
    pub backend: Backend,
    /// For people.
    pub why: String,
}

/// The backend to begin with, before anybody knows how many mailboxes there are.
#[must_use]
pub const fn first(backend: Backend) -> Backend {
    match backend {
        Backend::Auto if cfg!(target_os = "linux") => Backend::Inotify,
        Backend::Auto => Backend::Notify,
        chosen => chosen,
    }
}

/// The backend for so many watches, of these mailboxes.
#[must_use]
pub fn choose(
    configured: Backend,
    needed: usize,
    (count, maildirs): (usize, impl Iterator<Item: Into<PathBuf>>),
) -> Choice {
    // Evenly spread: neighbours are on one file system.
    let step = count.div_ceil(PROBED).max(1);
    decide(configured, needed, limits::watch_limit(), || probe(maildirs.step_by(step).map(Into::into)))
}

/// The decision, apart from the system that it is about. `probe` says whether fanotify works, and if only for some, why not for the others.
fn decide(
    configured: Backend,
    needed: usize,
    limit: Option<WatchLimit>,
    probe: impl FnOnce() -> Result<Option<String>, String>,
) -> Choice {
    let backend = first(configured);
    let because = |backend, why| Choice { backend, why };
    match (configured, backend) {
        (Backend::Auto, Backend::Inotify) => {}
        (Backend::Auto, _) => return because(backend, "auto: what this system has".to_owned()),
        (Backend::Fanotify, _) => {
            let more = match probe() {
                Ok(None) => String::new(),
                Ok(Some(refusal)) => format!("; inotify for a file system: {refusal}"),
                Err(refusal) => format!(", and does not work: {refusal}"),
            };
            return because(backend, format!("set in the configuration{more}"));
        }
        _ => return because(backend, "set in the configuration".to_owned()),
    }
    match limit.filter(|limit| !fits(needed, *limit)) {
        None => because(backend, "auto: the fastest on Linux".to_owned()),
        Some(WatchLimit { watches, sysctl }) => match probe() {
            Ok(refusal) => {
                let others = refusal.map(|refusal| format!("; inotify for a file system: {refusal}"));
                let others = others.unwrap_or_default();
                because(
                    Backend::Fanotify,
                    format!("auto: inotify's {watches} watches ({sysctl}) are too few{others}"),
                )
            }
            Err(refusal) => because(
                backend,
                format!("auto: {watches} watches ({sysctl}) are few, and fanotify does not work: {refusal}"),
            ),
        },
    }
}

/// Is there room for so many, and to spare? The limit is for a user and not for a process: file managers, `tail -f` and other daemons of the same
/// user take from it, nobody can ask how much, and mailboxes will be added. A quarter is left for all that.
const fn fits(needed: usize, limit: WatchLimit) -> bool {
    needed as u64 <= limit.watches / 4 * 3
}

#[cfg(target_os = "linux")]
fn probe(maildirs: impl Iterator<Item = PathBuf>) -> Result<Option<String>, String> {
    let maildirs: Vec<_> = maildirs.collect();
    match super::fanotify::probe(maildirs.iter().map(PathBuf::as_path)) {
        Ok(refusal) => Ok(refusal.map(|refusal| refusal.to_string())),
        Err(refusal) => Err(refusal.to_string()),
    }
}

#[cfg(not(target_os = "linux"))]
fn probe(_: impl Iterator<Item = PathBuf>) -> Result<Option<String>, String> {
    Err("it is a part of Linux".to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const LIMIT: Option<WatchLimit> =
        Some(WatchLimit { watches: 1000, sysctl: "fs.inotify.max_user_watches" });

    fn chosen(
        configured: Backend,
        needed: usize,
        probe: Result<Option<String>, String>,
    ) -> (Backend, String) {
        let Choice { backend, why } = decide(configured, needed, LIMIT, || probe);
        (backend, why)
    }

    #[test]
    fn inotify_as_long_as_the_watches_fit_with_room_to_spare() {
        let works = || Ok(None);
        assert_eq!(chosen(Backend::Auto, 750, works()).0, Backend::Inotify);
        let (backend, why) = chosen(Backend::Auto, 751, works());
        assert_eq!(backend, Backend::Fanotify);
        assert_eq!(why, "auto: inotify's 1000 watches (fs.inotify.max_user_watches) are too few");
    }

    #[test]
    fn without_fanotify_inotify_as_far_as_it_goes() {
        let (backend, why) = chosen(Backend::Auto, 5000, Err("CAP_SYS_ADMIN is missing".to_owned()));
        assert_eq!(backend, Backend::Inotify);
        assert!(why.ends_with("fanotify does not work: CAP_SYS_ADMIN is missing"), "{why}");
    }

    #[test]
    fn a_file_system_that_cannot_be_marked_is_named() {
        let (backend, why) = chosen(Backend::Auto, 5000, Ok(Some("a reason".to_owned())));
        assert_eq!(backend, Backend::Fanotify);
        assert!(why.ends_with("; inotify for a file system: a reason"), "{why}");
    }

    #[test]
    fn what_is_configured_stays() {
        for backend in [Backend::Inotify, Backend::Fanotify, Backend::Notify, Backend::Poll] {
            assert_eq!(chosen(backend, 5000, Err("no".to_owned())).0, backend);
        }
    }
}
