//! `[apns]`: Apple's push service.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError};
use crate::{
    registry::Topic,
    sink::apns::{
        credential::{CredentialFiles, Environment},
        dial::Endpoint,
        push::Priorities,
    },
};

/// The port of HTTPS; Apple's servers listen on 2197 too.
const DEFAULT_PORT: u16 = 443;
/// What proxies usually listen on.
const DEFAULT_PROXY_PORT: u16 = 3128;

/// A sink: Apple's push service, for the devices that registered. Leave the table out to have none. It needs a credential that Apple gave
/// for mail: see [the credential](credential.md). A file that changes is taken up within ten seconds, without a reload.
///
/// ```toml
/// [apns]
/// certificate = "/etc/pushmaild/apns.pem"
/// ```
///
/// Without a credential, for the time until Apple has given one: phones register and are told the topic, and pushes wait.
///
/// ```toml
/// [apns]
/// topic = "com.apple.mobilemail.push.org.example"
/// ```
///
/// Adding or removing the whole table takes effect at a restart.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ApnsTable {
    /// The certificate, PEM or PKCS#12 (`.p12`), with its chain; the private key may be in the same file, and encrypted.
    ///
    /// Default: none
    pub(super) certificate: Option<Spanned<PathBuf>>,
    /// The private key, if it is in a file of its own.
    ///
    /// Default: none; in the file of the certificate
    pub(super) key: Option<Spanned<PathBuf>>,
    /// A file whose first line opens an encrypted key or a PKCS#12.
    ///
    /// Default: none
    pub(super) password_file: Option<Spanned<PathBuf>>,
    /// A key that signs provider tokens, instead of a certificate. Whether Apple takes it for the topic of mail is not proven. It needs
    /// `topic`.
    ///
    /// Default: none
    pub(super) token: Option<TokenTable>,
    /// What phones are told when they register, and then pushed to on. A phone keeps what it was told and takes no other.
    ///
    /// Default: the topic in the certificate; without a certificate the key is needed
    pub(super) topic: Option<Spanned<String>>,
    /// Which of Apple's two services the credential is for.
    ///
    /// Default: what the certificate says; `production` for a token
    pub(super) environment: Option<EnvironmentValue>,
    /// Another address than Apple's: Apple's other port, `https://api.push.apple.com:2197`, or a simulator.
    ///
    /// Default: Apple's host for the environment, port 443
    pub(super) endpoint: Option<Spanned<String>>,
    /// An HTTP proxy that allows CONNECT. A password in it is not supported.
    ///
    /// Default: none; Apple is dialled directly
    pub(super) proxy: Option<Spanned<String>>,
    /// The only authorities, in PEM, that the server's certificate may come from.
    ///
    /// Default: Mozilla's list as it was when pushmaild was built
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    /// The priority of pushes for new mail: 10 is at once; 5 lets Apple wait for a moment that is good for the battery.
    ///
    /// Default: `10`
    pub(super) new_mail_priority: Option<Spanned<u8>>,
    /// The priority of pushes for what was read, flagged, moved or deleted.
    ///
    /// Default: `5`
    pub(super) change_priority: Option<Spanned<u8>>,
}

/// A key that signs provider tokens (JWT).
///
/// ```toml
/// [apns]
/// topic = "com.apple.mobilemail.push.org.example"
/// token = { key-file = "/etc/pushmaild/AuthKey.p8", key-id = "ABC123DEFG", team-id = "DEF123GHIJ" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TokenTable {
    /// The `.p8` file from Apple.
    ///
    /// Default: none; the table needs it
    pub(super) key_file: Spanned<PathBuf>,
    /// Ten letters and digits, beside the key in Apple's list of keys.
    ///
    /// Default: none; the table needs it
    pub(super) key_id: String,
    /// Ten letters and digits, on Apple's page about the membership.
    ///
    /// Default: none; the table needs it
    pub(super) team_id: String,
}

/// The words for Apple's two services.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EnvironmentValue {
    /// For phones as people have them.
    Production,
    /// For programs in development.
    Sandbox,
}

