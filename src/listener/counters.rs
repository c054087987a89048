//! What the listeners have done, for the status command.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// `xaps-http`
    XapsHttp,
    /// `xaps-socket`
    XapsSocket,
    /// `push-notify-datagram`
    PushNotifyDatagram,
    /// `push-notify-stream`
    PushNotifyStream,
}

impl Listener {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::XapsHttp, Self::XapsSocket, Self::PushNotifyDatagram, Self::PushNotifyStream];

    /// Its key in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XapsHttp => "xaps-http",
            Self::XapsSocket => "xaps-socket",
            Self::PushNotifyDatagram => "push-notify-datagram",
            Self::PushNotifyStream => "push-notify-stream",
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// A device registers.
    Register,
    /// Something happened to a mailbox.
    Notify,
    /// A device wants to hear of one more mailbox.
    Subscribe,
    /// Obsolete, and ignored: it always counts as taken.
    Create,
    /// Nobody knows: it is no request of this protocol, or the connection was not let in.
    Unknown,
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Register, Self::Notify, Self::Subscribe, Self::Create, Self::Unknown];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "registration",
            Self::Notify => "notification",
            Self::Subscribe => "subscription",
            Self::Create => "create record",
            Self::Unknown => "request",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Taken,
    /// It was wrong, or not for this peer to ask.
    Refused,
    /// It was right, and we could not do it.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Taken, Self::Refused, Self::Failed];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [[[AtomicU64; Outcome::ALL.len()]; Asked::ALL.len()]; Listener::ALL.len()],
    connections: [AtomicU64; Listener::ALL.len()],
    ended: [AtomicU64; Listener::ALL.len()],
}

impl Counters {
    /// How many requests of a kind came to this end.
    #[must_use]
    pub fn requests(&self, on: Listener, asked: Asked, outcome: Outcome) -> u64 {
        self.requests[on as usize][asked as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// How many connections were let in.
    #[must_use]
    pub fn connections(&self, on: Listener) -> u64 {
        self.connections[on as usize].load(Ordering::Relaxed)
    }

    /// How many of them we ended: idle for too long, too slow, or idle while others waited.
    #[must_use]
    pub fn ended(&self, on: Listener) -> u64 {
        self.ended[on as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, on: Listener, asked: Asked, outcome: Outcome) {
        self.requests[on as usize][asked as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_connection(&self, on: Listener) {
        self.connections[on as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_ended(&self, on: Listener) {
        self.ended[on as usize].fetch_add(1, Ordering::Relaxed);
    }
}
