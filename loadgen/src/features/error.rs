//! Why a preset has no result.

use crate::cluster::ClusterError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// Processes, sockets or files cannot be had.
    #[error("cannot run this here: {0}")]
    Io(#[from] std::io::Error),
    /// There are no routers.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A client could not begin, or was refused.
    #[error("a client did not begin: {0}")]
    Client(String),
    /// Something did not come about in time.
    #[error("{what} within {within_s} s")]
    Late {
        /// What did not.
        what: &'static str,
        /// How long it had.
        within_s: u64,
    },
}

impl FeatureError {
    /// Of a client's error.
    pub(super) fn client(error: impl std::fmt::Display) -> Self {
        Self::Client(error.to_string())
    }
}
