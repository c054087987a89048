//! Encryption by a password, as PKCS#8 keys and PKCS#12 files name it: the algorithm with its parameters, then the data.
//!
//! Read: PBES2 with PBKDF2 (RFC 8018, 6.2), which every current program writes, and the three kinds of PKCS#12 that Keychain and old
//! OpenSSL write (RFC 7292, C). The keys are derived by ring; a crate for PBES2 would bring its own hashes.

use std::num::NonZeroU32;

use der::{
    AnyRef, Decode, DecodeValue, FixedTag, Sequence,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use ring::{digest, pbkdf2};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::{
    cipher::{Cipher, Purpose, pkcs12_key},
    error::Fault,
    secret::{Bytes, Password},
};

/// OpenSSL writes 2048 rounds, and nobody more than a million. A damaged number must not hold up the daemon for hours.
pub(super) const MOST_ROUNDS: u32 = 10_000_000;

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const SHA1_TRIPLE_DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const SHA1_RC2_128: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.5");
const SHA1_RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");

const AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_192_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const DES_EDE3_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");

const HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
const HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");

/// `EncryptedPrivateKeyInfo` of PKCS#8 (RFC 5958), and the same in a bag of PKCS#12.
#[derive(Sequence)]
pub(super) struct Encrypted<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    data: &'a OctetStringRef,
}

#[derive(Sequence)]
struct Pbes2Parameters<'a> {
    derivation: AlgorithmIdentifierRef<'a>,
    cipher: AlgorithmIdentifierRef<'a>,
}

#[derive(Sequence)]
struct Pbkdf2Parameters<'a> {
    salt: &'a OctetStringRef,
    rounds: u32,
    #[asn1(optional = "true")]
    key_length: Option<u16>,
    #[asn1(optional = "true")]
    function: Option<AlgorithmIdentifierRef<'a>>,
}

#[derive(Sequence)]
struct Pkcs12Parameters<'a> {
    salt: &'a OctetStringRef,
    rounds: u32,
}

impl Encrypted<'_> {
    /// The key in it, as DER.
    pub(super) fn decrypt(&self, password: &Password) -> Result<Bytes, Fault> {
        decrypt(&self.algorithm, self.data.as_bytes(), password.bytes(), &password.utf16())
    }

    /// With the password in both of its forms, as within a PKCS#12 file.
    pub(super) fn decrypt_with(&self, bytes: &[u8], utf16: &[u8]) -> Result<Bytes, Fault> {
        decrypt(&self.algorithm, self.data.as_bytes(), bytes, utf16)
    }
}

/// The plain text, which is DER. Which form of the password is used depends on the algorithm.
pub(super) fn decrypt(
    algorithm: &AlgorithmIdentifierRef<'_>,
    data: &[u8],
    password: &[u8],
    password_utf16: &[u8],
) -> Result<Bytes, Fault> {
    let plain = match algorithm.oid {
        PBES2 => pbes2(parameters(algorithm)?, data, password)?,
        SHA1_TRIPLE_DES => pkcs12(Cipher::TripleDes, &parameters(algorithm)?, data, password_utf16)?,
        SHA1_RC2_128 => pkcs12(Cipher::Rc2Bits128, &parameters(algorithm)?, data, password_utf16)?,
        SHA1_RC2_40 => pkcs12(Cipher::Rc2Bits40, &parameters(algorithm)?, data, password_utf16)?,
        other => return Err(Fault::Unsupported(other)),
    };
    // One wrong key in 256 leaves a padding that looks right.
    plain.filter(|plain| AnyRef::from_der(plain).is_ok()).ok_or(Fault::WrongPassword)
}

fn parameters<'a, T>(algorithm: &AlgorithmIdentifierRef<'a>) -> Result<T, Fault>
where
    T: DecodeValue<'a, Error = der::Error> + FixedTag + 'a,
{
    algorithm.parameters.ok_or(Fault::Damaged)?.decode_as().map_err(|_| Fault::Damaged)
}

fn pbes2(algorithms: Pbes2Parameters<'_>, data: &[u8], password: &[u8]) -> Result<Option<Bytes>, Fault> {
    let Pbes2Parameters { derivation, cipher: scheme } = algorithms;
    if derivation.oid != PBKDF2 {
        return Err(Fault::Unsupported(derivation.oid));
    }
    let derivation: Pbkdf2Parameters<'_> = parameters(&derivation)?;
    let cipher = match scheme.oid {
        AES_128_CBC => Cipher::Aes128,
        AES_192_CBC => Cipher::Aes192,
        AES_256_CBC => Cipher::Aes256,
        DES_EDE3_CBC => Cipher::TripleDes,
        other => return Err(Fault::Unsupported(other)),
    };
    let function = match derivation.function.map_or(HMAC_SHA1, |function| function.oid) {
        HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
        HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
        HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
        HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(Fault::Unsupported(other)),
    };
    let iv: &OctetStringRef = parameters(&scheme)?;
    let rounds = rounds(derivation.rounds)?;
    let mut key = Zeroizing::new(vec![0; cipher.key_length()]);
    if derivation.key_length.is_some_and(|length| usize::from(length) != key.len()) {
        return Err(Fault::Damaged);
    }
    pbkdf2::derive(function, rounds, derivation.salt.as_bytes(), password, &mut key);
    Ok(cipher.decrypt(&key, iv.as_bytes(), data))
}

fn pkcs12(
    cipher: Cipher,
    parameters: &Pkcs12Parameters<'_>,
    data: &[u8],
    password: &[u8],
) -> Result<Option<Bytes>, Fault> {
    let rounds = rounds(parameters.rounds)?.get();
    let derive = |purpose, length| {
        let salt = parameters.salt.as_bytes();
        pkcs12_key(&digest::SHA1_FOR_LEGACY_USE_ONLY, purpose, password, salt, rounds, length)
    };
    let key = derive(Purpose::Key, cipher.key_length());
    let iv = derive(Purpose::Iv, cipher.block_length());
    Ok(cipher.decrypt(&key, &iv, data))
}

/// A number of rounds that can be worked off.
pub(super) fn rounds(number: u32) -> Result<NonZeroU32, Fault> {
    NonZeroU32::new(number).filter(|rounds| rounds.get() <= MOST_ROUNDS).ok_or(Fault::Damaged)
}
