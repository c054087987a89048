//! The life of a registration: what a registration, an answer of Apple's and the passing of time make of it. Pure.
//!
//! - One is known by user, token and account id. Two phones restored from one backup share an account id, and one phone can have
//!   two accounts of one user: all of them are kept.
//! - A new account id on a known token usually means that the account was removed and added again. Both are pushed to; the old
//!   one goes when it has not come back for [`SUPERSEDED_FOR`] while another one of the device still does.
//! - An answer of Apple's counts only if the device has not registered again since the push.

use std::time::Duration;

use thiserror::Error;

use super::{Key, NewRegistration, Registration, State, Timestamp};

/// How long a superseded registration is kept. A phone registers again at least every 23 hours when it is used at all.
pub const SUPERSEDED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// So many times in a row Apple has to call a token bad: once may be an accident of its own.
const BAD_ANSWERS: u32 = 2;

/// What has to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Put this in the place of what has its key.
    Put(Registration),
    /// Remove it.
    Delete(Key),
}

/// Why a registration is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// A user has this many already.
    #[error("the user has {0} registered devices already, and more are not taken")]
    TooMany(usize),
}

/// What Apple said to a push, as far as it concerns the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The push was accepted.
    Accepted,
    /// 410: the token was dead at this time.
    Gone {
        /// Since when.
        since: Timestamp,
        /// `Unregistered` or `ExpiredToken`.
        reason: String,
    },
    /// 400 `BadDeviceToken`.
    BadToken,
    /// 400 `DeviceTokenNotForTopic`.
    NotForTopic,
    /// Anything else: only shown.
    Other(String),
}

