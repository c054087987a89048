//! Who is let in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{address, config, say};
use crate::support::{PATIENCE, Site, pushmaild};

#[test]
fn another_name_and_another_sites_page_are_refused() {
    let site = Site::new();
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    let port = to.port();
    for (lines, status) in [
        (format!("Host: {to}"), 200),
        (format!("Host: localhost:{port}"), 200),
        ("Host: localhost".to_owned(), 200),
        ("Host: [::1]:8080".to_owned(), 200),
        (format!("Host: rebound.example.com:{port}"), 421),
        ("Host: 192.0.2.1".to_owned(), 421),
        (format!("Host: {to}\r\nOrigin: http://{to}"), 200),
        (format!("Host: {to}\r\nOrigin: https://example.com"), 403),
        (format!("Host: {to}\r\nOrigin: null"), 403),
        (format!("Host: {to}\r\nOrigin: http://localhost:{port}"), 403),
        (format!("Host: {to}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors"), 403),
        (format!("Host: {to}\r\nSec-Fetch-Site: same-origin"), 200),
        ("X: without a host".to_owned(), 400),
        (format!("Host: {to}\r\nHost: example.com"), 400),
    ] {
        for path in ["/", "/metrics", "/status.json", "/healthz"] {
            let answer = say(to, &format!("GET {path} HTTP/1.1\r\n{lines}\r\n\r\n"));
            assert_eq!(answer.status, status, "{path} {lines}: {answer:?}");
            assert!(!answer.head.contains("access-control-"), "{answer:?}");
            assert_eq!(answer.body.contains("token-file"), status == 421, "{answer:?}");
        }
    }
    let absolute = format!("GET http://example.com/ HTTP/1.1\r\nHost: {to}\r\n\r\n");
    assert_eq!(say(to, &absolute).status, 400);
}

#[test]
fn with_a_token_file_every_request_needs_the_secret() {
    let site = Site::new();
    let file = site.path("token");
    fs::write(&file, "correct horse\n").expect("it can be written");
    let config = config(&site).set("control.http", "0.0.0.0:0").set("control.token-file", "token");
    let mut daemon = site.launch(&config).spawn();
    assert_eq!(daemon.wait_exit(PATIENCE).code(), Some(1));
    assert!(daemon.log().contains("has a secret with spaces"), "{}", daemon.log());

    fs::write(&file, "correct-horse\nnot this\n").expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
    let daemon = site.start(&config);
    daemon.wait_log("everybody on this machine can read");
    daemon.wait_log("is short");
    let mut to = address(&daemon);
    assert!(to.ip().is_unspecified());
    to.set_ip("127.0.0.1".parse().expect("an address"));
    let url = format!("http://127.0.0.1:{}/metrics", to.port());
    for (arguments, status) in [
        (&[][..], "401"),
        (&["-H", "Authorization: Bearer wrong-horse"], "401"),
        (&["-H", "Authorization: Bearer not this"], "401"),
        (&["-H", "Authorization: Bearer correct-horse"], "200"),
        (&["-u", "anybody:correct-horse"], "200"),
        (&["-u", "correct-horse:anybody"], "401"),
        (&["--oauth2-bearer", "correct-horse", "-H", "Host: mail.example.org"], "200"),
        (&["--oauth2-bearer", "correct-horse", "-H", "Origin: https://example.com"], "403"),
    ] {
        let run = Command::new("curl")
            .args(["-sS", "--max-time", "30", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(&url)
            .output()
            .expect("curl can be started");
        assert_eq!(String::from_utf8_lossy(&run.stdout), status, "{arguments:?} {run:?}");
    }
    for path in ["/", "/healthz", "/nothing"] {
        let answer = say(to, &format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(answer.status, 401);
        assert!(answer.head.contains("www-authenticate: bearer") && answer.head.contains("basic realm"));
    }
    let log = daemon.stop();
    assert!(!log.contains("correct-horse"), "{log}");
}

#[test]
fn a_token_file_that_is_no_good_ends_the_start() {
    let site = Site::new();
    for (content, why) in
        [(None, "No such file"), (Some(""), "has no secret"), (Some("\n\nsecret"), "has no secret")]
    {
        if let Some(content) = content {
            fs::write(site.path("token"), content).expect("it can be written");
        }
        let config = config(&site).set("control.token-file", "token");
        let mut daemon = site.launch(&config).spawn();
        assert_eq!(daemon.wait_exit(PATIENCE).code(), Some(1));
        let log = daemon.log();
        assert!(
            log.contains("`token-file` of [control]") && log.contains(why) && log.contains("hint: "),
            "{log}"
        );
        let _receiver = site.receiver();
        let run = pushmaild(["check", "-c", config.path().to_str().expect("the path is text")]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stdout.contains("`token-file` of [control]") && run.stdout.contains(why), "{run:?}");
    }
}
