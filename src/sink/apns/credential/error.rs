//! What is wrong with a credential, in which file, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use der::asn1::ObjectIdentifier;
use thiserror::Error;

use crate::path_access;

/// A credential that cannot be used.
#[derive(Debug, Error)]
#[error("{}: {fault}", .path.display())]
pub struct CredentialError {
    path: PathBuf,
    fault: Fault,
}

/// What can be wrong with one file. No text of this has anything of a key or a password in it.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("cannot read the file: {0}")]
    Unreadable(io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file is too long for a credential")]
    TooLong,
    #[error("the file is neither PEM nor DER nor PKCS#12")]
    Unknown,
    #[error("the file is damaged, or in an unusual encoding")]
    Damaged,
    #[error("the PEM block that begins in line {line} is damaged: `{label}`")]
    DamagedBlock { label: String, line: usize },
    #[error("the certificate cannot be read: {0}")]
    DamagedCertificate(String),
    #[error("there is no certificate in it, {}", only(.0))]
    NoCertificate(Vec<&'static str>),
    #[error("there is no private key in it, {}", only(.0))]
    NoKey(Vec<&'static str>),
    #[error("there are several private keys: {0}")]
    SeveralKeys(usize),
    #[error("there are several certificates for the one private key: {0}")]
    SeveralCertificates(usize),
    #[error("the private key does not belong to the certificate: `{}`", .0.display())]
    Mismatch(PathBuf),
    #[error("the private key is of a kind or size that TLS cannot use")]
    UnusableKey,
    #[error("a password is needed")]
    PasswordNeeded,
    #[error("the password is wrong")]
    WrongPassword,
    #[error("the file uses an algorithm that is not supported: `{0}`")]
    Unsupported(ObjectIdentifier),
    #[error("the private key is encrypted by a cipher that is not supported: `{0}`")]
    UnsupportedCipher(String),
    #[error("the key is not an APNs auth key: those are EC keys on the curve P-256, in PKCS#8")]
    NotProviderKey,
    #[error("there is no APNs auth key in it, {}", only(.0))]
    NoProviderKey(Vec<&'static str>),
    #[error("the APNs auth key is encrypted")]
    EncryptedProviderKey,
    #[error("no certificate in it can be trusted: {0}")]
    UnusableAuthority(String),
}

fn only(found: &[&'static str]) -> String {
    if found.is_empty() {
        "nor anything else of use".to_owned()
    } else {
        format!("only {}", found.join(" and "))
    }
}

impl CredentialError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_owned(), fault }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let file = self.path.display();
        match &self.fault {
            Fault::Unreadable(error) => unreadable(&self.path, error),
            Fault::Empty | Fault::TooLong | Fault::Unknown => {
                "a certificate is PEM (`-----BEGIN CERTIFICATE-----`), DER, or a .p12 file as Keychain exports it".to_owned()
            }
            Fault::Damaged | Fault::Unsupported(_) => format!(
                "OpenSSL may know it: `openssl pkcs12 -legacy -in {file} -nodes -out apns.pem` for a .p12 file, `openssl pkcs8 -topk8 \
                 -v2 aes256 -in {file} -out apns.key` for a key"
            ),
            Fault::DamagedBlock { .. } => {
                "copy the file again: each block ends in an END line of the same name, with base64 between".to_owned()
            }
            Fault::DamagedCertificate(_) => format!("see what `openssl x509 -in {file} -noout -text` says of it"),
            Fault::NoCertificate(found) if found.contains(&REQUEST) => {
                "a request is what Apple signs: download the certificate (.cer) that came of it, and keep the request's key as `key`"
                    .to_owned()
            }
            Fault::NoCertificate(found) if found.contains(&PRIVATE_KEY) => {
                "an APNs auth key (.p8) belongs to `token = { key-file = … }`, the private key of a certificate to `key`".to_owned()
            }
            Fault::NoCertificate(_) => "name the file of the certificate with `certificate`".to_owned(),
            Fault::NoKey(found) if found.contains(&PUBLIC_KEY) => {
                "a public key is not enough: the private one was made together with the certificate signing request".to_owned()
            }
            Fault::NoKey(_) => {
                "name the file of its private key with `key`, or append it to this one; Keychain exports both as .p12 when the \
                 certificate is selected together with its key"
                    .to_owned()
            }
            Fault::SeveralKeys(_) => "leave only the one that belongs to the certificate".to_owned(),
            Fault::SeveralCertificates(_) => "leave only the one to use, with its chain; a renewed certificate replaces the old one".to_owned(),
            Fault::Mismatch(certificate) => format!(
                "compare the output of `openssl x509 -in {} -noout -pubkey` with that of `openssl pkey -in {file} -pubout`; a renewed \
                 certificate may have a new key",
                certificate.display()
            ),
            Fault::UnusableKey => "Apple's certificates take RSA keys of 2048 bits or more, and EC keys on P-256 or P-384".to_owned(),
            Fault::PasswordNeeded => "write it into a file of its own, and name that with `password-file`".to_owned(),
            Fault::WrongPassword => {
                "the password is the whole content of `password-file`, but for one line end; it is the one that was chosen at the \
                 export"
                    .to_owned()
            }
            Fault::UnsupportedCipher(_) => format!("encrypt it anew: `openssl pkey -in {file} -aes256 -out apns.key`"),
            Fault::NotProviderKey | Fault::NoProviderKey(_) => {
                "take the file AuthKey_….p8 as Apple gave it; a certificate's key belongs to `certificate` and `key`".to_owned()
            }
            Fault::EncryptedProviderKey => {
                format!("take the file as Apple gave it, or `openssl pkcs8 -topk8 -nocrypt -in {file} -out AuthKey.p8`")
            }
            Fault::UnusableAuthority(_) => "`ca-file` is PEM or DER, with one or more certificates of authorities".to_owned(),
        }
    }
}

/// What files hold beside what was looked for; [`CredentialError::hint`] knows some of these.
pub(super) const CERTIFICATE: &str = "a certificate";
pub(super) const PRIVATE_KEY: &str = "a private key";
pub(super) const PUBLIC_KEY: &str = "a public key";
pub(super) const REQUEST: &str = "a certificate signing request";

fn unreadable(path: &Path, error: &io::Error) -> String {
    let file = path.display();
    match (error.kind(), path_access::blocking_component(path)) {
        (io::ErrorKind::PermissionDenied, Some((component, _))) if component != path => {
            format!("`{}` lets this process not in", component.display())
        }
        (io::ErrorKind::PermissionDenied, _) => {
            format!(
                "let the daemon's group read it, and nobody else: `chgrp pushmaild {file} && chmod 640 {file}`"
            )
        }
        (io::ErrorKind::NotFound, Some((component, _))) => {
            format!(
                "`{}` does not exist: put it there, or, until Apple has given one, leave it out and set `topic`: phones register, and \
                 their pushes wait",
                component.display()
            )
        }
        (io::ErrorKind::IsADirectory, _) => "name a file in it".to_owned(),
        _ => "see the error above".to_owned(),
    }
}
