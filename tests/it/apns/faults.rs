//! Each fault of a connection: nobody is lost, and there are few dials.

use std::time::Duration;

use super::accounts::{provider_tokens, registration};
use super::apple::{Does, Order};
use super::desk::Desk;
use super::wire::Way;

/// Every so many pushes.
const EVERY: usize = 500;
const PUSHES: u64 = 4000;

/// One for each 500 pushes, and for the 200 that were on the wire each time and came again.
const DIALS: usize = 4000 / EVERY + 6;

const fn is_nth(count: usize, nth: usize) -> bool {
    count.is_multiple_of(nth)
}

#[tokio::test(start_paused = true)]
async fn the_server_leaves_after_every_500() {
    let desk = Desk::new(PUSHES, |push| if is_nth(push.count, EVERY) { Does::Leave } else { Does::ACCEPT });
    desk.new_mail(0..PUSHES);
    desk.done().await;
    desk.each_exactly_once(PUSHES);
    assert!(desk.dials() <= DIALS, "{} dials", desk.dials());
}

#[tokio::test(start_paused = true)]
async fn the_server_quits_after_every_500() {
    let desk = Desk::new(PUSHES, |push| if is_nth(push.count, EVERY) { Does::Quit } else { Does::ACCEPT });
    desk.new_mail(0..PUSHES);
    desk.done().await;
    desk.nobody_is_lost(PUSHES);
    assert!(desk.dials() <= DIALS, "{} dials", desk.dials());
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_cut_after_every_500() {
    let desk = Desk::new(PUSHES, |push| if is_nth(push.count, EVERY) { Does::Cut } else { Does::ACCEPT });
    desk.new_mail(0..PUSHES);
    desk.done().await;
    desk.nobody_is_lost(PUSHES);
    assert!(desk.dials() <= DIALS, "{} dials", desk.dials());
}

#[tokio::test(start_paused = true)]
async fn the_path_freezes() {
    let desk = Desk::new(1000, |push| if push.count == 300 { Does::Freeze } else { Does::ACCEPT });
    desk.new_mail(0..1000);
    // Ten seconds until it is known.
    assert!(desk.done().await <= Duration::from_secs(15));
    desk.nobody_is_lost(1000);
    assert_eq!(desk.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_for_three_seconds() {
    let desk = Desk::new(400, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Refused);
    desk.new_mail(0..400);
    desk.let_pass(Duration::from_secs(3)).await;
    desk.wire.leads_to(|_| Way::Streams(1000));
    assert!(desk.done().await <= Duration::from_secs(5));
    desk.each_exactly_once(400);
    // From a quarter of a second on, doubled each time, shortened by up to a half.
    assert!(desk.dials() <= 7, "{} dials", desk.dials());
    assert_eq!(desk.logged("cannot push through Apple").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_tenth_stream_is_refused() {
    let desk = Desk::new(1000, |push| if is_nth(push.count, 10) { Does::Refuse } else { Does::ACCEPT });
    desk.new_mail(0..1000);
    desk.done().await;
    desk.each_exactly_once(1000);
    assert_eq!(desk.dials(), 1, "the connection is good");
}

#[tokio::test(start_paused = true)]
async fn every_stream_is_refused_for_ten_minutes() {
    let desk = Desk::new(1000, |_| Does::Refuse);
    desk.new_mail(0..1000);
    desk.let_pass(Duration::from_secs(600)).await;
    assert_eq!(desk.pending(), 1000);
    // Ten seconds of each connection, and up to a minute before the next.
    assert!(desk.dials() <= 25, "{} dials", desk.dials());
    // Each push at once, and then after one to sixty seconds.
    assert!(desk.apple.count() <= 1000 * 25, "{} tries", desk.apple.count());
    desk.apple.now_does(|_| Does::ACCEPT);
    assert!(desk.done().await <= Duration::from_secs(130));
    desk.each_exactly_once(1000);
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_only_when_streams_are_short() {
    let answer = Duration::from_millis(100);
    for (streams, pushes, dials) in [(1, 40, 2), (10, 400, 2), (100, 60, 1), (100, 400, 2), (1000, 1000, 1)] {
        let desk = Desk::new(pushes, move |_| Does::accept_after(answer));
        desk.wire.leads_to(move |_| Way::Streams(streams));
        desk.new_mail(0..pushes);
        let took = desk.done().await;
        desk.each_exactly_once(pushes);
        assert_eq!(desk.dials(), dials, "{streams} streams, {pushes} pushes");
        let most = u64::from(streams) * u64::try_from(dials).unwrap();
        let rounds = u32::try_from(pushes / most.min(200)).unwrap();
        assert!(took <= answer * (2 * rounds + 5) + Duration::from_secs(2), "{streams} streams: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_offers_no_stream_for_a_while() {
    let desk = Desk::new(300, |push| if push.connection == 1 { Does::Refuse } else { Does::ACCEPT });
    desk.wire.leads_to(|number| Way::Streams(if number == 1 { 0 } else { 1000 }));
    desk.new_mail(0..300);
    desk.let_pass(Duration::from_secs(120)).await;
    assert_eq!((desk.pending(), desk.dials()), (300, 1));
    assert!(desk.turns() <= 300, "{} turns in two minutes", desk.turns());
    desk.apple.order(Order::Cut);
    assert!(desk.done().await <= Duration::from_secs(2));
    desk.each_exactly_once(300);
    assert_eq!(desk.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_provider_tokens_one_stream_until_the_first_answer() {
    let desk = Desk::with(provider_tokens(), (0..100).map(registration), |_| {
        Does::accept_after(Duration::from_secs(3))
    });
    desk.new_mail(0..100);
    desk.let_pass(Duration::from_secs(2)).await;
    assert_eq!(desk.apple.count(), 1);
    desk.done().await;
    desk.each_exactly_once(100);
    assert_eq!(desk.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_waited_for() {
    let desk = Desk::new(1000, |_| Does::accept_after(Duration::from_secs(9)));
    desk.new_mail(0..1000);
    // Rounds of 200, after one of one.
    assert!(desk.done().await <= Duration::from_secs(9 * 7));
    desk.each_exactly_once(1000);
    assert_eq!(desk.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_answer_that_does_not_come_is_no_fault_of_the_connection() {
    let desk = Desk::new(100, |push| if push.count == 50 { Does::Ignore } else { Does::ACCEPT });
    desk.new_mail(0..100);
    desk.done().await;
    desk.each_exactly_once(100);
    assert_eq!((desk.dials(), desk.apple.count()), (1, 101));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_is_dead_is_found_before_it_is_needed() {
    let desk = Desk::new(1, |_| Does::ACCEPT);
    desk.new_mail([0]);
    desk.done().await;
    desk.apple.order(Order::Freeze);
    desk.let_pass(Duration::from_secs(135)).await;
    desk.new_mail([0]);
    assert!(desk.done().await < Duration::from_secs(1));
    assert_eq!((desk.dials(), desk.apple.count()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_idle_day_costs_nothing_and_keeps_the_connection() {
    let desk = Desk::new(1, |_| Does::ACCEPT);
    desk.new_mail([0]);
    desk.done().await;
    let before = desk.turns();
    desk.let_pass(Duration::from_secs(24 * 3600)).await;
    assert!(desk.turns() - before <= 3, "{} turns in an idle day", desk.turns() - before);
    desk.new_mail([0]);
    desk.done().await;
    assert_eq!(desk.dials(), 1);
}

/// A pause that is over must not make the task spin while it waits for the next thing.
#[tokio::test(start_paused = true)]
async fn a_dial_that_takes_long_after_a_pause_costs_nothing() {
    let desk =
        Desk::new(
            10,
            |push| {
                if push.count < 20 { Does::answer(503, "ServiceUnavailable") } else { Does::Cut }
            },
        );
    desk.wire
        .leads_to(|number| if number == 1 { Way::Streams(10) } else { Way::Slow(Duration::from_secs(20)) });
    desk.new_mail(0..10);
    desk.until("the second dial", || desk.dials() == 2).await;
    let before = desk.turns();
    desk.let_pass(Duration::from_secs(15)).await;
    assert!(desk.turns() - before < 40, "{} turns", desk.turns() - before);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_a_word_is_told_of_and_not_stormed() {
    let desk = Desk::new(50, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Mute);
    desk.new_mail(0..50);
    desk.let_pass(Duration::from_secs(3600)).await;
    assert_eq!(desk.pending(), 50);
    assert!(desk.dials() <= 90, "{} dials in an hour", desk.dials());
    assert_eq!(desk.logged("cannot push through Apple").len(), 1);
    assert!(desk.counters.trouble.now().is_some());
    desk.wire.leads_to(|_| Way::Streams(1000));
    assert!(desk.done().await <= Duration::from_secs(150));
    desk.each_exactly_once(50);
}
