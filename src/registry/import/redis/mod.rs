//! The Redis database of argon's `push_notify`, read from the live server.
//!
//! ```text
//! pn:<user>:device                               set of <token>:<account-id>
//! pn:<user>:<token>:<account-id>:subscriptions   set of MD5 of mailbox names, lower-case hex
//! ```
//!
//! What these keys mean is here; how the server is found is in `server.rs`, and how it is asked in `client.rs`. Own code, because the
//! crate redis brings some forty others for its URLs and its own notions of commands and clusters.

mod client;
mod server;

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
};

use thiserror::Error;

use super::{Entry, Format, Parsed, Whose, shown};
use crate::mailbox::mailbox_name;

use client::Client;

pub(crate) use client::bytes_of_answer;
pub use server::Server;

/// What all keys begin with.
const PREFIX: &str = "pn:";
const DEVICE: &str = ":device";
/// Mailboxes that phones ask for; a hash of anything else cannot be read.
const NAMES: [&str; 26] = [
    "INBOX",
    "Drafts",
    "Sent",
    "Sent Messages",
    "Sent Items",
    "Sent Mail",
    "Trash",
    "Deleted Messages",
    "Deleted Items",
    "Junk",
    "Junk E-mail",
    "Junk Email",
    "Spam",
    "Bulk Mail",
    "Archive",
    "Archives",
    "All Mail",
    "Notes",
    "Templates",
    "Outbox",
    "Flagged",
    "Starred",
    "Important",
    "VIP",
    "Apple Mail To Do",
    "Apple Mail Stored",
];
/// Servers that keep all folders below INBOX put this before a name.
const BELOW: [&str; 3] = ["", "INBOX.", "INBOX/"];
/// How many questions are asked before the answers are read.
const AT_ONCE: usize = 500;

/// Why a store in Redis cannot be read.
#[derive(Debug, Error)]
pub enum RedisError {
    /// The address is wrong. What it says is not repeated, for it may have a password in it.
    #[error("the address of the Redis server is wrong: {0}")]
    Url(&'static str),
    /// Nobody there.
    #[error("cannot connect to {server}: {error}")]
    Connect {
        /// Where.
        server: Server,
        /// Why.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the Redis server: {0}")]
    Io(#[from] io::Error),
    /// The server says no.
    #[error("the Redis server says: {0}")]
    Refused(String),
    /// It speaks something else.
    #[error("this does not answer as a Redis server does")]
    Protocol,
}

impl RedisError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Url(_) => "write it as `redis://localhost`, with all parts `redis://:PASSWORD@HOST:6379/0`",
            Self::Connect { .. } => "is the server running, and is that its address?",
            Self::Refused(said) if said.starts_with("NOAUTH") || said.starts_with("WRONGPASS") => {
                "give the password that push_notify has: redis://:PASSWORD@HOST; what is no letter or digit as %XX"
            }
            Self::Refused(_) | Self::Io(_) => "nothing was changed, here or there: it can be tried again",
            Self::Protocol => {
                "a server that wants TLS cannot be read: go through stunnel or on the machine itself"
            }
        }
    }
}

/// Reads the whole store.
fn store(client: &mut Client<impl Write, impl BufRead>) -> Result<Parsed, RedisError> {
    let names = names();
    let mut parsed = Parsed::new(Format::Argon);
    for keys in client.keys(&format!("{PREFIX}*{DEVICE}"))?.chunks(AT_ONCE) {
        let mut devices = Vec::new();
        for (key, members) in keys.iter().zip(client.members(keys)?) {
            let what = format!("key `{}`", shown(&String::from_utf8_lossy(key)));
            match (user_of(key), members) {
                (None, _) => parsed.leave(what, "the user name is not UTF-8"),
                (_, Err(why)) => parsed.leave(what, why),
                (Some(user), Ok(mut members)) => {
                    members.sort_unstable();
                    devices.extend(members.into_iter().map(|member| (user, what.clone(), member)));
                }
            }
        }
        for devices in devices.chunks(AT_ONCE) {
            let keys: Vec<_> = devices.iter().map(|(user, _, member)| subscriptions(user, member)).collect();
            for ((user, what, member), hashes) in devices.iter().zip(client.members(&keys)?) {
                // Without a list of mailboxes the device is as good.
                add(&mut parsed, &names, user, what.clone(), member, &hashes.unwrap_or_default());
            }
        }
    }
    Ok(parsed)
}

/// The name is what is between the prefix and the last word, colons included.
fn user_of(key: &[u8]) -> Option<&str> {
    let user = key.strip_prefix(PREFIX.as_bytes())?.strip_suffix(DEVICE.as_bytes())?;
    std::str::from_utf8(user).ok()
}

