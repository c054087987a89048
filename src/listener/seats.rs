//! Places for connections: how many there are, who has one, and who has had his for too long.
//!
//! A connection costs a place for as long as it lasts, and is in one of three states:
//!
//! ```text
//!        first byte             all of it
//! Idle ─────────────→ Receiving ─────────→ Answering ──→ Idle
//! ```
//!
//! One task looks at all of them once in a while, and ends those that have been in a state for too long. So no request costs a timer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{limits::Limits, peer::Speaker};

/// What a connection does. In the two lowest bits of [`Seat::since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle = 0,
    Receiving = 1,
    Answering = 2,
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    limits: Limits,
    begin: Instant,
    /// Locked for a moment: to count, or to look through some hundred connections.
    table: Mutex<Table>,
    /// A place was taken or is free again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    number: u64,
    /// Places that are taken or kept for the next connection of a listener; 0 <= tcp <= taken.
    taken: usize,
    tcp: usize,
    seats: FxHashMap<u64, Arc<Seat>>,
}

/// A connection, as the watch sees it.
#[derive(Debug)]
pub(super) struct Seat {
    speaker: Speaker,
    begin: Instant,
    /// Milliseconds since `begin` when the state began, times four, plus the state.
    since: AtomicU64,
    end: CancellationToken,
}

impl Seat {
    /// Bytes of a request came.
    pub(super) fn receiving(&self) {
        // Only the first ones count, or a byte now and then would keep the place for ever.
        if self.state().0 == State::Idle {
            self.set(State::Receiving);
        }
    }

    /// All of a request is there, or the client took an answer while others wait.
    pub(super) fn answering(&self) {
        self.set(State::Answering);
    }

    /// There is no request.
    pub(super) fn idle(&self) {
        self.set(State::Idle);
    }

    /// Waits until the connection is to end without ado.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    fn set(&self, state: State) {
        let since = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(0);
        self.since.store(since << 2 | state as u64, Ordering::Relaxed);
    }

    fn state(&self) -> (State, Duration) {
        let since = self.since.load(Ordering::Relaxed);
        let state = match since & 3 {
            0 => State::Idle,
            1 => State::Receiving,
            _ => State::Answering,
        };
        (state, self.begin.elapsed().saturating_sub(Duration::from_millis(since >> 2)))
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let (state, since) = self.state();
        since
            >= match state {
                State::Idle => limits.idle,
                State::Receiving => limits.receive,
                State::Answering => limits.answer,
            }
    }

    fn idle_for(&self) -> Option<Duration> {
        let (state, since) = self.state();
        (state == State::Idle && !self.end.is_cancelled()).then_some(since)
    }
}

/// A place that is kept for the next connection of a listener.
#[derive(Debug)]
pub(super) struct Place {
    seats: Arc<Seats>,
    is_tcp: bool,
    /// The connection, once there is one.
    number: Option<u64>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.seats.table();
        table.taken -= 1;
        table.tcp -= usize::from(self.is_tcp);
        if let Some(number) = self.number {
            table.seats.remove(&number);
        }
        drop(table);
        self.seats.changed.notify_waiters();
    }
}

impl Place {
    /// Gives the place to a connection. Nothing if this speaker has his share already.
    pub(super) fn give(&mut self, speaker: Speaker) -> Option<Arc<Seat>> {
        let limits = &self.seats.limits;
        let mut table = self.seats.table();
        if !speaker.is_trusted() {
            let others = table.seats.values().filter(|seat| !seat.speaker.is_trusted()).count();
            let same = table.seats.values().filter(|seat| seat.speaker == speaker).count();
            if others >= limits.others || same >= limits.other {
                return None;
            }
        }
        let seat = Arc::new(Seat {
            speaker,
            begin: self.seats.begin,
            since: AtomicU64::default(),
            end: CancellationToken::new(),
        });
        seat.idle();
        table.number += 1;
        self.number = Some(table.number);
        let number = table.number;
        table.seats.insert(number, Arc::clone(&seat));
        drop(table);
        self.seats.changed.notify_waiters();
        Some(seat)
    }
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, begin: Instant::now(), table: Mutex::default(), changed: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place for one more connection, and makes one if some connection is idle. To be called before the connection is
    /// accepted: until then it waits in the kernel.
    pub(super) async fn keep(self: &Arc<Self>, is_tcp: bool) -> Place {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on: what happens between the look and the wait must wake us.
            changed.as_mut().enable();
            {
                let mut table = self.table();
                let tcp_is_full = is_tcp && table.tcp >= self.limits.tcp;
                if table.taken < self.limits.connections && !tcp_is_full {
                    table.taken += 1;
                    table.tcp += usize::from(is_tcp);
                    return Place { seats: Arc::clone(self), is_tcp, number: None };
                }
                Self::end_the_idlest(&table, tcp_is_full, self.limits.idle_when_full);
            }
            // Or somebody has been idle for long enough by then.
            let _ = timeout(self.limits.idle_when_full / 4, changed).await;
        }
    }

    /// Others have to go first, and of these who has been idle for longest.
    fn end_the_idlest(table: &Table, only_tcp: bool, at_least: Duration) {
        let idlest = table
            .seats
            .values()
            .filter(|seat| !only_tcp || seat.speaker == Speaker::Port)
            .filter_map(|seat| Some((!seat.speaker.is_trusted(), seat.idle_for()?, seat)))
            .filter(|(_, idle, _)| *idle >= at_least)
            .max_by_key(|(is_other, idle, _)| (*is_other, *idle));
        if let Some((_, _, seat)) = idlest {
            seat.end.cancel();
        }
    }

    /// Makes room after the process ran out of file descriptors.
    pub(super) fn make_room(&self) {
        Self::end_the_idlest(&self.table(), false, self.limits.idle_when_full);
    }

    /// Ends what has lasted for too long, until it is dropped.
    pub(super) async fn watch(&self) {
        let tick = (self.limits.receive.min(self.limits.answer).min(self.limits.idle) / 4)
            .clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if !self.table().seats.is_empty() {
                    break;
                }
                // Nobody is there: the processor can sleep.
                changed.await;
            }
            sleep(tick).await;
            for seat in self.table().seats.values().filter(|seat| seat.is_overdue(&self.limits)) {
                seat.end.cancel();
            }
        }
    }
}
