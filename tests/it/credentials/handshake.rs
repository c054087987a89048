//! TLS between a credential and a server that asks for a certificate, without a network.

use std::sync::Arc;

use pushmaild::sink::apns::credential::{Credential, roots};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConnection, Error, ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::forge::Forge;

/// What the server saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// How many certificates came.
    pub(crate) chain: usize,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// A handshake with a server that trusts only the forge's `ca.pem`, and that only this authority vouches for.
pub(crate) fn handshake(
    forge: &Forge,
    credential: &Credential,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Seen, Error> {
    let authority = Arc::new(roots(Some(&forge.path("ca.pem"))).unwrap());
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(authority.clone(), provider.clone()).build().unwrap();
    let certificate = CertificateDer::from_pem_file(forge.path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(forge.path("server.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];

    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(credential.client_config(authority)?), name)?;
    while server.is_handshaking() || client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(Seen {
        chain: server.peer_certificates().unwrap_or_default().len(),
        version: server.protocol_version(),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
    })
}
