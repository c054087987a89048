//! The classifier, on `tests/cases/classifier.txt` and on what a real Dovecot did.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use pushmaild::{
    classifier::{Classifier, HOLD, Kind, Op},
    mailbox::MailboxId,
    maildir::Part,
};

const CASES: &str = include_str!("../../cases/classifier.txt");
const DOVECOT: &str = include_str!("../../transcripts/maildir-events.txt");

#[test]
fn each_case() {
    for (title, lines) in super::cases(CASES) {
        let mut classifier = Classifier::default();
        let now = Instant::now();
        for (number, line) in lines {
            let (event, expected) = line.split_once("=>").expect("a line has `=>`");
            let mut found = Vec::new();
            let mut note = |id: MailboxId, kind: Kind| found.push((id.0, kind.as_str()));
            match event.trim() {
                "read" => classifier.end_of_read(now, &mut note),
                "wait" => classifier.release(&mut note),
                event => {
                    let (id, event) = event.split_once(": ").unwrap_or(("0", event));
                    let words: Vec<_> = event.split(' ').collect();
                    let part = if words[0] == "new/" { Part::New } else { Part::Cur };
                    let cookie = || words[2].parse().expect("a cookie");
                    let op = match words[1] {
                        "MOVED_TO" => Op::MovedTo(cookie()),
                        "MOVED_FROM" => Op::MovedFrom(cookie()),
                        "CREATE" => Op::Created,
                        "DELETE" => Op::Deleted,
                        other => panic!("line {number}: {other}"),
                    };
                    let id = MailboxId(id.parse().expect("a mailbox"));
                    classifier.event(id, part, op, words.last().expect("a name").as_bytes(), &mut note);
                }
            }
            let expected: Vec<_> = expected.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|one| match one.split_once(' ') {
                    Some((id, kind)) if id.parse::<u32>().is_ok() => (id.parse().expect("a mailbox"), kind),
                    _ => (0, *one),
                })
                .collect();
            assert_eq!(found, expected, "{title}, line {number}");
        }
    }
}

/// What the steps of the captured session mean for INBOX, all but the steps that mean nothing.
#[test]
fn what_a_real_dovecot_does() {
    let mut meanings = Vec::new();
    let now = Instant::now();
    for (step, lines) in super::cases(DOVECOT) {
        let mut classifier = Classifier::default();
        let mut found = Vec::new();
        let mut cookie = 0;
        for (_, line) in &lines {
            let words: Vec<_> = line.split(' ').collect();
            let part = match words[0] {
                "new/" => Part::New,
                "cur/" => Part::Cur,
                // tmp/ and the other folders are not watched.
                _ => continue,
            };
            // The capture does not have the cookies; in it the two halves of a rename follow each other.
            let op = match words[1] {
                "MOVED_FROM" => {
                    cookie += 1;
                    Op::MovedFrom(cookie)
                }
                "MOVED_TO" => Op::MovedTo(cookie),
                "DELETE" => Op::Deleted,
                other => panic!("{other}"),
            };
            let note = &mut |_: MailboxId, kind: Kind| found.push(kind.as_str());
            classifier.event(MailboxId(0), part, op, words[2].as_bytes(), note);
            if matches!(op, Op::MovedTo(_)) {
                cookie += 1;
            }
        }
        for _ in 0..2 {
            classifier.end_of_read(now, &mut |_, kind| found.push(kind.as_str()));
        }
        if !found.is_empty() {
            meanings.push((step, found.join(", ")));
        }
    }
    let expected = [
        ("LMTP delivery, no client connected", "new mail"),
        ("FETCH BODY[] (sets Seen)", "change"),
        ("STORE -FLAGS Seen", "change"),
        ("STORE +FLAGS Flagged", "change"),
        ("LMTP delivery while selected (no idle)", "new mail"),
        ("LMTP 3 deliveries one session", "new mail, new mail, new mail"),
        ("APPEND", "new mail"),
        ("APPEND Seen", "change"),
        ("MOVE to Archive", "change"),
        ("STORE Deleted + EXPUNGE", "change, change"),
        ("custom keyword", "change"),
        ("deliver x2; another client reads one at once", "new mail, new mail, change"),
    ];
    assert_eq!(meanings, expected.map(|(step, meaning)| (step, meaning.to_owned())));
}

#[test]
fn a_half_is_held_for_a_while_and_no_longer() {
    let mut classifier = Classifier::default();
    let now = Instant::now();
    assert_eq!(classifier.deadline(), None);
    classifier
        .event(MailboxId(0), Part::Cur, Op::MovedFrom(1), b"1.host:2,", &mut |_, _| panic!("too early"));
    classifier.end_of_read(now, &mut |_, _| panic!("too early"));
    assert_eq!(classifier.deadline(), Some(now + HOLD));
    assert!(HOLD <= Duration::from_millis(5));
    let mut found = 0;
    classifier.release(&mut |_, _| found += 1);
    assert_eq!((found, classifier.deadline()), (1, None));
}

proptest! {
    /// Wherever the reads end, what a rename means is the same, as long as a read holds the second half at the latest.
    #[test]
    fn the_ends_of_reads_do_not_matter(ends in proptest::collection::vec(any::<bool>(), 8)) {
        let events = [
            (Part::New, Op::MovedTo(1), "1.h"),
            (Part::New, Op::MovedFrom(2), "1.h"),
            (Part::Cur, Op::MovedTo(2), "1.h:2,"),
            (Part::Cur, Op::MovedFrom(3), "1.h:2,"),
            (Part::Cur, Op::MovedTo(3), "1.h:2,S"),
            (Part::Cur, Op::MovedFrom(4), "1.h:2,S"),
            (Part::Cur, Op::MovedTo(4), "1.h:2,ST"),
            (Part::Cur, Op::Deleted, "1.h:2,ST"),
        ];
        let mut classifier = Classifier::default();
        let mut found = Vec::new();
        for ((part, op, name), end) in events.into_iter().zip(ends) {
            classifier.event(MailboxId(0), part, op, name.as_bytes(), &mut |_, kind| found.push(kind));
            if end {
                classifier.end_of_read(Instant::now(), &mut |_, kind| found.push(kind));
            }
        }
        classifier.release(&mut |_, kind| found.push(kind));
        prop_assert_eq!(found, [Kind::NewMail, Kind::Change, Kind::Change, Kind::Change]);
    }
}
