//! What all connections share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, crypto::ring::default_provider, pki_types::PrivateKeyDer,
        server::WebPkiClientVerifier,
    },
};

use crate::{
    Failure, certificates, credentials::Credentials, faults::Faults, journal::Journal, options::Options,
    provider_token::Verifier,
};

/// Orders that may be on their way to a connection that is busy.
const ORDERS: usize = 64;

/// What every connection that is open is told.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Say goodbye with this reason, answer what was taken, and close.
    GoAway(String),
    /// Break, without a word.
    Drop,
}

/// What all connections share.
pub(crate) struct Server {
    pub(crate) tls: TlsAcceptor,
    pub(crate) verifier: Verifier,
    /// Those of the team, for provider tokens.
    pub(crate) topics: Vec<String>,
    pub(crate) streams: u32,
    pub(crate) journal: Journal,
    pub(crate) orders: broadcast::Sender<Order>,
    pub(crate) frozen: watch::Sender<bool>,
    faults: Mutex<Faults>,
}

impl Server {
    pub(crate) fn new(options: &Options, credentials: &Credentials) -> Result<Self, Failure> {
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(tls(credentials)?)),
            verifier: Verifier::new(credentials.provider.public_key_raw(), options.token_interval),
            topics: credentials.topics.clone(),
            streams: options.streams,
            journal: Journal::new(options.quiet),
            orders: broadcast::Sender::new(ORDERS),
            frozen: watch::Sender::new(false),
            faults: Mutex::default(),
        })
    }

    /// The faults, to change or to read; not to be held over an `.await`.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client may come without a certificate, to bring a provider token; one that has expired is refused.
fn tls(credentials: &Credentials) -> Result<ServerConfig, Failure> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority_certificate.clone())?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let (certificate, key) = certificates::server(&credentials.authority)?;
    let chain = vec![certificate.der().clone(), credentials.authority_certificate.clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
