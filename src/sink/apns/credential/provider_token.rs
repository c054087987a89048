//! Provider tokens: what is sent with each push in place of a certificate. A JWT (RFC 7519) signed with ES256 (RFC 7518, 3.4).

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;

use super::error::Fault;

/// Apple refuses tokens older than an hour.
const RENEWED_AFTER: Duration = Duration::from_secs(40 * 60);

/// Apple answers `TooManyProviderTokenUpdates` to more than one in this time.
const KEPT_FOR: Duration = Duration::from_secs(20 * 60);

/// Mints provider tokens, and hands out the same one to everybody until it has to be renewed.
pub struct ProviderTokens {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// The first part of each token.
    header: String,
    team_id: String,
    /// Held for the moments that a look or a signature takes, so that of several senders one mints and the others wait for that token.
    current: Mutex<Option<Current>>,
}

struct Current {
    minted: SystemTime,
    authorization: HeaderValue,
    /// Apple would not have it any more.
    rejected: bool,
}

impl ProviderTokens {
    pub(super) fn new(key: &PrivateKeyDer<'_>, key_id: &str, team_id: &str) -> Result<Self, Fault> {
        let PrivateKeyDer::Pkcs8(key) = key else { return Err(Fault::NotProviderKey) };
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random)
            .map_err(|_| Fault::NotProviderKey)?;
        let header = encode(json!({"alg": "ES256", "kid": key_id}).to_string());
        Ok(Self { key, random, header, team_id: team_id.to_owned(), current: Mutex::new(None) })
    }

    /// The value of the header `authorization`. Nothing only if the system has no random numbers for a signature.
    pub fn authorization(&self, now: SystemTime) -> Option<HeaderValue> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && !current.is_due(now)
        {
            return Some(current.authorization.clone());
        }
        let authorization = self.mint(now)?;
        *current = Some(Current { minted: now, authorization: authorization.clone(), rejected: false });
        Some(authorization)
    }

    /// Apple answered `ExpiredProviderToken` to a push with this token: there will be another as soon as Apple allows it, which is at once if
    /// the token is older than 20 minutes. True if there is another now. Answers to a token that has been replaced since change nothing.
    pub fn rejected(&self, authorization: &HeaderValue, now: SystemTime) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *current {
            Some(current) if current.authorization == authorization => {
                current.rejected = true;
                current.is_due(now)
            }
            _ => true,
        }
    }

    fn mint(&self, now: SystemTime) -> Option<HeaderValue> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = encode(json!({"iss": self.team_id, "iat": seconds}).to_string());
        let signed = format!("{}.{claims}", self.header);
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        let mut value = HeaderValue::try_from(format!("bearer {signed}.{}", encode(signature))).ok()?;
        // Neither shown by Debug nor kept in the compression table of a connection.
        value.set_sensitive(true);
        Some(value)
    }
}

impl Current {
    fn is_due(&self, now: SystemTime) -> bool {
        // A clock that was set back has left a token from the future, which Apple refuses.
        now.duration_since(self.minted)
            .map_or(true, |age| age >= RENEWED_AFTER || self.rejected && age >= KEPT_FOR)
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    fn new_key() -> Vec<u8> {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        key.as_ref().to_vec()
    }

    fn tokens() -> ProviderTokens {
        load(new_key()).unwrap()
    }

    fn load(key: Vec<u8>) -> Result<ProviderTokens, Fault> {
        ProviderTokens::new(&PrivateKeyDer::Pkcs8(key.into()), "ABC123DEFG", "DEF123GHIJ")
    }

    fn at(minutes: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_secs_f64(minutes * 60.0)
    }

    /// The header, the claims, and whether the signature is good.
    fn parse(tokens: &ProviderTokens, authorization: &HeaderValue) -> (Value, Value, bool) {
        let token = authorization.to_str().unwrap().strip_prefix("bearer ").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let json = |part| serde_json::from_slice(&decode(part)).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, tokens.key.public_key());
        (json(header), json(claims), public.verify(signed.as_bytes(), &decode(signature)).is_ok())
    }

