//! Provider tokens: a JWT signed with ES256 (RFC 7515) by the key of a team.

use std::time::{Duration, Instant, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;

use crate::{
    answer::Answer,
    credentials::{KEY_ID, TEAM_ID},
    server::Server,
};

/// A token is good for an hour from `iat` on.
const GOOD_FOR: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: u64,
}

/// Which tokens are good, and how often a connection may bring another.
pub(crate) struct Verifier {
    key: UnparsedPublicKey<Vec<u8>>,
    least_interval: Duration,
}

/// The token that a connection uses. Its signature is checked once.
#[derive(Default)]
pub(crate) struct Bearer {
    current: Option<Current>,
}

struct Current {
    token: String,
    issued: SystemTime,
    since: Instant,
}

impl Verifier {
    /// `key` is an uncompressed point on P-256.
    pub(crate) fn new(key: &[u8], least_interval: Duration) -> Self {
        Self { key: UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.to_vec()), least_interval }
    }

    /// When the token was issued, if it is ours.
    fn issued(&self, token: &str) -> Option<SystemTime> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        self.key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        let ours = header.alg == "ES256" && header.kid == KEY_ID && claims.iss == TEAM_ID;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.iat)).filter(|_| ours)
    }
}

impl Bearer {
    /// Judges the token of a request.
    pub(crate) fn judge(
        &mut self,
        headers: &HeaderMap,
        server: &Server,
        now: SystemTime,
    ) -> Result<(), Answer> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        if token.is_empty() {
            return Err(Answer::forbidden("MissingProviderToken"));
        }
        if let Some(current) = &self.current
            && current.token == token
        {
            return not_expired(current.issued, now);
        }
        let verifier = &server.verifier;
        let issued = verifier.issued(token).ok_or_else(|| Answer::forbidden("InvalidProviderToken"))?;
        server.journal.provider_token(token);
        not_expired(issued, now)?;
        if let Some(current) = &self.current
            && current.since.elapsed() < verifier.least_interval
            && not_expired(current.issued, now).is_ok()
        {
            return Err(Answer::new(StatusCode::TOO_MANY_REQUESTS, "TooManyProviderTokenUpdates"));
        }
        self.current = Some(Current { token: token.to_owned(), issued, since: Instant::now() });
        Ok(())
    }

    /// The client was told that its token has expired, by order and against the truth. What it does next is no
    /// needless update.
    pub(crate) fn forget(&mut self) {
        self.current = None;
    }
}

/// Apple: "no more than one hour from the current time".
fn not_expired(issued: SystemTime, now: SystemTime) -> Result<(), Answer> {
    match now.duration_since(issued) {
        Ok(age) if age > GOOD_FOR => Err(Answer::forbidden("ExpiredProviderToken")),
        Err(ahead) if ahead.duration() > GOOD_FOR => Err(Answer::forbidden("InvalidProviderToken")),
        _ => Ok(()),
    }
}
