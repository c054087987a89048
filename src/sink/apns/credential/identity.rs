//! Puts a certificate, its key and its chain together.

use std::{path::Path, sync::Arc};

use der::Decode;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};
use x509_cert::{Certificate, spki::SubjectPublicKeyInfoRef};

use super::{
    certificate::Facts,
    contents::Contents,
    error::{CredentialError, Fault},
};

/// What TLS needs to show a certificate, and what the certificate says.
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

impl Identity {
    /// Out of the certificate's file and, if there is one, the key's. Order within them means nothing: the certificate is the one that the
    /// key belongs to, and the chain is found by names.
    pub(super) fn new(
        certificate_file: (&Path, Contents),
        key_file: Option<(&Path, Contents)>,
    ) -> Result<Self, CredentialError> {
        let (path, contents) = certificate_file;
        if contents.certificates.is_empty() {
            return Err(CredentialError::new(path, Fault::NoCertificate(contents.found())));
        }
        let (key_path, found) =
            key_file.as_ref().map_or((path, contents.found()), |(path, contents)| (*path, contents.found()));
        if key_file.as_ref().is_some_and(|(_, contents)| contents.keys.is_empty()) {
            // Even if the certificate's file has one: it was said where the key is.
            return Err(CredentialError::new(key_path, Fault::NoKey(found)));
        }
        let (more_certificates, more_keys) =
            key_file.map_or_else(Default::default, |(_, contents)| (contents.certificates, contents.keys));

        let mut signing: Vec<Arc<dyn SigningKey>> = Vec::new();
        for key in contents.keys.iter().chain(&more_keys) {
            let key =
                any_supported_type(key).map_err(|_| CredentialError::new(key_path, Fault::UnusableKey))?;
            // The same key in both files is one.
            if !signing.iter().any(|other| other.public_key() == key.public_key()) {
                signing.push(key);
            }
        }
        let key = match signing.len() {
            0 => return Err(CredentialError::new(key_path, Fault::NoKey(found))),
            1 => signing.remove(0),
            several => return Err(CredentialError::new(key_path, Fault::SeveralKeys(several))),
        };

        let mut certificates: Vec<(Vec<u8>, Certificate)> = Vec::new();
        let mut damage = None;
        for der in contents.certificates.into_iter().chain(more_certificates) {
            match Certificate::from_der(&der) {
                _ if certificates.iter().any(|(other, _)| *other == der) => {}
                Ok(certificate) => certificates.push((der, certificate)),
                // Fatal only if it is the one that is needed.
                Err(error) => damage = Some(error.to_string()),
            }
        }
        let ours: Vec<usize> =
            (0..certificates.len()).filter(|at| belongs(&certificates[*at].1, &*key)).collect();
        let mut chain = match (ours.as_slice(), damage) {
            ([one], _) => vec![certificates.swap_remove(*one)],
            ([], Some(damage)) => return Err(CredentialError::new(path, Fault::DamagedCertificate(damage))),
            ([], None) => return Err(CredentialError::new(key_path, Fault::Mismatch(path.to_owned()))),
            (several, _) => {
                return Err(CredentialError::new(path, Fault::SeveralCertificates(several.len())));
            }
        };
        let facts = Facts::of(&chain[0].1);
        while let Some(issuer) = chain.last().and_then(|(_, last)| {
            let issuer = last.tbs_certificate().issuer();
            certificates.iter().position(|(_, other)| other.tbs_certificate().subject() == issuer)
        }) {
            chain.push(certificates.swap_remove(issuer));
        }
        let chain = chain.into_iter().map(|(der, _)| CertificateDer::from(der)).collect();
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, key)), facts })
    }
}

/// Is this the certificate of that key? Only the keys are compared: rustls' own comparison first wants to understand the whole certificate,
/// as the one who is to trust it would.
fn belongs(certificate: &Certificate, key: &dyn SigningKey) -> bool {
    let Some(ours) = key.public_key() else { return false };
    let theirs = certificate.tbs_certificate().subject_public_key_info();
    SubjectPublicKeyInfoRef::from_der(&ours).is_ok_and(|ours| {
        ours.algorithm.oid == theirs.algorithm.oid
            && ours.subject_public_key.raw_bytes() == theirs.subject_public_key.raw_bytes()
    })
}
