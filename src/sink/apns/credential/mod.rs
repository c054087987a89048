//! What Apple knows this daemon by: a certificate with its key, or a key for provider tokens.
//!
//! A [`Credential`] is loaded from [`CredentialFiles`], in every form that people have: PEM, DER and PKCS#12, encrypted or not, old and new.
//! It is never changed; when a file changes, a new one is loaded.
//!
//! Nothing of a key or a password is ever printed, by `Debug` or in an error.

mod certificate;
mod cipher;
mod contents;
mod encryption;
mod error;
mod files;
mod identity;
mod pem;
mod pkcs12;
mod provider_token;
mod roots;
mod secret;
mod warning;

use std::{fmt, path::Path, sync::Arc, time::SystemTime};

use http::HeaderValue;
use rustls::{ClientConfig, RootCertStore, crypto::ring, sign::SingleCertAndKey};

pub use self::{
    certificate::{Environments, Problem, Validity},
    error::CredentialError,
    files::CredentialFiles,
    provider_token::ProviderTokens,
    roots::roots,
    warning::Warning,
};
use self::{
    contents::Contents,
    error::Fault,
    identity::Identity,
    secret::{Password, SecretFile},
};

/// Which of Apple's two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// The one that phones use.
    Production,
    /// The one for programs under development.
    Sandbox,
}

impl Environment {
    /// The name of its servers.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Production => "api.push.apple.com",
            Self::Sandbox => "api.sandbox.push.apple.com",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        })
    }
}

/// A credential that was loaded.
pub struct Credential {
    kind: Kind,
    subject: String,
    warnings: Vec<Warning>,
}

enum Kind {
    Certificate(Identity),
    Token(Box<ProviderTokens>),
}

impl Credential {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or they do not make a credential. One that has expired is none of these: see [`Self::problem_at`].
    pub fn load(files: &CredentialFiles) -> Result<Self, CredentialError> {
        match files {
            CredentialFiles::Certificate { certificate, key, password_file } => {
                Self::from_certificate(certificate, key.as_deref(), password_file.as_deref())
            }
            CredentialFiles::Token { key_file, key_id, team_id } => {
                Self::from_token(key_file, key_id, team_id)
            }
        }
    }

    fn from_certificate(
        certificate: &Path,
        key: Option<&Path>,
        password_file: Option<&Path>,
    ) -> Result<Self, CredentialError> {
        let mut warnings = Vec::new();
        let mut password = None;
        if let Some(path) = password_file {
            let file = SecretFile::read(path)?;
            if file.readable_by_all {
                warnings.push(Warning::ReadableByAll(path.to_owned()));
            }
            password = Some(Password::from_file(&file.bytes));
        }
        let mut read = |path: &Path| {
            let file = SecretFile::read(path)?;
            let contents = Contents::read(&file.bytes, password.as_ref())
                .map_err(|fault| CredentialError::new(path, fault))?;
            if file.readable_by_all && contents.has_clear_key {
                warnings.push(Warning::ReadableByAll(path.to_owned()));
            }
            Ok::<_, CredentialError>(contents)
        };
        let certificate_file = (certificate, read(certificate)?);
        // One file named twice is one.
        let key_file = key
            .filter(|key| *key != certificate)
            .map(|key| Ok::<_, CredentialError>((key, read(key)?)))
            .transpose()?;
        let identity = Identity::new(certificate_file, key_file)?;
        let subject = identity.facts.subject.clone();
        Ok(Self { kind: Kind::Certificate(identity), subject, warnings })
    }

    fn from_token(path: &Path, key_id: &str, team_id: &str) -> Result<Self, CredentialError> {
        let fail = |fault| CredentialError::new(path, fault);
        let file = SecretFile::read(path)?;
        let contents = Contents::read(&file.bytes, None).map_err(|fault| {
            fail(match fault {
                Fault::PasswordNeeded => Fault::EncryptedProviderKey,
                other => other,
            })
        })?;
        let key = match contents.keys.as_slice() {
            [key] if contents.certificates.is_empty() => key,
            [_] => return Err(fail(Fault::NotProviderKey)),
            [] => return Err(fail(Fault::NoProviderKey(contents.found()))),
            several => return Err(fail(Fault::SeveralKeys(several.len()))),
        };
        let tokens = ProviderTokens::new(key, key_id, team_id).map_err(fail)?;
        let mut warnings = Vec::new();
        if file.readable_by_all {
            warnings.push(Warning::ReadableByAll(path.to_owned()));
        }
        for (name, value) in [("key-id", key_id), ("team-id", team_id)] {
            if value.len() != 10 || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                warnings.push(Warning::OddId { name, value: value.escape_debug().to_string() });
            }
        }
        let subject = format!("key {} of team {}", key_id.escape_debug(), team_id.escape_debug());
        Ok(Self { kind: Kind::Token(Box::new(tokens)), subject, warnings })
    }

    /// The topic to push on: the user id in the certificate's subject. None for a provider token, which is good for any of its team.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.identity().and_then(|identity| identity.facts.topic.as_deref())
    }

    /// The topic, and the others that the certificate lists.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        self.identity().map_or(&[], |identity| &identity.facts.topics)
    }

    /// The environments that the certificate is marked for; nothing for a provider token, which is good for both.
    #[must_use]
    pub fn environments(&self) -> Option<Environments> {
        self.identity().map(|identity| identity.facts.environments)
    }

    /// For people: the certificate's subject, or the numbers of the key and its team.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// From when to when the certificate is valid. A key does not end.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.identity().map(|identity| identity.facts.validity)
    }

    /// Why it cannot be used at this time.
    #[must_use]
    pub fn problem_at(&self, now: SystemTime) -> Option<Problem> {
        self.validity().and_then(|validity| validity.problem_at(now))
    }

    /// Whole days until the certificate ends.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> Option<u64> {
        self.validity().map(|validity| validity.days_left(now))
    }

    /// What works, but should not be as it is.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// How to speak TLS with Apple: HTTP/2, TLS 1.2 or later, servers that these roots vouch for, and the certificate if there is one.
    ///
    /// # Errors
    /// If rustls was built without what this needs.
    pub fn client_config(&self, roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
        // Named rather than the default of the process, which is anybody's to set.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.kind {
            Kind::Certificate(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone()))),
            Kind::Token(_) => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The header `authorization` of a push at this time: `bearer` and a provider token, the same for everybody until it is renewed. None
    /// with a certificate.
    #[must_use]
    pub fn authorization(&self, now: SystemTime) -> Option<HeaderValue> {
        self.tokens().and_then(|tokens| tokens.authorization(now))
    }

    /// The provider tokens, if that is what this is.
    #[must_use]
    pub fn tokens(&self) -> Option<&ProviderTokens> {
        match &self.kind {
            Kind::Token(tokens) => Some(tokens),
            Kind::Certificate(_) => None,
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.kind {
            Kind::Certificate(identity) => Some(identity),
            Kind::Token(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("subject", &self.subject).finish_non_exhaustive()
    }
}
