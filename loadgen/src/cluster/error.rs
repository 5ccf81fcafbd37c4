//! Why there are no routers to use.

use std::path::PathBuf;
use std::time::Duration;

use millrace_quic::SettingsError;

/// How long routers may take to link up.
pub(super) const LINK_MAX: Duration = Duration::from_secs(20);

/// Why there are no routers to use.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A router did not start.
    #[error("a router does not start: {0}")]
    Start(String),
    /// Routers did not link up.
    #[error("the routers did not link up within {} s", LINK_MAX.as_secs())]
    Link,
    /// An address does not resolve.
    #[error("{address} leads to no router: {reason}; give HOST or HOST:PORT, such as 127.0.0.1:7400")]
    Resolve {
        /// The address.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The CA certificates cannot be read.
    #[error("cannot read CA certificates from {}: {reason}; name a PEM file with --ca", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No CA was given, and there is no dev mode's.
    #[error(
        "no CA certificates: start millrace-router in dev mode on this host, or name a PEM file with --ca"
    )]
    NoCa,
    /// A router refused a client, and would refuse it again.
    #[error("a router refused the clients that were to disturb: {0}")]
    Refused(String),
    /// Those who were to disturb did not connect.
    #[error("only {connected} of {clients} clients that were to disturb connected")]
    Crowd {
        /// How many did.
        connected: u64,
        /// How many there were to be.
        clients: u32,
    },
    /// Nobody here can have the routers read their settings anew.
    #[error("reloads need own routers that read a file: add --processes")]
    NoReload,
    /// TLS settings do not work.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Transport settings do not work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}
