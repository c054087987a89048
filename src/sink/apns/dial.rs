//! The way to Apple: addresses, TCP, a proxy if there must be one, TLS.

use std::{future::Future, io, sync::Arc, time::Duration};

use rustls::{AlertDescription as Alert, ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// For one address. Another one is tried after it.
const CONNECT: Duration = Duration::from_secs(5);
/// For everything, from the name to the end of the TLS handshake.
const DIAL: Duration = Duration::from_secs(20);
/// The most bytes of a proxy's answer.
const PROXY_ANSWER: usize = 4096;

/// A host with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name `{host}` cannot be resolved: {error}")]
    Name {
        /// The name.
        host: String,
        /// Why.
        error: io::Error,
    },
    /// Nobody can be reached there.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        error: io::Error,
    },
    /// The proxy does not let us through.
    #[error("the proxy {proxy} answers: {answer}")]
    Proxy {
        /// Which.
        proxy: Endpoint,
        /// What it said.
        answer: String,
    },
    /// The handshake failed.
    #[error("TLS with {endpoint}: {error}")]
    Tls {
        /// With whom.
        endpoint: Endpoint,
        /// Why.
        error: io::Error,
    },
    /// It took too long.
    #[error("no connection to {0} within {DIAL:?}")]
    Slow(Endpoint),
}

impl DialError {
    /// What Apple said of the certificate, if that is why.
    #[must_use]
    pub fn blames_credential(&self) -> Option<String> {
        match self {
            Self::Tls { error, .. } => blames_certificate(error),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "check the machine's DNS; Apple's servers are api.push.apple.com",
            Self::Connect { .. } | Self::Slow(_) => {
                "a firewall must let connections to Apple's port 443 or 2197 out; set `proxy` if there is one"
            }
            Self::Proxy { .. } => "the proxy must allow CONNECT to this host and port",
            Self::Tls { error, .. } if blames_certificate(error).is_some() => {
                "renew the certificate, and see that it is for this environment"
            }
            Self::Tls { .. } => {
                "something between here and Apple may be opening TLS; for a simulator set `ca-file`"
            }
        }
    }
}

/// The alerts with which a server refuses a client certificate.
const ALERTS: [Alert; 8] = [
    Alert::BadCertificate,
    Alert::UnsupportedCertificate,
    Alert::CertificateRevoked,
    Alert::CertificateExpired,
    Alert::CertificateUnknown,
    Alert::UnknownCA,
    Alert::AccessDenied,
    Alert::CertificateRequired,
];

/// The alert with which a server refuses the certificate, if that is what the error is. With TLS 1.3 it comes only after the handshake, with
/// the first read, and through h2, which keeps the words of an error and not the error: so the words are compared.
#[must_use]
pub fn blames_certificate(error: &io::Error) -> Option<String> {
    let said = error.to_string();
    let said_by = |alert: &Alert| said.contains(&rustls::Error::AlertReceived(*alert).to_string());
    ALERTS.into_iter().find(said_by).map(|alert| format!("TLS alert {alert:?}"))
}

/// Makes connections. A trait for the tests, whose clock stands still while nothing happens, which real sockets do not know.
pub trait Dial: Send + Sync + 'static {
    /// What HTTP/2 is spoken over.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes one.
    fn dial(&self) -> impl Future<Output = Result<Self::Io, DialError>> + Send;
}

/// Real connections.
#[derive(Clone)]
pub struct TlsDial {
    /// Where to.
    pub endpoint: Endpoint,
    /// Through whom.
    pub proxy: Option<Endpoint>,
    /// With which credential and roots.
    pub config: Arc<ClientConfig>,
}

impl Dial for TlsDial {
    type Io = TlsStream<TcpStream>;

    async fn dial(&self) -> Result<Self::Io, DialError> {
        let slow = |_| DialError::Slow(self.endpoint.clone());
        timeout(DIAL, self.connect()).await.map_err(slow)?
    }
}

impl TlsDial {
    async fn connect(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let tls = |error| DialError::Tls { endpoint: self.endpoint.clone(), error };
        let mut stream = tcp(self.proxy.as_ref().unwrap_or(&self.endpoint)).await?;
        if let Some(proxy) = &self.proxy {
            tunnel(&mut stream, proxy, &self.endpoint).await?;
        }
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|error| tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.map_err(tls)
    }
}

/// Connects to the first address that answers. The name is looked up each time: Apple's addresses change, and a dead one is known by no
/// cache.
async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, DialError> {
    let name = |error| DialError::Name { host: endpoint.host.clone(), error };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(name)? {
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // A push that waits alone would otherwise wait for the acknowledgement of the one before it.
                stream
                    .set_nodelay(true)
                    .map_err(|error| DialError::Connect { endpoint: endpoint.clone(), error })?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect { endpoint: endpoint.clone(), error: last })
}

/// Asks a proxy for a tunnel: RFC 9110, section 9.3.6.
async fn tunnel(stream: &mut TcpStream, proxy: &Endpoint, to: &Endpoint) -> Result<(), DialError> {
    let failed = |error| DialError::Connect { endpoint: proxy.clone(), error };
    let refused = |answer: &[u8]| {
        let line = answer.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        DialError::Proxy {
            proxy: proxy.clone(),
            answer: String::from_utf8_lossy(line).escape_debug().to_string(),
        }
    };
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    // Byte by byte: what follows the empty line is TLS already.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == PROXY_ANSWER {
            return Err(refused(&answer));
        }
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(refused(&answer)),
            Err(error) => return Err(failed(error)),
        }
    }
    let status = answer.split(|byte| *byte == b' ').nth(1);
    if answer.starts_with(b"HTTP/1.") && status.is_some_and(|status| status.first() == Some(&b'2')) {
        Ok(())
    } else {
        Err(refused(&answer))
    }
}
