//! Who is let in: the names that this server goes by, the secret, and browsers on behalf of other pages.
//!
//! A page from anywhere can make the administrator's browser send requests to this machine. It could not read the answers, unless its
//! own name suddenly leads to 127.0.0.1 (DNS rebinding): the browser then takes us for that page's server, but still says which name it
//! meant, in `Host`. With a secret that is no danger, since the browser has none for that name; and the name by which a
//! proxy or another machine knows us cannot be known here, so any will do.

use std::{
    fs::File,
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, Uri,
    header::{AUTHORIZATION, HOST, ORIGIN},
    uri::Authority,
};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;
use tracing::warn;
use zeroize::Zeroizing;

use crate::path_access;

/// The longest secret, with whatever is in the file after it.
const LONGEST: u64 = 4096;
/// Shorter ones can be guessed by whoever has the time.
const SHORT: usize = 16;

/// What is wrong with the file that has the secret.
#[derive(Debug, Error)]
pub enum TokenFault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// There is nothing in its first line.
    #[error("has no secret in its first line")]
    Empty,
    /// What is there cannot be said in a header.
    #[error("has a secret with spaces, or characters that are not ASCII")]
    NotPlain,
    /// The system has no random numbers.
    #[error("cannot be used: the system gives no random numbers")]
    NoRandomNumbers,
}

impl TokenFault {
    /// What to do about it.
    #[must_use]
    pub(in crate::control) fn hint(&self, file: &Path) -> String {
        match self {
            Self::Unreadable(error) => path_access::hint(file, error),
            Self::Empty | Self::NotPlain => {
                format!(
                    "make one with `openssl rand -hex 32 > {}`, for the daemon's user to read",
                    file.display()
                )
            }
            Self::NoRandomNumbers => "see the error above".to_owned(),
        }
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("the request has no Host, or several")]
    NoHost,
    #[error(
        "this is not a name of this server: it answers to localhost and to its address. \
         To reach it by another name, give it a secret: `token-file` of [control]"
    )]
    WrongHost,
    #[error("send `Authorization: Bearer SECRET`, or any user name with the secret as the password")]
    NoToken,
    #[error("not for other sites' pages")]
    OtherSite,
}

/// See the module.
#[derive(Debug)]
pub(in crate::control) struct Gate {
    address: IpAddr,
    secret: Option<Secret>,
}

impl Gate {
    /// For a server at this address, with the secret in this file.
    pub(in crate::control) fn new(address: IpAddr, token: Option<&Path>) -> Result<Self, TokenFault> {
        Ok(Self { address, secret: token.map(Secret::read).transpose()? })
    }

    /// Is the request to be answered?
    pub(super) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = host(uri, headers).ok_or(Refusal::NoHost)?;
        match &self.secret {
            Some(secret) if !secret.is_in(headers) => return Err(Refusal::NoToken),
            None if !self.is_our_name(&host) => return Err(Refusal::WrongHost),
            _ => {}
        }
        if is_of_another_site(&host, headers) { Err(Refusal::OtherSite) } else { Ok(()) }
    }

    /// The port does not matter: a tunnel may have another one.
    fn is_our_name(&self, host: &Authority) -> bool {
        let name = host.host();
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address == self.address,
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The server that the client means. One only: of two, a proxy may have looked at the other.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else { return None };
    let host = Authority::try_from(host.as_bytes()).ok().filter(|host| !host.as_str().contains('@'))?;
    // `GET http://name/` means that name, whatever the header says.
    uri.authority().is_none_or(|meant| *meant == host).then_some(host)
}

fn is_of_another_site(host: &Authority, headers: &HeaderMap) -> bool {
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if origin.is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host.as_str())) {
            return true;
        }
    }
    let says = |name, what: &str| headers.get(HeaderName::from_static(name)).is_some_and(|said| said == what);
    let is_named = headers.contains_key("sec-fetch-site");
    let is_own = says("sec-fetch-site", "same-origin") || says("sec-fetch-site", "none");
    // Somebody clicked on a link, perhaps in Grafana. What he then sees is a page of its own, and no other page can look into it.
    let is_link = says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document");
    is_named && !is_own && !is_link
}

