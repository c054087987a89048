//! `[control] http`: metrics, health, and the status page.

mod clients;
mod gate;
mod metrics;
mod page;
mod pictures;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::JESSE;
use crate::support::{Apns, Config, Daemon, PATIENCE, Site, eventually};

/// The site's configuration with the page at a port that is free.
fn config(site: &Site) -> Config {
    site.config().set("control.http", "127.0.0.1:0")
}

/// With all sinks, and a socket for registrations.
fn config_with_apple(site: &Site, apns: &Apns) -> Config {
    config(site)
        .set("apns.certificate", &apns.file("client.pem"))
        .set("apns.ca-file", &apns.file("ca.pem"))
        .set("apns.endpoint", &apns.endpoint())
        .set("listen.xaps-socket", "xapsd.sock")
        .set_raw("exec.command", r#"["/bin/true", "{user}"]"#)
}

/// Registers a device of a user, as a plugin would.
#[track_caller]
fn register(site: &Site, user: &str, number: usize) {
    let mut socket = UnixStream::connect(site.path("xapsd.sock")).expect("the daemon listens");
    let line = format!(
        "REGISTER aps-account-id=\"0715A26B-CA09-4730-A419-793000CA{number:04X}\"\taps-device-token=\"{number:064x}\"\t\
         aps-subtopic=\"com.apple.mobilemail\"\tdovecot-username=\"{user}\"\tdovecot-mailboxes=(\"INBOX\")\r\n"
    );
    socket.write_all(line.as_bytes()).expect("the daemon reads");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("the daemon answers");
    assert!(answer.starts_with("OK "), "{answer}");
}

/// Where the page of a running daemon is.
fn address(daemon: &Daemon) -> SocketAddr {
    let line = daemon.wait_log("the status page is at http://");
    let after = line.split("the status page is at http://").nth(1).expect("it goes on");
    after.split('/').next().expect("a first part").parse().expect("an address")
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    stream
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// In small letters.
    head: String,
    body: String,
}

/// Sends a request as it is, and reads until the connection ends.
#[track_caller]
fn say(to: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(to);
    stream.write_all(request.as_bytes()).expect("the daemon reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the daemon answers with text, and ends the connection");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[track_caller]
fn get(to: SocketAddr, path: &str) -> Answer {
    say(to, &format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
}

#[test]
fn what_is_there_and_what_is_not() {
    let site = Site::new();
    site.maildir(JESSE);
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    for (path, content_type, part) in [
        ("/", "text/html; charset=utf-8", "<h1>All is well</h1>"),
        ("/?query", "text/html; charset=utf-8", "<h1>All is well</h1>"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "pushmaild_ready 1\n"),
        ("/healthz", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz", "text/plain; charset=utf-8", "ready\n"),
        ("/status.json", "application/json", "\"ready\":true"),
    ] {
        let answer = get(to, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.body.contains(part), "{path}: {answer:?}");
        for line in [
            &*format!("content-type: {content_type}"),
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "connection: close",
        ] {
            assert!(answer.head.lines().any(|there| there == line), "{path} without {line}: {}", answer.head);
        }
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
        let head = say(to, &format!("HEAD {path} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}: {head:?}");
        let post = say(to, &format!("POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n"));
        assert!(post.status == 405 && post.head.contains("allow: get, head"), "{path}: {post:?}");
    }
    for path in ["/metrics/", "/index.html", "//", "/..", "/status", "/%2e"] {
        assert_eq!(get(to, path).status, 404, "{path}");
    }
    let page = get(to, "/");
    let policy = page.head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("the page has a policy");
    for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    daemon.stop();
}

#[test]
fn without_a_folder_for_the_socket_there_is_still_the_page() {
    let site = Site::new();
    site.maildir(JESSE);
    let nowhere = "mkdir -p /run/pushmaild && mount -t tmpfs none /run && exec \"$@\"";
    let daemon = site
        .launch(&config(&site).unset("control.socket"))
        .wrapped_in(["unshare", "--mount", "--map-root-user", "sh", "-c", nowhere, "sh"])
        .start();
    assert_eq!(get(address(&daemon), "/healthz").status, 200);
    daemon.stop();
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let site = Site::new();
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    let other = Site::new();
    let mut second = other.launch(&config(&other).set("control.http", &to.to_string())).spawn();
    assert_eq!(second.wait_exit(PATIENCE).code(), Some(1));
    assert!(second.log().contains(&format!("`http` of [control]: cannot bind {to}")), "{}", second.log());
    assert!(second.log().contains("another program listens there"), "{}", second.log());
}

/// Only the thread that watches hangs: each of its waits takes longer than anybody waits for it.
#[test]
fn a_thread_that_hangs_is_not_healthy() {
    let site = Site::new();
    site.maildir(JESSE);
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    assert_eq!(get(to, "/healthz").status, 200);
    let mut strace = Command::new("strace")
        .args(["-qq", "-e", "trace=epoll_wait", "-e", "inject=epoll_wait:delay_enter=60000000", "-p"])
        .arg(daemon.pid().to_string())
        .args(["-o", "/dev/null"])
        .stdin(Stdio::null())
        .spawn()
        .expect("strace can be started");
    let answer = eventually("the thread hangs", || {
        let answer = get(to, "/healthz");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((answer.status, answer.body.as_str()), (503, "the daemon is too busy to answer\n"));
    assert_eq!(get(to, "/").status, 503);
    strace.kill().expect("it still runs");
    strace.wait().expect("it ends");
    eventually("the thread goes on", || (get(to, "/healthz").status == 200).then_some(()));
    daemon.stop();
}
