//! What has become of pushes: counts, ages, and the last ones, for `status` and the metrics. Written where a push ends, on any thread.

use std::{
    array,
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use prometheus::{Histogram, HistogramOpts};

use crate::classifier::Kind;

/// The last pushes that are kept.
const RECENT: usize = 200;
/// Seconds: from what the system needs by itself to the longest wait for quiet, and beyond it for outages.
const AGES: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 3600.0];

/// Which sink a push went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `[push-notify]`
    PushNotify,
    /// `[apns]`
    Apns,
    /// `[exec]`
    Exec,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PushNotify, Self::Apns, Self::Exec];

    /// The sink's table in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PushNotify => "push-notify",
            Self::Apns => "apns",
            Self::Exec => "exec",
        }
    }
}

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has it.
    Delivered,
    /// The receiver does not want it, and never will.
    Refused,
    /// It was tried, and went wrong.
    Failed,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Refused, Self::Failed];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A push that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// When.
    pub at: SystemTime,
    /// Whose mail it is about.
    pub user: String,
    /// What happened there.
    pub kind: Kind,
    /// How long ago the first event was seen that it tells of.
    pub age: Duration,
    /// Of how many events it tells.
    pub events: u32,
    /// Through which sink.
    pub via: Via,
    /// How it ended.
    pub fate: Fate,
    /// What the receiver said, if it was anything but yes.
    pub answer: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Tally {
    counts: [[[AtomicU64; Fate::ALL.len()]; 2]; Via::ALL.len()],
    ages: [[Histogram; 2]; Via::ALL.len()],
    /// Locked to append one, or to copy them.
    recent: Mutex<VecDeque<Pushed>>,
}

impl Default for Tally {
    fn default() -> Self {
        let ages = Via::ALL.map(|via| {
            [Kind::Change, Kind::NewMail].map(|kind| {
                let options = HistogramOpts::new(
                    "pushmaild_push_age_seconds",
                    "From the first event that the daemon saw to the end of the push",
                )
                .const_label("sink", via.as_str())
                .const_label("kind", kind.label())
                .buckets(AGES.to_vec());
                Histogram::with_opts(options).expect("the names are right, and the buckets in order")
            })
        });
        let zero = |_| AtomicU64::default();
        let counts = array::from_fn(|_| array::from_fn(|_| array::from_fn(zero)));
        Self { counts, ages, recent: Mutex::default() }
    }
}

impl Tally {
    /// Notes the end of a push.
    pub fn note(&self, pushed: Pushed) {
        let (via, kind) = (pushed.via as usize, pushed.kind as usize);
        self.counts[via][kind][pushed.fate as usize].fetch_add(1, Relaxed);
        if pushed.fate == Fate::Delivered {
            self.ages[via][kind].observe(pushed.age.as_secs_f64());
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(pushed);
    }

    /// How many pushes ended so.
    #[must_use]
    pub fn count(&self, via: Via, kind: Kind, fate: Fate) -> u64 {
        self.counts[via as usize][kind as usize][fate as usize].load(Relaxed)
    }

    /// How old delivered pushes were, in seconds. With its name and labels, for the metrics.
    #[must_use]
    pub fn ages(&self, via: Via, kind: Kind) -> &Histogram {
        &self.ages[via as usize][kind as usize]
    }

    /// The last pushes, the newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Pushed> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_all_and_keeps_the_last() {
        let tally = Tally::default();
        for number in 0..=RECENT as u32 {
            let fate = if number % 2 == 0 { Fate::Delivered } else { Fate::Failed };
            let (kind, via) = (Kind::NewMail, Via::Exec);
            let (at, age) = (SystemTime::UNIX_EPOCH, Duration::from_millis(3));
            tally.note(Pushed {
                at,
                user: number.to_string(),
                kind,
                age,
                events: number,
                via,
                fate,
                answer: None,
            });
        }
        assert_eq!(tally.count(Via::Exec, Kind::NewMail, Fate::Delivered), RECENT as u64 / 2 + 1);
        assert_eq!(tally.count(Via::Exec, Kind::NewMail, Fate::Failed), RECENT as u64 / 2);
        assert_eq!(tally.count(Via::Apns, Kind::NewMail, Fate::Delivered), 0);
        let recent = tally.recent();
        assert_eq!((recent.len(), recent[0].events), (RECENT, RECENT as u32));
        assert_eq!(recent.last().map(|oldest| oldest.events), Some(1));
        assert_eq!(tally.ages(Via::Exec, Kind::NewMail).get_sample_count(), RECENT as u64 / 2 + 1);
    }
}
