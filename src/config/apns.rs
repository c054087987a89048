//! `[apns]`: Apple's push service.

use std::path::PathBuf;

use toml::Spanned;

use super::{Check, ConfigError, raw};
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
    pub(super) fn apns(&self, raw: &raw::Apns) -> Result<Apns, ConfigError> {
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
                raw::Environment::Production => Environment::Production,
                raw::Environment::Sandbox => Environment::Sandbox,
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
