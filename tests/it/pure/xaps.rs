//! XAPS: the captured requests both ways, what is tolerated, what is refused, and properties.

use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;
use pushmaild::proto::xaps::{
    BodyError, LineError, MAX_BODY, MAX_LINE, MAX_LIST, Notify, Register, Request, WriteError, parse_line,
    parse_notify, parse_register,
};

/// What the capture of that name says, on both transports.
fn said(name: &str, username: &str) -> Request {
    let notify = |mailbox: &str, events: &[&str]| {
        Request::Notify(Notify {
            username: username.to_owned(),
            mailbox: mailbox.to_owned(),
            events: Some(events.iter().map(|&event| event.to_owned()).collect()),
        })
    };
    match name {
        "01-register" => Request::Register(register(username)),
        "02-notify-message-new" => notify("INBOX", &["MessageNew"]),
        "03-notify-message-append" => notify("INBOX", &["MessageAppend"]),
        "04-notify-flags" => notify("INBOX", &["FlagsClear", "FlagsSet", "MessageRead"]),
        "05-notify-other-mailbox" => notify("Archive", &["MessageAppend"]),
        "06-notify-trash" => notify("INBOX", &["FlagsClear", "FlagsSet", "MessageTrash"]),
        "07-notify-expunge" => notify("INBOX", &["MessageExpunge"]),
        name => panic!("nobody says what {name} means"),
    }
}

fn register(username: &str) -> Register {
    Register {
        username: username.to_owned(),
        account_id: "0715A26B-CA09-4730-A419-793000CA982E".to_owned(),
        device_token: "2918390218931890821908309283098109381029309829018310983092892829".to_owned(),
        subtopic: "com.apple.mobilemail".to_owned(),
        mailboxes: ["INBOX", "Sent Messages", "été"].map(str::to_owned).into(),
    }
}

fn line_of(register: Register) -> String {
    Request::Register(register).to_line().expect("it can be written")
}

/// The captures of a folder: their names without what follows the dot, and their bytes.
fn captured(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(folder);
    let paths: BTreeSet<_> =
        fs::read_dir(folder).expect("the captures").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(paths.len(), 7);
    let read = |path: &Path| fs::read(path).expect("a capture can be read");
    paths
        .iter()
        .map(|path| (path.file_stem().expect("a name").to_str().expect("text").to_owned(), read(path)))
        .collect()
}

/// The request line and the body of a captured request.
fn http(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the headers");
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    (head.lines().next().expect("a request line"), &bytes[end + 4..])
}

#[test]
fn captured_lines_both_ways() {
    for (name, line) in captured("xaps-socket") {
        let request = said(&name, "st@example.org");
        assert_eq!(parse_line(&line).as_ref(), Ok(&request), "{name}");
        assert_eq!(parse_line(&line[..line.len() - 2]).as_ref(), Ok(&request), "{name}, the end cut");
        assert_eq!(
            parse_line(&[&line[..line.len() - 2], b"\n"].concat()).as_ref(),
            Ok(&request),
            "{name}, LF"
        );
        assert_eq!(request.to_line().expect("it was read").as_bytes(), line, "{name}");
    }
}

#[test]
fn captured_bodies_both_ways() {
    for (name, bytes) in captured("xaps-http") {
        let (start, body) = http(&bytes);
        match said(&name, "jo@example.org") {
            Request::Register(register) => {
                assert_eq!(start, "POST /register HTTP/1.1");
                assert_eq!(parse_register(body).as_ref(), Ok(&register), "{name}");
                assert_eq!(register.to_json().expect("it was read").as_bytes(), body, "{name}");
            }
            Request::Notify(notify) => {
                assert_eq!(start, "POST /notify HTTP/1.1");
                assert_eq!(parse_notify(body).as_ref(), Ok(&notify), "{name}");
                assert_eq!(notify.to_json().expect("it was read").as_bytes(), body, "{name}");
            }
        }
    }
}

