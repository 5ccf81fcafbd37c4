//! What the servers share: their errors, how they say that they are ready, and the relays'
//! certificate.

use std::io::Write;
use std::net::SocketAddr;

use crate::drive::quic::{RELAY_PUBLISH, RELAY_RECEIVE};
use crate::server::Ready;

/// Bytes that a relay passes on at once.
pub(super) const BUFFER_BYTES: usize = 16 << 10;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The router, or QUIC.
    #[error("{0}")]
    Start(String),
}

/// Says that the server is ready.
pub(super) fn announce(address: SocketAddr, ca_pem: String) -> Result<(), ServeError> {
    let line = serde_json::to_string(&Ready { address, ca_pem }).map_err(std::io::Error::from)?;
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// A certificate for loopback, and TLS with the relays' protocols.
pub(super) fn relay_tls() -> Result<(rustls::ServerConfig, String), ServeError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = rustls::ServerConfig::builder_with_provider(millrace_quic::tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![RELAY_PUBLISH.to_vec(), RELAY_RECEIVE.to_vec()];
    Ok((config, made.cert.pem()))
}
