//! How much the listeners let anybody have.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::peer::Speaker;

/// Connections at a time, of all listeners. Each is a file descriptor, of which a service has 1024 unless it asks for more, and up
/// to some 200 KB of buffers. More are not turned away: they wait in the kernel's backlog.
const CONNECTIONS: usize = 512;
/// Of these, so many over TCP, where one cannot tell good from bad: a quarter stays for the Unix sockets.
const TCP: usize = 384;
/// So many of users who are not trusted, together: whatever they do, most places are for Dovecot.
const OTHERS: usize = 128;
/// And so many of one of them. An IMAP process of his makes one connection for a moment.
const OTHER: usize = 32;
/// From the first byte of a request to its last. Clients write it at once, and give up after one to five seconds.
const RECEIVE: Duration = Duration::from_secs(5);
/// From there until the client has the answer. What it waits for takes 750 ms at most; the rest is its own slowness to read.
const ANSWER: Duration = Duration::from_secs(5);
/// A connection without a request. The plugin keeps its connection for as long as the IMAP session of its user, and only asks
/// once or twice in that time; after some minutes a new connection costs less than the old one.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// When places run out, a connection that has been idle for so long makes room. A client that has just connected has not sent its
/// request yet, and must not lose its place for that.
const YIELD: Duration = Duration::from_secs(1);
/// How long requests that are under way at a stop may take.
const GRACE: Duration = Duration::from_secs(1);
/// Requests a second of one who is trusted. Twice what the busiest site is planned for; it only stops a client that runs in circles
/// from taking the whole thread.
const TRUSTED_RATE: u32 = 20_000;
/// Requests a second of anybody else: he has one mailbox.
const OTHER_RATE: u32 = 50;
/// How much of a rate can be had at once, after a quiet time.
const BURST: Duration = Duration::from_secs(1);

/// The limits. Tests have smaller ones.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Of these, over TCP.
    pub tcp: usize,
    /// Of these, by users who are not trusted.
    pub others: usize,
    /// Of these, by one of them.
    pub other: usize,
    /// How long a request may take to arrive.
    pub receive: Duration,
    /// How long an answer may take to be read.
    pub answer: Duration,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// How long it may be idle while others wait for a place.
    pub idle_when_full: Duration,
    /// How long requests that are under way at a stop may take.
    pub grace: Duration,
    /// Requests a second of one who is trusted.
    pub trusted_rate: u32,
    /// Requests a second of anybody else.
    pub other_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            tcp: TCP,
            others: OTHERS,
            other: OTHER,
            receive: RECEIVE,
            answer: ANSWER,
            idle: IDLE,
            idle_when_full: YIELD,
            grace: GRACE,
            trusted_rate: TRUSTED_RATE,
            other_rate: OTHER_RATE,
        }
    }
}

/// Speakers that are remembered before those are forgotten whose rate is whole again.
const REMEMBERED: usize = 1024;

/// Requests a second, for each speaker.
#[derive(Debug)]
pub(super) struct Rate {
    /// The time between two requests.
    trusted: Duration,
    other: Duration,
    /// When all that a speaker has used up is paid for. Never more than [`BURST`] ahead, but for who waits until it is. Locked for
    /// a look-up.
    paid: Mutex<FxHashMap<Speaker, Instant>>,
}

impl Rate {
    pub(super) fn new(limits: &Limits) -> Self {
        let each = |rate: u32| Duration::from_secs(1) / rate.max(1);
        Self { trusted: each(limits.trusted_rate), other: each(limits.other_rate), paid: Mutex::default() }
    }

    /// Takes one request into account, and tells how long it has to wait. For clients that are answered: they are slowed down.
    pub(super) fn take(&self, speaker: Speaker, now: Instant) -> Duration {
        self.account(speaker, now, true)
    }

    /// Takes one request into account, unless it comes too soon. For clients that cannot be slowed down.
    pub(super) fn is_in_time(&self, speaker: Speaker, now: Instant) -> bool {
        self.account(speaker, now, false).is_zero()
    }

    fn account(&self, speaker: Speaker, now: Instant, is_patient: bool) -> Duration {
        let mut all = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&speaker) {
            all.retain(|_, paid| *paid > now);
        }
        let paid = all.entry(speaker).or_insert(now);
        let each = if speaker.is_trusted() { self.trusted } else { self.other };
        let after = (*paid).max(now) + each;
        let wait = after.saturating_duration_since(now + BURST);
        if wait.is_zero() || is_patient {
            *paid = after;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_counts_for_each_speaker_alone() {
        let rate = Rate::new(&Limits { other_rate: 10, ..Limits::default() });
        let now = Instant::now();
        let (one, two) = (Speaker::Other(1), Speaker::Other(2));
        assert!((0..10).all(|_| rate.is_in_time(one, now)));
        assert!(!rate.is_in_time(one, now));
        assert!(rate.is_in_time(two, now) && rate.is_in_time(Speaker::Trusted(0), now));
        assert_eq!(rate.take(one, now), Duration::from_millis(100));
        assert_eq!(rate.take(one, now), Duration::from_millis(200));
        let later = now + Duration::from_millis(300);
        assert!(rate.is_in_time(one, later) && !rate.is_in_time(one, later));
    }

    #[test]
    fn who_has_paid_is_forgotten() {
        let rate = Rate::new(&Limits::default());
        let mut now = Instant::now();
        for uid in 0..10 * u32::try_from(REMEMBERED).expect("a small number") {
            assert!(rate.is_in_time(Speaker::Other(uid), now));
            now += Duration::from_millis(1);
        }
        assert!(rate.paid.lock().expect("no panic").len() <= REMEMBERED);
    }
}
