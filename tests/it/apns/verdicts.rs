//! Each thing that Apple may answer.

use std::time::Duration;

use pushmaild::registry::change::Change;

use super::accounts::{key, provider_tokens, registration, user};
use super::apple::Does;
use super::desk::Desk;

/// Between the pushes to one device.
fn gaps(desk: &Desk) -> Vec<Duration> {
    let requests = desk.apple.requests();
    requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

fn seconds(from: u64, to: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_is_noted_in_batches() {
    let desk = Desk::new(500, |_| Does::ACCEPT);
    desk.new_mail(0..500);
    desk.done().await;
    desk.each_exactly_once(500);
    assert_eq!(desk.dials(), 1);
    let count = |changes: &[Change]| -> Vec<usize> {
        let pushed = |change: &Change| if let Change::Pushed(pushed) = change { pushed.len() } else { 0 };
        changes.iter().map(pushed).collect()
    };
    desk.until("noted", || !desk.shelf.changes().is_empty()).await;
    assert_eq!(count(&desk.shelf.changes()), [500]);
    assert!(desk.shelf.of(&user(7))[0].last_push.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_removed() {
    let desk =
        Desk::new(2, |push| if push.device == 1 { Does::answer(410, "Unregistered") } else { Does::ACCEPT });
    desk.new_mail(0..2);
    desk.done().await;
    assert_eq!((desk.shelf.of(&user(0)).len(), desk.shelf.of(&user(1)).len()), (1, 0));
    assert_eq!((desk.apple.count(), desk.count(|counters| &counters.refused)), (2, 1));
    desk.new_mail(0..2);
    desk.done().await;
    assert_eq!(desk.apple.count(), 3, "nobody is there to be pushed to");
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_is_removed_the_second_time() {
    let desk = Desk::new(1, |_| Does::answer(400, "BadDeviceToken"));
    for left in [1, 0] {
        desk.new_mail([0]);
        desk.done().await;
        assert_eq!(desk.shelf.of(&user(0)).len(), left);
    }
    assert_eq!(desk.apple.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn when_a_fifth_of_all_tokens_is_bad_none_is_removed_and_the_alarm_is_given_once() {
    let desk =
        Desk::new(
            100,
            |push| {
                if push.device < 20 { Does::answer(400, "BadDeviceToken") } else { Does::ACCEPT }
            },
        );
    for _ in 0..6 {
        desk.new_mail(0..100);
        desk.done().await;
    }
    assert!((0..100).all(|number| desk.shelf.of(&user(number)).len() == 1), "none is removed");
    assert_eq!(desk.logged("the fault is not theirs").len(), 1);
    assert_eq!(desk.count(|counters| &counters.refused), 120);
}

#[tokio::test(start_paused = true)]
async fn too_many_for_one_device_waits_as_long_as_apple_says_and_holds_up_nobody() {
    let desk = Desk::new(50, |push| match (push.device, push.count) {
        (0, ..=50) => Does::later(429, "TooManyRequests", 120),
        _ => Does::ACCEPT,
    });
    desk.new_mail(0..50);
    let pending = || desk.pending();
    desk.until("all but one", || pending() == 1).await;
    assert!(seconds(119, 123).contains(&desk.done().await));
    desk.each_exactly_once(50);
}

#[tokio::test(start_paused = true)]
async fn too_many_for_one_device_without_a_time_backs_off() {
    let desk =
        Desk::new(
            1,
            |push| {
                if push.count <= 9 { Does::answer(429, "TooManyRequests") } else { Does::ACCEPT }
            },
        );
    desk.new_mail([0]);
    desk.done().await;
    let gaps = gaps(&desk);
    assert!(gaps.iter().all(|gap| seconds(1, 60).contains(gap)), "{gaps:?}");
    assert!(gaps[8] >= Duration::from_secs(30), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn unavailable_backs_off_between_a_second_and_a_minute() {
    for (status, reason) in [(500, "InternalServerError"), (503, "ServiceUnavailable"), (503, "Shutdown")] {
        let desk = Desk::new(
            1,
            move |push| {
                if push.count <= 12 { Does::answer(status, reason) } else { Does::ACCEPT }
            },
        );
        desk.new_mail([0]);
        desk.done().await;
        let gaps = gaps(&desk);
        assert!(gaps.iter().all(|gap| seconds(1, 61).contains(gap)), "{gaps:?}");
        desk.each_exactly_once(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_for_ten_minutes_is_not_stormed() {
    let desk = Desk::new(1000, |_| Does::answer(503, "ServiceUnavailable"));
    desk.new_mail(0..1000);
    desk.let_pass(Duration::from_secs(600)).await;
    // Pauses of one to sixty seconds, some 15 of them, with a round of 200 after each.
    let asked = desk.apple.count();
    assert!(asked <= 22 * 200, "{asked}");
    assert_eq!((desk.pending(), desk.dials()), (1000, 1));
    assert_eq!(desk.logged("not available").len(), 1);

    desk.apple.now_does(|_| Does::ACCEPT);
    assert!(desk.done().await <= Duration::from_secs(122));
    desk.each_exactly_once(1000);
}

#[tokio::test(start_paused = true)]
async fn one_burst_of_unavailable_is_one_failure() {
    let desk = Desk::new(200, |push| {
        if push.count <= 200 { Does::answer(503, "ServiceUnavailable") } else { Does::ACCEPT }
    });
    desk.new_mail(0..200);
    assert!(desk.done().await <= Duration::from_secs(4));
    desk.each_exactly_once(200);
}

#[tokio::test(start_paused = true)]
async fn a_provider_token_that_is_refused_when_new_is_a_matter_for_people() {
    let mut old = None;
    let desk = Desk::with(provider_tokens(), (0..30).map(registration), move |push| {
        assert!(push.authorization.as_ref().is_some_and(|value| value.starts_with("bearer ")));
        old.get_or_insert_with(|| push.authorization.clone());
        if push.count <= 10 { Does::answer(403, "ExpiredProviderToken") } else { Does::ACCEPT }
    });
    desk.new_mail(0..30);
    desk.let_pass(Duration::from_secs(300)).await;
    // One before the first answer, as Apple asks, and one a minute.
    assert!(desk.apple.count() <= 6, "{}", desk.apple.count());
    assert_eq!((desk.pending(), desk.logged("is the clock right").len()), (30, 1));
    desk.done().await;
    desk.each_exactly_once(30);
}

#[tokio::test(start_paused = true)]
async fn what_we_should_not_have_sent_is_dropped_and_told_once() {
    let desk = Desk::new(60, |push| match push.device % 2 {
        0 => Does::answer(400, "SomethingNew"),
        _ => Does::answer(413, "PayloadTooLarge"),
    });
    desk.new_mail(0..60);
    desk.done().await;
    assert_eq!((desk.apple.count(), desk.count(|counters| &counters.dropped)), (60, 60));
    assert_eq!(desk.logged("a fault of pushmaild").len(), 2);
    assert_eq!(desk.shelf.of(&user(3))[0].last_answer.as_deref(), Some("413 PayloadTooLarge"));
    assert_eq!(desk.shelf.of(&user(3))[0].key, key(3));
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_nobody_knows_is_judged_by_its_status() {
    let desk = Desk::new(1, |push| match push.count {
        1 => Does::answer(599, "SomethingNew"),
        2 => Does::answer(429, "SomethingNew"),
        _ => Does::ACCEPT,
    });
    desk.new_mail([0]);
    desk.done().await;
    desk.each_exactly_once(1);
}
