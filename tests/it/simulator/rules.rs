//! Apple's rules, one by one.

use super::clients::{Push, curl};
use super::{TOKEN, TOPIC, apns};
use crate::support::Site;

type Row = (Push, u16, &'static str);

const UUID: &str = "0b1f3a5c-7d9e-4f10-8a2b-3c4d5e6f7081";
const COM_EXAMPLE: &str = "com.example.other";

#[test]
fn requests_with_a_certificate() {
    let p = Push::new;
    let sixty_five = "x".repeat(65);
    let sixty_four = "x".repeat(64);
    check(
        "client.pem",
        &[
            (p(), 200, ""),
            (p().header("apns-topic", TOPIC), 200, ""),
            (p().header("apns-push-type", "background").header("apns-priority", "5"), 200, ""),
            (p().header("apns-priority", "10"), 200, ""),
            (p().header("apns-priority", "1"), 200, ""),
            (p().header("apns-expiration", "0"), 200, ""),
            (p().header("apns-expiration", "1893456000"), 200, ""),
            (p().header("apns-collapse-id", &sixty_four), 200, ""),
            (p().header("apns-id", UUID), 200, ""),
            (p().header("apns-id", &UUID.to_uppercase()), 200, ""),
            (p().payload_of(4096), 200, ""),
            (p().header("apns-push-type", "voip").payload_of(5120), 200, ""),
            // Make no assumption about the length of a token.
            (Push::to("00"), 200, ""),
            (Push::to(&"ab".repeat(100)), 200, ""),
            // The path.
            (p().path("/"), 404, "BadPath"),
            (p().path("/3/devices/00aa"), 404, "BadPath"),
            (p().path("/3/device/00aa/more"), 404, "BadPath"),
            (Push { method: "GET", ..p() }, 405, "MethodNotAllowed"),
            (Push { method: "PUT", ..p() }, 405, "MethodNotAllowed"),
            // The token.
            (p().path("/3/device"), 400, "MissingDeviceToken"),
            (p().path("/3/device/"), 400, "MissingDeviceToken"),
            (Push::to("00aabbxx"), 400, "BadDeviceToken"),
            (Push::to("00aab"), 400, "BadDeviceToken"),
            (Push::to(&"0".repeat(64)), 400, "BadDeviceToken"),
            // The topic.
            (p().header("apns-topic", COM_EXAMPLE), 400, "TopicDisallowed"),
            (p().header("apns-topic", "two words"), 400, "BadTopic"),
            // The other headers.
            (p().header("apns-id", "1"), 400, "BadMessageId"),
            (p().header("apns-id", &UUID.replace('-', "0")), 400, "BadMessageId"),
            (p().header("apns-expiration", "-1"), 400, "BadExpirationDate"),
            (p().header("apns-expiration", "tomorrow"), 400, "BadExpirationDate"),
            (p().header("apns-priority", "7"), 400, "BadPriority"),
            (p().header("apns-push-type", "foreground"), 400, "InvalidPushType"),
            (p().header("apns-collapse-id", &sixty_five), 400, "BadCollapseId"),
            (p().header("apns-priority", "5").header("apns-priority", "5"), 400, "DuplicateHeaders"),
            // The payload.
            (p().payload_of(0), 400, "PayloadEmpty"),
            (p().payload_of(4097), 413, "PayloadTooLarge"),
            (p().payload_of(100_000), 413, "PayloadTooLarge"),
            (p().header("apns-push-type", "voip").payload_of(5121), 413, "PayloadTooLarge"),
            // Which of two faults is told.
            (Push { method: "GET", ..p() }.path("/4"), 404, "BadPath"),
            (Push { method: "GET", ..Push::to("x") }, 405, "MethodNotAllowed"),
            (Push::to("xx").header("apns-topic", COM_EXAMPLE), 400, "BadDeviceToken"),
            // The probe whether a credential is accepted needs this order.
            (Push::to(&"0".repeat(64)).header("apns-topic", COM_EXAMPLE), 400, "TopicDisallowed"),
            (p().header("apns-topic", COM_EXAMPLE).header("apns-priority", "7"), 400, "TopicDisallowed"),
            (p().header("apns-priority", "7").payload_of(0), 400, "BadPriority"),
        ],
    );
}

#[test]
fn a_certificate_for_several_topics_needs_the_header() {
    let p = Push::new;
    check(
        "several-topics.pem",
        &[
            (p(), 400, "MissingTopic"),
            (p().header("apns-topic", TOPIC), 200, ""),
            (p().header("apns-topic", &format!("{TOPIC}.voip")), 200, ""),
            (p().header("apns-topic", &format!("{TOPIC}.complication")), 200, ""),
            (p().header("apns-topic", "voip"), 400, "TopicDisallowed"),
        ],
    );
}

#[test]
fn other_certificates() {
    check("other-topic.pem", &[(Push::new().header("apns-topic", TOPIC), 400, "TopicDisallowed")]);
    check("no-topic.pem", &[(Push::new().path("/4"), 403, "BadCertificate")]);
}

#[track_caller]
fn check(certificate: &str, table: &[Row]) {
    let site = Site::new();
    let apns = apns(&site);
    let pushes: Vec<Push> = table.iter().map(|(push, ..)| push.clone()).collect();
    for ((push, status, reason), answer) in table.iter().zip(curl(&apns, Some(certificate), &pushes)) {
        assert_eq!((answer.status, answer.reason().as_str()), (*status, *reason), "{push:?}");
        let id = answer.header("apns-id").unwrap_or_else(|| panic!("an apns-id in each answer: {answer:?}"));
        let own = push.headers.iter().find_map(|header| header.strip_prefix("apns-id: "));
        match own {
            Some(own) if *reason != "BadMessageId" => assert_eq!(id, own, "the client's own id"),
            _ => assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}"),
        }
    }
    let stats = apns.stats();
    assert_eq!(stats.connections, 1, "no answer ends the connection: {stats:?}");
    assert_eq!(stats.requests, table.len() as u64);
}

#[test]
fn a_request_is_printed_as_it_came() {
    let site = Site::new();
    let mut apns = apns(&site);
    let push = Push::new()
        .header("apns-topic", TOPIC)
        .header("apns-push-type", "background")
        .header("apns-priority", "5")
        .header("apns-expiration", "1893456000")
        .header("apns-collapse-id", "account")
        .header("apns-id", UUID);
    let text = Push { payload: "no JSON".to_owned(), ..Push::to("00") };
    curl(&apns, Some("client.pem"), &[push, text]);

    let first = apns.next();
    assert_eq!((first.connection, first.stream), (1, 1));
    assert_eq!((first.method.as_str(), first.path), ("POST", format!("/3/device/{TOKEN}")));
    let fields = [first.token, first.topic, first.push_type, first.priority];
    assert_eq!(fields.map(Option::unwrap), [TOKEN, TOPIC, "background", "5"]);
    let fields = [first.expiration, first.collapse_id, first.apns_id];
    assert_eq!(fields.map(Option::unwrap), ["1893456000", "account", UUID]);
    assert_eq!(first.payload["aps"]["account-id"], "1");
    assert_eq!((first.authentication.as_str(), first.status, first.reason), ("certificate", 200, None));

    let second = apns.next();
    assert_eq!((second.connection, second.stream, second.token.as_deref()), (1, 3, Some("00")));
    assert_eq!((second.topic, second.apns_id), (None, None));
    assert_eq!(second.payload, "no JSON");
    let stats = apns.stats();
    assert_eq!((stats.tokens, stats.apns_ids, stats.answered_200), (2, 1, 2));
}
