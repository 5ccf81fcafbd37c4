//! Why a round, or all of a comparison, came to nothing.

use crate::drive::DriveError;
use crate::server::ServerError;

/// Why a round, or all of it, came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The load on it.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// A peer's report.
    #[error("a peer's report cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}
