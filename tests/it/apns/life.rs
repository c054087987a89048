//! What happens to pushes that wait, and to the task.

use std::time::Duration;

use pushmaild::classifier::Kind;
use pushmaild::registry::Registration;
use pushmaild::sink::apns::pusher::Control;

use super::accounts::{TOPIC, certificate, provider_tokens, registration, user};
use super::apple::Does;
use super::desk::{Desk, users};
use super::wire::Way;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_change_while_its_push_is_in_flight_is_pushed_afterwards() {
    let desk = Desk::new(1, |_| Does::accept_after(Duration::from_secs(2)));
    desk.new_mail([0]);
    desk.until("on the wire", || desk.apple.count() == 1).await;
    for _ in 0..5 {
        desk.change([0], Kind::Change);
        desk.let_pass(Duration::from_millis(100)).await;
    }
    desk.done().await;
    assert_eq!(desk.apple.accepted()[&0], 2);
    assert!(desk.apple.twice_at_once().is_empty());
    let priorities: Vec<_> = desk.apple.requests().into_iter().map(|push| push.priority).collect();
    assert_eq!(priorities, [None, Some("5".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn new_mail_and_changes_that_wait_are_one_push_for_new_mail() {
    let desk = Desk::new(1, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Refused);
    for kind in [Kind::Change, Kind::NewMail, Kind::Change] {
        desk.change([0], kind);
        desk.let_pass(Duration::from_secs(1)).await;
    }
    desk.wire.leads_to(|_| Way::Streams(1000));
    desk.done().await;
    let requests = desk.apple.requests();
    assert_eq!((requests.len(), &requests[0].priority), (1, &None));
}

#[tokio::test(start_paused = true)]
async fn what_is_a_day_old_is_not_sent_but_what_changed_since_is() {
    let desk = Desk::new(3, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Refused);
    desk.new_mail(0..2);
    desk.let_pass(23 * HOUR).await;
    desk.new_mail(1..3);
    desk.let_pass(2 * HOUR).await;
    desk.wire.leads_to(|_| Way::Streams(1000));
    desk.done().await;
    assert_eq!(desk.apple.accepted().into_keys().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(desk.count(|counters| &counters.expired), 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_on_another_topic_gets_no_push_until_the_credential_is_for_it() {
    let other = "com.apple.mobilemail.push.org.example.other";
    let registrations = (0..10).map(|number| Registration {
        topic: (number < 8).then(|| if number < 3 { other } else { TOPIC }.parse().unwrap()),
        ..registration(number)
    });
    let desk = Desk::with(certificate(), registrations, |_| Does::ACCEPT);
    desk.new_mail(0..10);
    desk.done().await;
    assert_eq!(desk.apple.accepted().into_keys().collect::<Vec<_>>(), (3..10).collect::<Vec<_>>());
    assert_eq!(desk.count(|counters| &counters.other_topic), 3);
    assert_eq!(desk.logged(other).len(), 1, "told once");
    assert!(desk.apple.requests().iter().all(|push| push.topic == TOPIC));

    desk.renew(Ok(provider_tokens()), other).await;
    desk.new_mail(0..3);
    desk.done().await;
    let requests = desk.apple.requests();
    assert_eq!(requests.len(), 10);
    assert!(requests[7..].iter().all(|push| push.topic == other && push.authorization.is_some()));
    assert_eq!(desk.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_credential_while_pushes_are_in_flight_loses_nothing() {
    let desk = Desk::new(500, |_| Does::accept_after(Duration::from_secs(2)));
    desk.new_mail(0..500);
    for _ in 0..3 {
        desk.let_pass(Duration::from_secs(3)).await;
        desk.renew(Ok(certificate()), TOPIC).await;
    }
    desk.done().await;
    desk.each_exactly_once(500);
    assert!(desk.dials() <= 4);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_users_without_a_device_is_dropped() {
    let desk = Desk::new(10, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Refused);
    desk.new_mail(0..10);
    desk.let_pass(Duration::from_secs(1)).await;
    desk.gone(0..2).await;
    desk.until("dropped", || desk.pending() == 8).await;
    desk.tell(Control::Only(users(2..6))).await;
    desk.until("dropped", || desk.pending() == 4).await;
    desk.wire.leads_to(|_| Way::Streams(1000));
    desk.done().await;
    assert_eq!(desk.apple.accepted().into_keys().collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_for_a_user_who_is_gone_is_not_sent_again() {
    let desk = Desk::new(1, |push| if push.count == 1 { Does::Freeze } else { Does::ACCEPT });
    desk.new_mail([0]);
    desk.until("on the wire", || desk.apple.count() == 1).await;
    desk.gone([0]).await;
    desk.done().await;
    desk.let_pass(Duration::from_secs(120)).await;
    assert_eq!(desk.apple.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_registry_cannot_be_read_users_wait() {
    let desk = Desk::new(2000, |_| Does::ACCEPT);
    desk.shelf.set_readable(false);
    for _ in 0..3 {
        desk.new_mail(0..2000);
        desk.let_pass(Duration::from_secs(60)).await;
    }
    assert_eq!(desk.pending(), 2000);
    assert!(desk.turns() < 1000, "{} turns", desk.turns());
    desk.shelf.set_readable(true);
    assert!(desk.done().await <= Duration::from_secs(2));
    desk.each_exactly_once(2000);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_can_go_goes_and_what_was_accepted_is_noted() {
    let mut desk = Desk::new(300, |_| Does::accept_after(Duration::from_millis(100)));
    desk.new_mail(0..300);
    desk.until("a connection", || desk.dials() == 1).await;
    assert!(desk.stop().await < Duration::from_secs(1));
    let accepted = desk.apple.accepted();
    assert_eq!(accepted.len(), 300);
    assert!((0..300).all(|number| desk.shelf.of(&user(number))[0].last_push.is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_server_that_is_away() {
    let mut desk = Desk::new(300, |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Slow(Duration::from_secs(20)));
    desk.new_mail(0..300);
    desk.until("a dial", || desk.dials() == 1).await;
    assert!(desk.stop().await < Duration::from_secs(1));
}
