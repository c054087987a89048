//! What each fuzz target of `fuzz/` proves: a function of any bytes, which panics where a parser breaks its word.
//!
//! The targets are one call each of these, and a test calls them with the kept corpus, so that what a fuzzer once found is tried in
//! every run of the tests, without a fuzzer. No part of the library's interface.

#![allow(missing_docs, reason = "fuzz/README.md says what each one proves")]

use std::time::Duration;

use crate::{
    mailbox::{mailbox_name as name, map_file as map},
    proto::{
        push_notify::{Arrival, DecodeError, Dialect, EncodeError, Message},
        xaps::{self, MAX_BODY, MAX_LINE, WriteError},
    },
    registry::{
        Timestamp,
        import::{self, Format, Owner},
    },
    sink::apns::answer::{self, Verdict},
};

/// What one target does with any bytes.
pub type Body = fn(&[u8]);

/// All targets. A new one needs its function here, a file in `fuzz/fuzz_targets/`, a `[[bin]]` in `fuzz/Cargo.toml`, seeds in
/// `fuzz/corpus/` and a line in the table of `fuzz/README.md`; the tests fail if one of the first four is forgotten.
pub const TARGETS: &[(&str, Body)] = &[
    ("apns_answer", apns_answer),
    ("import_file", import_file),
    ("mailbox_name", mailbox_name),
    ("map_file", map_file),
    ("push_notify_record", push_notify_record),
    ("redis_answer", redis_answer),
    ("xaps_http_body", xaps_http_body),
    ("xaps_line", xaps_line),
];

