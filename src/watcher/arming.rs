//! Arming from many threads: what a thread arms has events before anybody has said what it is.
//!
//! The order is always: arm, then look. A thread arms and looks, and later the watcher takes in what the thread has armed. An event that is read
//! in between belongs to nobody yet, and may be the one that the look did not see. So such events are remembered while armings are
//! under way, and told when the watch has its name.

use std::{
    collections::HashMap,
    hash::Hash,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{ArmError, Role, Target, WatchEvent, poll::Seen};
use crate::stamp::Stamp;

/// So many unknown watches are remembered, and then everything has to be looked at.
const UNKNOWN: usize = 16_384;

/// The part of arming that may have to wait for a disk. Any thread can do it, and many at once.
pub trait Arm: Send + Sync {
    /// Begins to watch a directory, not recursively. What comes of it goes to [`super::Watcher::adopt`] or
    /// [`super::Watcher::give_up`] of the watcher that this is of.
    ///
    /// # Errors
    /// See [`ArmError`]. Nothing is watched then.
    fn arm(&self, role: Role, directory: &Path) -> Result<RawWatch, ArmError>;
}

/// A watch that a thread has armed, and that the watcher has not taken in yet.
#[derive(Debug)]
#[must_use = "a watch that nobody takes in or gives up stays in the kernel"]
pub struct RawWatch {
    pub(super) raw: Raw,
    /// Events of unknown watches are remembered for as long as this lives.
    pub(super) _underway: Underway,
}

/// What the backends know of it.
#[derive(Debug)]
pub(super) enum Raw {
    /// The watch descriptor.
    #[cfg(target_os = "linux")]
    Inotify(i32),
    /// The file handle.
    #[cfg(target_os = "linux")]
    Fanotify(super::fanotify::Armed),
    /// The first look.
    Polled(PathBuf, Seen),
    /// The path without links.
    Portable(PathBuf),
}

impl RawWatch {
    /// What was seen after the directory was armed, or as the poller began, if that was looked at: what comes after it is told.
    pub(crate) fn first_look(&self) -> Option<Stamp> {
        match &self.raw {
            Raw::Polled(_, seen) => Some(seen.stamp()),
            #[cfg(target_os = "linux")]
            Raw::Fanotify(armed) => Some(armed.seen),
            _ => None,
        }
    }

    /// An answer for a watch of another backend, which only a mistake of ours can bring here.
    pub(super) fn foreign() -> ArmError {
        ArmError::Io(std::io::Error::other("the watch was armed by another backend"))
    }
}

/// Counts the armings that are under way, between the beginning on some thread and the end on the watcher's.
#[derive(Clone, Debug, Default)]
pub(super) struct Armings(Arc<AtomicUsize>);

/// One arming.
#[derive(Debug)]
pub(super) struct Underway(Arc<AtomicUsize>);

impl Armings {
    /// To be called before the system is asked to watch, so that whoever reads an event of the new watch sees it.
    pub(super) fn begin(&self) -> Underway {
        self.0.fetch_add(1, Ordering::SeqCst);
        Underway(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn any(&self) -> bool {
        self.count() > 0
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was read of watches that nobody knows.
#[derive(Debug)]
pub(super) struct Unknown<K> {
    pub(super) armings: Armings,
    /// Watches that had events, and whether they are gone already.
    had_events: HashMap<K, bool>,
    /// Were there more than can be remembered?
    missed: bool,
    /// What the next read tells of watches that have been taken in.
    to_tell: Vec<(Target, bool)>,
}

impl<K: Eq + Hash> Unknown<K> {
    pub(super) fn new() -> Self {
        Self { armings: Armings::default(), had_events: HashMap::new(), missed: false, to_tell: Vec::new() }
    }

    /// An unknown watch had an event, or is gone. Without armings under way it is one that was given up.
    pub(super) fn had_event(&mut self, watch: impl FnOnce() -> K, is_gone: bool) {
        if !self.armings.any() {
            return;
        }
        let watch = watch();
        if self.had_events.len() >= UNKNOWN && !self.had_events.contains_key(&watch) {
            self.missed = true;
            return;
        }
        *self.had_events.entry(watch).or_default() |= is_gone;
    }

    /// The watch is known now.
    pub(super) fn adopted(&mut self, watch: &K, target: Target) {
        if !self.had_events.is_empty()
            && let Some(is_gone) = self.had_events.remove(watch)
        {
            self.to_tell.push((target, is_gone));
        }
    }

    /// The watch was gone before it was known.
    #[cfg(target_os = "linux")]
    pub(super) fn is_lost(&mut self, target: Target) {
        self.to_tell.push((target, true));
    }

    /// The target is watched no more: nothing is told of it.
    pub(super) fn disarmed(&mut self, target: Target) {
        self.to_tell.retain(|(told, _)| *told != target);
    }

    /// Does the next read have something to tell?
    pub(super) fn has_news(&self) -> bool {
        !self.to_tell.is_empty() || (self.missed && !self.armings.any())
    }

    /// Tells what there is to tell, at the beginning of a read. True if there was something.
    pub(super) fn tell(&mut self, each: &mut dyn FnMut(WatchEvent<'_>)) -> bool {
        let mut any = !self.to_tell.is_empty();
        for (target, is_gone) in self.to_tell.drain(..) {
            each(if is_gone {
                WatchEvent::Lost(target)
            } else {
                WatchEvent::Touched { target, arrived: None, seen: None }
            });
        }
        // What is armed from now on has its events after this.
        if !self.armings.any() {
            self.had_events = HashMap::new();
            // Not before everything that was being armed has its name: the comparison that follows looks at what is known.
            if std::mem::take(&mut self.missed) {
                any = true;
                each(WatchEvent::Overflow);
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN, Unknown};
    use crate::watcher::{ParentId, Target, WatchEvent};

    const TARGET: Target = Target::Parent(ParentId(7));

    fn told(unknown: &mut Unknown<i32>) -> Vec<String> {
        let mut told = Vec::new();
        let had_news = unknown.has_news();
        let any = unknown.tell(&mut |event| told.push(format!("{event:?}")));
        assert_eq!((had_news, any), (!told.is_empty(), !told.is_empty()));
        told
    }

    fn text(event: WatchEvent<'_>) -> String {
        format!("{event:?}")
    }

    #[test]
    fn an_event_before_the_watch_is_known_is_told_afterwards() {
        let mut unknown = Unknown::new();
        let arming = unknown.armings.begin();
        unknown.had_event(|| 1, false);
        assert!(told(&mut unknown).is_empty(), "nobody knows whose it is");
        unknown.adopted(&1, TARGET);
        drop(arming);
        assert_eq!(
            told(&mut unknown),
            [text(WatchEvent::Touched { target: TARGET, arrived: None, seen: None })]
        );
        assert!(told(&mut unknown).is_empty(), "once");
    }

    #[test]
    fn a_watch_that_is_gone_before_it_is_known_is_lost() {
        let mut unknown = Unknown::new();
        let _arming = unknown.armings.begin();
        unknown.had_event(|| 1, true);
        unknown.had_event(|| 1, false);
        unknown.adopted(&1, TARGET);
        assert_eq!(told(&mut unknown), [text(WatchEvent::Lost(TARGET))]);
    }

    #[test]
    fn without_armings_nothing_is_remembered() {
        let mut unknown = Unknown::new();
        unknown.had_event(|| 1, false);
        let _arming = unknown.armings.begin();
        unknown.adopted(&1, TARGET);
        assert!(told(&mut unknown).is_empty());
    }

    #[test]
    fn what_is_disarmed_at_once_is_not_told_of() {
        let mut unknown = Unknown::new();
        let _arming = unknown.armings.begin();
        unknown.had_event(|| 1, false);
        unknown.adopted(&1, TARGET);
        unknown.disarmed(TARGET);
        assert!(told(&mut unknown).is_empty());
    }

    /// Not earlier: a comparison in between would not look at what is still being armed.
    #[test]
    fn more_than_can_be_remembered_is_an_overflow_when_all_is_armed() {
        let mut unknown = Unknown::new();
        let arming = unknown.armings.begin();
        for watch in 0..=i32::try_from(UNKNOWN).expect("it is small") {
            unknown.had_event(|| watch, false);
        }
        assert!(told(&mut unknown).is_empty());
        drop(arming);
        assert_eq!(told(&mut unknown), [text(WatchEvent::Overflow)]);
        assert!(told(&mut unknown).is_empty());
    }
}
