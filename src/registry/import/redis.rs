//! The Redis database of argon's `push_notify`, read from the live server.
//!
//! ```text
//! pn:<user>:device                               set of <token>:<account-id>
//! pn:<user>:<token>:<account-id>:subscriptions   set of MD5 of mailbox names, lower-case hex
//! ```
//!
//! Two commands that only read, `SCAN` and `SMEMBERS`. Own code, because the crate redis brings some forty others for its URLs and
//! its own notions of commands and clusters.

use std::{
    collections::HashMap,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use thiserror::Error;

use super::{Entry, Format, Parsed, Whose, shown};
use crate::mailbox::mailbox_name;

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

const CONNECT: Duration = Duration::from_secs(5);
/// A server that saves its data may not answer for a while.
const ANSWER: Duration = Duration::from_secs(30);
/// How many questions are asked before the answers are read.
const AT_ONCE: usize = 500;
/// The most bytes of a line, and of a key or a member: far beyond what the daemon writes.
const MAX_LINE: u64 = 64 * 1024;
const MAX_BULK: usize = 1024 * 1024;
/// `SCAN` has a list in a list.
const DEPTH: usize = 4;

/// Where the server is, and what it wants to hear.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

/// Without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "redis://{host}:{}/{}", self.port, self.database)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

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

impl Server {
    /// Is this an address rather than a file?
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        ["redis://", "rediss://", "redis+unix://", "valkey://"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, RedisError> {
        let rest = url.strip_prefix("redis://").or_else(|| url.strip_prefix("valkey://"));
        let rest = rest.ok_or(RedisError::Url("only redis:// is known, without TLS"))?;
        // A password may have an unescaped slash or @ in it, a host has not.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => {
                number.parse().map_err(|_| RedisError::Url("the database after `/` is not a number"))?
            }
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(RedisError::Url("no `]` after the address"))?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port {
            "" => 6379,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .ok_or(RedisError::Url("the port is not a number"))?,
        };
        if host.is_empty() {
            return Err(RedisError::Url("there is no host"));
        }
        let unescape = |text: &str| {
            unescape(text).ok_or(RedisError::Url("the user or the password has a `%` that is no %XX"))
        };
        let (user, password) = match login {
            None | Some("") => (None, None),
            Some(login) => {
                // `redis://secret@host` is seen as well.
                let (user, password) = login.split_once(':').unwrap_or(("", login));
                (Some(unescape(user)?).filter(|user| !user.is_empty()), Some(unescape(password)?))
            }
        };
        Ok(Self { host: host.to_owned(), port, user, password, database })
    }

    /// Reads the whole store.
    ///
    /// # Errors
    /// If the server cannot be asked, or breaks off.
    pub fn read(&self) -> Result<Parsed, RedisError> {
        let failed = |error| RedisError::Connect { server: self.clone(), error };
        let stream = self.connect().map_err(failed)?;
        let answers = BufReader::new(stream.try_clone().map_err(failed)?);
        let mut client = Client { questions: stream, answers };
        match (&self.user, &self.password) {
            (Some(user), Some(password)) => client.ok(&[b"AUTH", user.as_bytes(), password.as_bytes()])?,
            (None, Some(password)) => client.ok(&[b"AUTH", password.as_bytes()])?,
            (_, None) => {}
        }
        if self.database != 0 {
            client.ok(&[b"SELECT", self.database.to_string().as_bytes()])?;
        }
        client.store()
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER))?;
                    stream.set_write_timeout(Some(ANSWER))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// A word, a number or a text.
    Text(Vec<u8>),
    Nothing,
    Error(String),
    List(Vec<Answer>),
}

/// What is in a set.
type Members = Vec<Vec<u8>>;

struct Client<W, R> {
    questions: W,
    answers: R,
}

