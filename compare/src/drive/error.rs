//! Why a system could not be driven.

use std::time::Duration;

/// How long connecting and subscribing may take.
pub(crate) const SETUP_MAX: Duration = Duration::from_secs(20);

/// Why a system could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A socket or file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The system said something unexpected, or ended a connection.
    #[error("{0}")]
    Peer(String),
    /// Connections or subscriptions did not come about.
    #[error("connections and subscriptions did not come about within {} s", SETUP_MAX.as_secs())]
    Setup,
}
