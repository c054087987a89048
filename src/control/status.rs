//! What the running daemon says of itself. The keys are stable: `status --json` and the control socket show these documents as they are.
//!
//! After an upgrade a daemon may be asked by a command of another version. So whoever reads this passes over keys that are not known here,
//! and what is missing is empty.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    registry::{Registration, Timestamp},
    sink::{apns::judgement::ENDS_SOON, tally::Pushed},
};

/// Less than the milliseconds from 1970 to the year 10000.
const YEAR_10000: u64 = 253_402_300_799_000;

/// Everything but the single users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of pushmaild.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When this was so: RFC 3339, as all times here.
    pub time: String,
    /// When the daemon started.
    pub started: String,
    /// Is everything watched that the map has?
    pub ready: bool,
    /// The configuration file.
    pub config: String,
    /// The map of users and Maildirs.
    pub map: MapStatus,
    /// The mailboxes of the map.
    pub mailboxes: Mailboxes,
    /// How they are watched.
    pub watch: Watch,
    /// What is not pushed yet.
    pub pending: Pending,
    /// Where pushes go.
    pub sinks: Vec<SinkStatus>,
    /// Apple's push service, if `[apns]` is there.
    pub apns: Option<ApnsStatus>,
    /// The registry, if there is one.
    pub registry: Option<RegistryStatus>,
    /// Where registrations come in.
    pub listeners: Vec<ListenerStatus>,
    /// Mailboxes that are not watched though they should be. The first ones of many.
    pub troubles: Vec<Trouble>,
    /// The last pushes, the newest first.
    pub pushes: Vec<Push>,
}

/// The map of users and Maildirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapStatus {
    /// How long ago its sources were read.
    pub read_seconds_ago: Option<u64>,
    /// Why they could not be read the last time; then an older map is in use.
    pub trouble: Option<String>,
}

/// Counts of mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mailboxes {
    /// All of the map.
    pub total: usize,
    /// Those of which all is watched.
    pub watched: usize,
    /// Those that do not exist yet.
    pub missing: usize,
    /// Those that cannot be watched.
    pub in_trouble: usize,
    /// Are only those watched whose user has a registered device?
    pub only_registered: bool,
}

/// How mailboxes are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// `inotify`, `fanotify`, `notify` or `poll`.
    pub backend: String,
    /// Directories with a watch.
    pub watches: usize,
    /// Directories that are looked at now and then.
    pub polled: usize,
    /// The system's limit of watches, where there is one.
    pub limit: Option<u64>,
    /// Events since the start.
    pub events: u64,
    /// How often events were dropped by the system.
    pub overflows: u64,
    /// How often all mailboxes were compared: sweeps, and after overflows.
    pub rescans: u64,
}

impl Watch {
    /// Are there directories that are polled because there are too few watches?
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.backend != "poll" && self.polled > 0
    }
}

/// Mailboxes with something that is not pushed yet, and waits for its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// In the debouncer.
    pub debounced: usize,
    /// Found by a comparison, and held to the rate of `catch-up-rate`.
    pub catching_up: usize,
}

/// A sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// Its table in the configuration.
    pub name: String,
    /// Where it sends to.
    pub target: String,
    /// How it is.
    pub state: SinkState,
    /// Pushes that wait for the receiver.
    pub waiting: usize,
    /// Pushes since the start that the receiver has.
    pub delivered: u64,
    /// Pushes that it did not want.
    pub refused: u64,
    /// Pushes that went wrong.
    pub failed: u64,
    /// What is wrong now.
    pub trouble: Option<String>,
    /// What was wrong last.
    pub last_error: Option<LastError>,
}

/// How a sink is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkState {
    /// Pushes go out.
    Ok,
    /// The receiver is busy, and some wait.
    Busy,
    /// Nothing goes out.
    Trouble,
    /// Something that a daemon of another version says.
    #[default]
    #[serde(other)]
    Unknown,
}

/// An error of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastError {
    /// When.
    pub time: String,
    /// What.
    pub message: String,
}

/// Apple's push service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApnsStatus {
    /// The topic of the credential, or of the configuration.
    pub topic: Option<String>,
    /// `production` or `sandbox`.
    pub environment: Option<String>,
    /// When the certificate ends; none for provider tokens.
    pub certificate_ends: Option<String>,
    /// Seconds until then; negative when it has ended.
    pub certificate_seconds_left: Option<i64>,
    /// Whole days until then; negative when it has ended.
    pub certificate_days_left: Option<i64>,
    /// Users with a device.
    pub users: usize,
    /// Pushes not sent since the phone was told another topic.
    pub other_topic: u64,
    /// Tries that were repeated.
    pub retried: u64,
    /// Connections that were tried.
    pub connections: u64,
}

/// How far the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateEnd {
    /// It has passed.
    Passed,
    /// So few days that it is worth a word.
    Soon(u64),
    /// So many days.
    Far(u64),
}

impl ApnsStatus {
    /// How far the certificate's end is; none for provider tokens.
    #[must_use]
    pub fn certificate_end(&self) -> Option<CertificateEnd> {
        Some(match u64::try_from(self.certificate_days_left?) {
            Err(_) => CertificateEnd::Passed,
            Ok(days) if days <= ENDS_SOON => CertificateEnd::Soon(days),
            Ok(days) => CertificateEnd::Far(days),
        })
    }
}

