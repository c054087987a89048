//! The debouncer, on `tests/cases/debouncer.txt`, and its properties under any order of events.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use pushmaild::{
    classifier::Kind,
    debouncer::{Debouncer, Intervals, MailboxReady},
    mailbox::MailboxId,
};

const CASES: &str = include_str!("../../cases/debouncer.txt");

#[test]
fn each_case() {
    for (title, lines) in super::cases(CASES) {
        let start = Instant::now();
        let (_, intervals) = lines[0];
        let spans: Vec<Duration> = intervals.split(' ').skip(1).map(duration).collect();
        let intervals = Intervals { new_mail: spans[0], change_quiet: spans[1], change_max_wait: spans[2] };
        let mut debouncer = Debouncer::new(intervals);
        for (number, line) in &lines[1..] {
            let (input, expected) = line.split_once("=>").expect("a line has `=>`");
            let (time, event) = input.trim().split_once(' ').unwrap_or((input.trim(), ""));
            let now = start + duration(time);
            let mut ready: Vec<MailboxReady> = Vec::new();
            if !event.is_empty() {
                let (mailbox, kind) = mailbox_and(event);
                let kind = if kind == "new mail" { Kind::NewMail } else { Kind::Change };
                // Whatever is due goes before what happens now.
                ready.extend(std::iter::from_fn(|| debouncer.pop_due(now)));
                ready.extend(debouncer.note(mailbox, kind, now));
            }
            ready.extend(std::iter::from_fn(|| debouncer.pop_due(now)));
            let found: Vec<_> = ready
                .iter()
                .map(|ready| (ready.mailbox, format!("{} {}", ready.kind.as_str(), ready.events)))
                .collect();
            let expected: Vec<_> = expected.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|one| {
                    let (mailbox, push) = mailbox_and(one);
                    (mailbox, push.to_owned())
                })
                .collect();
            assert_eq!(found, expected, "{title}, line {number}");
            assert!(debouncer.deadline().is_none_or(|deadline| deadline > now), "{title}, line {number}");
        }
    }
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a duration")
}

fn mailbox_and(text: &str) -> (MailboxId, &str) {
    match text.split_once(' ') {
        Some((number, rest)) if number.parse::<u32>().is_ok() => {
            (MailboxId(number.parse().expect("a number")), rest)
        }
        _ => (MailboxId(0), text),
    }
}

const INTERVALS: Intervals = Intervals {
    new_mail: Duration::from_millis(20),
    change_quiet: Duration::from_millis(100),
    change_max_wait: Duration::from_millis(600),
};

proptest! {
    /// Whatever happens: each event is followed by a push in time, each event is in one push, new mail is not pushed more often
    /// than the interval allows, and in the end nothing is left.
    #[test]
    fn nothing_is_lost_late_or_too_often(
        events in proptest::collection::vec((0u32..4, any::<bool>(), 0u64..150), 1..80),
    ) {
        let start = Instant::now();
        let mut debouncer = Debouncer::new(INTERVALS);
        let mut now = start;
        let mut untold: HashMap<MailboxId, Vec<(Instant, Kind)>> = HashMap::new();
        let mut last_new_mail: HashMap<MailboxId, Instant> = HashMap::new();
        let mut check = |ready: MailboxReady, at: Instant, untold: &mut HashMap<MailboxId, Vec<(Instant, Kind)>>| {
            let events = untold.remove(&ready.mailbox).unwrap_or_default();
            prop_assert_eq!(ready.events as usize, events.len());
            prop_assert_eq!(Some(ready.since), events.first().map(|(time, _)| *time));
            for (time, kind) in &events {
                let most = if *kind == Kind::NewMail { INTERVALS.new_mail } else { INTERVALS.change_max_wait };
                prop_assert!(at <= *time + most, "{:?} waited {:?}", kind, at - *time);
            }
            let has_new_mail = events.iter().any(|(_, kind)| *kind == Kind::NewMail);
            prop_assert_eq!(ready.kind == Kind::NewMail, has_new_mail);
            if has_new_mail && let Some(last) = last_new_mail.insert(ready.mailbox, at) {
                // A change that comes due takes new mail along, whenever that is.
                let had_change = events.iter().any(|(_, kind)| *kind == Kind::Change);
                prop_assert!(had_change || at >= last + INTERVALS.new_mail);
            }
            Ok(())
        };
        for (mailbox, is_new, gap) in events {
            let until = now + Duration::from_millis(gap);
            // Timers are served when they are due.
            while let Some(deadline) = debouncer.deadline().filter(|deadline| *deadline <= until) {
                while let Some(ready) = debouncer.pop_due(deadline) {
                    check(ready, deadline, &mut untold)?;
                }
            }
            now = until;
            let (mailbox, kind) = (MailboxId(mailbox), if is_new { Kind::NewMail } else { Kind::Change });
            untold.entry(mailbox).or_default().push((now, kind));
            if let Some(ready) = debouncer.note(mailbox, kind, now) {
                check(ready, now, &mut untold)?;
            }
        }
        while let Some(deadline) = debouncer.deadline() {
            while let Some(ready) = debouncer.pop_due(deadline) {
                check(ready, deadline, &mut untold)?;
            }
        }
        prop_assert!(untold.is_empty());
        prop_assert_eq!(debouncer.pending(), 0);
    }
}

/// Memory and timers are by mailbox: a burst of a hundred thousand events on one mailbox leaves one entry.
#[test]
fn a_burst_costs_one_entry() {
    let mut debouncer = Debouncer::new(INTERVALS);
    let start = Instant::now();
    for event in 0..100_000u64 {
        assert!(debouncer.note(MailboxId(7), Kind::Change, start + Duration::from_nanos(event)).is_none());
    }
    assert_eq!((debouncer.pending(), debouncer.timers()), (1, 1));
    assert_eq!(debouncer.flush().first().map(|ready| ready.events), Some(100_000));
    assert_eq!((debouncer.pending(), debouncer.timers()), (0, 0));
}

/// A hundred thousand mailboxes with a million events: one entry and one timer for each mailbox, and none is left behind.
#[test]
fn many_mailboxes_cost_one_timer_each() {
    const MAILBOXES: u32 = 100_000;
    let mut debouncer = Debouncer::new(INTERVALS);
    let start = Instant::now();
    for round in 0..10 {
        for mailbox in 0..MAILBOXES {
            let now = start + Duration::from_millis(round);
            assert!(debouncer.note(MailboxId(mailbox), Kind::Change, now).is_none());
        }
    }
    assert_eq!((debouncer.pending(), debouncer.timers()), (MAILBOXES as usize, MAILBOXES as usize));
    let due = start + INTERVALS.change_quiet + Duration::from_millis(9);
    assert_eq!(debouncer.pop_due(due - Duration::from_millis(1)), None);
    let pushed =
        std::iter::from_fn(|| debouncer.pop_due(due)).inspect(|ready| assert_eq!(ready.events, 10)).count();
    assert_eq!((pushed, debouncer.pending(), debouncer.timers()), (MAILBOXES as usize, 0, 0));
}

#[test]
fn what_is_forgotten_is_not_pushed() {
    let mut debouncer = Debouncer::new(INTERVALS);
    let now = Instant::now();
    assert!(debouncer.note(MailboxId(1), Kind::Change, now).is_none());
    debouncer.forget(MailboxId(1));
    assert_eq!(debouncer.pop_due(now + Duration::from_secs(10)), None);
    assert!(debouncer.flush().is_empty());
}