/// A capture cut off anywhere is refused, or lacks only what may be missing.
#[test]
fn captured_pieces() {
    for (name, line) in captured("xaps-socket") {
        for end in 0..line.len() - 2 {
            let optional = match parse_line(&line[..end]) {
                Ok(Request::Register(register)) => register.mailboxes.is_empty(),
                Ok(Request::Notify(notify)) => notify.events.is_none(),
                Err(_) => true,
            };
            assert!(optional, "{name}, {end} bytes");
        }
    }
    for (name, bytes) in captured("xaps-http") {
        let (_, body) = http(&bytes);
        for end in 0..body.len() {
            assert!(
                parse_register(&body[..end]).is_err() && parse_notify(&body[..end]).is_err(),
                "{name}, {end}"
            );
        }
    }
}

#[test]
fn new_mail_and_changes() {
    for (name, _) in captured("xaps-socket") {
        if let Request::Notify(notify) = said(&name, "jo") {
            assert_eq!(notify.is_new_mail(), name == "02-notify-message-new", "{name}");
        }
    }
    let notify = |body: &str| parse_notify(body.as_bytes()).expect("a notification").is_new_mail();
    assert!(notify(r#"{"Username":"jo","Mailbox":"INBOX"}"#), "an old plugin");
    assert!(notify(r#"{"Username":"jo","Mailbox":"INBOX","Events":null}"#), "an old plugin in Go's words");
    assert!(notify(r#"{"Username":"jo","Mailbox":"INBOX","Events":["FlagsSet","MessageNew"]}"#));
    assert!(!notify(r#"{"Username":"jo","Mailbox":"INBOX","Events":[]}"#), "a plugin that knows events");
}

#[test]
fn lines_that_are_tolerated() {
    let full = register("o'brien\\\"x");
    for line in [
        // In any order, keys of a later plugin with any kind of value between them, escapes that need not be.
        concat!(
            r#"REGISTER dovecot-mailboxes=("INBOX","Sent Messages","&AOk-t&AOk-")"#,
            "\tx=\"a\\\"\tb\"\ty=(\"1\",\"2\")\tz=1=2\tempty=\t",
            r#"dovecot-username="\o'brien\\\"x""#,
            "\taps-subtopic=\"com.apple.mobilemail\"\t",
            "aps-device-token=\"2918390218931890821908309283098109381029309829018310983092892829\"\t",
            "aps-account-id=\"0715A26B-CA09-4730-A419-793000CA982E\"",
        ),
        &line_of(full.clone()),
    ] {
        assert_eq!(parse_line(line.as_bytes()), Ok(Request::Register(full.clone())), "{line}");
    }
    let least =
        "REGISTER aps-account-id=\"A\"\taps-device-token=\"B\"\taps-subtopic=\"C\"\tdovecot-username=\"D\"";
    for line in [least.to_owned(), format!("{least}\tdovecot-mailboxes=()")] {
        let Ok(Request::Register(register)) = parse_line(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(register.mailboxes, [""; 0]);
    }
    assert_eq!(
        parse_line(b"NOTIFY dovecot-username=\"jo\"\tdovecot-mailbox=\"R&D\"\n"),
        Ok(Request::Notify(Notify { username: "jo".to_owned(), mailbox: "R&D".to_owned(), events: None })),
        "an old plugin, and a name that is no modified UTF-7"
    );
}

#[test]
fn lines_that_are_refused() {
    let expected = |what, at| LineError::Expected { what, at };
    for (line, error) in [
        (&b""[..], LineError::Command),
        (b"\r\n", LineError::Command),
        (b"register aps-account-id=\"A\"", LineError::Command),
        (b"REGISTERED x=1", LineError::Command),
        (b"NOTIFY", expected("a space", 6)),
        (b"NOTIFY ", expected("a key and `=`", 7)),
        (b"NOTIFY  x=1", expected("a key and `=`", 7)),
        (b"NOTIFY dovecot-username", expected("a key and `=`", 7)),
        (b"NOTIFY =1", expected("a key and `=`", 7)),
        (b"NOTIFY x=1\t", expected("a key and `=`", 11)),
        (b"NOTIFY dovecot-username=jo", expected("a double quote", 24)),
        (b"NOTIFY dovecot-username=(\"jo\")", expected("a double quote", 24)),
        (b"NOTIFY dovecot-username=\"jo", expected("a double quote", 27)),
        (b"NOTIFY dovecot-username=\"jo\\", expected("a character after the backslash", 28)),
        (b"NOTIFY dovecot-username=\"jo\" x=1", expected("a tab", 28)),
        (b"NOTIFY events=\"MessageNew\"", expected("an opening parenthesis", 14)),
        (b"NOTIFY events=(", expected("a double quote", 15)),
        (b"NOTIFY events=(\"a\"", expected("a comma or a closing parenthesis", 18)),
        (b"NOTIFY events=(\"a\",)", expected("a double quote", 19)),
        (b"NOTIFY events=(a)", expected("a double quote", 15)),
        (b"NOTIFY dovecot-mailbox=\"INBOX\"", LineError::Missing("dovecot-username")),
        (b"NOTIFY dovecot-username=\"jo\"", LineError::Missing("dovecot-mailbox")),
        (b"NOTIFY dovecot-username=\"\"\tdovecot-mailbox=\"a\"", LineError::Empty("dovecot-username")),
        (b"NOTIFY dovecot-username=\"a\"\tdovecot-mailbox=\"\"", LineError::Empty("dovecot-mailbox")),
        (b"NOTIFY events=()\tevents=()", LineError::Duplicate("events")),
        (b"NOTIFY dovecot-username=\"a\"\tdovecot-username=\"a\"", LineError::Duplicate("dovecot-username")),
        (b"NOTIFY x=\"\xff\"", LineError::NotText),
        (b"NOTIFY x=1\nNOTIFY x=1\n", LineError::LineEnd),
        (b"NOTIFY x=1\n\n", LineError::LineEnd),
        (b"NOTIFY x=\"\\\n\"", LineError::LineEnd),
        (b"NOTIFY x=1\r\r\n", LineError::LineEnd),
        (b"NOTIFY x=\"\0\"", LineError::LineEnd),
    ] {
        assert_eq!(parse_line(line), Err(error), "{}", line.escape_ascii());
    }
    let keys = ["aps-account-id", "aps-device-token", "aps-subtopic", "dovecot-username"];
    for missing in keys {
        let line: Vec<_> =
            keys.iter().filter(|&&key| key != missing).map(|key| format!("{key}=\"x\"")).collect();
        let line = format!("REGISTER {}", line.join("\t"));
        assert_eq!(parse_line(line.as_bytes()), Err(LineError::Missing(missing)));
        let line = format!("{line}\t{missing}=\"\"");
        assert_eq!(parse_line(line.as_bytes()), Err(LineError::Empty(missing)));
        assert!(parse_line(line.as_bytes()).expect_err("refused").to_string().contains(missing));
    }
}

#[test]
fn bodies_that_are_tolerated() {
    let least = r#""Username":"D","ApsSubtopic":"C","ApsDeviceToken":"B","ApsAccountId":"A""#;
    for body in [
        format!("{{{least}}}"),
        format!("{{{least},\"Mailboxes\":null}}"),
        format!("\n {{{least},\"Mailboxes\":[],\"Later\":{{\"a\":[1,null]}},\"Later\":2}}\r\n"),
    ] {
        assert_eq!(parse_register(body.as_bytes()).expect(&body).mailboxes, [""; 0]);
    }
}

#[test]
fn bodies_that_are_refused() {
    let json = |column| BodyError::Json { line: 1, column };
    for (body, error) in [
        (r"", json(0)),
        (r#"["jo","INBOX",["MessageNew"]]"#, json(0)),
        (r#"{"Username":"jo","Mailbox":"INBOX"}}"#, json(36)),
        (r#"{"Username":"jo","Username":"jo","Mailbox":"INBOX"}"#, json(27)),
        (r#"{"Username":7,"Mailbox":"INBOX"}"#, json(13)),
        (r#"{"Username":"jo","Mailbox":"INBOX","Events":"MessageNew"}"#, json(56)),
        (r#"{"Username":"jo","Mailbox":"INBOX","Events":[null]}"#, json(49)),
        (r#"{"Username":"\ud800","Mailbox":"INBOX"}"#, json(20)),
        (r#"{"Username":"jo"}"#, BodyError::Missing("Mailbox")),
        (r#"{"Username":null,"Mailbox":"INBOX"}"#, BodyError::Missing("Username")),
        (r#"{"Username":"","Mailbox":"INBOX"}"#, BodyError::Empty("Username")),
        (r#"{"Username":"jo","Mailbox":""}"#, BodyError::Empty("Mailbox")),
    ] {
        assert_eq!(parse_notify(body.as_bytes()), Err(error), "{body}");
    }
    assert!(parse_notify(b"{\"Username\":\"\xff\",\"Mailbox\":\"INBOX\"}").is_err());
    // Deeper than any stack should go.
    assert!(parse_notify(format!("{{\"x\":{}", "[".repeat(60_000)).as_bytes()).is_err());
    let keys = ["ApsAccountId", "ApsDeviceToken", "ApsSubtopic", "Username"];
    for missing in keys {
        let pairs: Vec<_> =
            keys.iter().filter(|&&key| key != missing).map(|key| format!("{key:?}:\"x\"")).collect();
        let body = format!("{{{}}}", pairs.join(","));
        assert_eq!(parse_register(body.as_bytes()), Err(BodyError::Missing(missing)));
    }
}

#[test]
fn limits_are_the_same_for_readers_and_writers() {
    let with = |count: usize| Register { mailboxes: vec!["a".to_owned(); count], ..register("jo") };
    let most = with(MAX_LIST);
    assert_eq!(parse_register(most.to_json().expect("the most").as_bytes()), Ok(most.clone()));
    let line = line_of(most.clone());
    assert_eq!(parse_line(line.as_bytes()), Ok(Request::Register(most.clone())));

    let more = with(MAX_LIST + 1);
    assert_eq!(more.to_json(), Err(WriteError::TooMany("Mailboxes")));
    assert_eq!(Request::Register(more).to_line(), Err(WriteError::TooMany("dovecot-mailboxes")));
    let line = line.replace("=(", "=(\"a\",");
    assert_eq!(parse_line(line.as_bytes()), Err(LineError::TooMany("dovecot-mailboxes")));
    let body = most.to_json().expect("the most").replace(": [", ": [\"a\",");
    assert_eq!(parse_register(body.as_bytes()), Err(BodyError::TooMany("Mailboxes")));

    let user = |length: usize| register(&"u".repeat(length));
    let room = MAX_LINE - (line_of(user(1)).len() - 1);
    let line = line_of(user(room));
    assert_eq!(line.len(), MAX_LINE);
    assert_eq!(parse_line(line.as_bytes()), Ok(Request::Register(user(room))));
    assert_eq!(Request::Register(user(room + 1)).to_line(), Err(WriteError::TooLong(MAX_LINE + 1)));
    let room = MAX_BODY - (user(1).to_json().expect("short").len() - 1);
    let body = user(room).to_json().expect("it just fits");
    assert_eq!(body.len(), MAX_BODY);
    assert_eq!(parse_register(body.as_bytes()), Ok(user(room)));
    assert_eq!(user(room + 1).to_json(), Err(WriteError::TooLong(MAX_BODY + 1)));
    assert_eq!(parse_line(&[b' '; MAX_LINE + 1]), Err(LineError::TooLong(MAX_LINE + 1)));
    assert_eq!(parse_notify(&[b' '; MAX_BODY + 1]), Err(BodyError::TooLong(MAX_BODY + 1)));
}

#[test]
fn nothing_is_written_that_would_not_be_read() {
    let notify = |username: &str, mailbox: &str, events: Option<&str>| Notify {
        username: username.to_owned(),
        mailbox: mailbox.to_owned(),
        events: events.map(|event| vec![event.to_owned()]),
    };
    for (notify, error) in [
        (notify("", "INBOX", None), WriteError::Empty("dovecot-username")),
        (notify("jo", "", None), WriteError::Empty("dovecot-mailbox")),
        (notify("j\no", "INBOX", None), WriteError::LineEnd("dovecot-username")),
        (notify("jo", "INBOX", Some("a\0")), WriteError::LineEnd("events")),
    ] {
        assert_eq!(Request::Notify(notify).to_line(), Err(error));
    }
    let odd = notify("jo", "a\n\0b", Some(""));
    let line = Request::Notify(odd.clone()).to_line().expect("modified UTF-7 has room for a line end");
    assert_eq!(parse_line(line.as_bytes()), Ok(Request::Notify(odd)));
}

/// Errors and panics end in logs.
#[test]
fn tokens_are_not_shown() {
    let register = register("jo");
    let token = register.device_token.clone();
    assert!(!format!("{register:?}{:#?}", Request::Register(register.clone())).contains(&token[..4]));
    let line = line_of(register.clone());
    let line = line.replace(&format!("aps-account-id=\"{}\"\t", register.account_id), "");
    let errors = [
        parse_line(line.as_bytes()).expect_err("no account").to_string(),
        parse_line(line.replace("\taps-sub", &format!("\t{token}-sub")).as_bytes())
            .expect_err("no account")
            .to_string(),
        parse_line(line.replace('\t', "").as_bytes()).expect_err("no tabs").to_string(),
        parse_register(format!("{{\"Mailboxes\":\"{token}\"}}").as_bytes()).expect_err("no list").to_string(),
        parse_register(format!("{{\"{token}\":1}}").as_bytes()).expect_err("nothing known").to_string(),
    ];
    assert!(errors.iter().all(|error| !error.contains(&token[..4])), "{errors:?}");
}

fn list() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(any::<String>(), 0..5)
}

proptest! {
    /// What can be written is read as it was meant, and written as it was.
    #[test]
    fn registrations_go_around(fields in proptest::array::uniform4("[^\\x00\\r\\n]{1,20}"), mailboxes in list()) {
        let [username, account_id, device_token, subtopic] = fields;
        let register = Register { username, account_id, device_token, subtopic, mailboxes };
        let line = line_of(register.clone());
        let read = parse_line(line.as_bytes()).expect("it was written");
        prop_assert_eq!(&read, &Request::Register(register.clone()));
        prop_assert_eq!(read.to_line(), Ok(line));
        let body = register.to_json().expect("it can be written");
        let read = parse_register(body.as_bytes()).expect("it was written");
        prop_assert_eq!(&read, &register);
        prop_assert_eq!(read.to_json(), Ok(body));
    }

    #[test]
    fn notifications_go_around(
        username in "[^\\x00\\r\\n]{1,20}",
        mailbox in ".{1,20}",
        events in proptest::option::of(proptest::collection::vec("[^\\x00\\r\\n]{0,20}", 0..5)),
    ) {
        let notify = Notify { username, mailbox, events };
        let request = Request::Notify(notify.clone());
        let line = request.to_line().expect("it can be written");
        let read = parse_line(line.as_bytes()).expect("it was written");
        prop_assert_eq!(&read, &request);
        prop_assert_eq!(read.to_line(), Ok(line));
        let body = notify.to_json().expect("it can be written");
        let read = parse_notify(body.as_bytes()).expect("it was written");
        prop_assert_eq!(&read, &notify);
        prop_assert_eq!(read.to_json(), Ok(body));
    }

    /// Pieces of the grammar in any order: nothing panics, and what is understood goes around.
    #[test]
    fn near_misses_are_taken_calmly(pieces in proptest::collection::vec(
        prop::sample::select(vec![
            "REGISTER ", "NOTIFY ", "dovecot-username=", "dovecot-mailbox=", "events=", "dovecot-mailboxes=", "x=",
            "\"jo\"", "\"", "\\", "(", ")", ",", "\t", " ", "\r\n", "\n", "é", "&AOk-", "=", "()", "(\"a\",\"b\")",
        ]), 0..14),
    ) {
        let line = pieces.concat();
        pushmaild::fuzzing::xaps_line(line.as_bytes());
        pushmaild::fuzzing::xaps_line(format!("NOTIFY dovecot-username=\"jo\"\tdovecot-mailbox=\"a\"\t{line}").as_bytes());
    }
}
