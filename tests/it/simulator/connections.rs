//! Faults below HTTP/2: the port, TCP, and time.

use std::time::{Duration, Instant};

use super::apns;
use super::clients::{Held, Push, curl, curl_raw};
use crate::support::Site;

/// curl: "Failed to connect to host".
const REFUSED: i32 = 7;

#[test]
fn dials_can_be_refused_for_a_while() {
    let site = Site::new();
    let apns = apns(&site);
    let held = Held::begin(&apns);
    apns.tell("refuse-connections");
    let output = curl_raw(&apns, Some("client.pem"), &[Push::new()]);
    assert_eq!(output.status.code(), Some(REFUSED), "{output:?}");
    let (answered, log) = held.end();
    assert!(answered, "connections that are open stay: {log}");
    apns.tell("refuse-connections");
    apns.tell("accept-connections");
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
}

#[test]
fn connections_can_be_closed_at_once() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("accept-then-close");
    let output = curl_raw(&apns, Some("client.pem"), &[Push::new()]);
    assert!(!output.status.success() && output.status.code() != Some(REFUSED), "{output:?}");
    let stats = apns.stats();
    assert_eq!((stats.closed_at_once, stats.requests), (1, 0));
    apns.tell("accept-connections");
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
}

#[test]
fn freezing_keeps_connections_open() {
    let site = Site::new();
    let apns = apns(&site);
    let mut held = Held::begin(&apns);
    apns.tell("freeze");
    std::thread::scope(|scope| {
        // One that comes while it is frozen is accepted and hears nothing.
        let newcomer = scope.spawn(|| curl(&apns, Some("client.pem"), &[Push::new()]));
        crate::support::eventually("it is accepted", || (apns.stats().open == 2).then_some(()));
        let ended = scope.spawn(|| {
            assert!(held.is_running());
            held.end()
        });
        assert_eq!(apns.tell("received")["received"], 0);
        assert!(!newcomer.is_finished() && !ended.is_finished());

        apns.tell("thaw");
        assert_eq!(newcomer.join().unwrap()[0].status, 200);
        let (answered, log) = ended.join().unwrap();
        assert!(answered, "{log}");
    });
}

#[test]
fn answers_can_be_late() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("slow 300");
    let begin = Instant::now();
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}
