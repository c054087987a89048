//! What is said of runs: one line for each that went well, and few for many that fail alike.

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info, warn};

use super::{
    super::milliseconds,
    run::{End, Ended},
    shared::Shared,
};
use crate::{
    count::count,
    sink::tally::{Fate, Pushed, Via},
};

/// Further failures are told of so often, in sum.
const SUM_UP: Duration = Duration::from_secs(600);
/// After so many failures in a row, one that goes well is news.
const ROW: u32 = 3;

/// What has been said, and is not said again for a while.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// The ways in which runs failed since the last quiet time: bounded by statuses and signals.
    told: Vec<End>,
    /// Failures that were not told since the last line, and when they are.
    untold: u32,
    sum_up: Option<Instant>,
    /// Failures since the last run that went well, and the first of them.
    row: u32,
    row_since: Option<Instant>,
}

impl Outcomes {
    /// Says what became of a run, and counts it.
    pub(super) fn tell(&mut self, ended: &Ended, program: &str, shared: &Shared, now: Instant) {
        let Ended { push, end, output, took } = ended;
        let (user, kind, events) = (&push.user, push.kind.as_str(), push.events);
        let age = now.saturating_duration_since(push.since);
        let (age_ms, took_ms) = (milliseconds(age), milliseconds(*took));
        let age = age.as_secs_f64();
        match end {
            End::Stopped => {
                debug!(%user, kind, age_ms, events, took_ms, sink = "exec", outcome = %end, "the program for {user} was ended with the daemon");
                return;
            }
            End::Exited(status) if status.success() => {
                note(ended, Fate::Delivered, None, shared, now);
                info!(
                    %user, kind, age_ms, events, took_ms, sink = "exec", outcome = "pushed",
                    "pushed {user} through {program}: {kind}, {events} in {age:.3} s"
                );
                return self.went_well(program, now);
            }
            End::Exited(_) | End::Unknown | End::TimedOut(_) => {}
        }
        let said = if output.is_empty() { String::new() } else { format!(": {output}") };
        let text = format!("the run of {program} for {user} failed: {end}{said}");
        shared.trouble.note(text.clone());
        note(ended, Fate::Failed, Some(format!("{end}{said}")), shared, now);
        self.row += 1;
        self.row_since.get_or_insert(now);
        if !self.told.contains(end) {
            self.told.push(*end);
            self.sum_up.get_or_insert(now + SUM_UP);
            warn!(%user, kind, age_ms, events, took_ms, sink = "exec", outcome = %end, output, "{text}");
        } else {
            self.untold += 1;
            debug!(%user, kind, age_ms, events, took_ms, sink = "exec", outcome = %end, output, "{text}");
        }
    }

    fn went_well(&mut self, program: &str, now: Instant) {
        let failures = std::mem::take(&mut self.row);
        if let Some(since) = self.row_since.take()
            && failures >= ROW
        {
            let seconds = now.duration_since(since).as_secs_f64();
            info!(
                failures,
                seconds, "{program} works again, after {failures} runs that failed in {seconds:.1} s"
            );
        }
    }

    /// When [`Self::on_time`] has something to say.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.sum_up
    }

    /// Sums up what was not told, or begins anew after a quiet time.
    pub(super) fn on_time(&mut self, program: &str, shared: &Shared, now: Instant) {
        if self.sum_up.is_none_or(|at| at > now) {
            return;
        }
        match std::mem::take(&mut self.untold) {
            0 => *self = Self { row: self.row, row_since: self.row_since, ..Self::default() },
            failures => {
                self.sum_up = Some(now + SUM_UP);
                let (_, last) = shared.trouble.last().unwrap_or((SystemTime::now(), String::new()));
                let minutes = SUM_UP.as_secs() / 60;
                warn!(
                    failures,
                    sink = "exec",
                    "{} of {program} failed in {minutes} minutes; the last one: {last}",
                    count(failures, "more run", "more runs")
                );
            }
        }
    }
}

/// A push has come to its end.
fn note(ended: &Ended, fate: Fate, answer: Option<String>, shared: &Shared, now: Instant) {
    let Ended { push, .. } = ended;
    shared.tally.note(Pushed {
        at: SystemTime::now(),
        user: push.user.to_string(),
        kind: push.kind,
        age: now.saturating_duration_since(push.since),
        events: push.events,
        via: Via::Exec,
        fate,
        answer,
    });
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

    use super::*;
    use crate::{
        classifier::Kind,
        mailbox::{MailboxId, Username},
        sink::exec::queue::Push,
    };

    #[test]
    fn failures_are_summed_up_until_there_are_none() {
        let (mut outcomes, shared, start) = (Outcomes::default(), Shared::default(), Instant::now());
        let push = Push {
            user: Username::new("jo").expect("a name"),
            mailbox: MailboxId(0),
            maildir: Path::new("/mail").into(),
            kind: Kind::Change,
            since: start,
            events: 1,
        };
        let ended = |status: i32| {
            let end = End::Exited(ExitStatus::from_raw(status << 8));
            Ended { push: push.clone(), end, output: String::new(), took: Duration::ZERO }
        };
        for status in [1, 1, 2, 1, 0, 1] {
            outcomes.tell(&ended(status), "on-mail", &shared, start);
        }
        assert_eq!((outcomes.told.len(), outcomes.untold, outcomes.due()), (2, 3, Some(start + SUM_UP)));
        outcomes.on_time("on-mail", &shared, start + SUM_UP);
        assert_eq!((outcomes.told.len(), outcomes.untold, outcomes.due()), (2, 0, Some(start + SUM_UP * 2)));
        outcomes.on_time("on-mail", &shared, start + SUM_UP * 2);
        assert_eq!((outcomes.told.len(), outcomes.row, outcomes.due()), (0, 1, None), "it is news again");
        let counts =
            [Fate::Delivered, Fate::Failed].map(|it| shared.tally.count(Via::Exec, Kind::Change, it));
        assert_eq!(counts, [1, 5]);
    }
}
