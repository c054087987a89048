//! Clients that are slow, wrong or greedy.

use std::io::{ErrorKind, Read, Write};

use socket2::{Domain, Socket, Type};

use super::super::JESSE;
use super::{address, config, connect, get};
use crate::support::Site;

#[test]
fn garbage_is_refused_and_disturbs_nobody() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    let long = format!("GET / HTTP/1.1\r\nHost: {to}\r\nlong: {}", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: {to}\r\n{}\r\n", "a: b\r\n".repeat(5000));
    for garbage in [
        "\0\0\0\r\n\r\n",
        "status\n\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nBad header\r\n\r\n",
        &long,
        &many,
    ] {
        let mut stream = connect(to);
        // The daemon may end it before all of it was written.
        let _ = stream.write_all(garbage.as_bytes());
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            Ok(_) => assert!(answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer)),
        }
    }
    jesse.deliver();
    receiver.expect(JESSE);
    assert_eq!(get(to, "/healthz").status, 200);
    daemon.stop();
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let site = Site::new();
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    // More than are served at a time. Each loses its place after five seconds.
    let mut silent: Vec<_> = (0..40).map(|_| connect(to)).collect();
    for half in silent.iter_mut().take(20) {
        half.write_all(b"GET / HTTP/1.1\r\n").expect("it can be written");
    }
    assert_eq!(get(to, "/healthz").status, 200);
    drop(silent);
}

/// An answer that does not fit into the buffers between the two, and nobody to take it.
#[test]
fn clients_that_never_read_lose_their_places() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    // A hundred of them are told, each with a path of almost four kilobytes.
    let folder = format!("/{}", "long/".repeat(780));
    let users: Vec<_> = (0..120).map(|number| format!("u{number} = \"{folder}{number}\"")).collect();
    let config = config(&site).set_raw("mailboxes.users", &format!("{{ {} }}", users.join(", ")));
    let daemon = site.start(&config);
    let to = address(&daemon);
    let greedy: Vec<_> = (0..40)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a size");
            socket.connect(&to.into()).expect("the daemon listens");
            (&socket)
                .write_all(format!("GET /status.json HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes())
                .expect("it fits");
            socket
        })
        .collect();
    jesse.deliver();
    receiver.expect(JESSE);
    let answer = get(to, "/status.json");
    assert!(answer.status == 200 && answer.body.len() > 300_000, "{} {}", answer.status, answer.body.len());
    daemon.wait_log("a client of the status page was too slow");
    drop(greedy);
    daemon.stop();
}
