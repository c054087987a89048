//! Where a Redis server is, what it wants to hear first, and the connection to it.

use std::{
    fmt,
    io::{self, BufReader},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::{RedisError, client::Client};
use crate::registry::import::Parsed;

const CONNECT: Duration = Duration::from_secs(5);
/// A server that saves its data may not answer for a while.
const ANSWER: Duration = Duration::from_secs(30);

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
        super::store(&mut client)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
