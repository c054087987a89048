//! Faults of streams and of HTTP/2 connections, as nghttp and h2load see them.

use super::TOKEN;
use super::apns;
use super::clients::{Held, nghttp, nghttp_as, payload, run};
use super::provider_tokens::good_jwt;
use crate::support::{Apns, Site};

/// How many answers had this status.
fn answers(log: &str, status: u16) -> usize {
    log.matches(&format!(":status: {status}")).count()
}

/// The streams on which requests were sent, in order.
fn streams(log: &str) -> Vec<u32> {
    let requests =
        log.lines().filter_map(|line| line.split_once("send HEADERS frame")?.1.split_once("stream_id="));
    requests.map(|(_, id)| id.trim_end_matches('>').parse().expect("a stream has a number")).collect()
}

#[test]
fn goaway_leaves_later_streams_unprocessed() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("goaway every 3");
    let log = nghttp(&apns, 5, &[]);
    let last = streams(&log)[2];
    let goaway = format!(
        "(last_stream_id={last}, error_code=NO_ERROR(0x00), opaque_data(21)=[{{\"reason\":\"Shutdown\"}}])"
    );
    assert!(log.contains(&goaway), "{goaway} in {log}");
    assert!(answers(&log, 200) == 3 && log.contains("total=5, processed=3"), "{log}");
    assert_eq!(apns.stats().requests, 3, "what was not processed leaves no trace");

    apns.tell("goaway every 2 IdleTimeout");
    let log = nghttp(&apns, 3, &[]);
    assert!(log.contains(r#"[{"reason":"IdleTimeout"}]"#), "{log}");
    apns.tell("goaway off");
    assert_eq!(answers(&nghttp(&apns, 5, &[]), 200), 5);
}

#[test]
fn goaway_now_answers_what_was_taken() {
    let site = Site::new();
    let apns = apns(&site);
    let held = Held::begin(&apns);
    assert_eq!(apns.tell("goaway now")["connections"], 1);
    let (answered, log) = held.end();
    assert!(answered, "{log}");
    assert!(log.contains("GOAWAY"), "{log}");
    crate::support::eventually("it is closed", || (apns.stats().open == 0).then_some(()));
    assert_eq!(apns.tell("goaway now")["connections"], 0);
}

#[test]
fn refused_streams() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("refuse-streams every 2");
    let log = nghttp(&apns, 4, &[]);
    assert_eq!(log.matches("error_code=REFUSED_STREAM(0x07)").count(), 2, "{log}");
    assert_eq!(answers(&log, 200), 2, "{log}");
    let stats = apns.stats();
    assert_eq!((stats.refused_streams, stats.requests), (2, 2));
}

#[test]
fn cut_connections() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("drop every 3");
    let log = nghttp(&apns, 4, &[]);
    assert!(!log.contains("recv GOAWAY") && answers(&log, 200) < 3, "{log}");
    let stats = apns.stats();
    assert_eq!((stats.cut, stats.answered_200), (1, 2));

    apns.tell("drop off");
    let held = Held::begin(&apns);
    apns.tell("drop now");
    let (answered, log) = held.end();
    assert!(!answered && !log.contains("GOAWAY"), "{log}");
}

#[test]
fn the_number_of_streams_is_announced() {
    let site = Site::new();
    let mut apns = Apns::start_with(site.path("apns"), &["--streams", "50"]);
    let limit = |n: u32| format!("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):{n}]");
    let log = nghttp(&apns, 1, &[]);
    assert!(log.contains(&limit(50)), "{log}");
    apns.tell("streams 7");
    let log = nghttp(&apns, 1, &[]);
    assert!(log.contains(&limit(7)), "{log}");
    apns.restart();
    assert!(nghttp(&apns, 1, &[]).contains(&limit(50)));
}

/// Apple allows one stream until a good provider token was seen.
#[test]
fn a_provider_token_opens_the_streams() {
    let site = Site::new();
    let apns = apns(&site);
    let authorization = format!("authorization: bearer {}", good_jwt(&apns));
    let topic = format!("apns-topic: {}", super::TOPIC);
    let limit = |n: u32| format!("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):{n}]");
    // nghttp may send all before it has read that it may not, and be answered and gone before there may be more.
    let log = crate::support::eventually("more streams are allowed", || {
        let log = nghttp_as(&apns, None, 10, &["-H", &authorization, "-H", &topic]);
        assert_eq!(answers(&log, 200), 10, "{log}");
        log.contains(&limit(1000)).then_some(log)
    });
    let [one, first_answer, many] =
        [limit(1), ":status: 200".to_owned(), limit(1000)].map(|text| log.find(&text));
    assert!(one.is_some() && one < first_answer && one < many, "{log}");

    let log = nghttp_as(&apns, None, 3, &["-H", &topic]);
    assert!(log.contains(&limit(1)) && !log.contains(&limit(1000)), "not without one: {log}");
}

/// Many at once, all of them counted.
#[test]
fn nothing_is_lost_under_load() {
    let site = Site::new();
    let apns = Apns::start_with(site.path("apns"), &["--quiet"]);
    let authorization = format!("authorization: bearer {}", good_jwt(&apns));
    let topic = format!("apns-topic: {}", super::TOPIC);
    let url = format!("{}/3/device/{TOKEN}", apns.endpoint());
    let load = ["h2load", "-n", "5000", "-c", "4", "-m", "100", "-d", &payload(&apns)];
    let output = run(&[&load[..], &["-H", &authorization, "-H", &topic, &url]].concat());
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{log}");
    assert_eq!(apns.tell("wait 5000")["received"], 5000);
    let stats = apns.stats();
    assert_eq!((stats.connections, stats.answered_200, stats.tokens), (4, 5000, 1));
    assert!(apns.received().is_empty(), "--quiet prints no requests");
}
