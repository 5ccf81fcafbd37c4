//! What became of the tickets that clients showed to one core.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that handshakes raise.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Tickets by which a session was resumed.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Tickets that were not accepted.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
