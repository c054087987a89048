//! The folder with the credentials. They outlive a restart, so that clients which have them go on working.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rcgen::{Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

use crate::{
    Failure,
    certificates::{self, ClientCertificate},
    identity::Identity,
};

/// The key id of `AuthKey.p8`.
pub(crate) const KEY_ID: &str = "ABC123DEFG";
/// Whose key it is.
pub(crate) const TEAM_ID: &str = "DEF123GHIJ";

/// What the server needs of them.
pub(crate) struct Credentials {
    pub(crate) authority: Issuer<'static, KeyPair>,
    pub(crate) authority_certificate: CertificateDer<'static>,
    /// The key for provider tokens.
    pub(crate) provider: KeyPair,
    /// The topics of the team, to which a provider token is good.
    pub(crate) topics: Vec<String>,
}

impl Credentials {
    /// Takes what is in the folder if all of it is good, and else makes everything anew.
    pub(crate) fn load_or_make(dir: &Path, topic: &str) -> Result<Self, Failure> {
        if let Some(credentials) = Self::load(dir, topic) {
            return Ok(credentials);
        }
        let (key, certificate) = certificates::authority()?;
        let authority = Issuer::from_ca_cert_pem(&certificate, key)?;
        for (name, client) in clients(topic) {
            write(&dir.join(name), &client.issue(&authority)?)?;
        }
        write(&dir.join("AuthKey.p8"), &KeyPair::generate()?.serialize_pem())?;
        write(&dir.join("ca-key.pem"), &authority.key().serialize_pem())?;
        // The last one: without it nothing is loaded.
        write(&dir.join("ca.pem"), &certificate)?;
        Self::load(dir, topic)
            .ok_or_else(|| format!("the credentials in {} are not good", dir.display()).into())
    }

    fn load(dir: &Path, topic: &str) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
        let certificate = read("ca.pem")?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let key = KeyPair::from_pem(&read("ca-key.pem")?).ok()?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() || ends_soon(&parsed) {
            return None;
        }
        for (name, client) in clients(topic) {
            let pem = read(name)?;
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            let (_, issued) = X509Certificate::from_der(&der).ok()?;
            let same_topic = Identity::of(&der).topics.first() == client.topic.as_ref();
            if issued.issuer() != parsed.subject() || !same_topic || ends_soon(&issued) != client.expired {
                return None;
            }
        }
        let authority_certificate = der.clone();
        Some(Self {
            authority: Issuer::from_ca_cert_pem(&certificate, key).ok()?,
            authority_certificate,
            provider: KeyPair::from_pem(&read("AuthKey.p8")?).ok()?,
            topics: topics_of(topic).into_iter().map(|(topic, _)| topic).collect(),
        })
    }
}

/// Makes the folder, for its owner only.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The files for clients.
fn clients(topic: &str) -> [(&'static str, ClientCertificate); 6] {
    let good = || ClientCertificate {
        topic: Some(topic.to_owned()),
        sandbox: true,
        production: true,
        ..ClientCertificate::default()
    };
    [
        ("client.pem", good()),
        ("several-topics.pem", ClientCertificate { topics: topics_of(topic), ..good() }),
        ("other-topic.pem", ClientCertificate { topic: Some("com.example.other".to_owned()), ..good() }),
        ("expired.pem", ClientCertificate { expired: true, ..good() }),
        ("sandbox-only.pem", ClientCertificate { production: false, ..good() }),
        ("no-topic.pem", ClientCertificate::default()),
    ]
}

/// A topic with its kin, as Apple lists them: each with its kind.
fn topics_of(topic: &str) -> Vec<(String, &'static str)> {
    let kin = |kind| (format!("{topic}.{kind}"), kind);
    vec![(topic.to_owned(), "app"), kin("voip"), kin("complication")]
}

/// Within a day: not worth being kept.
fn ends_soon(certificate: &X509Certificate<'_>) -> bool {
    certificate.validity().not_after.timestamp() < ASN1Time::now().timestamp() + 86_400
}

/// Writes a file of a private key, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = PathBuf::from(path).into_os_string();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(temporary, path)
}