/// `[apns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apns {
    /// Certificate or key. None while Apple has not given one: devices register, and pushes wait.
    pub credential: Option<CredentialFiles>,
    /// The topic, if it is not the certificate's own.
    pub topic: Option<Topic>,
    /// Production or sandbox, if the certificate does not say it.
    pub environment: Option<Environment>,
    /// Another server than Apple's.
    pub endpoint: Option<Endpoint>,
    /// Through which connections go out.
    pub proxy: Option<Endpoint>,
    /// The only CA that the server's certificate may come from.
    pub ca_file: Option<PathBuf>,
    /// How urgent pushes are.
    pub priorities: Priorities,
}

impl Check<'_> {
    pub(super) fn apns(&self, raw: &ApnsTable) -> Result<Apns, ConfigError> {
        let credential = match (&raw.certificate, &raw.token) {
            (Some(certificate), Some(_)) => {
                return Err(self.error(
                    certificate,
                    "both a certificate and a token",
                    "one of them is enough",
                ));
            }
            (Some(certificate), None) => Some(CredentialFiles::Certificate {
                certificate: self.resolve(certificate)?,
                key: raw.key.as_ref().map(|key| self.resolve(key)).transpose()?,
                password_file: raw.password_file.as_ref().map(|file| self.resolve(file)).transpose()?,
            }),
            (None, Some(token)) => Some(CredentialFiles::Token {
                key_file: self.resolve(&token.key_file)?,
                key_id: token.key_id.clone(),
                team_id: token.team_id.clone(),
            }),
            (None, None) => None,
        };
        if let (None, Some(alone)) = (&raw.certificate, raw.key.as_ref().or(raw.password_file.as_ref())) {
            return Err(self.error(
                alone,
                "no `certificate` that this belongs to",
                "add `certificate = \"…\"`",
            ));
        }
        let topic = raw.topic.as_ref().map(|at| self.topic(at)).transpose()?;
        if topic.is_none() && raw.certificate.is_none() {
            return Err(ConfigError::whole(
                self.path,
                "the table [apns] has no `topic`".to_owned(),
                "without a certificate, which has one, it must be named: topic = \"com.apple.mobilemail.push.…\"".to_owned(),
            ));
        }
        Ok(Apns {
            credential,
            topic,
            environment: raw.environment.map(|environment| match environment {
                EnvironmentValue::Production => Environment::Production,
                EnvironmentValue::Sandbox => Environment::Sandbox,
            }),
            endpoint: raw.endpoint.as_ref().map(|at| self.endpoint(at, "https", DEFAULT_PORT)).transpose()?,
            proxy: raw.proxy.as_ref().map(|at| self.endpoint(at, "http", DEFAULT_PROXY_PORT)).transpose()?,
            ca_file: raw.ca_file.as_ref().map(|file| self.resolve(file)).transpose()?,
            priorities: Priorities {
                new_mail: self.priority(raw.new_mail_priority.as_ref(), Priorities::default().new_mail)?,
                change: self.priority(raw.change_priority.as_ref(), Priorities::default().change)?,
            },
        })
    }

    fn topic(&self, at: &Spanned<String>) -> Result<Topic, ConfigError> {
        at.get_ref()
            .parse()
            .map_err(|error| self.error(at, error, "it looks like `com.apple.mobilemail.push.org.example`"))
    }

    fn priority(&self, at: Option<&Spanned<u8>>, default: u8) -> Result<u8, ConfigError> {
        match at {
            None => Ok(default),
            Some(priority) if matches!(priority.get_ref(), 5 | 10) => Ok(*priority.get_ref()),
            Some(priority) => Err(self.error(priority, "no priority of APNs", "it is 5 or 10")),
        }
    }

    fn endpoint(&self, at: &Spanned<String>, scheme: &str, port: u16) -> Result<Endpoint, ConfigError> {
        let wrong = || {
            let example = format!("write it as `{scheme}://host.example.org:{port}`");
            self.error(at, format_args!("no {scheme} address of a host"), example)
        };
        let uri: http::Uri = at.get_ref().parse().map_err(|_| wrong())?;
        let has_more = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        let authority = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(wrong)?;
        if uri.scheme_str() != Some(scheme) || has_more || authority.host().is_empty() {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint { host, port: authority.port_u16().unwrap_or(port) })
    }
}
