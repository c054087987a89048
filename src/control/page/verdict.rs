//! Is all well? The one line that somebody reads from the other end of the room, and why it is not another.

use crate::{
    control::status::{ApnsStatus, CertificateEnd, SinkState, Status},
    count::count,
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing to do.
    Good,
    /// It takes its time.
    Busy,
    /// Somebody should look at it one of these days.
    Warning,
    /// Somebody's pushes do not go out.
    Trouble,
}

impl Level {
    /// For the style sheet, and the name of its shape.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warning => "warning",
            Self::Trouble => "trouble",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) level: Level,
    pub(super) what: String,
    pub(super) why: String,
}

/// All of it, the worst first.
pub(super) fn reasons(status: &Status) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut say = |level, what: String, why: String| reasons.push(Reason { level, what, why });
    for sink in status.sinks.iter().filter(|sink| sink.state == SinkState::Trouble) {
        let waiting = match sink.waiting {
            0 => String::new(),
            waiting => format!("; {}", count(waiting, "push waits", "pushes wait")),
        };
        let why = format!("{}{waiting}", sink.trouble.as_deref().unwrap_or("unknown"));
        say(Level::Trouble, format!("Nothing goes out through {}", sink.name), why);
    }
    match status.apns.as_ref().and_then(ApnsStatus::certificate_end) {
        None | Some(CertificateEnd::Far(_)) => {}
        Some(CertificateEnd::Passed) => say(
            Level::Trouble,
            "The certificate has ended".to_owned(),
            "Apple takes no push with it".to_owned(),
        ),
        Some(CertificateEnd::Soon(days)) => {
            let what = match days {
                0 => "The certificate ends today".to_owned(),
                1 => "The certificate ends tomorrow".to_owned(),
                days => format!("The certificate ends in {days} days"),
            };
            say(Level::Warning, what, "a renewed file is taken up without a restart".to_owned());
        }
    }
    if let Some(trouble) = status.registry.as_ref().and_then(|registry| registry.trouble.clone()) {
        say(Level::Trouble, "The registry cannot be written".to_owned(), trouble);
    }
    if let Some(trouble) = &status.map.trouble {
        say(Level::Trouble, "The map of users cannot be read; the old one stays".to_owned(), trouble.clone());
    }
    match status.mailboxes.in_trouble {
        0 => {}
        1 => {
            let why = status.troubles.first().map(|trouble| format!("{}: {}", trouble.user, trouble.reason));
            say(Level::Trouble, "A mailbox cannot be watched".to_owned(), why.unwrap_or_default());
        }
        many => say(Level::Trouble, format!("{many} mailboxes cannot be watched"), "see below".to_owned()),
    }
    let watch = &status.watch;
    if watch.is_short() {
        let why = "they are looked at now and then, so their pushes come late; `pushmaild check` has more";
        let what = match watch.polled {
            1 => "A directory has no watch".to_owned(),
            polled => format!("{polled} directories have no watch"),
        };
        say(Level::Warning, what, why.to_owned());
    } else if is_near_limit(status) {
        let why = "beyond it directories are polled; `pushmaild check` has the line that raises it";
        say(Level::Warning, "The limit of watches is near".to_owned(), why.to_owned());
    }
    if !status.ready {
        say(Level::Busy, "Getting ready".to_owned(), "not everything is watched yet".to_owned());
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.level));
    reasons
}

/// Are nine tenths of the watches in use?
pub(super) fn is_near_limit(status: &Status) -> bool {
    status.watch.limit.is_some_and(|limit| status.watch.watches as u64 * 10 >= limit * 9)
}

/// The headline.
pub(super) fn headline(reasons: &[Reason]) -> (Level, String) {
    match reasons {
        [] => (Level::Good, "All is well".to_owned()),
        [only] => (only.level, only.what.clone()),
        [worst, ..] => {
            let alike = reasons.iter().filter(|reason| reason.level == worst.level).count();
            let what = match (alike, worst.level) {
                (1, _) => worst.what.clone(),
                (_, Level::Trouble) => format!("{alike} things are wrong"),
                _ => format!("{alike} things to look at"),
            };
            (worst.level, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{Mailboxes, MapStatus, Pending, SinkStatus, Watch};

    fn well() -> Status {
        let sink = |name: &str| SinkStatus {
            name: name.to_owned(),
            target: String::new(),
            state: SinkState::Ok,
            waiting: 0,
            delivered: 1,
            refused: 0,
            failed: 0,
            trouble: None,
            last_error: None,
        };
        Status {
            version: String::new(),
            pid: 1,
            time: String::new(),
            started: String::new(),
            ready: true,
            config: String::new(),
            map: MapStatus::default(),
            mailboxes: Mailboxes { total: 3, watched: 2, missing: 1, ..Mailboxes::default() },
            watch: Watch { backend: "inotify".to_owned(), watches: 89, limit: Some(100), ..Watch::default() },
            pending: Pending::default(),
            sinks: vec![sink("push-notify"), sink("exec")],
            apns: Some(ApnsStatus { certificate_days_left: Some(31), ..ApnsStatus::default() }),
            registry: None,
            listeners: Vec::new(),
            troubles: Vec::new(),
            pushes: Vec::new(),
        }
    }

    /// How bad it is, and the headline.
    fn told(change: impl FnOnce(&mut Status)) -> (Level, String) {
        let mut status = well();
        change(&mut status);
        headline(&reasons(&status))
    }

    #[test]
    fn the_worst_is_told_first() {
        let days = |days| {
            move |status: &mut Status| {
                status.apns.as_mut().expect("it is there").certificate_days_left = Some(days);
            }
        };
        let sink = |status: &mut Status| status.sinks[1].state = SinkState::Trouble;
        for (is, level, headline) in [
            (told(|_| {}), Level::Good, "All is well"),
            (told(|status| status.ready = false), Level::Busy, "Getting ready"),
            (told(days(30)), Level::Warning, "The certificate ends in 30 days"),
            (told(days(1)), Level::Warning, "The certificate ends tomorrow"),
            (told(days(0)), Level::Warning, "The certificate ends today"),
            (told(days(-1)), Level::Trouble, "The certificate has ended"),
            (told(|status| status.watch.watches = 90), Level::Warning, "The limit of watches is near"),
            (told(|status| status.watch.polled = 2), Level::Warning, "2 directories have no watch"),
            (
                told(|status| (status.watch.backend, status.watch.polled) = ("poll".to_owned(), 2)),
                Level::Good,
                "All is well",
            ),
            (told(sink), Level::Trouble, "Nothing goes out through exec"),
            (
                told(|status| {
                    days(3)(status);
                    sink(status);
                }),
                Level::Trouble,
                "Nothing goes out through exec",
            ),
            (
                told(|status| {
                    days(-3)(status);
                    sink(status);
                    status.ready = false;
                }),
                Level::Trouble,
                "2 things are wrong",
            ),
            (
                told(|status| {
                    days(3)(status);
                    status.watch.polled = 1;
                }),
                Level::Warning,
                "2 things to look at",
            ),
        ] {
            assert_eq!(is, (level, headline.to_owned()));
        }
    }
}
