//! push_notify records that are whole, in pieces, or none.

use pushmaild::{
    classifier::Kind,
    listener::counters::{Asked, Listener, Outcome},
    proto::push_notify::{Dialect, MAX_RECORD, Message},
};

use super::{ACCOUNT, Setup, TOKEN};

pub(super) fn record(message: Message<'_>, dialect: Dialect) -> Vec<u8> {
    let mut record = Vec::new();
    message.encode(dialect, &mut record).unwrap();
    record
}

pub(super) fn notify(user: &str, dialect: Dialect) -> Vec<u8> {
    record(Message::Notify { user, mailbox: None }, dialect)
}

pub(super) fn register(user: &str, dialect: Dialect) -> Vec<u8> {
    let message = Message::Register {
        user,
        account_id: ACCOUNT,
        device_token: TOKEN,
        subtopic: "com.apple.mobilemail",
    };
    record(message, dialect)
}

#[test]
fn a_record_in_two_pieces_and_one_that_lacks_its_last_byte() {
    let server = Setup::new().start();
    let record = notify("jo", Dialect::Argon);
    for at in (0..record.len()).step_by(97).chain([1670, 1671]) {
        let mut client = server.stream();
        client.send(&record[..at]).send(&record[at..]);
        assert!(client.rest().is_empty());
        assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail), "split at {at}");
    }
    // With and without an end of the connection.
    let clipped = &record[..1671];
    server.stream().send(clipped).end().rest();
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    let mut open = server.stream();
    open.send(clipped);
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    // What comes after a record is none.
    server.stream().send([record.clone(), record].concat()).rest();
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    assert_eq!(server.count(Listener::PushNotifyStream, Asked::Unknown, Outcome::Refused), 0);
}

#[test]
fn what_is_no_record_is_refused() {
    let server = Setup::new().start();
    server.stream().end().rest();
    for (count, bytes) in
        [(1, notify("jo", Dialect::Argon)[..800].to_vec()), (2, notify("jo", Dialect::Osx108))]
    {
        server.stream().send(bytes).end().rest();
        server.counted(Listener::PushNotifyStream, Asked::Unknown, Outcome::Refused, count);
    }

    let mut long = vec![0; MAX_RECORD + 1];
    long[1..3].copy_from_slice(b"jo");
    let mut no_text = notify("jo", Dialect::Osx108);
    no_text[16] = 0xff;
    for (count, bytes) in [(1, vec![]), (2, b"jo".to_vec()), (3, long), (4, no_text), (5, vec![b'3'; 65_000])]
    {
        server.datagram(&bytes);
        server.counted(Listener::PushNotifyDatagram, Asked::Unknown, Outcome::Refused, count);
    }
    assert!(server.hints.is_empty());
    server.datagram(&notify("jo", Dialect::Short));
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail), "and the next one is taken");
}

#[test]
fn a_flood_of_datagrams_is_one_hint() {
    let server = Setup::new().start();
    let record = notify("jo", Dialect::Osx108);
    for _ in 0..5000 {
        server.datagram(&record);
    }
    server.counted(Listener::PushNotifyDatagram, Asked::Notify, Outcome::Taken, 5000);
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
}
