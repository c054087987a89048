//! As much of an IMAP client (RFC 3501) as the tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::PATIENCE;

const MESSAGE: &str = "From: sender@example.com\r\n\
    Subject: appended\r\n\
    \r\n\
    Hello.\r\n";

/// One connection, logged in. A command that is not answered with OK fails the test.
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    commands: u32,
}

impl Imap {
    pub(super) fn login(stream: TcpStream, user: &str, password: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        let mut client = Self { stream: BufReader::new(stream), commands: 0 };
        let greeting = client.read_response();
        assert!(greeting.starts_with("* OK"), "the greeting: {greeting}");
        client.run(&format!("LOGIN {user} {password}"));
        client
    }

    /// Sends a command, waits until it is done, and returns the untagged responses.
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
        let tag = self.send(command);
        self.wait_tagged(&tag, command)
    }

    /// Appends a message with flags as IMAP writes them, such as `\Seen`, or none.
    pub(crate) fn append(&mut self, mailbox: &str, flags: &str) {
        // LITERAL+ (RFC 7888): the server need not say that it is ready for the message.
        let len = MESSAGE.len();
        self.run(&format!("APPEND {mailbox} ({flags}) {{{len}+}}\r\n{MESSAGE}"));
    }

    /// Waits in IDLE (RFC 2177) while `event` happens, until the server reports a new message.
    pub(crate) fn idle_during(&mut self, event: impl FnOnce()) {
        let tag = self.send("IDLE");
        self.wait_for("the continuation of IDLE", |line| line.starts_with('+'));
        event();
        self.wait_for("EXISTS", |line| line.ends_with(" EXISTS"));
        self.write("DONE\r\n");
        self.wait_tagged(&tag, "IDLE");
    }

    fn send(&mut self, command: &str) -> String {
        self.commands += 1;
        let tag = format!("c{}", self.commands);
        self.write(&format!("{tag} {command}\r\n"));
        tag
    }

    fn write(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("the IMAP server reads");
    }

    fn wait_tagged(&mut self, tag: &str, command: &str) -> Vec<String> {
        let mut untagged = Vec::new();
        loop {
            let response = self.read_response();
            let Some(status) = response.strip_prefix(tag) else {
                untagged.push(response);
                continue;
            };
            assert!(status.starts_with(" OK"), "{command}: {response}");
            return untagged;
        }
    }

    fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        loop {
            let response = self.read_response();
            assert!(!response.starts_with("* BYE"), "{what}: {response}");
            if is_it(&response) {
                return;
            }
        }
    }

    /// Reads one response without its line end; literals in it stay where they are.
    fn read_response(&mut self) -> String {
        let mut response = String::new();
        loop {
            let read = self.stream.read_line(&mut response);
            let read = read.expect("the IMAP server answers");
            assert!(read > 0, "the IMAP server closed the connection");
            let line = response.trim_end_matches("\r\n");
            let Some(len) = literal_len(line) else {
                return line.to_owned();
            };
            let mut literal = vec![0; len];
            let read = self.stream.read_exact(&mut literal);
            read.expect("the IMAP server sends the literal");
            response.push_str(&String::from_utf8_lossy(&literal));
        }
    }
}

/// The length of the literal that this line announces, as `{310}` at its end.
fn literal_len(line: &str) -> Option<usize> {
    let (_, announced) = line.strip_suffix('}')?.rsplit_once('{')?;
    announced.parse().ok()
}
