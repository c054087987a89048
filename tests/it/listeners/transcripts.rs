//! What was captured from the real plugins, byte for byte, and what they are to be answered.

use std::{fs, path::Path};

use pushmaild::{
    classifier::Kind,
    listener::{
        counters::{Asked, Listener, Outcome},
        intake::Hint,
    },
};

use super::{ACCOUNT, Server, Setup, TOKEN, TOPIC, ok};

fn captured(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name)).unwrap()
}

fn hint(kind: Kind) -> Hint {
    Hint { inbox: Some(kind), others: Vec::new() }
}

fn has_captured_registration(server: &Server, user: &str) {
    let registration = server.registered(user);
    assert_eq!(registration.key.token.to_hex(), TOKEN);
    assert_eq!(registration.key.account.as_str(), ACCOUNT);
    assert_eq!(registration.subtopic, "com.apple.mobilemail");
    assert_eq!(registration.mailboxes, ["INBOX", "Sent Messages", "été"]);
    assert_eq!(registration.topic.unwrap().as_str(), TOPIC);
}

const NOTIFICATIONS: [(&str, Option<Kind>); 6] = [
    ("02-notify-message-new", Some(Kind::NewMail)),
    ("03-notify-message-append", Some(Kind::Change)),
    ("04-notify-flags", Some(Kind::Change)),
    ("05-notify-other-mailbox", None),
    ("06-notify-trash", Some(Kind::Change)),
    ("07-notify-expunge", Some(Kind::Change)),
];

#[test]
fn the_plugin_by_freswa_over_one_connection() {
    let server = Setup::new().start();
    let mut client = server.http();
    client.send(captured("xaps-http/01-register.http"));
    let head = client.until("\r\n\r\n");
    let without_date: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    let mut body = TOPIC.as_bytes().to_vec();
    body.resize(64, 0);
    assert_eq!(
        without_date,
        ["HTTP/1.1 200 OK", "content-type: text/plain; charset=utf-8", "content-length: 64", ""]
    );
    assert_eq!(client.bytes(64), body);
    has_captured_registration(&server, "jo@example.org");
    for (name, kind) in NOTIFICATIONS {
        client.send(captured(&format!("xaps-http/{name}.http")));
        let head = client.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 0\r\n"), "{head}");
        match kind {
            Some(kind) => assert_eq!(server.hint("jo@example.org"), hint(kind), "{name}"),
            None => assert!(server.hints.is_empty(), "{name}: no device was told that it would hear of it"),
        }
    }
    assert_eq!(server.counters.connections(Listener::XapsHttp), 1);
    assert_eq!(server.count(Listener::XapsHttp, Asked::Notify, Outcome::Taken), 6);
}

#[test]
fn the_plugin_by_st3fan_over_one_connection_and_over_one_each() {
    let server = Setup::new().start();
    let mut client = server.line();
    assert_eq!(client.send(captured("xaps-socket/01-register.txt")).line(), ok());
    has_captured_registration(&server, "st@example.org");
    for (name, kind) in NOTIFICATIONS {
        let request = captured(&format!("xaps-socket/{name}.txt"));
        for client in [&mut client, &mut server.line()] {
            assert_eq!(client.send(&request).line(), "OK \n");
            match kind {
                Some(kind) => assert_eq!(server.hint("st@example.org"), hint(kind), "{name}"),
                None => assert!(server.hints.is_empty(), "{name}"),
            }
        }
    }
}

#[test]
fn push_notify_records_of_all_dialects_in_datagrams() {
    let server = Setup::new().start();
    for (dialect, count) in [("osx-10.8", 1), ("osx-10.7", 2), ("argon", 3)] {
        server.datagram(&captured(&format!("push_notify/{dialect}-register.bin")));
        server.counted(Listener::PushNotifyDatagram, Asked::Register, Outcome::Taken, count);
        let registration = server.registered("jesse");
        assert_eq!(registration.topic, None, "the client was told none");
        server.datagram(&captured(&format!("push_notify/{dialect}-notify.bin")));
        assert_eq!(server.hint("jesse").inbox, Some(Kind::NewMail), "{dialect}");
    }
    for name in ["osx-10.7-ilp32-notify", "short-notify"] {
        server.datagram(&captured(&format!("push_notify/{name}.bin")));
        assert_eq!(server.hint("jesse").inbox, Some(Kind::NewMail), "{name}");
    }
    server.datagram(&captured("push_notify/osx-10.8-create.bin"));
    server.counted(Listener::PushNotifyDatagram, Asked::Create, Outcome::Taken, 1);
    server.datagram(&captured("push_notify/argon-subscribe.bin"));
    server.counted(Listener::PushNotifyDatagram, Asked::Subscribe, Outcome::Taken, 1);
}

#[test]
fn argons_records_one_a_connection() {
    let server = Setup::new().start();
    let send = |name: &str| {
        let mut client = server.stream();
        client.send(captured(&format!("push_notify/argon-{name}.bin")));
        assert!(client.rest().is_empty(), "there is no answer");
    };
    send("register");
    let registration = server.registered("jesse");
    send("subscribe");
    let subscribed = crate::support::eventually("a subscription", || {
        server.registrations("jesse").pop().filter(|it| it.mailboxes != registration.mailboxes)
    });
    assert_eq!(subscribed.mailboxes, ["Sent Messages"]);
    send("notify");
    assert_eq!(server.hint("jesse").inbox, Some(Kind::NewMail));
}
