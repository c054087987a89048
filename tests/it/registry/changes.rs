//! The life of a registration, as changes make it: on a real store, and with the rules said a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use pushmaild::mailbox::Username;
use pushmaild::registry::change::{Applied, Change, MAILBOXES};
use pushmaild::registry::life::Answer;
use pushmaild::registry::{Key, Registration, State, Store, Timestamp, Topic};

use super::contract::{Model, Place, Sqlite};
use super::{DAY, all, key, new, registration, user};

const MOST: usize = 4;

/// Applies the changes in one transaction. What became of them, and the users who were named.
#[track_caller]
fn apply(store: &mut dyn Store, changes: &[Change]) -> (Vec<Applied>, BTreeSet<Username>) {
    let (mut applied, mut touched) = (Vec::new(), BTreeSet::new());
    let done = store.transaction(&mut |transaction| {
        for change in changes {
            applied.push(change.apply(transaction, MOST, &mut |user| {
                touched.insert(user.clone());
            })?);
        }
        Ok(())
    });
    done.expect("the store can be written");
    (applied, touched)
}

fn register(user: &str, token: &str, account: &str, day: i64) -> Change {
    Change::Register(new(key(user, token, account), day * DAY))
}

fn answered(of: Key, answer: Answer, sent_day: i64) -> Change {
    Change::Answered { key: of, answer, sent: Timestamp(sent_day * DAY), is_mass_failure: false }
}

/// Each as `user token account state`.
fn shown(store: &mut dyn Store) -> Vec<String> {
    let show = |Registration { key, state, .. }: Registration| {
        format!("{} {} {} {}", key.user, key.token.to_hex(), key.account, state.as_str())
    };
    all(store).into_iter().map(show).collect()
}

#[test]
fn a_quiet_phone_is_kept_for_180_days_and_not_longer() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    apply(
        store.as_mut(),
        &[
            register("quiet", "aa", "id", 0),
            register("busy", "bb", "id", 0),
            register("busy", "bb", "id", 100),
        ],
    );
    // Being pushed to is no sign of life: a push goes to a phone that was sold as well.
    apply(store.as_mut(), &[Change::Pushed(vec![(key("quiet", "aa", "id").into(), Timestamp(179 * DAY))])]);
    let mut on_day = |day: i64, millisecond: i64| {
        let before = Timestamp(day * DAY + millisecond - 180 * DAY);
        let (_, touched) = apply(store.as_mut(), &[Change::Expire { before }]);
        (shown(store.as_mut()), touched)
    };
    assert_eq!(on_day(180, 0).0, ["busy bb id active", "quiet aa id active"]);
    assert_eq!(on_day(180, 1), (vec!["busy bb id active".to_owned()], [user("quiet")].into()));
    assert_eq!(on_day(280, 1), (vec![], [user("busy")].into()));
}

#[test]
fn two_phones_with_one_account_id_and_one_phone_with_two_accounts_or_two_users() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    for day in 1..30 {
        apply(
            store.as_mut(),
            &[
                register("jo", "aa", "cloned", day),
                register("jo", "bb", "cloned", day),
                register("jo", "bb", "second", day),
                register("work", "aa", "cloned", day),
            ],
        );
    }
    assert_eq!(
        shown(store.as_mut()),
        ["jo aa cloned active", "jo bb cloned active", "jo bb second active", "work aa cloned active"]
    );
    // The 410 of one is nobody else's.
    let gone = Answer::Gone { since: Timestamp(40 * DAY), reason: "Unregistered".to_owned() };
    apply(store.as_mut(), &[answered(key("jo", "bb", "cloned"), gone, 41)]);
    assert_eq!(
        shown(store.as_mut()),
        ["jo aa cloned active", "jo bb second active", "work aa cloned active"]
    );
}

#[test]
fn a_phone_with_a_changed_token_has_both_until_apple_says_that_one_is_dead() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    apply(store.as_mut(), &[register("jo", "01d0", "id", 1), register("jo", "2e10", "id", 10)]);
    assert_eq!(shown(store.as_mut()), ["jo 01d0 id active", "jo 2e10 id active"]);
    let gone = |day| Answer::Gone { since: Timestamp(day * DAY), reason: "Unregistered".to_owned() };
    // Dead since before it registered: that is over.
    apply(store.as_mut(), &[answered(key("jo", "2e10", "id"), gone(9), 11)]);
    apply(store.as_mut(), &[answered(key("jo", "01d0", "id"), gone(9), 11)]);
    assert_eq!(shown(store.as_mut()), ["jo 2e10 id active"]);
    // An answer that comes late is about nobody, and makes nobody.
    let (applied, _) = apply(store.as_mut(), &[answered(key("jo", "01d0", "id"), Answer::BadToken, 12)]);
    assert_eq!(applied, [Applied::Done(0)]);
    assert_eq!(shown(store.as_mut()), ["jo 2e10 id active"]);
}

