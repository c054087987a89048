//! The registry: which devices want to hear of whose mail.
//!
//! ```text
//! listener, command ─Change→ writer (group commit) → Store
//!                              ↓ life.rs: the rules, pure      ↑ lookups ─ APNs sink
//! ```

pub mod change;
pub mod device;
pub mod import;
pub mod life;
pub mod reader;
pub mod service;
pub mod sqlite;
mod store;
pub mod unwritten;
pub mod writer;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::mailbox::Username;

pub use device::{AccountId, DeviceError, DeviceToken, Topic};
pub use store::{Counts, Store, StoreError, Transaction, VisitPushed, VisitRecord};

/// A moment of the calendar, in milliseconds since 1970: what survives a restart and is compared with Apple's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The clock's time.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So much later; earlier than any other moment stays what it is.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; nothing if it is not earlier, as after the clock was set back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// RFC 3339, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(u64::try_from(self.0).unwrap_or(0));
        // Beyond the year 9999 there is no such text.
        let since = since.min(Duration::from_secs(253_402_300_799));
        write!(f, "{}", humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since))
    }
}

/// What a registration is found by. By account id alone, two phones restored from one backup would evict each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Whose mail, normalised as `username-format` says.
    pub user: Username,
    /// Which device.
    pub token: DeviceToken,
    /// Which account on the device.
    pub account: AccountId,
}

/// A device that wants to hear of a user's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who and what.
    pub key: Key,
    /// The `aps-subtopic`, as the phone sent it; nothing depends on it.
    pub subtopic: String,
    /// The topic that the phone was told. None where the protocol has no answer: then the credential's.
    pub topic: Option<Topic>,
    /// The mailboxes that the phone asked for.
    pub mailboxes: Vec<String>,
    /// Those of them that it was told it would hear of.
    pub acknowledged: Vec<String>,
    /// When it registered first.
    pub first_registered: Timestamp,
    /// When it registered last.
    pub last_registered: Timestamp,
    /// When it was last pushed to.
    pub last_push: Option<Timestamp>,
    /// What Apple answered then: the status, and the reason if there was one.
    pub last_answer: Option<String>,
    /// How often in a row Apple has called the token bad.
    pub bad_answers: u32,
    /// Is it pushed to?
    pub state: State,
}

/// Is a registration pushed to?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Active,
    /// Yes; but the device has registered the user with another account id since then, and this one has not come back.
    Superseded {
        /// Since when.
        since: Timestamp,
    },
    /// No, until it registers again.
    Suspended {
        /// What Apple said.
        reason: String,
    },
}

impl State {
    /// Are pushes sent?
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Suspended { .. })
    }

    /// The name, as `devices list` shows it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Superseded { .. } => "superseded",
            Self::Suspended { .. } => "suspended",
        }
    }
}

/// What a client asks for, or an import brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegistration {
    /// Who and what.
    pub key: Key,
    /// See [`Registration::subtopic`].
    pub subtopic: String,
    /// The topic of the answer, if there was an answer.
    pub topic: Option<Topic>,
    /// See [`Registration::mailboxes`].
    pub mailboxes: Vec<String>,
    /// See [`Registration::acknowledged`].
    pub acknowledged: Vec<String>,
    /// When the client asked.
    pub at: Timestamp,
}

impl From<NewRegistration> for Registration {
    /// Of a device that was not known before.
    fn from(new: NewRegistration) -> Self {
        Self {
            key: new.key,
            subtopic: new.subtopic,
            topic: new.topic,
            mailboxes: new.mailboxes,
            acknowledged: new.acknowledged,
            first_registered: new.at,
            last_registered: new.at,
            last_push: None,
            last_answer: None,
            bad_answers: 0,
            state: State::Active,
        }
    }
}
