//! Why a session cannot go on.

use millrace_proto::{CloseCode, DecodeError};

/// What the router did that the protocol does not allow. The connection is to be closed with
/// [`SessionError::close_code`]; no state but the offending frame's was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A frame could not be decoded.
    #[error("the router sent a frame that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The router speaks another version of the protocol.
    #[error("the router speaks protocol version {theirs}, this client version {ours}: update the older one")]
    Version {
        /// The router's version.
        theirs: u64,
        /// This client's version.
        ours: u64,
    },
    /// A frame that this state or this stream does not allow.
    #[error("the router sent {frame} where the protocol does not allow it")]
    Unexpected {
        /// The frame.
        frame: &'static str,
    },
    /// The router sent more than it was allowed to.
    #[error("the router exceeded {what}")]
    Limit {
        /// What was exceeded.
        what: &'static str,
    },
}

impl SessionError {
    /// The code that the connection is closed with.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Decode(error) => error.close_code(),
            Self::Version { .. } => CloseCode::Version,
            Self::Unexpected { .. } => CloseCode::Unexpected,
            Self::Limit { .. } => CloseCode::Limit,
        }
    }
}