/// Not the secret itself, but what is enough to know it again, in a time that does not depend on what is sent.
#[derive(Debug)]
struct Secret {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Secret {
    fn read(path: &Path) -> Result<Self, TokenFault> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(LONGEST).read_to_end(&mut bytes)?;
        let secret = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        if secret.is_empty() {
            return Err(TokenFault::Empty);
        }
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err(TokenFault::NotPlain);
        }
        // A group that may read it is how the daemon's user comes to it where the file is root's.
        if mode & 0o004 != 0 {
            let hint = "chmod o-r it";
            warn!(file = %path.display(), hint, "everybody on this machine can read `{}`; hint: {hint}", path.display());
        }
        if secret.len() < SHORT {
            let hint = "make a longer one with `openssl rand -hex 32`";
            warn!(file = %path.display(), hint, "the secret in `{}` is short; hint: {hint}", path.display());
        }
        Self::new(secret)
    }

    fn new(secret: &[u8]) -> Result<Self, TokenFault> {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).map_err(|_| TokenFault::NoRandomNumbers)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random);
        let tag = hmac::sign(&key, secret);
        Ok(Self { key, tag })
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).and_then(|said| said.to_str().ok());
        let Some((scheme, said)) = said.and_then(|said| said.split_once(' ')) else { return false };
        if scheme.eq_ignore_ascii_case("Bearer") {
            return self.is(said.trim().as_bytes());
        }
        // What a browser asks its user for, since it cannot be told to send the other.
        let user = scheme.eq_ignore_ascii_case("Basic").then(|| BASE64_STANDARD.decode(said.trim()).ok());
        let user = user.flatten().unwrap_or_default();
        let password = user.splitn(2, |byte| *byte == b':').nth(1);
        password.is_some_and(|password| self.is(password))
    }

    fn is(&self, said: &[u8]) -> bool {
        hmac::verify(&self.key, said, self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn admit(gate: &Gate, lines: &[(&'static str, &str)]) -> Result<(), Refusal> {
        gate.admit(&Uri::from_static("/"), &headers(lines))
    }

    fn local() -> Gate {
        Gate::new("127.0.0.2".parse().expect("an address"), None).expect("no file to read")
    }

    #[test]
    fn our_names() {
        let at = Gate::new("192.0.2.7".parse().expect("an address"), None).expect("no file to read");
        for (host, local_takes, other_takes) in [
            ("localhost", true, true),
            ("LOCALHOST:80", true, true),
            ("127.0.0.1:9466", true, true),
            ("127.9.9.9", true, true),
            ("[::1]:1", true, true),
            ("[::1]", true, true),
            ("192.0.2.7:9466", false, true),
            ("192.0.2.8", false, false),
            ("localhost.example.com", false, false),
            ("127.0.0.1.example.com:9466", false, false),
            ("example.com", false, false),
            ("0.0.0.0:9466", false, false),
            ("localhost.", false, false),
            ("2130706433", false, false),
        ] {
            let taken = |is| if is { Ok(()) } else { Err(Refusal::WrongHost) };
            assert_eq!(admit(&local(), &[("host", host)]), taken(local_takes), "{host}");
            assert_eq!(admit(&at, &[("host", host)]), taken(other_takes), "{host}");
        }
        for bad in ["", "a@localhost", "local host", "localhost/"] {
            assert_eq!(admit(&local(), &[("host", bad)]), Err(Refusal::NoHost), "{bad:?}");
        }
        assert_eq!(admit(&local(), &[]), Err(Refusal::NoHost));
        assert_eq!(admit(&local(), &[("host", "localhost"), ("host", "x")]), Err(Refusal::NoHost));
        let elsewhere = Uri::from_static("http://example.com/");
        assert_eq!(local().admit(&elsewhere, &headers(&[("host", "localhost")])), Err(Refusal::NoHost));
    }

    #[test]
    fn other_sites() {
        let host = ("host", "localhost:9466");
        for (more, is_let_in) in [
            (&[("origin", "http://localhost:9466")][..], true),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "http://localhost")], false),
            (&[("origin", "https://example.com")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], false),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                false,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                true,
            ),
        ] {
            let admitted = admit(&local(), &[&[host], more].concat());
            assert_eq!(admitted, if is_let_in { Ok(()) } else { Err(Refusal::OtherSite) }, "{more:?}");
        }
    }

    #[test]
    fn the_secret() {
        let gate = Gate { secret: Secret::new(b"sesame").ok(), ..local() };
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (said, is_let_in) in [
            ("Bearer sesame", true),
            ("bearer  sesame", true),
            ("Bearer sesam", false),
            ("Bearer sesame1", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("sesame", false),
            (&basic("anybody:sesame"), true),
            (&basic(":sesame"), true),
            (&basic("sesame"), false),
            (&basic("sesame:"), false),
            (&basic("a:b:sesame"), false),
            ("Basic ***", false),
        ] {
            // By any name.
            let admitted = admit(&gate, &[("host", "mail.example.org"), ("authorization", said)]);
            assert_eq!(admitted, if is_let_in { Ok(()) } else { Err(Refusal::NoToken) }, "{said}");
        }
        assert_eq!(admit(&gate, &[("host", "localhost")]), Err(Refusal::NoToken));
        assert!(!format!("{gate:?}").contains("sesame"));
    }
}