/// The first two bytes are the status.
pub fn apns_answer(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk() else { return };
    let status = u16::from_be_bytes(*status);
    let is_short = |text: &str| {
        assert!(text.len() <= 100 && text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    };
    is_short(&answer::reason(body));
    match answer::judge(status, body, Some(Duration::MAX), Timestamp(0)) {
        Verdict::Accepted => assert_eq!(status, 200),
        Verdict::Registration(answer) => {
            assert!(matches!(status, 400 | 410));
            is_short(&answer.text());
        }
        Verdict::Throttled(after) | Verdict::Unavailable(after) => {
            assert!(status >= 400 && after <= Some(Duration::from_secs(3600)));
        }
        Verdict::ProviderToken => assert_eq!(status, 403),
        Verdict::Credential(text) | Verdict::OurBug(text) => is_short(&text),
    }
}

pub fn import_file(data: &[u8]) {
    let Ok(parsed) = import::parse(data) else { return };
    // A binary property list may say the same more than once, but only so often.
    assert!(parsed.found.len() + parsed.left.len() <= 2 * data.len(), "more than there is");
    let one_line = |text: &str| assert!(!text.contains(char::is_control), "a message of one line: {text:?}");
    for left in &parsed.left {
        one_line(&left.what);
        one_line(&left.why);
    }
    let mut written = String::from("first:ID,ab,s\n");
    for found in &parsed.found {
        one_line(&found.what);
        one_line(&found.subtopic);
        assert!(found.at.is_none_or(|at| at.0 > 0), "before 1970");
        if let (Format::Pushnotify, Owner::User(user)) = (parsed.format, &found.owner) {
            // 0 is no time, and has to be there: a subtopic that is a number would be one.
            let at = found.at.map_or(0, |at| at.0 / 1000);
            let (account, token) = (found.account.as_str(), found.token.to_hex());
            written.push_str(&format!("{user}:{account},{token},{},{at}\n", found.subtopic));
        }
    }
    if parsed.format == Format::Pushnotify {
        let again = import::parse(written.as_bytes()).expect("what was read can be written");
        assert_eq!((again.found.len(), again.left.len()), (parsed.found.len() + 1, 0));
        for (again, found) in again.found[1..].iter().zip(&parsed.found) {
            assert_eq!(
                (&again.owner, &again.account, &again.token, &again.subtopic, again.at),
                (&found.owner, &found.account, &found.token, &found.subtopic, found.at)
            );
        }
    }
}

pub fn mailbox_name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let raw = name::encode(&text);
    assert!(raw.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not printable");
    assert_eq!(name::decode(&raw).as_deref(), Ok(&*text), "what was encoded");
    match name::decode(&text) {
        Ok(decoded) => assert_eq!(name::encode(&decoded), text, "what was decoded"),
        Err(name::NotModifiedUtf7) => assert_eq!(name::decode_or_keep(text.to_string()), text),
    }
    let hash = name::hash(&text);
    assert!(hash.len() == 32 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
}

pub fn map_file(data: &[u8]) {
    match map::MapFile::read(data) {
        Ok(file) => {
            let mut written = String::new();
            for line in file.lines() {
                written.push_str(&format!("{}: {}\n", line.user, line.maildir.display()));
            }
            let again = map::MapFile::read(written.as_bytes()).expect("what was read can be written");
            let said = |file: &map::MapFile| -> Vec<_> {
                file.lines().map(|line| (line.user.to_owned(), line.maildir.to_owned())).collect()
            };
            assert_eq!(said(&again), said(&file));
        }
        Err(map::ReadError::Io(error)) => panic!("memory can be read: {error}"),
        Err(map::ReadError::Line(error)) => {
            let line = data.split(|&byte| byte == b'\n').nth(error.line - 1).expect("a line of the file");
            let characters = String::from_utf8_lossy(line).chars().count();
            assert!((1..=characters + 1).contains(&error.column), "column {} of {characters}", error.column);
            assert!(!error.to_string().contains(char::is_control), "a message of one line");
        }
    }
}

pub fn push_notify_record(data: &[u8]) {
    for arrival in [Arrival::Datagram, Arrival::Stream] {
        let (dialect, message) = match Message::decode(data, arrival) {
            Ok(read) => read,
            Err(DecodeError::NotText(field) | DecodeError::Empty(field)) => {
                assert!((1..=4).contains(&field));
                continue;
            }
            Err(DecodeError::Unknown(bytes) | DecodeError::MessageType { bytes, .. }) => {
                assert_eq!(bytes, data.len());
                continue;
            }
        };
        assert!(!message.user().is_empty() && !message.user().contains('\0'));
        let mut written = Vec::new();
        match message.encode(dialect, &mut written) {
            Ok(()) => {
                let arrival = if dialect.is_stream() { Arrival::Stream } else { Arrival::Datagram };
                assert_eq!(Message::decode(&written, arrival), Ok((dialect, message)));
            }
            // Senders may fill a field to the brim; we never do.
            Err(EncodeError::Field(field)) => {
                let (texts, room) = fields(&message);
                assert!(texts[field - 1].len() >= room[field - 1] || dialect == Dialect::Short);
            }
            // Read because somebody once sent it, and never sent by us.
            Err(EncodeError::Message(_)) => assert!(matches!(
                (dialect, message),
                (Dialect::Argon, Message::Create { .. })
                    | (Dialect::Osx108 | Dialect::Osx107, Message::Notify { mailbox: Some(_), .. })
            )),
        }
    }
}

fn fields<'a>(message: &Message<'a>) -> ([&'a str; 4], [usize; 4]) {
    let texts = match *message {
        Message::Create { user } => [user, "", "", ""],
        Message::Notify { user, mailbox } => [user, mailbox.unwrap_or_default(), "", ""],
        Message::Register { user, account_id, device_token, subtopic: last }
        | Message::Subscribe { user, account_id, device_token, mailbox: last } => {
            [user, account_id, device_token, last]
        }
    };
    (texts, [128, 512, 512, 512])
}

pub fn redis_answer(data: &[u8]) {
    if let Some(bytes) = import::redis::bytes_of_answer(data) {
        assert!(bytes <= data.len(), "more than there is");
    }
}

pub fn xaps_http_body(data: &[u8]) {
    if let Ok(register) = xaps::parse_register(data) {
        check_register(&register);
        match register.to_json() {
            Ok(body) => assert_eq!(xaps::parse_register(body.as_bytes()), Ok(register)),
            Err(error) => assert_grew(&error, data, MAX_BODY),
        }
    }
    if let Ok(notify) = xaps::parse_notify(data) {
        check_notify(&notify);
        match notify.to_json() {
            Ok(body) => assert_eq!(xaps::parse_notify(body.as_bytes()), Ok(notify)),
            Err(error) => assert_grew(&error, data, MAX_BODY),
        }
    }
}

pub fn xaps_line(data: &[u8]) {
    let request = match xaps::parse_line(data) {
        Ok(request) => request,
        Err(error) => {
            if let xaps::LineError::Expected { at, .. } = error {
                assert!(at <= data.len());
            }
            return;
        }
    };
    match &request {
        xaps::Request::Register(register) => check_register(register),
        xaps::Request::Notify(notify) => check_notify(notify),
    }
    match request.to_line() {
        Ok(line) => {
            assert!(line.len() <= MAX_LINE);
            assert_eq!(line.find(['\n', '\r', '\0']), Some(line.len() - 2), "one line");
            assert_eq!(xaps::parse_line(line.trim_end().as_bytes()).as_ref(), Ok(&request));
            assert_eq!(xaps::parse_line(line.as_bytes()), Ok(request));
        }
        Err(error) => assert_grew(&error, data, MAX_LINE),
    }
}

fn check_register(register: &xaps::Register) {
    let must = [&register.username, &register.account_id, &register.device_token, &register.subtopic];
    assert!(must.iter().all(|field| !field.is_empty()));
    assert!(register.mailboxes.len() <= xaps::MAX_LIST);
}

fn check_notify(notify: &xaps::Notify) {
    assert!(!notify.username.is_empty() && !notify.mailbox.is_empty());
    assert!(notify.events.as_ref().is_none_or(|events| events.len() <= xaps::MAX_LIST));
}

/// The only reason why what was read cannot be written: names that were not escaped or encoded as we do become longer, at most by the
/// factor of a character of two bytes in modified UTF-7.
fn assert_grew(error: &WriteError, data: &[u8], most: usize) {
    assert!(matches!(error, WriteError::TooLong(_)), "{error}");
    assert!(data.len() > most / 6, "{} bytes became too long", data.len());
}
