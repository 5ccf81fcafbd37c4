//! Why settings cannot be used.

use std::path::PathBuf;

use millrace_client::AddressError;

use super::access::AccessError;
use crate::admission::DoorTlsError;
use crate::doors::naming::TemplateError;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A router's address.
    #[error("routers.addresses: {0}")]
    Router(#[from] AddressError),
    /// No router.
    #[error("routers.addresses is empty: name at least one router")]
    NoRouters,
    /// An address to listen on.
    #[error("{key} = {text:?}: write ADDRESS:PORT, as in 127.0.0.1:7480, or off")]
    Listen {
        /// The setting.
        key: &'static str,
        /// What it says.
        text: String,
    },
    /// Certificate and key go together.
    #[error("{section}.cert and {section}.key go together: set both or none")]
    HalfIdentity {
        /// The section of the file.
        section: &'static str,
    },
    /// A client authority without TLS.
    #[error("{section}.client_ca needs {section}.cert and {section}.key: client certificates come with TLS")]
    ClientCaWithoutTls {
        /// The section of the file.
        section: &'static str,
    },
    /// A key that everybody may use.
    #[error("{problem}; where that must be, `tls.accept_open_keys = true` makes it a warning")]
    OpenKey {
        /// Which file, whose it is, and the cure.
        problem: String,
    },
    /// The program's own certificate.
    #[error("routers.cert and routers.key cannot be used: {problem}")]
    Identity {
        /// What is wrong.
        problem: String,
    },
    /// What is to be logged.
    #[error("log.filter: {problem}")]
    Log {
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS of a door.
    #[error("[{section}] {source}")]
    Tls {
        /// The section of the file.
        section: &'static str,
        /// What is wrong.
        source: DoorTlsError,
    },
    /// A template of subjects or topics.
    #[error("{key}: {source}")]
    Template {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        source: TemplateError,
    },
    /// A zone.
    #[error("{key} = {text:?}: write an offset from UTC, as in +02:00")]
    Zone {
        /// The setting.
        key: &'static str,
        /// What it says.
        text: String,
    },
    /// Identities of a door.
    #[error(transparent)]
    Access(#[from] AccessError),
}
