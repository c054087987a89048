//! What a file holds, whatever form it has: PEM, DER or PKCS#12.

use der::{AnyRef, Decode, Reader, SliceReader, Tag};
use rustls::pki_types::PrivateKeyDer;
use x509_cert::Certificate;
use zeroize::Zeroizing;

use super::{
    cipher::{Cipher, traditional_key},
    encryption::Encrypted,
    error::{CERTIFICATE, Fault, PRIVATE_KEY, PUBLIC_KEY, REQUEST},
    pem::{self, Block},
    pkcs12,
    secret::{Bytes, Password},
};

/// A private key as DER, in one of its three forms; wiped when dropped.
pub(super) type Key = Zeroizing<PrivateKeyDer<'static>>;

/// All that a file has for us, in its order.
#[derive(Default)]
pub(super) struct Contents {
    /// Certificates as DER. Not looked into yet.
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) keys: Vec<Key>,
    /// What is of no use, in words, for the message when what is needed is not there.
    others: Vec<&'static str>,
    /// Is there a key that anybody can use who can read the file?
    pub(super) has_clear_key: bool,
}

impl Contents {
    pub(super) fn read(bytes: &[u8], password: Option<&Password>) -> Result<Self, Fault> {
        let mut contents = Self::default();
        if bytes.trim_ascii().is_empty() {
            return Err(Fault::Empty);
        }
        if pem::is_pem(bytes) {
            for block in pem::blocks(bytes)? {
                contents.take_block(block, password)?;
            }
        } else {
            contents.take_der(bytes, password)?;
        }
        Ok(contents)
    }

    /// What was found, each kind once, in words.
    pub(super) fn found(&self) -> Vec<&'static str> {
        let certificates = (!self.certificates.is_empty()).then_some(CERTIFICATE);
        let keys = (!self.keys.is_empty()).then_some(PRIVATE_KEY);
        let mut found: Vec<_> = certificates.into_iter().chain(keys).collect();
        for other in &self.others {
            if !found.contains(other) {
                found.push(other);
            }
        }
        found
    }

    fn take_block(&mut self, block: Block, password: Option<&Password>) -> Result<(), Fault> {
        let key = match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                self.certificates.push(block.der.to_vec());
                return Ok(());
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => match block.encryption {
                Some(encryption) => {
                    traditional(&encryption, &block.der, password.ok_or(Fault::PasswordNeeded)?)?
                }
                None => {
                    self.has_clear_key = true;
                    block.der
                }
            },
            "ENCRYPTED PRIVATE KEY" => encrypted(&block.der, password)?,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                self.others.push(REQUEST);
                return Ok(());
            }
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {
                self.others.push(PUBLIC_KEY);
                return Ok(());
            }
            // What `openssl ecparam -genkey` writes before the key; the key names its curve again.
            "EC PARAMETERS" => return Ok(()),
            "PKCS7" | "CMS" => {
                self.others.push("a PKCS#7 bundle");
                return Ok(());
            }
            "OPENSSH PRIVATE KEY" => {
                self.others.push("a key of SSH");
                return Ok(());
            }
            _ => {
                self.others.push("something else");
                return Ok(());
            }
        };
        self.take_key(&key)
    }

    fn take_der(&mut self, bytes: &[u8], password: Option<&Password>) -> Result<(), Fault> {
        match Form::of(bytes) {
            Form::Certificate => self.certificates.push(bytes.to_vec()),
            Form::Pkcs12 => {
                let bags = pkcs12::read(bytes, password)?;
                self.certificates.extend(bags.certificates);
                for key in bags.keys {
                    self.take_key(&key)?;
                }
                // Without a password, or with an empty one, it protects nothing.
                self.has_clear_key |=
                    !self.keys.is_empty() && password.is_none_or(|password| password.bytes().is_empty());
            }
            Form::EncryptedKey => {
                let key = encrypted(bytes, password)?;
                self.take_key(&key)?;
            }
            Form::Key => {
                self.take_key(bytes)?;
                self.has_clear_key = true;
            }
            Form::Request => self.others.push(REQUEST),
            Form::PublicKey => self.others.push(PUBLIC_KEY),
            Form::Damaged => return Err(Fault::Damaged),
            Form::Unknown => return Err(Fault::Unknown),
        }
        Ok(())
    }

    /// The label of a block is not trusted for the form of a key: the DER tells it.
    fn take_key(&mut self, der: &[u8]) -> Result<(), Fault> {
        let key = PrivateKeyDer::try_from(der.to_vec()).map_err(|_| Fault::Damaged)?;
        self.keys.push(Zeroizing::new(key));
        Ok(())
    }
}

