//! Devices, from the registration to the push: the real daemon, with the simulator in Apple's place.

mod dovecot;
mod hints;
mod late;
mod life;
mod watched;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::support::{Apns, Config, Site};

/// A device token and an account id as phones send them.
const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";
const OTHER_TOKEN: &str = "a66216ad1683d48b9933cdcc3b98a833ee1a968143f41ea494187da54715da66";
const ACCOUNT: &str = "0715A26B-CA09-4730-A419-793000CA982E";
const OTHER_ACCOUNT: &str = "E8CD34AD-98D3-4489-A6BB-86B1D082FECE";
/// The topic that the simulator's certificate has.
const TOPIC: &str = "com.apple.mobilemail.push.example";

/// The site's configuration with Apple as the only sink. All mailboxes are watched from the start, so that a delivery just after a
/// registration is one event and nothing else.
fn config(site: &Site, apns: &Apns) -> Config {
    site.config()
        .without("push-notify")
        .set("apns.certificate", &apns.file("client.pem"))
        .set("apns.ca-file", &apns.file("ca.pem"))
        .set("apns.endpoint", &apns.endpoint())
        .set("watch.mailboxes", "all")
        .set("registry.url", "sqlite:registry.db")
        .set("listen.xaps-socket", "xapsd.sock")
}

/// Says one line to the daemon's XAPS socket, as st3fan's plugin would, and returns the answer.
#[track_caller]
fn say(site: &Site, line: &str) -> String {
    let mut socket = UnixStream::connect(site.path("xapsd.sock")).expect("the daemon listens");
    socket.write_all(line.as_bytes()).expect("the daemon reads");
    socket.write_all(b"\r\n").expect("the daemon reads");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("the daemon answers");
    answer
}

/// Registers a device and checks that the phone is told the topic.
#[track_caller]
fn register(site: &Site, user: &str, token: &str, account: &str) {
    let line = format!(
        "REGISTER aps-account-id=\"{account}\"\taps-device-token=\"{token}\"\taps-subtopic=\"com.apple.mobilemail\"\tdovecot-username=\"{user}\"\tdovecot-mailboxes=(\"INBOX\")"
    );
    assert_eq!(say(site, &line), format!("OK {TOPIC}\n"));
}
