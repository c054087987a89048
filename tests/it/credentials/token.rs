//! Provider tokens, with their signatures judged by OpenSSL.

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use pushmaild::sink::apns::credential::Credential;

use super::forge::Forge;

#[test]
fn openssl_verifies_what_was_signed() {
    let forge = Forge::new();
    forge.sh("openssl pkcs8 -topk8 -nocrypt -in ec.key -out AuthKey.p8 && openssl pkey -in ec.key -pubout -out public.pem");
    let credential = Credential::load(&forge.token_file("AuthKey.p8")).unwrap();
    assert_eq!(credential.topic(), None);
    assert!(credential.topics().is_empty());
    assert_eq!(credential.environments(), None);
    assert_eq!(credential.validity(), None);
    assert_eq!(credential.problem_at(SystemTime::now()), None);
    assert_eq!(credential.subject(), "key ABC123DEFG of team DEF123GHIJ");

    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let header = credential.authorization(now).unwrap();
    let token = header.to_str().unwrap().strip_prefix("bearer ").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let parts: Vec<_> = signed.split('.').map(|part| String::from_utf8(decode(part)).unwrap()).collect();
    assert_eq!(parts, [r#"{"alg":"ES256","kid":"ABC123DEFG"}"#, r#"{"iat":1700000000,"iss":"DEF123GHIJ"}"#]);

    let signature = decode(signature);
    assert_eq!(signature.len(), 64);
    fs::write(forge.path("signed"), signed).unwrap();
    fs::write(forge.path("signature.der"), der_signature(&signature)).unwrap();
    let verdict = forge.sh("openssl dgst -sha256 -verify public.pem -signature signature.der signed");
    assert_eq!(verdict.trim(), "Verified OK");
}

#[test]
fn a_certificate_needs_no_token() {
    let forge = Forge::new();
    forge.sh("cat ec.pem ec.key > both.pem");
    let credential = forge.load("both.pem");
    assert!(credential.authorization(SystemTime::now()).is_none());
    assert!(credential.tokens().is_none());
}

/// The two numbers as OpenSSL wants them: a SEQUENCE of INTEGERs.
fn der_signature(raw: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let mut value = number[first..].to_vec();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        [&[2, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}
