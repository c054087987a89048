//! The push_notify record: known answers both ways, and properties.

use proptest::prelude::*;
use pushmaild::{
    mailbox::Username,
    proto::push_notify::{Arrival, DecodeError, Dialect, MAX_USER, Message},
};

const ACCOUNT: &str = "0715A26B-CA09-4730-A419-793000CA982E";
const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";

/// The captured records, and what each says.
fn captured() -> Vec<(&'static str, Vec<u8>, Arrival, Dialect, Message<'static>)> {
    let register = Message::Register {
        user: "jesse",
        account_id: ACCOUNT,
        device_token: TOKEN,
        subtopic: "com.apple.mobilemail",
    };
    let subscribe = Message::Subscribe {
        user: "jesse",
        account_id: ACCOUNT,
        device_token: TOKEN,
        mailbox: "Sent Messages",
    };
    let notify = Message::Notify { user: "jesse", mailbox: None };
    [
        ("osx-10.8-create", Arrival::Datagram, Dialect::Osx108, Message::Create { user: "jesse" }),
        ("osx-10.8-register", Arrival::Datagram, Dialect::Osx108, register),
        ("osx-10.8-notify", Arrival::Datagram, Dialect::Osx108, notify),
        ("osx-10.7-register", Arrival::Datagram, Dialect::Osx107, register),
        ("osx-10.7-notify", Arrival::Datagram, Dialect::Osx107, notify),
        ("osx-10.7-ilp32-notify", Arrival::Datagram, Dialect::Osx107Ilp32, notify),
        ("argon-register", Arrival::Stream, Dialect::Argon, register),
        ("argon-subscribe", Arrival::Stream, Dialect::Argon, subscribe),
        (
            "argon-notify",
            Arrival::Stream,
            Dialect::Argon,
            Message::Notify { user: "jesse", mailbox: Some("INBOX") },
        ),
        ("short-notify", Arrival::Datagram, Dialect::Short, notify),
    ]
    .map(|(name, arrival, dialect, message)| {
        let path = format!("{}/tests/transcripts/push_notify/{name}.bin", env!("CARGO_MANIFEST_DIR"));
        (name, std::fs::read(path).expect("the transcript"), arrival, dialect, message)
    })
    .into()
}

/// The native-endian fixtures were captured on little-endian machines.
#[test]
#[cfg(target_endian = "little")]
fn captured_records_both_ways() {
    for (name, bytes, arrival, dialect, message) in captured() {
        assert_eq!(Message::decode(&bytes, arrival), Ok((dialect, message)), "{name}");
        let mut written = vec![0xff; 3];
        message.encode(dialect, &mut written).expect(name);
        assert!(written == bytes, "{name}: the bytes differ");
    }
}

#[test]
fn argon_tests_send_one_byte_less() {
    let (_, mut bytes, ..) =
        captured().into_iter().find(|(name, ..)| *name == "argon-register").expect("there");
    bytes.pop();
    assert!(matches!(
        Message::decode(&bytes, Arrival::Stream),
        Ok((Dialect::Argon, Message::Register { .. }))
    ));
    assert!(matches!(
        Message::decode(&bytes, Arrival::Datagram),
        Ok((Dialect::Argon, Message::Register { .. }))
    ));
}

#[test]
fn a_field_filled_to_the_brim_has_no_nul() {
    let mut bytes = vec![0; 1680];
    bytes[0] = b'3';
    bytes[16..144].fill(b'a');
    let user = "a".repeat(128);
    assert_eq!(
        Message::decode(&bytes, Arrival::Datagram),
        Ok((Dialect::Osx108, Message::Notify { user: &user, mailbox: None }))
    );
}

#[test]
fn what_is_no_record_is_refused() {
    let mut wrong_type = vec![0; 1672];
    wrong_type[0] = 9;
    wrong_type[8] = b'a';
    let mut no_user = vec![0; 1680];
    no_user[0] = b'3';
    let mut not_text = no_user.clone();
    not_text[16] = 0xff;
    for (bytes, error) in [
        (Vec::new(), DecodeError::Unknown(0)),
        (b"jesse".to_vec(), DecodeError::Unknown(5)),
        (b"\0\0".to_vec(), DecodeError::Empty(1)),
        (b"\0".to_vec(), DecodeError::Empty(1)),
        (vec![b'4'; 1680], DecodeError::Unknown(1680)),
        (wrong_type, DecodeError::MessageType { bytes: 1672, message: 9 }),
        (no_user, DecodeError::Empty(1)),
        (not_text, DecodeError::NotText(1)),
    ] {
        assert_eq!(Message::decode(&bytes, Arrival::Datagram), Err(error));
    }
}