#[test]
fn a_new_topic_is_the_topic_from_then_on() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    let told = |topic: &str, day| {
        let mut new = new(key("jo", "aa", "id"), day * DAY);
        new.topic = topic.parse().ok();
        Change::Register(new)
    };
    let not_for_topic = answered(key("jo", "aa", "id"), Answer::NotForTopic, 4);
    apply(store.as_mut(), &[told("topic.one", 1), not_for_topic]);
    assert_eq!(shown(store.as_mut()), ["jo aa id suspended"]);
    apply(store.as_mut(), &[told("topic.two", 5)]);
    // One that was told nothing keeps what it was told.
    apply(store.as_mut(), &[told("", 6)]);
    let it = all(store.as_mut()).remove(0);
    assert_eq!((it.topic, it.state), ("topic.two".parse().ok(), State::Active));
    assert_eq!(it.last_answer, Some("400 DeviceTokenNotForTopic".to_owned()), "only shown");
}

#[test]
fn an_account_that_was_replaced_goes_with_the_registration_that_is_seven_days_later() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    apply(store.as_mut(), &[register("jo", "aa", "old", 1), register("jo", "aa", "new", 2)]);
    assert_eq!(shown(store.as_mut()), ["jo aa new active", "jo aa old superseded"]);
    // Of another phone or another user, it says nothing.
    apply(store.as_mut(), &[register("jo", "bb", "new", 20), register("al", "aa", "new", 20)]);
    assert_eq!(
        shown(store.as_mut()),
        ["al aa new active", "jo aa new active", "jo aa old superseded", "jo bb new active"]
    );
    apply(store.as_mut(), &[register("jo", "aa", "new", 20)]);
    assert_eq!(shown(store.as_mut()), ["al aa new active", "jo aa new active", "jo bb new active"]);
}

#[test]
fn one_who_is_out_leaves_nothing_and_is_not_taken_in() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    let out = |out| Change::OptOut { user: user("jo"), out };
    apply(store.as_mut(), &[register("jo", "aa", "id", 1), register("al", "aa", "id", 1)]);
    let (applied, touched) = apply(store.as_mut(), &[out(true), register("jo", "aa", "id", 2)]);
    assert_eq!((applied, touched), (vec![Applied::Done(1), Applied::OptedOut], [user("jo")].into()));
    assert_eq!(shown(store.as_mut()), ["al aa id active"]);
    apply(store.as_mut(), &[out(false), register("jo", "aa", "id", 3)]);
    assert_eq!(shown(store.as_mut()), ["al aa id active", "jo aa id active"]);
    assert_eq!(all(store.as_mut())[1].first_registered, Timestamp(3 * DAY), "nothing was remembered");
}

#[test]
fn a_device_can_be_removed_from_one_account_or_all_of_them() {
    let place = Sqlite::fresh();
    let mut store = place.open();
    let all_of = [("aa", "1"), ("aa", "2"), ("bb", "1")].map(|(token, id)| register("jo", token, id, 1));
    let mut left_after = |token: Option<&str>, account: Option<&str>| {
        apply(store.as_mut(), &[Change::Remove { user: user("jo"), token: None, account: None }]);
        apply(store.as_mut(), &all_of);
        let token = token.map(|it| it.parse().expect("digits"));
        let account = account.map(|it| it.parse().expect("an id"));
        apply(store.as_mut(), &[Change::Remove { user: user("jo"), token, account }]);
        all(store.as_mut())
            .iter()
            .map(|it| format!("{} {}", it.key.token.to_hex(), it.key.account))
            .collect::<Vec<_>>()
    };
    assert_eq!(left_after(None, None), Vec::<String>::new());
    assert_eq!(left_after(Some("aa"), None), ["bb 1"]);
    assert_eq!(left_after(None, Some("1")), ["aa 2"]);
    assert_eq!(left_after(Some("aa"), Some("1")), ["aa 2", "bb 1"]);
    assert_eq!(left_after(Some("cc"), None).len(), 3);
}

