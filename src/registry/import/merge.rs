//! What a registration out of another store makes of what the registry has. Pure.
//!
//! An import says what was, and a device what is: an import never undoes what a device or an earlier import said, so that the same
//! import a second time changes nothing. It removes nothing either; that is left to the devices and to Apple.

use super::super::{
    NewRegistration, Registration, State, Timestamp,
    life::{Refused, SUPERSEDED_FOR, Write},
};

/// A registration to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The registration. Its time is the moment of the import if the store has none that counts.
    pub new: NewRegistration,
    /// When it was made, as the store has it.
    pub dated: Dated,
}

/// What is known of the time of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// It was made then.
    At(Timestamp),
    /// It was made then, and would be removed as too old at once. It counts from the import on: the phone may have had nobody to register
    /// with for long, and if it is gone Apple says so.
    Long(Timestamp),
    /// Nobody knows. It counts from the import on.
    Never,
}

impl Incoming {
    /// Judges the time of a registration. One in the future is not known: a device could not be newer than it for as long.
    #[must_use]
    pub fn new(mut new: NewRegistration, at: Option<Timestamp>, now: Timestamp, oldest: Timestamp) -> Self {
        let dated = match at {
            Some(at) if at <= now && at < oldest => Dated::Long(at),
            Some(at) if at <= now => Dated::At(at),
            _ => Dated::Never,
        };
        new.at = if let Dated::At(at) = dated { at } else { now };
        Self { new, dated }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It was not there.
    New,
    /// It was there, and is newer now.
    Newer,
    /// It was there, and stays as it is.
    AlreadyThere,
}

/// Merges a registration into those of its user.
///
/// # Errors
/// If the user has too many.
pub fn merge(
    of_user: &[Registration],
    incoming: &Incoming,
    most: usize,
) -> Result<(Merged, Vec<Write>), Refused> {
    let Incoming { new, dated } = incoming;
    let known = of_user.iter().find(|registration| registration.key == new.key);
    let (merged, mut registration) = match (known, *dated) {
        (Some(known), Dated::At(at)) if known.last_registered < at => {
            let next = Registration {
                subtopic: if new.subtopic.is_empty() { &known.subtopic } else { &new.subtopic }.clone(),
                topic: new.topic.clone().or_else(|| known.topic.clone()),
                mailboxes: if new.mailboxes.is_empty() { &known.mailboxes } else { &new.mailboxes }.clone(),
                last_registered: at,
                bad_answers: 0,
                state: State::Active,
                ..known.clone()
            };
            (Merged::Newer, next)
        }
        (Some(_), _) => return Ok((Merged::AlreadyThere, Vec::new())),
        (None, _) if of_user.len() >= most => return Err(Refused::TooMany(most)),
        (None, _) => (Merged::New, first(incoming)),
    };
    let mut writes = Vec::new();
    // Of two accounts of a device the one that stayed away for so long is the old one. Closer together they are two that are in use:
    // a phone registers all of its accounts at about the same time. Without a time there is nothing to compare.
    if let Dated::At(at) = *dated {
        let others = of_user.iter().filter(|other| other.key.token == new.key.token && other.key != new.key);
        for other in others {
            if other.last_registered.since(at) >= SUPERSEDED_FOR {
                registration.state = State::Superseded { since: other.last_registered };
            } else if other.state == State::Active && at.since(other.last_registered) >= SUPERSEDED_FOR {
                let state = State::Superseded { since: at };
                writes.push(Write::Put(Registration { state, ..other.clone() }));
            }
        }
    }
    writes.push(Write::Put(registration));
    Ok((merged, writes))
}

fn first(Incoming { new, dated }: &Incoming) -> Registration {
    let first_registered = match *dated {
        Dated::At(at) | Dated::Long(at) => at,
        Dated::Never => new.at,
    };
    Registration {
        key: new.key.clone(),
        subtopic: new.subtopic.clone(),
        topic: new.topic.clone(),
        mailboxes: new.mailboxes.clone(),
        acknowledged: new.acknowledged.clone(),
        first_registered,
        last_registered: new.at,
        last_push: None,
        last_answer: None,
        bad_answers: 0,
        state: State::Active,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        mailbox::Username,
        registry::{Key, life},
    };

    const DAY: i64 = 24 * 3600 * 1000;
    /// The day of the import, and the first day that is not too old.
    const NOW: i64 = 1000;
    const OLDEST: i64 = NOW - 180;

    fn new(token: &str, account: &str, day: i64) -> NewRegistration {
        NewRegistration {
            key: Key {
                user: Username::new("jo").expect("a name"),
                token: token.parse().expect("digits"),
                account: account.parse().expect("an id"),
            },
            subtopic: String::new(),
            topic: None,
            mailboxes: Vec::new(),
            acknowledged: Vec::new(),
            at: Timestamp(day * DAY),
        }
    }

    fn incoming(token: &str, account: &str, day: Option<i64>) -> Incoming {
        let at = day.map(|day| Timestamp(day * DAY));
        Incoming::new(new(token, account, 0), at, Timestamp(NOW * DAY), Timestamp(OLDEST * DAY))
    }

    fn write(all: &mut Vec<Registration>, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put(registration) => {
                    all.retain(|old| old.key != registration.key);
                    all.push(registration);
                }
                Write::Delete(key) => panic!("an import deleted {key:?}"),
            }
        }
        all.sort_by(|one, other| one.key.cmp(&other.key));
    }

    fn import(all: &mut Vec<Registration>, what: &[Incoming]) -> Vec<Merged> {
        let mut merged = Vec::new();
        for incoming in what {
            let (outcome, writes) = merge(all, incoming, 100).expect("few");
            write(all, writes);
            merged.push(outcome);
        }
        merged
    }

    fn shown(all: &[Registration]) -> Vec<String> {
        let day = |at: Timestamp| at.0 / DAY;
        all.iter()
            .map(|it| {
                let times = (day(it.first_registered), day(it.last_registered));
                format!("{} {} {times:?}", it.key.account.as_str(), it.state.as_str())
            })
            .collect()
    }

    #[test]
    fn what_a_device_said_since_stays() {
        let mut all = Vec::new();
        write(&mut all, life::register(&[], &new("aa", "id", 990), 100).expect("few"));
        let before = all.clone();
        for day in [None, Some(1), Some(980), Some(990), Some(NOW + 1)] {
            assert_eq!(import(&mut all, &[incoming("aa", "id", day)]), [Merged::AlreadyThere], "{day:?}");
            assert_eq!(all, before);
        }
        assert_eq!(import(&mut all, &[incoming("aa", "id", Some(995))]), [Merged::Newer]);
        assert_eq!(shown(&all), ["id active (990, 995)"]);
    }

    #[test]
    fn without_a_good_time_it_counts_from_the_import_on() {
        let mut all = Vec::new();
        import(
            &mut all,
            &[incoming("aa", "a", None), incoming("bb", "b", Some(NOW + 5)), incoming("cc", "c", Some(10))],
        );
        assert_eq!(shown(&all), ["a active (1000, 1000)", "b active (1000, 1000)", "c active (10, 1000)"]);
    }

    #[test]
    fn an_account_that_stayed_away_for_a_week_is_superseded_in_any_order() {
        let both = [incoming("aa", "old", Some(900)), incoming("aa", "new", Some(907))];
        let mut all = Vec::new();
        import(&mut all, &both);
        assert_eq!(shown(&all), ["new active (907, 907)", "old superseded (900, 900)"]);
        let mut other_way = Vec::new();
        import(&mut other_way, &[both[1].clone(), both[0].clone()]);
        assert_eq!(all, other_way);

        let mut close = Vec::new();
        import(&mut close, &[incoming("aa", "one", Some(900)), incoming("aa", "two", Some(906))]);
        assert_eq!(shown(&close), ["one active (900, 900)", "two active (906, 906)"]);
    }

    #[test]
    fn a_time_that_nobody_knows_supersedes_nothing() {
        let mut all = Vec::new();
        write(&mut all, life::register(&[], &new("aa", "old", 900), 100).expect("few"));
        import(&mut all, &[incoming("aa", "undated", None), incoming("aa", "long", Some(3))]);
        assert!(all.iter().all(|registration| registration.state == State::Active), "{:?}", shown(&all));
    }

    #[test]
    fn the_number_of_devices_is_bounded() {
        let mut all = Vec::new();
        import(&mut all, &[incoming("aa", "id", None)]);
        assert_eq!(merge(&all, &incoming("bb", "id", None), 1), Err(Refused::TooMany(1)));
        assert!(merge(&all, &incoming("aa", "id", Some(NOW)), 1).is_ok());
    }

    proptest! {
        /// Whatever a store has: importing it again changes nothing.
        #[test]
        fn a_second_import_changes_nothing(
            store in proptest::collection::vec((0u8..3, 0u8..3, proptest::option::of(700i64..NOW + 20)), 0..12),
            devices in proptest::collection::vec((0u8..3, 0u8..3, 800i64..NOW), 0..6),
        ) {
            let mut all = Vec::new();
            for (token, account, day) in devices {
                let new = new(&format!("0{token}"), &account.to_string(), day);
                let writes = life::register(&all, &new, 100).expect("few");
                all.retain(|it: &Registration| !writes.contains(&Write::Delete(it.key.clone())));
                write(&mut all, writes.into_iter().filter(|it| matches!(it, Write::Put(_))).collect());
            }
            let store: Vec<_> =
                store.iter().map(|(token, account, day)| incoming(&format!("0{token}"), &account.to_string(), *day)).collect();
            import(&mut all, &store);
            let once = all.clone();
            let again = import(&mut all, &store);
            prop_assert_eq!(all, once);
            prop_assert!(again.iter().all(|merged| *merged == Merged::AlreadyThere));
        }
    }
}