#[test]
fn names_that_a_dialect_cannot_carry() {
    let name = |name: &str| Username::new(name).expect("a name");
    for dialect in [Dialect::Osx108, Dialect::Osx107, Dialect::Osx107Ilp32, Dialect::Argon] {
        assert!(dialect.accepts(&name(&"a".repeat(MAX_USER))).is_ok());
        assert!(dialect.accepts(&name(&"a".repeat(MAX_USER + 1))).is_err());
        assert!(dialect.accepts(&name("jo+x@example.org")).is_ok());
    }
    assert!(Dialect::Short.accepts(&name("jesse-2_a")).is_ok());
    for refused in ["jo@example.org", "Jesse", "2fast", "-x", "jörg"] {
        assert!(Dialect::Short.accepts(&name(refused)).is_err(), "{refused}");
        assert!(Dialect::Osx107.may_be_dropped(refused), "{refused}");
        assert!(!Dialect::Osx108.may_be_dropped(refused), "{refused}");
    }
    assert!(Dialect::Short.accepts(&name(&"a".repeat(1668))).is_ok());
    assert!(Dialect::Short.accepts(&name(&"a".repeat(1669))).is_err(), "as long as a record of 1671 bytes");
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        Just(Dialect::Osx108),
        Just(Dialect::Osx107),
        Just(Dialect::Osx107Ilp32),
        Just(Dialect::Argon),
        Just(Dialect::Short)
    ]
}

proptest! {
    /// What can be written is read as it was meant, whoever reads it.
    #[test]
    fn what_is_written_is_read(
        dialect in dialect(),
        number in 1u8..=4,
        user in "[^\\x00]{1,20}",
        fields in proptest::collection::vec("[^\\x00]{1,60}", 3),
        inbox in any::<bool>(),
    ) {
        let [d2, d3, d4] = [&fields[0], &fields[1], &fields[2]].map(String::as_str);
        let message = match number {
            1 => Message::Create { user: &user },
            2 => Message::Register { user: &user, account_id: d2, device_token: d3, subtopic: d4 },
            3 => Message::Notify { user: &user, mailbox: inbox.then_some(d2) },
            _ => Message::Subscribe { user: &user, account_id: d2, device_token: d3, mailbox: d4 },
        };
        let mut bytes = Vec::new();
        if message.encode(dialect, &mut bytes).is_ok() {
            let arrival = if dialect.is_stream() { Arrival::Stream } else { Arrival::Datagram };
            prop_assert_eq!(Message::decode(&bytes, arrival), Ok((dialect, message)));
            let mut again = Vec::new();
            message.encode(dialect, &mut again).expect("it went once");
            prop_assert_eq!(bytes, again);
        }
    }

    /// Each user whom the map takes can be pushed to in that dialect, and is read back under that very name.
    #[test]
    fn whom_the_map_takes_can_be_named(dialect in dialect(), user in "[a-z][-a-z0-9_@.ÄÖ]{0,140}") {
        let user = Username::new(&user).expect("no control characters");
        let message = Message::Notify { user: user.as_str(), mailbox: None };
        let mut bytes = Vec::new();
        let written = message.encode(dialect, &mut bytes);
        if dialect.accepts(&user).is_ok() {
            prop_assert!(written.is_ok());
            let arrival = if dialect.is_stream() { Arrival::Stream } else { Arrival::Datagram };
            prop_assert_eq!(Message::decode(&bytes, arrival), Ok((dialect, message)));
        }
    }

    /// Nothing that a peer sends does harm, and what is understood can be said again.
    #[test]
    fn any_bytes_are_taken_calmly(
        start in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'3'), any::<u8>()], 0..40),
        size in prop_oneof![Just(0usize), Just(1671), Just(1672), Just(1680), Just(1681), 0usize..2100],
        stream in any::<bool>(),
    ) {
        let mut bytes = start;
        bytes.resize(size, 0);
        let arrival = if stream { Arrival::Stream } else { Arrival::Datagram };
        if let Ok((dialect, message)) = Message::decode(&bytes, arrival) {
            prop_assert!(!message.user().is_empty());
            prop_assert!(!dialect.as_str().is_empty());
        }
    }
}
