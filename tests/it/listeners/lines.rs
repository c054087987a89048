//! The line protocol, however the lines come.

use pushmaild::listener::counters::{Asked, Listener, Outcome};

use super::{Setup, notify_line, ok, register_line};

const ON: Listener = Listener::XapsSocket;

#[test]
fn split_at_every_byte() {
    let server = Setup::new().start();
    let both = register_line("jo") + &notify_line("jo");
    let mut kept = server.line();
    for at in 0..both.len() {
        for client in [&mut kept, &mut server.line()] {
            client.send(&both[..at]).send(&both[at..]);
            assert_eq!(client.line(), ok(), "split at {at}");
            assert_eq!(client.line(), "OK \n", "split at {at}");
        }
    }
    for byte in both.bytes() {
        kept.send([byte]);
    }
    assert_eq!((kept.line(), kept.line()), (ok(), "OK \n".to_owned()));
}

#[test]
fn many_in_one_packet_are_answered_in_order_and_the_last_one_wins() {
    let server = Setup::new().start();
    let mut client = server.line();
    let mut requests = String::new();
    for number in 0..300 {
        requests += &match number % 3 {
            0 => register_line("jo").replace("INBOX", &format!("folder {number}")),
            1 => notify_line("jo"),
            _ => format!("NOTIFY wrong=\"{number}\"\n"),
        };
    }
    client.send(&requests);
    for number in 0..300 {
        let expected = match number % 3 {
            0 => ok(),
            1 => "OK \n".to_owned(),
            _ => "ERROR `dovecot-username` is missing\n".to_owned(),
        };
        assert_eq!(client.line(), expected, "{number}");
    }
    assert_eq!(server.registered("jo").mailboxes, ["folder 297"]);
    assert!(client.end().rest().is_empty());
}

#[test]
fn lf_will_do_and_so_will_a_client_that_says_no_more() {
    let server = Setup::new().start();
    let mut client = server.line();
    client.send(register_line("jo").replace('\r', "")).send(notify_line("jo")).end();
    assert_eq!(client.rest(), format!("{}OK \n", ok()).into_bytes());
}

#[test]
fn half_a_request_does_nothing() {
    let server = Setup::new().start();
    let request = register_line("jo");
    // Up to here it would be a request.
    let half = request.rfind('\t').unwrap();
    server.line().send(&request[..half]).end().rest();
    server.counted(ON, Asked::Unknown, Outcome::Refused, 1);
    assert!(server.registrations("jo").is_empty());
    // Nor does a client that only wants to know whether somebody listens.
    assert!(server.line().end().rest().is_empty());
    assert_eq!(server.count(ON, Asked::Unknown, Outcome::Refused), 1);
}

#[test]
fn too_long_a_line_ends_the_connection_and_a_wrong_one_does_not() {
    let server = Setup::new().start();
    let mut client = server.line();
    assert_eq!(client.send("HELO\n").line(), "ERROR the command is neither `REGISTER` nor `NOTIFY`\n");
    assert_eq!(client.send([0xff, b'\n']).line(), "ERROR the line is not UTF-8\n");
    assert_eq!(client.send(register_line("jo")).line(), ok());
    let mut long = notify_line("jo").trim_end().as_bytes().to_vec();
    long.resize(64 * 1024 + 1, b'x');
    let answer = String::from_utf8(client.send(&long).rest()).unwrap();
    assert_eq!(answer, "ERROR the line has 65537 bytes, and the most are 65536\n");
}

#[test]
fn what_the_intake_refuses_is_an_error_and_names_no_token() {
    let server = Setup::new().start();
    let mut client = server.line();
    let bad = register_line("jo").replace(super::TOKEN, "no-token");
    let answer = client.send(bad).line();
    assert!(answer.starts_with("ERROR the device token is not") && !answer.contains("no-token"), "{answer}");
    let answer = client.send(register_line(&"jo".repeat(200))).line();
    assert_eq!(answer, "ERROR the user name has more than 255 bytes\n");
    assert_eq!(server.count(ON, Asked::Register, Outcome::Refused), 2);
}
