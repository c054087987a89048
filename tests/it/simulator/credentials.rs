//! The credentials: what is in them, which are refused before any request, and that they outlive a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::clients::{Push, curl, curl_raw, nghttp_as, run};
use super::{TOPIC, apns};
use crate::support::{Apns, Site, apns_simulator};

const FILES: [&str; 9] = [
    "ca.pem",
    "ca-key.pem",
    "client.pem",
    "several-topics.pem",
    "other-topic.pem",
    "expired.pem",
    "sandbox-only.pem",
    "no-topic.pem",
    "AuthKey.p8",
];

#[test]
fn certificates_are_as_apple_issues_them() {
    let site = Site::new();
    let apns = apns(&site);
    let text = |name: &str| {
        let output = run(&["openssl", "x509", "-noout", "-text", "-in", &apns.file(name)]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (sandbox, production) = ("1.2.840.113635.100.6.3.1:", "1.2.840.113635.100.6.3.2:");

    let client = text("client.pem");
    assert!(client.contains(&format!("UID = {TOPIC}")), "{client}");
    assert!(client.contains(sandbox) && client.contains(production), "{client}");
    let sandbox_only = text("sandbox-only.pem");
    assert!(sandbox_only.contains(sandbox) && !sandbox_only.contains(production), "{sandbox_only}");
    let several = text("several-topics.pem");
    assert!(several.contains("1.2.840.113635.100.6.3.6:"), "{several}");
    assert!(text("other-topic.pem").contains("UID = com.example.other"));
    assert!(!text("no-topic.pem").contains("UID = "));

    for name in FILES {
        let mode = fs::metadata(apns.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let verified = run(&["openssl", "verify", "-CAfile", &apns.file("ca.pem"), &apns.file("client.pem")]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn bad_certificates_do_not_get_through_tls() {
    let site = Site::new();
    let apns = apns(&site);
    let refused = |certificate: &str| {
        let output = curl_raw(&apns, Some(certificate), &[Push::new()]);
        assert!(!output.status.success(), "{certificate}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let expired = refused("expired.pem");
    assert!(expired.contains("certificate expired"), "{expired}");

    let stranger = apns.file("stranger.pem");
    let made = run(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=stranger",
        "-keyout",
        &stranger,
        "-out",
        &apns.file("stranger.crt"),
    ]);
    assert!(made.status.success(), "{made:?}");
    let certificate = fs::read_to_string(apns.file("stranger.crt")).unwrap();
    fs::write(&stranger, fs::read_to_string(&stranger).unwrap() + &certificate).unwrap();
    let stranger = refused("stranger.pem");
    assert!(stranger.contains("alert"), "{stranger}");
    assert_eq!(apns.stats().requests, 0);
}

#[test]
fn http_1_is_not_spoken() {
    let site = Site::new();
    let apns = apns(&site);
    let (ca, certificate) = (apns.file("ca.pem"), apns.file("client.pem"));
    let output = run(&[
        "curl",
        "-sS",
        "--http1.1",
        "--cacert",
        &ca,
        "--cert",
        &certificate,
        "-d",
        "{}",
        &apns.endpoint(),
    ]);
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn a_certificate_for_the_sandbox_gets_goaway() {
    let site = Site::new();
    let apns = apns(&site);
    let log = nghttp_as(&apns, Some("sandbox-only.pem"), 1, &[]);
    assert!(log.contains(r#"[{"reason":"BadCertificateEnvironment"}]"#), "{log}");
    assert!(log.contains("processed=0"), "{log}");
    assert_eq!(apns.stats().requests, 0);
}

#[test]
fn credentials_outlive_a_restart() {
    let site = Site::new();
    let mut apns = apns(&site);
    let read = |apns: &Apns| FILES.map(|name| fs::read(apns.file(name)).unwrap());
    let (before, endpoint) = (read(&apns), apns.endpoint());
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
    apns.restart();
    assert!(before == read(&apns), "all files are as they were");
    assert_eq!(apns.endpoint(), endpoint);
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
    apns.next();

    // What is no longer good is made anew: here a file that is missing, and then another topic.
    fs::remove_file(apns.file("client.pem")).unwrap();
    apns.restart();
    assert_ne!(before[0], read(&apns)[0], "a new authority");
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
    assert!(apns.stop().success());
    let apns = Apns::start_with(site.path("apns"), &["--topic", "com.example.mail"]);
    let push = Push::new().header("apns-topic", "com.example.mail");
    assert_eq!(curl(&apns, Some("client.pem"), &[push])[0].status, 200);
}

#[test]
fn a_second_simulator_and_an_open_address_are_refused() {
    let site = Site::new();
    let apns = apns(&site);
    let start = |arguments: &[&str]| Command::new(apns_simulator()).args(arguments).output().unwrap();
    let second = start(&["--dir", apns.dir().to_str().unwrap()]);
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && told.contains("another simulator runs"), "{told}");
    assert!(!start(&["--dir", site.path("b").to_str().unwrap(), "--listen", "0.0.0.0:0"]).status.success());
    assert_eq!(curl(&apns, Some("client.pem"), &[Push::new()])[0].status, 200);
}
