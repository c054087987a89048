//! PKCS#12 (RFC 7292): a file with a key and certificates in bags, encrypted by a password and sealed with it.
//!
//! The crates that read these files know a password that is empty and none that is absent, which some programs write for an empty one;
//! and they bring a second parser of certificates.

use der::{
    AnyRef, Decode, Encode, Sequence, Tag,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use ring::{digest, hmac};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::{
    cipher::{Purpose, pkcs12_key},
    encryption::{self, Encrypted},
    error::Fault,
    secret::{Bytes, Password},
};

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

#[derive(Sequence)]
struct Pfx<'a> {
    version: u8,
    safes: ContentInfo<'a>,
    #[asn1(optional = "true")]
    mac: Option<MacData<'a>>,
}

#[derive(Sequence)]
struct ContentInfo<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

#[derive(Sequence)]
struct MacData<'a> {
    digest: DigestInfo<'a>,
    salt: &'a OctetStringRef,
    #[asn1(default = "one")]
    rounds: u32,
}

fn one() -> u32 {
    1
}

#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    digest: &'a OctetStringRef,
}

#[derive(Sequence)]
struct EncryptedData<'a> {
    version: u8,
    content: EncryptedContent<'a>,
}

#[derive(Sequence)]
struct EncryptedContent<'a> {
    kind: ObjectIdentifier,
    algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    data: &'a OctetStringRef,
}

#[derive(Sequence)]
struct Bag<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: AnyRef<'a>,
    /// Names for people, and which certificate belongs to the key: that the key itself tells better.
    #[asn1(optional = "true")]
    attributes: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct CertificateBag<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: &'a OctetStringRef,
}

/// What the bags hold, as DER.
#[derive(Default)]
pub(super) struct Bags {
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) keys: Vec<Bytes>,
}

/// The two forms of one password.
struct Forms {
    bytes: Bytes,
    utf16: Bytes,
}

/// All certificates and keys.
pub(super) fn read(der: &[u8], password: Option<&Password>) -> Result<Bags, Fault> {
    let pfx = Pfx::from_der(der).map_err(|_| Fault::Damaged)?;
    let safes = plain(&pfx.safes)?;
    let mut forms = Vec::new();
    if let Some(password) = password {
        forms.push(Forms { bytes: Zeroizing::new(password.bytes().to_vec()), utf16: password.utf16() });
    }
    if password.is_none_or(|password| password.bytes().is_empty()) {
        // Without a password programs write an empty one, or none at all, and the seals of these two differ.
        forms.push(Forms { bytes: Bytes::default(), utf16: Zeroizing::new(vec![0, 0]) });
        forms.push(Forms { bytes: Bytes::default(), utf16: Bytes::default() });
    }
    let wrong = || if password.is_some() { Fault::WrongPassword } else { Fault::PasswordNeeded };
    if let Some(mac) = &pfx.mac {
        // The seal tells a wrong password from damage.
        let mut fitting = Vec::new();
        for form in forms {
            if mac.seals(safes, &form.utf16)? {
                fitting.push(form);
            }
        }
        forms = fitting;
    }
    for form in &forms {
        match bags(safes, form) {
            Err(Fault::WrongPassword) => {}
            other => return other,
        }
    }
    Err(wrong())
}

impl MacData<'_> {
    fn seals(&self, data: &[u8], password: &[u8]) -> Result<bool, Fault> {
        let (hash, mac) = match self.digest.algorithm.oid {
            SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
            SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
            SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
            other => return Err(Fault::Unsupported(other)),
        };
        let rounds = encryption::rounds(self.rounds)?.get();
        let key = pkcs12_key(hash, Purpose::Mac, password, self.salt.as_bytes(), rounds, hash.output_len());
        Ok(hmac::verify(&hmac::Key::new(mac, &key), data, self.digest.digest.as_bytes()).is_ok())
    }
}

fn bags(safes: &[u8], password: &Forms) -> Result<Bags, Fault> {
    let mut found = Bags::default();
    for safe in sequence::<ContentInfo<'_>>(safes)? {
        match safe.kind {
            DATA => found.take(plain(&safe)?, password)?,
            ENCRYPTED_DATA => {
                let content =
                    safe.content.decode_as::<EncryptedData<'_>>().map_err(|_| Fault::Damaged)?.content;
                let data = content.data.as_bytes();
                let plain = encryption::decrypt(&content.algorithm, data, &password.bytes, &password.utf16)?;
                found.take(&plain, password)?;
            }
            other => return Err(Fault::Unsupported(other)),
        }
    }
    Ok(found)
}

impl Bags {
    fn take(&mut self, bags: &[u8], password: &Forms) -> Result<(), Fault> {
        for bag in sequence::<Bag<'_>>(bags)? {
            match bag.kind {
                KEY_BAG => {
                    let key = bag.value.to_der().map_err(|_| Fault::Damaged)?;
                    self.keys.push(Zeroizing::new(key));
                }
                SHROUDED_KEY_BAG => {
                    let key = bag.value.decode_as::<Encrypted<'_>>().map_err(|_| Fault::Damaged)?;
                    self.keys.push(key.decrypt_with(&password.bytes, &password.utf16)?);
                }
                CERTIFICATE_BAG => {
                    let certificate =
                        bag.value.decode_as::<CertificateBag<'_>>().map_err(|_| Fault::Damaged)?;
                    if certificate.kind == X509 {
                        self.certificates.push(certificate.value.as_bytes().to_vec());
                    }
                }
                // Lists of revoked certificates, secrets of other kinds.
                _ => {}
            }
        }
        Ok(())
    }
}

fn plain<'a>(info: &ContentInfo<'a>) -> Result<&'a [u8], Fault> {
    if info.kind == DATA && info.content.header().tag() == Tag::OctetString {
        Ok(info.content.value())
    } else {
        Err(Fault::Unsupported(info.kind))
    }
}

fn sequence<'a, T: Decode<'a>>(der: &'a [u8]) -> Result<Vec<T>, Fault> {
    Vec::<T>::from_der(der).map_err(|_| Fault::Damaged)
}
