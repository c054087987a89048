//! When the sources of the map are read, and when Dovecot is asked.
//!
//! One reading at a time. Dovecot may take minutes to answer, so it is asked by a job of its own, and what it said before is taken as long as
//! that runs. Only at the start and at SIGHUP the reading itself asks, for then somebody waits for what is so now.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::jobs::{Jobs, Why};
use crate::mailbox::{
    doveadm::{Memory, RETRY, child::Leash},
    source::Sources,
};

pub(super) struct Reading {
    /// When and why the sources are to be read again.
    wanted: Option<(Instant, Why)>,
    /// Are they being read, or is the map being compared with what they said?
    runs: bool,
    took: Duration,
    /// What Dovecot answered, if it is a source.
    dovecot: Memory,
    /// When Dovecot is asked again.
    next_refresh: Option<Instant>,
    is_asking: bool,
    /// A doveadm that runs ends with the daemon.
    _leash: Leash,
}

impl Reading {
    pub(super) fn new(now: Instant) -> Self {
        let leash = Leash::default();
        Self {
            wanted: Some((now, Why::Start)),
            runs: false,
            took: Duration::ZERO,
            dovecot: Memory::new(&leash),
            next_refresh: None,
            is_asking: false,
            _leash: leash,
        }
    }

    /// The sources are to be read at this time, if not before.
    pub(super) fn want(&mut self, at: Instant, why: Why) {
        self.wanted = Some(match self.wanted {
            Some((earlier, reason)) => (earlier.min(at), reason.max(why)),
            None => (at, why),
        });
    }

    /// Are they being read, or is the map being compared with what they said?
    pub(super) const fn runs(&self) -> bool {
        self.runs
    }

    /// Has all been read that had to be since the start or the last SIGHUP?
    pub(super) fn is_settled(&self) -> bool {
        !self.runs && self.wanted.is_none_or(|(_, why)| why < Why::Reload)
    }

    /// When [`Self::start`] has something to do.
    pub(super) fn deadline(&self, sources: &Sources) -> Option<Instant> {
        let next = self.next(sources).map(|(at, _)| at);
        let refresh = self.next_refresh.filter(|_| self.may_ask());
        [next, refresh].into_iter().flatten().min()
    }

    /// Starts what is due.
    pub(super) fn start(&mut self, sources: &Arc<Sources>, jobs: &mut Jobs, now: Instant) {
        if let Some((_, why)) = self.next(sources).filter(|(at, _)| *at <= now) {
            self.wanted = None;
            self.runs = true;
            jobs.read_sources(Arc::clone(sources), self.dovecot.clone(), why);
        }
        if self.may_ask() && self.next_refresh.take_if(|at| *at <= now).is_some() {
            self.is_asking = true;
            jobs.ask_dovecot(Arc::clone(sources), self.dovecot.clone());
        }
    }

    /// The next reading, if nothing is in the way.
    fn next(&self, sources: &Sources) -> Option<(Instant, Why)> {
        let asks =
            |why| why >= Why::Reload || sources.dovecot().is_some_and(|source| !self.dovecot.is_of(source));
        self.wanted.filter(|(_, why)| !(self.runs || self.is_asking && asks(*why)))
    }

    /// A reading may ask, too, and one at a time is enough.
    const fn may_ask(&self) -> bool {
        !self.is_asking && !self.runs
    }

    /// The sources have been read; now the map is compared with them, or [`Self::ended`] follows.
    pub(super) fn listed(&mut self, dovecot: Memory, took: Duration, sources: &Sources, now: Instant) {
        self.took = took;
        // What it answers just now is newer.
        if !self.is_asking {
            self.remember(dovecot, sources, now);
        }
    }

    /// Dovecot has answered, or not.
    pub(super) fn asked(&mut self, dovecot: Memory, sources: &Sources, now: Instant) {
        self.is_asking = false;
        self.remember(dovecot, sources, now);
        self.want(now, Why::Sweep);
    }

    fn remember(&mut self, dovecot: Memory, sources: &Sources, now: Instant) {
        // Another source may have failed before Dovecot's turn came.
        let due = dovecot.due().filter(|_| sources.dovecot().is_some());
        self.next_refresh = due.map(|due| if due > now { due } else { now + RETRY });
        self.dovecot = dovecot;
    }

    /// The map is what the sources said, or stays what it was.
    pub(super) const fn ended(&mut self) {
        self.runs = false;
    }

    /// The map has been made anew: one that takes long to be read is not read all the time.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some((at, _)) = &mut self.wanted {
            *at = (*at).max(now + self.took * 4);
        }
    }
}
