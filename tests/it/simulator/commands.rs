//! What is known of devices, answers by order, and the commands as such.

use std::process::Command;

use super::clients::{Push, curl};
use super::{TOKEN, apns};
use crate::support::{Apns, Site, apns_simulator};

#[test]
fn devices_can_be_bad() {
    let site = Site::new();
    let apns = apns(&site);
    let orders = [
        ("unregistered 01 1700000000123", 410, "Unregistered"),
        ("expired-token 02 1700000000456", 410, "ExpiredToken"),
        ("bad-token 03", 400, "BadDeviceToken"),
        ("not-for-topic 04", 400, "DeviceTokenNotForTopic"),
        ("throttle 05", 429, "TooManyRequests"),
        ("throttle 06 retry-after 17", 429, "TooManyRequests"),
        ("bad-token AABB", 400, "BadDeviceToken"),
    ];
    let tokens = orders.map(|(order, ..)| order.split(' ').nth(1).unwrap().to_lowercase());
    let pushes = tokens.map(|token| Push::to(&token));
    for (order, ..) in orders {
        apns.tell(order);
    }
    let answers = curl(&apns, Some("client.pem"), &pushes);
    for ((order, status, reason), answer) in orders.iter().zip(&answers) {
        assert_eq!((answer.status, answer.reason().as_str()), (*status, *reason), "{order}");
    }
    assert_eq!(answers[0].json()["timestamp"], 1_700_000_000_123_u64);
    assert_eq!(answers[1].json()["timestamp"], 1_700_000_000_456_u64);
    assert_eq!((answers[4].header("retry-after"), answers[5].header("retry-after")), (None, Some("17")));

    apns.tell("good-token 01");
    let statuses =
        |apns: &Apns| curl(apns, Some("client.pem"), &pushes).iter().map(|a| a.status).collect::<Vec<_>>();
    assert_eq!(statuses(&apns), [200, 410, 400, 400, 429, 429, 400]);
    apns.tell("clear");
    assert_eq!(statuses(&apns), [200; 7]);
}

#[test]
fn answers_by_order() {
    let site = Site::new();
    let apns = apns(&site);
    apns.tell("answer 503 ServiceUnavailable count 2");
    let pushes = [(); 3].map(|()| Push::new());
    let told = |apns: &Apns| {
        let answers = curl(apns, Some("client.pem"), &pushes);
        answers.iter().map(|answer| (answer.status, answer.reason())).collect::<Vec<_>>()
    };
    let unavailable = || (503, "ServiceUnavailable".to_owned());
    assert_eq!(told(&apns), [unavailable(), unavailable(), (200, String::new())]);
    apns.tell("answer 500 AReasonOfTheFuture");
    assert_eq!(told(&apns), [(); 3].map(|()| (500, "AReasonOfTheFuture".to_owned())));
    apns.tell("clear");
    assert_eq!(told(&apns)[0].0, 200);
    assert_eq!(apns.stats().statuses.into_iter().collect::<Vec<_>>(), [(200, 2 + 2), (500, 3), (503, 2)]);
}

#[test]
fn wrong_commands_are_told_the_right_ones() {
    let site = Site::new();
    let apns = apns(&site);
    let wrong = [
        "",
        "help",
        "goaway",
        "goaway every",
        "goaway every 0",
        "goaway every x",
        "goaway every 3 two words",
        "drop",
        "slow -1",
        "answer 200 Fine",
        "answer 503",
        "unregistered 01",
        "good-token 01",
        "streams 5000000000",
        "wait",
    ];
    for command in wrong {
        let answer = apns.ask(command);
        assert_eq!(answer["ok"], false, "{command}");
        let commands = answer["commands"].as_array().expect("a list of commands");
        assert!(commands.iter().any(|command| command == "goaway every N [REASON]"), "{answer}");
    }
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
    assert_eq!(apns.nth(1).token.as_deref(), Some(TOKEN));

    let tell = |command: &str| {
        let output =
            Command::new(apns_simulator()).arg("--dir").arg(apns.dir()).args(["--tell", command]).output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(tell("received"), (true, "{\"received\":1}\n".to_owned()));
    let (good, text) = tell("help");
    assert!(!good && text.contains("\n  refuse-streams every N\n"), "{text}");
}
