//! Provider tokens, signed by openssl.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::clients::{Push, curl, run};
use super::{TOPIC, apns};
use crate::support::{Apns, Site};

const KEY_ID: &str = "ABC123DEFG";
const TEAM_ID: &str = "DEF123GHIJ";

#[test]
fn tokens_are_judged() {
    let site = Site::new();
    let apns = Apns::start_with(site.path("apns"), &["--token-interval", "0s"]);
    let other_key = apns.file("other.p8");
    let made = run(&[
        "openssl",
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &other_key,
    ]);
    assert!(made.status.success(), "{made:?}");

    let key = apns.file("AuthKey.p8");
    let now = seconds();
    let good = jwt(&key, "ES256", KEY_ID, TEAM_ID, now);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    let old = |age| jwt(&key, "ES256", KEY_ID, TEAM_ID, now - age);
    let p = |jwt: &str| Push::new().with_token(jwt);
    let authorization = |value: &str| Push::new().header("apns-topic", TOPIC).header("authorization", value);
    let table = [
        (p(&good), 200, ""),
        (p(&old(3000)), 200, ""),
        (p(&old(3700)), 403, "ExpiredProviderToken"),
        (p(&old(30_000)), 403, "ExpiredProviderToken"),
        (p(&jwt(&key, "ES256", KEY_ID, TEAM_ID, now + 7200)), 403, "InvalidProviderToken"),
        (p(&jwt(&key, "ES384", KEY_ID, TEAM_ID, now)), 403, "InvalidProviderToken"),
        (p(&jwt(&key, "none", KEY_ID, TEAM_ID, now)), 403, "InvalidProviderToken"),
        (p(&jwt(&key, "ES256", "ABC123DEFH", TEAM_ID, now)), 403, "InvalidProviderToken"),
        (p(&jwt(&key, "ES256", KEY_ID, "DEF123GHIK", now)), 403, "InvalidProviderToken"),
        (p(&jwt(&other_key, "ES256", KEY_ID, TEAM_ID, now)), 403, "InvalidProviderToken"),
        (p(&format!("{signed}.{reversed}")), 403, "InvalidProviderToken"),
        (p(&format!("{signed}.")), 403, "InvalidProviderToken"),
        (p("a.b.c"), 403, "InvalidProviderToken"),
        (p("token"), 403, "InvalidProviderToken"),
        (Push::new(), 403, "MissingProviderToken"),
        (authorization("bearer"), 403, "MissingProviderToken"),
        (authorization("basic YTpi"), 403, "MissingProviderToken"),
        (authorization(&format!("Bearer {good}")), 200, ""),
        // The credential is judged first, and then as with a certificate, but that the topic is needed.
        (p("token").path("/4"), 403, "InvalidProviderToken"),
        (p(&good).path("/4"), 404, "BadPath"),
        (Push::new().header("authorization", &format!("bearer {good}")), 400, "MissingTopic"),
        (
            Push::new()
                .header("apns-topic", "com.example.other")
                .header("authorization", &format!("bearer {good}")),
            400,
            "TopicDisallowed",
        ),
    ];
    let pushes: Vec<Push> = table.iter().map(|(push, ..)| push.clone()).collect();
    for ((push, status, reason), answer) in table.iter().zip(curl(&apns, None, &pushes)) {
        assert_eq!((answer.status, answer.reason().as_str()), (*status, *reason), "{push:?}");
    }
    let authentications: Vec<String> =
        apns.wait_for(table.len()).into_iter().map(|request| request.authentication).collect();
    assert_eq!((authentications[0].as_str(), authentications[14].as_str()), ("token", "none"));
}

#[test]
fn a_connection_has_to_stay_with_its_token() {
    let site = Site::new();
    let apns = apns(&site);
    let key = apns.file("AuthKey.p8");
    let [first, second, third] = [0, 1, 2].map(|age| jwt(&key, "ES256", KEY_ID, TEAM_ID, seconds() - age));
    let push = |jwt: &str| Push::new().with_token(jwt);

    let answers = curl(&apns, None, &[push(&first), push(&second), push(&first)]);
    let told: Vec<_> = answers.iter().map(|answer| (answer.status, answer.reason())).collect();
    let too_many = (429, "TooManyProviderTokenUpdates".to_owned());
    assert_eq!(told, [(200, String::new()), too_many, (200, String::new())]);
    // The other one is good elsewhere.
    assert_eq!(curl(&apns, None, &[push(&second)])[0].status, 200);
    assert_eq!(apns.stats().provider_tokens, 2);

    // Whoever is told that his token has expired has to bring another.
    apns.tell("answer 403 ExpiredProviderToken count 1");
    let answers = curl(&apns, None, &[push(&first), push(&third)]);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [403, 200]);
}

/// A JWT (RFC 7515) with a signature by openssl.
pub(super) fn jwt(key: &str, algorithm: &str, key_id: &str, team_id: &str, issued: u64) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","kid":"{key_id}"}}"#);
    let claims = format!(r#"{{"iss":"{team_id}","iat":{issued}}}"#);
    let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let input = format!("{key}.{algorithm}.{key_id}.{team_id}.{issued}.signed");
    fs::write(&input, &signed).expect("a file can be written");
    let output = Command::new("openssl").args(["dgst", "-sha256", "-sign", key, &input]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    format!("{signed}.{}", base64url(&raw_signature(&output.stdout)))
}

/// One that is good.
pub(super) fn good_jwt(apns: &Apns) -> String {
    jwt(&apns.file("AuthKey.p8"), "ES256", KEY_ID, TEAM_ID, seconds())
}

/// openssl writes a sequence of two integers in DER, and a JWT has two numbers of 32 bytes (RFC 7518, 3.4).
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        // A number that would be negative has a zero before it.
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        raw.resize(raw.len() + 32 - number.len(), 0);
        raw.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    raw
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0u32, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
