//! Certificates as Apple issues them, and others, signed by a certificate authority of our own.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::{Failure, identity};

/// How long Apple's certificates for push are good, within a month.
const A_YEAR: Duration = Duration::days(395);

/// What a client certificate says.
#[derive(Default)]
pub(crate) struct ClientCertificate {
    /// The subject's UID.
    pub(crate) topic: Option<String>,
    /// In the extension that lists topics; empty leaves it out.
    pub(crate) topics: Vec<(String, &'static str)>,
    pub(crate) sandbox: bool,
    pub(crate) production: bool,
    pub(crate) expired: bool,
}

/// A new authority: its key and its certificate.
pub(crate) fn authority() -> Result<(KeyPair, String), Failure> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // A name that no other authority has: by it `Credentials` knows whose a certificate is.
    params.distinguished_name.push(DnType::CommonName, format!("APNs simulator {:016x}", fastrand::u64(..)));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(Duration::days(3650));
    let certificate = params.self_signed(&key)?.pem();
    Ok((key, certificate))
}

/// The server's own, as (certificate, key).
pub(crate) fn server(authority: &Issuer<'_, KeyPair>) -> Result<(rcgen::Certificate, KeyPair), Failure> {
    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1", "api.push.apple.com"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "APNs simulator");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = validity(A_YEAR);
    Ok((params.signed_by(&key, authority)?, key))
}

impl ClientCertificate {
    /// The certificate and its key in one PEM file, the form that most people keep.
    pub(crate) fn issue(&self, authority: &Issuer<'_, KeyPair>) -> Result<String, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        if let Some(topic) = &self.topic {
            name.push(DnType::CustomDnType(identity::UID.to_vec()), topic.as_str());
        }
        let service = self.topic.as_deref().unwrap_or("nothing");
        name.push(DnType::CommonName, format!("Apple Push Services: {service}"));
        name.push(DnType::OrganizationalUnitName, crate::credentials::TEAM_ID);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = validity(A_YEAR);
        if self.expired {
            params.not_after = OffsetDateTime::now_utc() - Duration::DAY;
            params.not_before = params.not_after - A_YEAR;
        }

        let mut mark = |last: u64, content| {
            let oid = [&identity::EXTENSIONS[..], &[last]].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, content));
        };
        if self.sandbox {
            mark(identity::SANDBOX, der(NULL, &[])?);
        }
        if self.production {
            mark(identity::PRODUCTION, der(NULL, &[])?);
        }
        if !self.topics.is_empty() {
            let mut list = Vec::new();
            for (topic, kind) in &self.topics {
                list.extend(der(UTF8_STRING, topic.as_bytes())?);
                list.extend(der(SEQUENCE, &der(UTF8_STRING, kind.as_bytes())?)?);
            }
            mark(identity::TOPICS, der(SEQUENCE, &list)?);
        }
        let certificate = params.signed_by(&key, authority)?;
        Ok(certificate.pem() + &key.serialize_pem())
    }
}

const NULL: u8 = 0x05;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;

/// One value in DER: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut value = vec![tag];
    let length = u16::try_from(content.len())?;
    match length.to_be_bytes() {
        [0, length @ ..0x80] => value.push(length),
        [0, length] => value.extend([0x81, length]),
        [high, low] => value.extend([0x82, high, low]),
    }
    value.extend_from_slice(content);
    Ok(value)
}

/// From a little before now, since clocks of containers differ.
fn validity(length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::HOUR, now + length)
}