impl Answer {
    /// As `devices list` shows it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Accepted => "200".to_owned(),
            Self::Gone { reason, .. } => format!("410 {reason}"),
            Self::BadToken => "400 BadDeviceToken".to_owned(),
            Self::NotForTopic => "400 DeviceTokenNotForTopic".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// A device registers. `of_user` is what the registry has of the user, and `most` the number of devices that a user may have.
///
/// # Errors
/// If the user has too many.
pub fn register(of_user: &[Registration], new: &NewRegistration, most: usize) -> Result<Vec<Write>, Refused> {
    let known = of_user.iter().find(|registration| registration.key == new.key);
    if known.is_none() && of_user.len() >= most {
        return Err(Refused::TooMany(most));
    }
    let mut writes = Vec::new();
    let others = of_user.iter().filter(|other| other.key.token == new.key.token && other.key != new.key);
    for other in others {
        match other.state {
            State::Superseded { since } if new.at.since(since) >= SUPERSEDED_FOR => {
                writes.push(Write::Delete(other.key.clone()));
            }
            // What an import brings may be older than what is there.
            State::Active if known.is_none() && other.last_registered <= new.at => {
                let state = State::Superseded { since: new.at };
                writes.push(Write::Put(Registration { state, ..other.clone() }));
            }
            _ => {}
        }
    }
    let registration = match known {
        // An import, or something that waited for the disk: what the device said since then counts.
        Some(known) if known.last_registered > new.at => return Ok(Vec::new()),
        Some(known) => Registration {
            subtopic: new.subtopic.clone(),
            topic: new.topic.clone().or_else(|| known.topic.clone()),
            mailboxes: new.mailboxes.clone(),
            acknowledged: new.acknowledged.clone(),
            last_registered: new.at,
            bad_answers: 0,
            state: State::Active,
            ..known.clone()
        },
        None => new.clone().into(),
    };
    if known != Some(&registration) {
        writes.push(Write::Put(registration));
    }
    Ok(writes)
}

/// Apple has answered a push that was sent at `sent`. While many tokens fail at once the fault is not theirs (`is_mass_failure`), and
/// nothing is held against them.
#[must_use]
pub fn answered(
    registration: &Registration,
    answer: &Answer,
    sent: Timestamp,
    is_mass_failure: bool,
) -> Write {
    let mut next = Registration {
        last_push: registration.last_push.max(Some(sent)),
        last_answer: Some(answer.text()),
        ..registration.clone()
    };
    let registered_since = |then: Timestamp| registration.last_registered > then;
    match answer {
        Answer::Accepted => next.bad_answers = 0,
        Answer::Gone { since, .. } if !registered_since(*since) => {
            return Write::Delete(registration.key.clone());
        }
        Answer::BadToken if !registered_since(sent) && !is_mass_failure => {
            next.bad_answers += 1;
            if next.bad_answers >= BAD_ANSWERS {
                return Write::Delete(registration.key.clone());
            }
        }
        Answer::NotForTopic if !registered_since(sent) && !is_mass_failure => {
            next.state = State::Suspended { reason: answer.text() };
        }
        _ => {}
    }
    Write::Put(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Username;

    const DAY: i64 = 24 * 3600 * 1000;

    fn key(token: &str, account: &str) -> Key {
        Key {
            user: Username::new("jo").expect("a name"),
            token: token.parse().expect("digits"),
            account: account.parse().expect("an id"),
        }
    }

    fn new(token: &str, account: &str, day: i64) -> NewRegistration {
        NewRegistration {
            key: key(token, account),
            subtopic: "com.apple.mobilemail".to_owned(),
            topic: None,
            mailboxes: vec!["INBOX".to_owned()],
            acknowledged: Vec::new(),
            at: Timestamp(day * DAY),
        }
    }

    /// What the registry has after these have registered one after the other.
    fn after(registrations: &[NewRegistration]) -> Vec<Registration> {
        let mut all: Vec<Registration> = Vec::new();
        for new in registrations {
            for write in register(&all, new, 8).expect("few") {
                match write {
                    Write::Put(registration) => {
                        all.retain(|old| old.key != registration.key);
                        all.push(registration);
                    }
                    Write::Delete(key) => all.retain(|old| old.key != key),
                }
            }
        }
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }

    fn shown(all: &[Registration]) -> Vec<(String, &str, &'static str)> {
        all.iter().map(|it| (it.key.token.to_hex(), it.key.account.as_str(), it.state.as_str())).collect()
    }

    #[test]
    fn two_phones_with_one_account_id_are_both_kept() {
        let all = after(&[new("aa", "id", 1), new("bb", "id", 2), new("aa", "id", 3)]);
        assert_eq!(shown(&all), [("aa".to_owned(), "id", "active"), ("bb".to_owned(), "id", "active")]);
    }

    #[test]
    fn one_phone_with_two_accounts_that_both_come_back_keeps_both() {
        let both: Vec<_> = (1..40).flat_map(|day| [new("aa", "one", day), new("aa", "two", day)]).collect();
        assert_eq!(
            shown(&after(&both)),
            [("aa".to_owned(), "one", "active"), ("aa".to_owned(), "two", "active")]
        );
    }

    #[test]
    fn an_account_that_was_replaced_goes_after_seven_days_in_which_the_new_one_came_back() {
        let old_and_new = [new("aa", "old", 1), new("aa", "new", 2)];
        let state = |more: &[i64]| {
            let mut all = old_and_new.to_vec();
            all.extend(more.iter().map(|day| new("aa", "new", *day)));
            shown(&after(&all))
                .iter()
                .map(|(_, account, state)| format!("{account} {state}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(state(&[]), ["new active", "old superseded"]);
        assert_eq!(state(&[3, 8]), ["new active", "old superseded"], "six days");
        assert_eq!(state(&[3, 9]), ["new active"], "seven");
    }

    #[test]
    fn while_the_new_account_stays_away_the_old_one_is_kept() {
        // Nothing happens to the registry without a registration, however much time passes.
        let all = after(&[new("aa", "old", 1), new("aa", "new", 2), new("aa", "old", 100)]);
        assert_eq!(shown(&all), [("aa".to_owned(), "new", "active"), ("aa".to_owned(), "old", "active")]);
    }

    #[test]
    fn what_comes_late_does_not_undo_what_came_since() {
        let mut newer = new("aa", "id", 5);
        newer.topic = Some("topic.of.today".parse().expect("a topic"));
        let all = after(&[newer.clone(), new("aa", "id", 2)]);
        assert_eq!(all[0].topic, newer.topic);
        assert_eq!(all[0].last_registered, newer.at);
    }

    #[test]
    fn a_new_topic_replaces_the_old_one_and_no_topic_does_not() {
        let with = |topic: &str, day| NewRegistration { topic: topic.parse().ok(), ..new("aa", "id", day) };
        let all = after(&[with("topic.one", 1), with("topic.two", 2), new("aa", "id", 3)]);
        assert_eq!(all[0].topic, "topic.two".parse().ok());
    }

    #[test]
    fn the_number_of_devices_is_bounded_and_known_ones_may_still_come_back() {
        let all = after(&(10..18).map(|n| new(&n.to_string(), "id", n)).collect::<Vec<_>>());
        assert_eq!(register(&all, &new("99", "id", 30), 8), Err(Refused::TooMany(8)));
        assert!(register(&all, &new("10", "id", 30), 8).is_ok());
    }

    #[test]
    fn a_410_counts_only_if_the_device_has_not_registered_since() {
        let all = after(&[new("aa", "id", 5)]);
        let gone = |day| Answer::Gone { since: Timestamp(day * DAY), reason: "Unregistered".to_owned() };
        let judge = |answer: &Answer| answered(&all[0], answer, Timestamp(9 * DAY), false);
        assert_eq!(judge(&gone(6)), Write::Delete(key("aa", "id")));
        assert!(matches!(judge(&gone(4)), Write::Put(kept) if kept.state == State::Active));
    }

    #[test]
    fn a_token_that_is_called_bad_goes_the_second_time_in_a_row() {
        let all = after(&[new("aa", "id", 1)]);
        let judge = |it: &Registration, answer| match answered(it, &answer, Timestamp(2 * DAY), false) {
            Write::Put(next) => Some(next),
            Write::Delete(_) => None,
        };
        let once = judge(&all[0], Answer::BadToken).expect("the first time");
        assert_eq!(judge(&once, Answer::BadToken), None);
        let good = judge(&once, Answer::Accepted).expect("good");
        assert!(judge(&good, Answer::BadToken).is_some(), "not in a row");
    }

    #[test]
    fn in_a_mass_failure_nothing_is_held_against_a_token() {
        let mut it = after(&[new("aa", "id", 1)]).remove(0);
        for _ in 0..5 {
            for answer in [Answer::BadToken, Answer::NotForTopic] {
                let Write::Put(next) = answered(&it, &answer, Timestamp(2 * DAY), true) else {
                    panic!("deleted");
                };
                it = next;
            }
        }
        assert_eq!((it.bad_answers, it.state), (0, State::Active));
    }

    #[test]
    fn a_token_for_another_topic_waits_until_it_registers_again() {
        let all = after(&[new("aa", "id", 1)]);
        let Write::Put(suspended) = answered(&all[0], &Answer::NotForTopic, Timestamp(2 * DAY), false) else {
            panic!("deleted");
        };
        assert!(!suspended.state.is_live());
        let writes = register(&[suspended], &new("aa", "id", 3), 8).expect("few");
        assert!(matches!(&writes[..], [Write::Put(it)] if it.state == State::Active));
    }

    #[test]
    fn an_answer_to_a_push_from_before_the_registration_is_not_held_against_it() {
        let all = after(&[new("aa", "id", 5)]);
        for answer in [Answer::BadToken, Answer::NotForTopic] {
            let Write::Put(it) = answered(&all[0], &answer, Timestamp(4 * DAY), false) else {
                panic!("deleted");
            };
            assert_eq!((it.bad_answers, it.state), (0, State::Active));
        }
    }
}
