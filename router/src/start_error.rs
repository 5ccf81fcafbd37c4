//! Why a router does not start, or refuses new settings, with the setting to change.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use crate::config::ConfigError;
use crate::tls::IdentityError;

/// Why a router did not start. Nothing is left running or bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The UDP address cannot be had.
    #[error("cannot listen on UDP {address} (setting `listen`): {source}{}", cure(source, address))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words, or who holds the port.
        source: io::Error,
    },
    /// The TCP address of the admin page cannot be had.
    #[error(
        "cannot serve the admin page on TCP {address} (setting `{setting}`): {source}{}",
        cure(source, address)
    )]
    Admin {
        /// `admin.listen` or `admin.tls_listen`.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// The folder of history files cannot be used.
    #[error("cannot keep history in {} (setting `history.dir`): {problem}", folder.display())]
    HistoryFiles {
        /// The folder.
        folder: PathBuf,
        /// Why.
        problem: String,
    },
    /// The system refused a thread, a socket or another resource.
    #[error("the system refused a resource: {0}; look at limits of threads and open files (`ulimit -a`)")]
    System(#[from] io::Error),
    /// QUIC refused a setting.
    #[error("QUIC does not accept a setting: {0}")]
    Quic(#[from] millrace_quic::SettingsError),
}

impl StartError {
    /// Whether the next start fails, too, until a person has changed something: a service manager
    /// need not try again. A port that another process has, or an address that the host does not
    /// have yet, is there a moment later.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Config(_) | Self::Identity(_) | Self::Quic(_) => true,
            Self::Listen { source, .. } | Self::Admin { source, .. } => {
                matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)
            }
            Self::HistoryFiles { .. } | Self::System(_) => false,
        }
    }
}

/// Why a reload was refused; nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The new settings or certificates would be refused at start, too.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// The new certificate is another router's.
    #[error(
        "the new certificate names the router `{new}`, this one is `{old}`: start it anew, or give its own certificate"
    )]
    OtherRouter {
        /// The name that it has.
        old: String,
        /// The name in the new certificate.
        new: String,
    },
    /// The process refuses its file, environment or flags.
    #[error("{0}")]
    Process(String),
    /// The router was not started by a process that reads settings.
    #[error("this router is embedded: its program reloads it")]
    Embedded,
}

/// The cure for an address that cannot be bound.
fn cure(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("; {} is not an address of this host (see `ip addr`)", address.ip())
        }
        _ if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => match address {
            SocketAddr::V6(v6) => {
                format!("; this host has no interface number {} (see `ip link`)", v6.scope_id())
            }
            SocketAddr::V4(_) => String::new(),
        },
        io::ErrorKind::InvalidInput if is_link_local(address) => {
            format!("; a link-local address needs its interface: [{}%eth0]:{}", address.ip(), address.port())
        }
        io::ErrorKind::PermissionDenied => {
            format!("; ports below 1024 need a capability: choose a port above, not {}", address.port())
        }
        _ => String::new(),
    }
}

fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gets_well_by_itself_is_not_lasting() {
        let address = ([192, 0, 2, 1], 7400).into();
        let listen = |kind: io::ErrorKind| StartError::Listen { address, source: kind.into() };
        let admin =
            |kind: io::ErrorKind| StartError::Admin { setting: "admin.listen", address, source: kind.into() };
        assert!(!listen(io::ErrorKind::AddrInUse).is_lasting());
        assert!(!admin(io::ErrorKind::AddrNotAvailable).is_lasting());
        assert!(listen(io::ErrorKind::PermissionDenied).is_lasting());
        assert!(admin(io::ErrorKind::InvalidInput).is_lasting());
    }
}
