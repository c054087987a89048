//! HTTP, as clients other than the plugin speak it, too.

use std::net::TcpStream;

use pushmaild::listener::counters::{Asked, Listener, Outcome};

use super::{ACCOUNT, Client, Setup, TOKEN, TOPIC};

fn register_body(user: &str) -> String {
    format!(
        "{{\"ApsAccountId\":\"{ACCOUNT}\",\"ApsDeviceToken\":\"{TOKEN}\",\"ApsSubtopic\":\"com.apple.mobilemail\",\"Username\":\"{user}\",\"Mailboxes\": [\"INBOX\"]}}"
    )
}

const NOTIFY: &str = "{\"Username\":\"jo\",\"Mailbox\":\"INBOX\",\"Events\": [\"MessageNew\"]}";

pub(super) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn register(user: &str) -> String {
    post("/register", &register_body(user))
}

/// Reads an answer: its status, its head and its body up to the first NUL.
#[track_caller]
pub(super) fn answer(client: &mut Client<TcpStream>) -> (u16, String, String) {
    let head = client.until("\r\n\r\n").to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = client.bytes(length.map_or(0, |length| length.parse().unwrap()));
    let body = body.split(|&byte| byte == 0).next().unwrap().to_vec();
    (status, head, String::from_utf8(body).unwrap())
}

#[test]
fn keep_alive_and_pipelining() {
    let server = Setup::new().start();
    let mut client = server.http();
    client.send((register("jo") + &post("/notify", NOTIFY)).repeat(50));
    for _ in 0..50 {
        let (status, _, body) = answer(&mut client);
        assert_eq!((status, body.as_str()), (200, TOPIC));
        assert_eq!(answer(&mut client).0, 200);
    }
    assert_eq!(server.counters.connections(Listener::XapsHttp), 1);
    assert_eq!(server.registrations("jo").len(), 1);
}

#[test]
fn split_at_every_byte() {
    let server = Setup::new().start();
    let request = register("jo");
    let mut client = server.http();
    for at in 0..request.len() {
        client.send(&request[..at]).send(&request[at..]);
        assert_eq!(answer(&mut client).2, TOPIC, "split at {at}");
    }
    for byte in request.bytes() {
        client.send([byte]);
    }
    assert_eq!(answer(&mut client).2, TOPIC);
}

#[test]
fn http_1_0_expectations_chunks_and_clients_that_say_no_more() {
    let server = Setup::new().start();
    let body = register_body("jo");
    let mut client = server.http();
    client.send(register("jo").replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(answer(&mut client).2, TOPIC);
    assert!(client.rest().is_empty(), "the server ends it");

    let mut client = server.http();
    client.send(format!(
        "POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(answer(client.send(&body)).2, TOPIC);

    let (first, second) = body.split_at(70);
    client.send(format!(
        "POST /register HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    ));
    assert_eq!(answer(&mut client).2, TOPIC);

    client.send(register("jo")).end();
    assert_eq!(answer(&mut client).2, TOPIC);
}

#[test]
fn wrong_requests_are_told_so_and_the_connection_goes_on() {
    let server = Setup::new().start();
    let mut client = server.http();
    for (request, status) in [
        (post("/", ""), 404),
        (post("/registering", &register_body("jo")), 404),
        (post("/register", ""), 400),
        (post("/register", "[]"), 400),
        (post("/register", &register_body("").replace("com.apple", "")), 400),
        (post("/register", &register_body("jo").replace(TOKEN, "xyz")), 400),
        (post("/notify", &register_body("jo")), 400),
        ("GET /register HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405),
        ("PUT /notify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), 405),
        (post("/notify", NOTIFY), 200),
    ] {
        let (found, head, body) = answer(client.send(&request));
        assert_eq!(found, status, "{request}: {head}");
        assert!(!body.contains("xyz") && !body.contains(TOKEN), "{body}");
        assert_eq!(head.contains("allow: post"), status == 405, "{head}");
    }
    // The one with the bad token went as far as the intake, the four others to the parsers.
    assert_eq!(server.count(Listener::XapsHttp, Asked::Register, Outcome::Refused), 5);
    assert!(server.registrations("jo").is_empty());
}

#[test]
fn a_notification_of_a_user_whom_nobody_knows_is_well() {
    let server = Setup::new().start();
    let mut client = server.http();
    assert_eq!(answer(client.send(post("/notify", &NOTIFY.replace("jo", "nobody")))).0, 200);
}

#[test]
fn a_web_page_cannot_register() {
    let server = Setup::new().start();
    let mut client = server.http();
    let request = register("jo").replace("Host: x", "Host: localhost\r\nOrigin: https://example.com");
    assert_eq!(answer(client.send(request)).0, 403);
    assert!(server.registrations("jo").is_empty());
}

#[test]
fn too_large_a_body() {
    let server = Setup::new().start();
    let mut client = server.http();
    let mut body = register_body("jo");
    body.push_str(&" ".repeat(64 * 1024 + 1 - body.len()));
    assert_eq!(answer(client.send(post("/register", &body))).0, 413);
    body.pop();
    assert_eq!(answer(client.send(post("/register", &body))).0, 200, "just not too large");
    // So large that it is refused unread, before the client is told to send it.
    client.send(
        "POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\nExpect: 100-continue\r\n\r\n",
    );
    let (status, head, _) = answer(&mut client);
    assert!(status == 413 && head.contains("connection: close"), "{head}");
    assert!(client.rest().is_empty());
}

#[test]
fn no_http_at_all() {
    let server = Setup::new().start();
    for garbage in
        ["\0\0\0\0\r\n\r\n", "REGISTER aps-account-id=\"x\"\r\n\r\n", "GET / HTTP/1.1\r\nBad header\r\n\r\n"]
    {
        let mut client = server.http();
        let answered = client.send(garbage).rest();
        assert!(answered.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&answered));
    }
    let mut long = server.http();
    let head = format!("GET / HTTP/1.1\r\nlong: {}", "x".repeat(100_000));
    // The answer may get lost, as the server does not read all of this.
    let _ = std::io::Write::write_all(&mut long.stream, head.as_bytes());
    let _ = std::io::Read::read_to_end(&mut long.stream, &mut Vec::new());
    server.counted(Listener::XapsHttp, Asked::Unknown, Outcome::Refused, 4);
    assert_eq!(answer(server.http().send(register("jo"))).0, 200, "and the others do not notice");
}
