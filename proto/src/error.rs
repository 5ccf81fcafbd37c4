//! Why bytes could not be decoded.

use crate::close::CloseCode;

/// Why bytes could not be decoded. Nothing of the frame in question was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("truncated")]
    Truncated,
    /// A length or count exceeds its bound.
    #[error("{what} exceeds its limit")]
    Limit {
        /// What was too large: the name of a bound in [`crate::limits`], in words.
        what: &'static str,
    },
    /// A value that no writer of this protocol produces.
    #[error("malformed {what}")]
    Malformed {
        /// What was malformed.
        what: &'static str,
    },
    /// A frame whose type is even, so it must be understood, but isn't.
    #[error("unknown frame type {kind:#x} that must be understood")]
    UnknownFrame {
        /// The frame type.
        kind: u64,
    },
    /// A required field is absent.
    #[error("{what} is missing")]
    Missing {
        /// Name of the field.
        what: &'static str,
    },
    /// A number was used on a stream before it was defined.
    #[error("{what} {number} was never defined on this stream")]
    Undefined {
        /// `tag set` or `publisher`.
        what: &'static str,
        /// The number.
        number: u64,
    },
}

impl DecodeError {
    /// The code that a connection is closed with for this error.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Limit { .. } => CloseCode::Limit,
            Self::UnknownFrame { .. } => CloseCode::UnknownFrame,
            Self::Truncated | Self::Malformed { .. } | Self::Missing { .. } | Self::Undefined { .. } => {
                CloseCode::Malformed
            }
        }
    }
}
