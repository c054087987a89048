//! As much of an LMTP client (RFC 2033) as a delivery takes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::support::PATIENCE;

const MESSAGE: &str = "From: sender@example.com\r\n\
    Subject: hello\r\n\
    \r\n\
    Hello.\r\n";

/// One session. A reply other than the expected one fails the test.
pub(crate) struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    pub(super) fn start(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut session = Self { stream: BufReader::new(stream) };
        session.expect_reply("220");
        session.command("LHLO client.test", "250");
        session
    }

    /// Delivers one message, which is in the Maildir when this returns.
    pub(crate) fn deliver(&mut self, user: &str) {
        self.deliver_to_all(&[user]);
    }

    /// Delivers one message to several users, in one transaction.
    pub(crate) fn deliver_to_all(&mut self, users: &[&str]) {
        self.command("MAIL FROM:<sender@example.com>", "250");
        for user in users {
            self.command(&format!("RCPT TO:<{user}>"), "250");
        }
        self.command("DATA", "354");
        self.send(&format!("{MESSAGE}."));
        // One reply for each recipient: what LMTP has over SMTP.
        for _ in users {
            self.expect_reply("250");
        }
    }

    fn command(&mut self, line: &str, code: &str) {
        self.send(line);
        self.expect_reply(code);
    }

    fn send(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the LMTP server reads");
    }

    /// Reads a reply of any number of lines; the last has a space after the code.
    fn expect_reply(&mut self, code: &str) {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            read.expect("the LMTP server answers");
            assert!(line.starts_with(code), "expected {code}: {line:?}");
            if line.as_bytes().get(3) == Some(&b' ') {
                return;
            }
        }
    }
}