    #[test]
    fn a_token_is_what_apple_asks_for() {
        let tokens = tokens();
        let authorization = tokens.authorization(at(0.0)).unwrap();
        let (header, claims, is_signed) = parse(&tokens, &authorization);
        assert_eq!(header, json!({"alg": "ES256", "kid": "ABC123DEFG"}));
        assert_eq!(claims, json!({"iss": "DEF123GHIJ", "iat": 1_700_000_000}));
        assert!(is_signed);
    }

    #[test]
    fn everybody_gets_the_same_token_for_40_minutes() {
        let tokens = tokens();
        let first = tokens.authorization(at(0.0)).unwrap();
        for minutes in [0.0, 1.0, 20.0, 39.9] {
            assert_eq!(tokens.authorization(at(minutes)).unwrap(), first, "{minutes}");
        }
        let second = tokens.authorization(at(40.0)).unwrap();
        assert_ne!(second, first);
        assert_eq!(tokens.authorization(at(79.9)).unwrap(), second);
    }

    #[test]
    fn a_rejected_token_is_renewed_but_not_within_20_minutes() {
        let tokens = tokens();
        let first = tokens.authorization(at(0.0)).unwrap();
        assert!(!tokens.rejected(&first, at(1.0)));
        assert_eq!(tokens.authorization(at(1.0)).unwrap(), first);
        assert_eq!(tokens.authorization(at(19.9)).unwrap(), first);
        let second = tokens.authorization(at(20.0)).unwrap();
        assert_ne!(second, first);
        // Late answers to pushes with the old one.
        assert!(tokens.rejected(&first, at(39.0)), "there is another already");
        assert_eq!(tokens.authorization(at(41.0)).unwrap(), second);
        assert!(tokens.rejected(&second, at(41.0)));
        assert_ne!(tokens.authorization(at(41.0)).unwrap(), second, "it is 21 minutes old");
    }

    #[test]
    fn a_clock_set_back_makes_a_new_token() {
        let tokens = tokens();
        let ahead = tokens.authorization(at(600.0)).unwrap();
        let (_, claims, _) = parse(&tokens, &tokens.authorization(at(0.0)).unwrap());
        assert_eq!(claims["iat"], 1_700_000_000);
        assert_ne!(tokens.authorization(at(1.0)).unwrap(), ahead);
        assert!(tokens.authorization(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_some());
    }

    #[test]
    fn tokens_and_keys_are_not_printed() {
        let tokens = tokens();
        let authorization = tokens.authorization(at(0.0)).unwrap();
        assert!(authorization.is_sensitive());
        assert_eq!(format!("{authorization:?} {tokens:?}"), "Sensitive ProviderTokens { .. }");
    }

    #[test]
    fn ids_cannot_break_out_of_the_json() {
        let key = PrivateKeyDer::Pkcs8(new_key().into());
        let tokens = ProviderTokens::new(&key, "A\",\"alg\":\"none", "\u{e9}\n").unwrap();
        let (header, claims, _) = parse(&tokens, &tokens.authorization(at(0.0)).unwrap());
        assert_eq!(header, json!({"alg": "ES256", "kid": "A\",\"alg\":\"none"}));
        assert_eq!(claims["iss"], "\u{e9}\n");
    }

    /// Apple's files repeat the curve within the key, which OpenSSL leaves out.
    #[test]
    fn the_form_of_apples_files_is_understood() {
        let ours = new_key();
        let public = load(ours.clone()).unwrap().key.public_key().as_ref().to_vec();
        let begin = BASE64_STANDARD.decode("MIGTAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBHkwdwIBAQQg").unwrap();
        let curve = BASE64_STANDARD.decode("oAoGCCqGSM49AwEHoUQDQgA=").unwrap();
        // ring's own files have the private number from byte 36 on.
        let apples = [&begin, &ours[36..68], &curve, &public].concat();
        let tokens = load(apples).unwrap();
        assert_eq!(tokens.key.public_key().as_ref(), public);
        let authorization = tokens.authorization(at(0.0)).unwrap();
        assert!(parse(&tokens, &authorization).2);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        assert!(matches!(load(vec![1, 2, 3]), Err(Fault::NotProviderKey)));
        let sec1 = PrivateKeyDer::Sec1(vec![1, 2, 3].into());
        assert!(matches!(ProviderTokens::new(&sec1, "", ""), Err(Fault::NotProviderKey)));
    }
}