/// A client may say anything, as often as it likes.
#[test]
fn the_mailboxes_of_a_registration_are_bounded() {
    let place = Model::fresh();
    let mut store = place.open();
    apply(store.as_mut(), &[register("jo", "aa", "id", 1)]);
    let subscribe = |n| Change::Subscribe { key: key("jo", "aa", "id"), mailbox: format!("{n}") };
    apply(store.as_mut(), &(0..MAILBOXES + 100).map(subscribe).collect::<Vec<_>>());
    assert_eq!(all(store.as_mut())[0].mailboxes.len(), MAILBOXES);
}

/// The rules once more, from the text of the specification and not from the code.
#[derive(Default)]
struct Rules {
    all: BTreeMap<Key, Registration>,
    out: BTreeSet<Username>,
    topic: Option<Topic>,
}

impl Rules {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Register(new) if self.out.contains(&new.key.user) => {}
            Change::Register(new) => {
                let is_known = self.all.contains_key(&new.key);
                let of_user = self.all.keys().filter(|key| key.user == new.key.user).count();
                let is_late = self.all.get(&new.key).is_some_and(|known| known.last_registered > new.at);
                if (!is_known && of_user >= MOST) || is_late {
                    return;
                }
                let is_sibling = |key: &Key| {
                    key.user == new.key.user && key.token == new.key.token && key.account != new.key.account
                };
                self.all.retain(|key, it| match it.state {
                    State::Superseded { since } => !is_sibling(key) || new.at.0 - since.0 < 7 * DAY,
                    _ => true,
                });
                if !is_known {
                    for (_, it) in self.all.iter_mut().filter(|(key, _)| is_sibling(key)) {
                        if it.state == State::Active && it.last_registered <= new.at {
                            it.state = State::Superseded { since: new.at };
                        }
                    }
                }
                let known = self.all.entry(new.key.clone());
                let it = known.or_insert_with(|| registration(new.key.clone(), new.at.0));
                it.topic = new.topic.clone().or(if is_known { it.topic.take() } else { None });
                it.subtopic.clone_from(&new.subtopic);
                it.mailboxes.clone_from(&new.mailboxes);
                it.acknowledged.clone_from(&new.acknowledged);
                it.last_registered = new.at;
                it.bad_answers = 0;
                it.state = State::Active;
            }
            Change::Subscribe { key, mailbox } => {
                if let Some(it) = self.all.get_mut(key).filter(|it| !it.mailboxes.contains(mailbox)) {
                    it.mailboxes.push(mailbox.clone());
                }
            }
            Change::Answered { key, answer, sent, is_mass_failure } => {
                let Some(it) = self.all.get_mut(key) else { return };
                it.last_push = it.last_push.max(Some(*sent));
                it.last_answer = Some(answer.text());
                let counts = it.last_registered <= *sent && !is_mass_failure;
                let is_dead = match answer {
                    Answer::Gone { since, .. } => it.last_registered <= *since,
                    Answer::BadToken if counts => {
                        it.bad_answers += 1;
                        it.bad_answers == 2
                    }
                    Answer::NotForTopic if counts => {
                        it.state = State::Suspended { reason: answer.text() };
                        false
                    }
                    Answer::Accepted => {
                        it.bad_answers = 0;
                        false
                    }
                    _ => false,
                };
                if is_dead {
                    self.all.remove(key);
                }
            }
            Change::Pushed(pushes) => {
                for (key, at) in pushes {
                    if let Some(it) = self.all.get_mut(key) {
                        (it.last_push, it.bad_answers) = (Some(*at), 0);
                        it.last_answer = Some("200".to_owned());
                    }
                }
            }
            Change::Remove { user, token, account } => self.all.retain(|key, _| {
                key.user != *user
                    || token.as_ref().is_some_and(|token| key.token != *token)
                    || account.as_ref().is_some_and(|account| key.account != *account)
            }),
            Change::OptOut { user, out: true } => {
                self.out.insert(user.clone());
                self.all.retain(|key, _| key.user != *user);
            }
            Change::OptOut { user, out: false } => {
                self.out.remove(user);
            }
            // No registration is another one for it.
            Change::Records { .. } => {}
            Change::LastTopic(topic) => self.topic = Some(topic.clone()),
            Change::Expire { before } => self.all.retain(|_, it| it.last_registered >= *before),
        }
    }
}