/// The registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryStatus {
    /// Registered devices; none while the database cannot be read.
    pub devices: Option<u64>,
    /// Of these, the ones that are not pushed to until they come back.
    pub suspended: Option<u64>,
    /// Registrations that wait for the disk.
    pub unwritten: usize,
    /// Why nothing can be written.
    pub trouble: Option<String>,
}

/// One socket of `[listen]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerStatus {
    /// Its key in the configuration.
    pub name: String,
    /// Requests that were done.
    pub taken: u64,
    /// Requests that were wrong, or not for this peer to ask.
    pub refused: u64,
    /// Requests that were right, and failed.
    pub failed: u64,
}

/// A mailbox that is not watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// The first of its names.
    pub user: String,
    /// Where it is.
    pub maildir: String,
    /// Why.
    pub reason: String,
}

/// A push that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Push {
    /// When.
    pub time: String,
    /// Whose.
    pub user: String,
    /// `new-mail` or `change`.
    pub kind: String,
    /// Milliseconds from the first event to the push.
    pub age_ms: f64,
    /// How many events it tells of.
    pub events: u32,
    /// Through which sink.
    pub sink: String,
    /// `delivered`, `refused` or `failed`.
    pub outcome: String,
    /// What the receiver said, if it was anything but yes.
    pub answer: Option<String>,
}

impl From<&Pushed> for Push {
    fn from(pushed: &Pushed) -> Self {
        Self {
            time: time(pushed.at),
            user: pushed.user.clone(),
            kind: pushed.kind.label().to_owned(),
            age_ms: milliseconds(pushed.age),
            events: pushed.events,
            sink: pushed.via.as_str().to_owned(),
            outcome: pushed.fate.as_str().to_owned(),
            answer: pushed.answer.clone(),
        }
    }
}

/// One mailbox, with all its names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserStatus {
    /// The names that lead to it.
    pub users: Vec<String>,
    /// Where it is.
    pub maildir: String,
    /// Is it to be watched?
    pub state: MailboxState,
    /// What is in the way, if it is in trouble.
    pub reason: Option<String>,
    /// `new/` and `cur/`.
    pub parts: Vec<PartStatus>,
    /// What waits for its time.
    pub pending: Option<PendingPush>,
    /// The sinks in which a push waits.
    pub waits_in: Vec<String>,
    /// Has one of the names a registered device? None without `[apns]`.
    pub has_device: Option<bool>,
    /// When the daemon last pushed: to the push_notify socket, to a device, or by a run of the program.
    pub last_push: Option<String>,
    /// The registered devices of all the names.
    pub devices: Vec<DeviceStatus>,
}

/// A registered device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceStatus {
    /// The beginning of its token.
    pub device: String,
    /// `active`, `superseded` or `suspended`.
    pub state: String,
    /// When Apple last had a push for it.
    pub last_push: Option<String>,
    /// What Apple said then.
    pub last_answer: Option<String>,
}

/// How a mailbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailboxState {
    /// All of it is watched.
    Watched,
    /// Some of it does not exist yet.
    Missing,
    /// Some of it cannot be watched.
    Trouble,
    /// Its user has no registered device, and only those are watched.
    NotWanted,
    /// It is about to be watched.
    Arming,
    /// Something that a daemon of another version says.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One directory of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartStatus {
    /// `new` or `cur`.
    pub name: String,
    /// Is it watched?
    pub armed: bool,
    /// By looking at it now and then?
    pub polled: bool,
    /// The directory that was armed: its device and inode.
    pub device: Option<u64>,
    /// See `device`.
    pub inode: Option<u64>,
}

impl From<&Registration> for DeviceStatus {
    fn from(registration: &Registration) -> Self {
        // A damaged registry may hold any number, and no calendar goes beyond the year 9999.
        let at = |Timestamp(at): Timestamp| {
            let milliseconds = u64::try_from(at).unwrap_or_default().min(YEAR_10000);
            time(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
        };
        Self {
            device: registration.key.token.to_string(),
            state: registration.state.as_str().to_owned(),
            last_push: registration.last_push.map(at),
            last_answer: registration.last_answer.clone(),
        }
    }
}

/// A push that waits for its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingPush {
    /// Milliseconds since the first event.
    pub age_ms: f64,
    /// Milliseconds until it goes out.
    pub due_in_ms: f64,
    /// How many events it tells of so far.
    pub events: u32,
}

/// A time, to the millisecond.
#[must_use]
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A length of time in milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_of_another_version_is_understood() {
        let newer = r#"{"version":"9.0","pid":7,"moon":"full","sinks":[{"name":"pigeon","state":"asleep","feathers":3}]}"#;
        let status: Status = serde_json::from_str(newer).expect("what is not known is passed over");
        assert_eq!((status.pid, status.sinks[0].state), (7, SinkState::Unknown));
        let older: UserStatus =
            serde_json::from_str(r#"{"users":["jo"],"state":"napping"}"#).expect("all else is empty");
        assert_eq!((older.state, older.maildir.as_str()), (MailboxState::Unknown, ""));
        let known: SinkState = serde_json::from_str(r#""trouble""#).expect("a state");
        assert_eq!(known, SinkState::Trouble);
    }
}