fn encrypted(der: &[u8], password: Option<&Password>) -> Result<Bytes, Fault> {
    let encrypted = Encrypted::from_der(der).map_err(|_| Fault::Damaged)?;
    encrypted.decrypt(password.ok_or(Fault::PasswordNeeded)?)
}

/// A key with the header `DEK-Info`.
fn traditional(encryption: &str, data: &[u8], password: &Password) -> Result<Bytes, Fault> {
    let (name, iv) = encryption.split_once(',').ok_or(Fault::Damaged)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        other => return Err(Fault::UnsupportedCipher(other.escape_default().take(40).collect())),
    };
    let iv = hex(iv.trim()).filter(|iv| iv.len() == cipher.block_length()).ok_or(Fault::Damaged)?;
    let key = traditional_key(password.bytes(), &iv, cipher.key_length());
    // One wrong key in 256 leaves a padding that looks right.
    cipher.decrypt(&key, &iv, data).filter(|der| AnyRef::from_der(der).is_ok()).ok_or(Fault::WrongPassword)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// What DER is, judged by its first elements.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Certificate,
    Pkcs12,
    Key,
    EncryptedKey,
    Request,
    PublicKey,
    /// ASN.1, or the beginning of it.
    Damaged,
    Unknown,
}

impl Form {
    fn of(bytes: &[u8]) -> Self {
        // A SEQUENCE: short, with its length, or with one of the long forms of the length.
        match bytes {
            [0x30, 0x80..=0x84, ..] => {}
            [0x30, length @ ..=0x7f, rest @ ..] if usize::from(*length) == rest.len() => {}
            _ => return Self::Unknown,
        }
        let Ok(parts) = AnyRef::from_der(bytes).and_then(|whole| elements(whole.value())) else {
            return Self::Damaged;
        };
        let tags: Vec<Tag> = parts.iter().map(|part| part.header().tag()).collect();
        match (tags.as_slice(), parts.as_slice()) {
            ([Tag::Integer, Tag::Sequence, ..], [version, ..]) if version.value() == [3] => Self::Pkcs12,
            ([Tag::Integer, ..], _) => Self::Key,
            ([Tag::Sequence, Tag::OctetString], _) => Self::EncryptedKey,
            ([Tag::Sequence, Tag::BitString], _) => Self::PublicKey,
            ([Tag::Sequence, Tag::Sequence, Tag::BitString], [body, ..]) => {
                let version =
                    elements(body.value()).ok().and_then(|parts| parts.first().map(|part| part.value()));
                if Certificate::from_der(bytes).is_err() && version == Some(&[0]) {
                    Self::Request
                } else {
                    Self::Certificate
                }
            }
            _ => Self::Damaged,
        }
    }
}

/// The elements of a SEQUENCE.
fn elements(value: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(value)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.decode()?);
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_refused_and_never_a_panic() {
        for bytes in [
            &b"\x30"[..],
            b"\x30\x80\x00\x00",
            b"\x30\x82\xff\xff",
            b"\x30\x21",
            b"hello",
            b"\xff\xfe-\0-\0",
            &[0x30; 300],
        ] {
            assert!(Contents::read(bytes, None).is_err(), "{bytes:?}");
        }
        assert!(matches!(Contents::read(b" \n", None), Err(Fault::Empty)));
    }

    #[test]
    fn hexadecimal_is_pairs_of_digits() {
        assert_eq!(hex("00fF10"), Some(vec![0, 255, 16]));
        assert_eq!(hex(""), Some(vec![]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0g"), None);
    }
}
