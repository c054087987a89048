//! The guard against a mass failure: when a large share of all tokens is called bad at once, the mistake is a wrong environment or
//! certificate, and no registration must be lost for it. Pure.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use rustc_hash::FxHashMap;

use crate::registry::{DeviceToken, Timestamp};

/// The time that counts.
const WINDOW: Duration = Duration::from_secs(3600);
/// At least so many tokens …
const TOKENS: usize = 10;
/// … and at least this share of those pushed to, as a divisor: 20 %.
const SHARE: usize = 5;

/// Who was pushed to within the last hour, and whose token was called bad.
#[derive(Debug, Default)]
pub struct Guard {
    /// Each token's last push in the window, and whether it failed.
    tokens: FxHashMap<u64, (Timestamp, bool)>,
    /// Eight bytes in the place of a token: a million of them, and two that are taken for one do no harm. Tokens come from outside, so
    /// the hash has a secret.
    hasher: RandomState,
    /// When which was pushed to, in order.
    order: VecDeque<(Timestamp, u64)>,
    bad: usize,
}

impl Guard {
    /// Notes the answer to a push. Also takes up what an earlier process saw, in order of time.
    pub fn note(&mut self, token: &DeviceToken, is_bad: bool, now: Timestamp) {
        self.drop_old(now);
        let id = self.hasher.hash_one(token);
        let old = self.tokens.insert(id, (now, is_bad));
        self.bad = self.bad + usize::from(is_bad) - usize::from(old.is_some_and(|(_, bad)| bad));
        // One entry a token and second is exact enough, and bounds the queue.
        if old.is_none_or(|(at, _)| now.since(at) >= Duration::from_secs(1)) {
            self.order.push_back((now, id));
        } else {
            self.tokens.insert(id, (old.map_or(now, |(at, _)| at), is_bad));
        }
    }

    /// Do so many fail that none of them is to blame?
    pub fn is_mass_failure(&mut self, now: Timestamp) -> bool {
        self.drop_old(now);
        self.bad >= TOKENS && self.bad * SHARE >= self.tokens.len()
    }

    /// How many tokens failed, of how many that were pushed to within the hour.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.bad, self.tokens.len())
    }

    fn drop_old(&mut self, now: Timestamp) {
        while let Some(&(at, id)) = self.order.front()
            && now.since(at) >= WINDOW
        {
            self.order.pop_front();
            // Unless it was pushed to again since then.
            if let Some(&(last, is_bad)) = self.tokens.get(&id)
                && last == at
            {
                self.tokens.remove(&id);
                self.bad -= usize::from(is_bad);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(number: u16) -> DeviceToken {
        DeviceToken::from_bytes(&number.to_be_bytes()).expect("two bytes")
    }

    fn after(good: u16, bad: u16) -> bool {
        let mut guard = Guard::default();
        for number in 0..good + bad {
            guard.note(&token(number), number >= good, Timestamp(1000));
        }
        guard.is_mass_failure(Timestamp(2000))
    }

    #[test]
    fn ten_tokens_and_a_fifth_of_all() {
        assert!(after(40, 10) && after(0, 10));
        assert!(!after(41, 10), "less than a fifth");
        assert!(!after(0, 9), "too few to tell");
    }

    #[test]
    fn an_hour_later_it_is_forgotten() {
        let mut guard = Guard::default();
        for number in 0..20 {
            guard.note(&token(number), true, Timestamp(0));
        }
        let hour = Timestamp(0).after(WINDOW);
        assert!(guard.is_mass_failure(Timestamp(hour.0 - 1)));
        assert!(!guard.is_mass_failure(hour));
        assert_eq!(guard.counts(), (0, 0));
    }

    proptest! {
        /// The counts are those of the tokens' last answers, however often each was pushed to.
        #[test]
        fn the_last_answer_of_each_token_counts(answers in proptest::collection::vec((0u16..20, any::<bool>(), 0i64..900_000), 1..200)) {
            let mut guard = Guard::default();
            let mut last = std::collections::HashMap::new();
            let mut now = 0;
            for (number, is_bad, later) in answers {
                now += later / 300;
                guard.note(&token(number), is_bad, Timestamp(now));
                last.insert(number, is_bad);
            }
            prop_assert!(now < 3_600_000);
            prop_assert_eq!(guard.counts(), (last.values().filter(|bad| **bad).count(), last.len()));
        }
    }
}
