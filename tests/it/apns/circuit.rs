//! A credential that is refused: everything is kept, and little is tried.

use std::time::Duration;

use super::accounts::{TOPIC, certificate};
use super::apple::Does;
use super::desk::Desk;
use super::wire::Way;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn all_is_kept_and_one_push_a_minute_is_tried() {
    for (status, reason) in [
        (403, "BadCertificate"),
        (403, "SomethingNew"),
        (400, "TopicDisallowed"),
        (403, "InvalidProviderToken"),
    ] {
        let desk = Desk::new(300, move |_| Does::answer(status, reason));
        desk.new_mail(0..300);
        desk.until("open", || desk.counters.trouble.now().is_some()).await;
        let before = desk.apple.count();
        desk.let_pass(HOUR).await;
        // Those that were on the wire with the first, and the probes.
        assert!(before <= 200, "{before}");
        let probes = desk.apple.count() - before;
        assert!((59..=61).contains(&probes), "{reason}: {probes} probes");
        assert_eq!((desk.pending(), desk.dials()), (300, 1));
        assert_eq!(desk.logged("does not accept the credential").len(), 1);
        assert!(desk.counters.trouble.now().unwrap().contains(reason));

        desk.apple.now_does(|_| Does::ACCEPT);
        assert!(desk.done().await <= Duration::from_secs(62));
        desk.each_exactly_once(300);
        assert_eq!(desk.counters.trouble.now(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_that_looks_at_the_device_closes_it() {
    let desk = Desk::new(300, |push| match push.count {
        ..=200 => Does::answer(403, "BadCertificate"),
        201..=205 => Does::answer(503, "ServiceUnavailable"),
        _ => Does::answer(403, "BadCertificate"),
    });
    desk.new_mail(0..300);
    desk.let_pass(Duration::from_secs(1800)).await;
    assert!(desk.apple.count() <= 200 + 31, "{}", desk.apple.count());
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_refused_alone_does_not_hold_up_the_others() {
    let desk =
        Desk::new(100, |push| if push.device == 0 { Does::answer(403, "Forbidden") } else { Does::ACCEPT });
    desk.new_mail([0]);
    desk.until("open", || desk.counters.trouble.now().is_some()).await;
    desk.new_mail(1..100);
    desk.until("the others", || desk.pending() == 1).await;
    assert_eq!(desk.apple.accepted().len(), 99);
}

#[tokio::test(start_paused = true)]
async fn a_new_credential_closes_it_at_once_and_answers_to_the_old_one_do_not_open_it() {
    let desk = Desk::new(50, |push| match (push.connection, push.count) {
        (1, 1) => Does::ACCEPT,
        (1, _) => Does::Answer {
            status: 403,
            reason: "BadCertificate",
            retry_after: None,
            after: Duration::from_secs(5),
        },
        _ => Does::ACCEPT,
    });
    desk.new_mail(0..50);
    desk.until("on the wire", || desk.apple.count() == 50).await;
    desk.renew(Ok(certificate()), TOPIC).await;
    assert!(desk.done().await <= Duration::from_secs(6));
    desk.each_exactly_once(50);
    assert_eq!((desk.dials(), desk.counters.trouble.now()), (2, None));
}

#[tokio::test(start_paused = true)]
async fn without_a_credential_all_waits_for_one() {
    let desk = Desk::new(20, |_| Does::ACCEPT);
    desk.renew(Err("no such file".to_owned()), TOPIC).await;
    desk.new_mail(0..20);
    desk.let_pass(HOUR).await;
    assert_eq!((desk.pending(), desk.dials()), (20, 0));
    assert!(desk.turns() < 300, "{} turns", desk.turns());
    assert_eq!(desk.counters.trouble.now().as_deref(), Some("no such file"));
    desk.renew(Ok(certificate()), TOPIC).await;
    assert!(desk.done().await < Duration::from_secs(1));
    desk.each_exactly_once(20);
}

/// Both the connection and the push on it tell of the reason, in any order.
#[tokio::test(start_paused = true)]
async fn a_goaway_that_blames_the_credential_opens_it() {
    for _ in 0..20 {
        let desk = Desk::new(1, |_| Does::ACCEPT);
        desk.wire.leads_to(|_| Way::GoAway("BadCertificateEnvironment"));
        desk.new_mail([0]);
        desk.let_pass(Duration::from_secs(601)).await;
        assert_eq!(desk.counters.trouble.now().as_deref(), Some("BadCertificateEnvironment"));
        assert!((10..=11).contains(&desk.dials()), "{} dials in ten minutes", desk.dials());
        assert_eq!(desk.logged("does not accept the credential").len(), 1);
        let others = desk.logged("cannot push through Apple");
        assert!(others.is_empty(), "the circuit has its own words: {others:?}");
        desk.wire.leads_to(|_| Way::Streams(1000));
        assert!(desk.done().await <= Duration::from_secs(62));
        desk.each_exactly_once(1);
    }
}
