//! The registry: what any store has to do, the life of registrations, and disks that fail.

mod changes;
mod contract;
mod disks;
mod group_commit;
mod kill;
mod mounts;
mod service;
mod sqlite;

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use pushmaild::mailbox::Username;
use pushmaild::registry::{Key, NewRegistration, Registration, State, Store, Timestamp};

use crate::support::{Config, PATIENCE, Site, eventually};

const DAY: i64 = 24 * 3600 * 1000;
const TOPIC: &str = "com.apple.mail.XServer.2f8a3c1e-0000-4000-8000-000000000000";

fn user(name: &str) -> Username {
    Username::new(name).expect("a good name")
}

fn key(user_name: &str, token: &str, account: &str) -> Key {
    Key {
        user: user(user_name),
        token: token.parse().expect("hexadecimal digits"),
        account: account.parse().expect("a good id"),
    }
}

/// A device registers, with the topic that it was told.
fn new(key: Key, at: i64) -> NewRegistration {
    NewRegistration {
        key,
        subtopic: "com.apple.mobilemail".to_owned(),
        topic: Some(TOPIC.parse().expect("a topic")),
        mailboxes: vec!["INBOX".to_owned()],
        acknowledged: Vec::new(),
        at: Timestamp(at),
    }
}

/// What the store has of a device that has registered once.
fn registration(key: Key, at: i64) -> Registration {
    let NewRegistration { key, subtopic, topic, mailboxes, acknowledged, at } = new(key, at);
    Registration {
        key,
        subtopic,
        topic,
        mailboxes,
        acknowledged,
        first_registered: at,
        last_registered: at,
        last_push: None,
        last_answer: None,
        bad_answers: 0,
        state: State::Active,
    }
}

/// Everything in the store, in the order of the keys.
#[track_caller]
fn all(store: &mut dyn Store) -> Vec<Registration> {
    let mut all = Vec::new();
    store.for_each(&mut |registration| all.push(registration)).expect("the store can be read");
    all.sort_by(|one, other| one.key.cmp(&other.key));
    all
}

/// The names of the users in the store.
#[track_caller]
fn users(store: &mut dyn Store) -> Vec<String> {
    let mut users: Vec<_> = all(store).into_iter().map(|it| it.key.user.to_string()).collect();
    users.dedup();
    users
}

/// A daemon that takes registrations over a Unix socket, without Apple.
fn config(site: &Site, database: &Path) -> Config {
    let socket = site.path("xaps");
    site.config()
        .set("listen.xaps-socket", &socket.to_string_lossy())
        .set("registry.url", &format!("sqlite://{}", database.display()))
        .set("apns.topic", TOPIC)
}

/// Dovecot's plugin by st3fan, as far as it registers.
struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon of [`config`], as soon as it listens.
    fn connect(site: &Site) -> Self {
        let stream = eventually("a socket to connect to", || UnixStream::connect(site.path("xaps")).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        Self { reader: BufReader::new(stream) }
    }

    /// Registers `user`'s device.
    fn send(&mut self, user: &str) -> io::Result<()> {
        let line = format!(
            "REGISTER aps-account-id=\"E8CD34AC\"\taps-device-token=\"{:064x}\"\taps-subtopic=\"com.apple.mobilemail\"\tdovecot-username=\"{user}\"\tdovecot-mailboxes=(\"INBOX\")\r\n",
            u128::from_be_bytes(*b"a device's token"),
        );
        self.reader.get_mut().write_all(line.as_bytes())
    }

    /// Waits for the answer, which has to be the topic. An error if the daemon has gone.
    fn answered(&mut self) -> io::Result<()> {
        let mut answer = String::new();
        self.reader.read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert_eq!(answer, format!("OK {TOPIC}\n"));
        Ok(())
    }

    #[track_caller]
    fn register(&mut self, user: &str) {
        self.send(user).expect("the daemon reads");
        self.answered().expect("the daemon answers");
    }
}

/// What an answer may take beyond the time that it is promised in: other tests run as well.
const SLACK: Duration = Duration::from_secs(5);
