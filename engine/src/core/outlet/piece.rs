//! The parts of what was encoded for a stream.

use bytes::Bytes;

/// A part of the encoded bytes.
#[derive(Debug)]
pub(super) enum Piece {
    /// Heads, and bodies that were copied.
    Owned(Vec<u8>),
    /// A body, shared with other streams.
    Shared(Bytes),
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Owned(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}