impl<W: Write, R: BufRead> Client<W, R> {
    fn ask(&mut self, question: &[&[u8]]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", question.len()).into_bytes();
        for word in question {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.questions.write_all(&bytes)
    }

    fn ok(&mut self, question: &[&[u8]]) -> Result<(), RedisError> {
        self.ask(question)?;
        match answer(&mut self.answers, 0)? {
            Answer::Error(said) => Err(RedisError::Refused(said)),
            _ => Ok(()),
        }
    }

    /// The members of many sets. A key that is something else is an error of its own.
    fn members(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Result<Members, String>>, RedisError> {
        for key in keys {
            self.ask(&[b"SMEMBERS", key])?;
        }
        let mut all = Vec::with_capacity(keys.len());
        for _ in keys {
            all.push(match answer(&mut self.answers, 0)? {
                Answer::List(members) => Ok(members
                    .into_iter()
                    .filter_map(|member| if let Answer::Text(member) = member { Some(member) } else { None })
                    .collect()),
                Answer::Error(said) if said.starts_with("WRONGTYPE") => {
                    Err("the key is not a set".to_owned())
                }
                Answer::Error(said) => return Err(RedisError::Refused(said)),
                Answer::Text(_) | Answer::Nothing => return Err(RedisError::Protocol),
            });
        }
        Ok(all)
    }

    /// All keys of devices. The server may tell one twice.
    fn keys(&mut self) -> Result<Vec<Vec<u8>>, RedisError> {
        let pattern = format!("{PREFIX}*{DEVICE}");
        let mut cursor = b"0".to_vec();
        let mut keys = Vec::new();
        loop {
            self.ask(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"1000"])?;
            match answer(&mut self.answers, 0)? {
                Answer::Error(said) => return Err(RedisError::Refused(said)),
                Answer::List(parts) => match <[Answer; 2]>::try_from(parts) {
                    Ok([Answer::Text(next), Answer::List(found)]) => {
                        keys.extend(found.into_iter().filter_map(|key| match key {
                            Answer::Text(key) => Some(key),
                            _ => None,
                        }));
                        cursor = next;
                    }
                    _ => return Err(RedisError::Protocol),
                },
                Answer::Text(_) | Answer::Nothing => return Err(RedisError::Protocol),
            }
            if cursor == b"0" {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn store(&mut self) -> Result<Parsed, RedisError> {
        let names = names();
        let mut parsed = Parsed::new(Format::Argon);
        for keys in self.keys()?.chunks(AT_ONCE) {
            let mut devices = Vec::new();
            for (key, members) in keys.iter().zip(self.members(keys)?) {
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
                let keys: Vec<_> =
                    devices.iter().map(|(user, _, member)| subscriptions(user, member)).collect();
                for ((user, what, member), hashes) in devices.iter().zip(self.members(&keys)?) {
                    // Without a list of mailboxes the device is as good.
                    add(&mut parsed, &names, user, what.clone(), member, &hashes.unwrap_or_default());
                }
            }
        }
        Ok(parsed)
    }
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

/// Reads one answer of the Redis protocol, version 2. Nothing is reserved for what a server only says that it will send.
fn answer(from: &mut impl BufRead, depth: usize) -> Result<Answer, RedisError> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    let line = match line.strip_suffix(b"\r\n") {
        Some(line) => line,
        None if line.is_empty() => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        None => return Err(RedisError::Protocol),
    };
    let (kind, rest) = line.split_first().ok_or(RedisError::Protocol)?;
    let count = || {
        let text = std::str::from_utf8(rest).map_err(|_| RedisError::Protocol)?;
        text.parse::<i64>().map(|count| usize::try_from(count).ok()).map_err(|_| RedisError::Protocol)
    };
    match kind {
        b'+' | b':' => Ok(Answer::Text(rest.to_vec())),
        b'-' => Ok(Answer::Error(shown(&String::from_utf8_lossy(rest)))),
        b'$' => {
            let Some(length) = count()? else { return Ok(Answer::Nothing) };
            if length > MAX_BULK {
                return Err(RedisError::Protocol);
            }
            let mut text = vec![0; length + 2];
            from.read_exact(&mut text)?;
            text.truncate(length);
            Ok(Answer::Text(text))
        }
        b'*' if depth < DEPTH => {
            let Some(length) = count()? else { return Ok(Answer::Nothing) };
            let mut list = Vec::new();
            for _ in 0..length {
                list.push(answer(from, depth + 1)?);
            }
            Ok(Answer::List(list))
        }
        _ => Err(RedisError::Protocol),
    }
}

/// For the fuzz target: how many bytes of text an answer brings. None if it is none.
pub(crate) fn bytes_of_answer(mut data: &[u8]) -> Option<usize> {
    fn bytes(answer: &Answer) -> usize {
        match answer {
            Answer::Text(text) => text.len(),
            Answer::List(list) => list.iter().map(bytes).sum(),
            Answer::Error(_) | Answer::Nothing => 0,
        }
    }
    answer(&mut data, 0).ok().as_ref().map(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::import::Owner;

    #[test]
    fn addresses() {
        let server = |url: &str| {
            let server = Server::parse(url).expect(url);
            (server.to_string(), server.user, server.password)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(server("redis://localhost"), ("redis://localhost:6379/0".to_owned(), None, None));
        assert_eq!(
            server("redis://:p%40:/w@[::1]:7/3"),
            ("redis://[::1]:7/3".to_owned(), None, text("p@:/w"))
        );
        assert_eq!(server("redis://me:x@h/"), ("redis://h:6379/0".to_owned(), text("me"), text("x")));
        assert_eq!(server("redis://x@h"), ("redis://h:6379/0".to_owned(), None, text("x")));
        for bad in [
            "rediss://h",
            "redis://",
            "redis://h:x",
            "redis://[::1",
            "redis://h/x",
            "redis://:%4@h",
            "redis://h:70000",
        ] {
            assert!(matches!(Server::parse(bad), Err(RedisError::Url(_))), "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let server = Server::parse("redis://me:sesame@h").expect("an address");
        let error = RedisError::Connect { server: server.clone(), error: io::ErrorKind::Other.into() };
        assert!(!format!("{server} {server:?} {error} {error:?}").contains("sesame"));
    }

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
        let parsed = client.store().expect("a store");
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
            let error = client(said).store().expect_err(said);
            assert_eq!(error.to_string(), wanted, "{said:?}");
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(said in "([*$+:-][0-9-]{0,3}\r\n|[a-z0]{0,4}\r\n){0,12}") {
            let _ = client(&said).store();
        }
    }
}