fn some_key() -> impl Strategy<Value = Key> {
    let names = prop::sample::select(vec!["al", "jo", "Jo"]);
    let tokens = prop::sample::select(vec!["aa", "bb", "aabb"]);
    (names, tokens, prop::sample::select(vec!["1", "2", "3"])).prop_map(|(a, b, c)| key(a, b, c))
}

/// Days near each other, so that all orders and equal ones come.
fn some_time() -> impl Strategy<Value = Timestamp> {
    (0..30i64).prop_map(|day| Timestamp(day * DAY))
}

fn some_topic() -> impl Strategy<Value = Option<Topic>> {
    prop::option::of(
        prop::sample::select(vec!["topic.one", "topic.two"]).prop_map(|it| it.parse().expect("good")),
    )
}

fn some_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Accepted),
        some_time().prop_map(|since| Answer::Gone { since, reason: "Unregistered".to_owned() }),
        Just(Answer::BadToken),
        Just(Answer::NotForTopic),
        Just(Answer::Other("429".to_owned())),
    ]
}

fn some_change() -> impl Strategy<Value = Change> {
    let mailboxes = prop::collection::vec(prop::sample::select(vec!["INBOX", "é", "a,\"b"]), 0..3);
    let register =
        (some_key(), some_time(), some_topic(), mailboxes).prop_map(|(key, at, topic, mailboxes)| {
            let mut new = new(key, at.0);
            new.topic = topic;
            new.mailboxes = mailboxes.into_iter().map(ToOwned::to_owned).collect();
            new.acknowledged = new.mailboxes.iter().take(1).cloned().collect();
            Change::Register(new)
        });
    let answered = (some_key(), some_answer(), some_time(), any::<bool>()).prop_map(
        |(key, answer, sent, is_mass_failure)| Change::Answered { key, answer, sent, is_mass_failure },
    );
    prop_oneof![
        12 => register,
        4 => answered,
        2 => prop::collection::vec((some_key().prop_map(Arc::new), some_time()), 0..4).prop_map(Change::Pushed),
        1 => some_key().prop_map(|key| Change::Subscribe { key, mailbox: "Later".to_owned() }),
        1 => (some_key(), any::<bool>(), any::<bool>()).prop_map(|(key, token, account)| Change::Remove {
            user: key.user,
            token: token.then_some(key.token),
            account: account.then_some(key.account),
        }),
        1 => (some_key(), any::<bool>()).prop_map(|(key, out)| Change::OptOut { user: key.user, out }),
        1 => some_topic().prop_filter_map("a topic", |topic| topic.map(Change::LastTopic)),
        1 => (0..15i64).prop_map(|day| Change::Expire { before: Timestamp(day * DAY) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However changes are gathered into transactions, and wherever the store is closed between them, it has what the rules say and
    /// what a simpler store has; and whoever is not named by a change has what he had.
    #[test]
    fn any_changes_make_of_a_store_what_the_rules_say(
        batches in prop::collection::vec((prop::collection::vec(some_change(), 1..12), any::<bool>()), 1..6)
    ) {
        let (sqlite, model) = (Sqlite::fresh(), Model::fresh());
        let mut rules = Rules::default();
        let (mut one, mut other) = (sqlite.open(), model.open());
        for (batch, closes) in &batches {
            let before = all(one.as_mut());
            let (applied, touched) = apply(one.as_mut(), batch);
            prop_assert_eq!((applied, touched.clone()), apply(other.as_mut(), batch));
            batch.iter().for_each(|change| rules.apply(change));
            if *closes {
                drop(one);
                one = sqlite.open();
            }
            let after = all(one.as_mut());
            prop_assert_eq!(&after, &all(other.as_mut()));
            prop_assert_eq!(&after, &rules.all.values().cloned().collect::<Vec<_>>());
            prop_assert_eq!(one.last_topic().expect("readable"), rules.topic.clone());
            // A push that went well is no news to anybody.
            let live = |all: &[Registration]| -> BTreeSet<_> {
                all.iter().filter(|it| it.state.is_live()).map(|it| it.key.user.clone()).collect()
            };
            let other_now: BTreeSet<_> = live(&before).symmetric_difference(&live(&after)).cloned().collect();
            prop_assert!(other_now.is_subset(&touched), "{other_now:?} were not told of, but {touched:?}");
            for name in ["al", "jo", "Jo"] {
                let is_out = one.is_opted_out(&user(name)).expect("readable");
                prop_assert_eq!(is_out, rules.out.contains(&user(name)));
            }
        }
    }
}