fn subscriptions(user: &str, member: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), user.as_bytes(), b":", member, b":subscriptions"].concat()
}

fn names() -> HashMap<String, String> {
    let below = |name: &&str| BELOW.map(|prefix| format!("{prefix}{name}"));
    NAMES.iter().flat_map(below).map(|name| (mailbox_name::hash(&name), name)).collect()
}

fn add(
    parsed: &mut Parsed,
    names: &HashMap<String, String>,
    user: &str,
    what: String,
    member: &[u8],
    hashes: &[Vec<u8>],
) {
    // A token has no colon.
    let device = std::str::from_utf8(member).ok().and_then(|member| member.split_once(':'));
    let Some((token, account)) = device else {
        return parsed.leave(what, "a member is not `<token>:<account-id>`");
    };
    let name = |hash: &Vec<u8>| names.get(std::str::from_utf8(hash).ok()?).cloned();
    let mut mailboxes: Vec<String> = hashes.iter().filter_map(name).collect();
    mailboxes.sort_unstable();
    let unknown = hashes.len() - mailboxes.len();
    let before = parsed.found.len();
    parsed.add(Entry {
        what: format!("{what}, account `{}`", shown(account)),
        user: Whose::User(user),
        account,
        token,
        subtopic: "",
        mailboxes,
        at: None,
    });
    if let Some(found) = parsed.found.get_mut(before) {
        found.unknown_mailboxes = unknown;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::import::Owner;

    /// A client with a server that says this, whatever it is asked.
    fn client(said: &str) -> Client<Vec<u8>, &[u8]> {
        Client { questions: Vec::new(), answers: said.as_bytes() }
    }

    fn said(words: &[&str]) -> String {
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), words.collect::<String>())
    }

    #[test]
    fn reads_a_store() {
        let scan = |next: &str, keys: &[&str]| format!("*2\r\n${}\r\n{next}\r\n{}", next.len(), said(keys));
        let inbox = mailbox_name::hash("INBOX");
        let answers = [
            scan("17", &["pn:x:y@z:device", "pn:list:device"]),
            // Twice, as SCAN may.
            scan("0", &["pn:x:y@z:device"]),
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_owned(),
            said(&["ab:ID", "zz:ID", "nothing"]),
            said(&[&inbox, &"0".repeat(32)]),
            "-WRONGTYPE\r\n".to_owned(),
            said(&[]),
        ];
        let answers = answers.concat();
        let mut client = client(&answers);
        let parsed = store(&mut client).expect("a store");
        let asked = String::from_utf8_lossy(&client.questions).into_owned();
        assert!(asked.contains("SCAN") && asked.contains("pn:*:device") && asked.contains("\r\n17\r\n"));
        assert!(asked.contains("pn:x:y@z:ab:ID:subscriptions"), "{asked}");
        let [found] = &parsed.found[..] else { panic!("{:?}", parsed.found) };
        assert!(matches!(&found.owner, Owner::User(user) if user.as_str() == "x:y@z"));
        assert_eq!((&found.mailboxes[..], found.unknown_mailboxes), (&["INBOX".to_owned()][..], 1));
        let left: Vec<_> = parsed.left.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(
            left,
            ["key `pn:list:device`", "key `pn:x:y@z:device`", "key `pn:x:y@z:device`, account `ID`"]
        );
    }

    #[test]
    fn what_is_no_redis_is_an_error() {
        for (said, wanted) in [
            ("HTTP/1.1 400 Bad Request\r\n", "this does not answer as a Redis server does"),
            ("", "the connection to the Redis server: unexpected end of file"),
            (
                "-NOAUTH Authentication required.\r\n",
                "the Redis server says: NOAUTH Authentication required.",
            ),
            ("*2\r\n$1\r\n0\r\n", "the connection to the Redis server: unexpected end of file"),
            ("$9999999999999\r\n", "this does not answer as a Redis server does"),
            ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "this does not answer as a Redis server does"),
            ("*-1\r\n", "this does not answer as a Redis server does"),
            ("*2\r\n$1\r\n0\r\n*-1\r\n", "this does not answer as a Redis server does"),
        ] {
            let error = store(&mut client(said)).expect_err(said);
            assert_eq!(error.to_string(), wanted, "{said:?}");
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(said in "([*$+:-][0-9-]{0,3}\r\n|[a-z0]{0,4}\r\n){0,12}") {
            let _ = store(&mut client(&said));
        }
    }
}
