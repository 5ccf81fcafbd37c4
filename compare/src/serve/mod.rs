//! Servers that this program plays itself, each in a process of its own: a Millrace router, and the relays that show what
//! the transport alone can carry.

mod millrace;
mod relay;
mod stock;

use std::io::{Read, Write};
use std::net::SocketAddr;

use super::drive::quic::{RELAY_PUBLISH, RELAY_RECEIVE};
use super::server::Ready;

/// Bytes that a relay passes on at once.
const BUFFER_BYTES: usize = 16 << 10;

/// Which server to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Served {
    /// A router with one core.
    Millrace,
    /// A relay of 16 KiB buffers on our QUIC loop.
    Ceiling,
    /// The same relay on quinn and tokio, one thread.
    CeilingStockQuinn,
}

impl Served {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Millrace => "millrace",
            Self::Ceiling => "ceiling",
            Self::CeilingStockQuinn => "ceiling-stock-quinn",
        }
    }
}

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

/// Serves until standard input ends.
///
/// # Errors
/// [`ServeError`].
pub fn serve(served: Served) -> Result<(), ServeError> {
    std::thread::Builder::new().name("watch".into()).spawn(|| {
        // Whoever started this process is gone when its end of the pipe is.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    match served {
        Served::Millrace => millrace::serve(),
        Served::Ceiling => relay::serve(),
        Served::CeilingStockQuinn => stock::serve(),
    }
}

/// Says that the server is ready.
fn announce(address: SocketAddr, ca_pem: String) -> Result<(), ServeError> {
    let line = serde_json::to_string(&Ready { address, ca_pem }).map_err(std::io::Error::from)?;
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// A certificate for loopback, and TLS with the relays' protocols.
fn relay_tls() -> Result<(rustls::ServerConfig, String), ServeError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = rustls::ServerConfig::builder_with_provider(millrace_quic::tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![RELAY_PUBLISH.to_vec(), RELAY_RECEIVE.to_vec()];
    Ok((config, made.cert.pem()))
}
