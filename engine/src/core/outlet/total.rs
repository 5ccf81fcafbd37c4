//! The sum of the bytes that wait in several queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sum that the queues of one core keep. Only the core's thread writes it; it is atomic so that a
/// core can move to its thread.
#[derive(Debug, Clone, Default)]
pub(in crate::core) struct Total(Arc<AtomicU64>);

impl Total {
    pub(super) fn add(&self, bytes: u64) {
        self.0.store(self.bytes() + bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: u64) {
        self.0.store(self.bytes().saturating_sub(bytes), Ordering::Relaxed);
    }

    /// Counts bytes until what this returns is dropped.
    pub(in crate::core) fn charge(&self, bytes: u64) -> Charge {
        self.add(bytes);
        Charge { total: self.clone(), bytes }
    }

    /// The sum.
    #[inline]
    pub(in crate::core) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that count in a sum for as long as this lives.
#[derive(Debug)]
pub(in crate::core) struct Charge {
    total: Total,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.take(self.bytes);
    }
}
