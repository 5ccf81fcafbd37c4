//! Bytes that wait in several queues together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sum that queues of one core keep. The core's thread alone writes it: the atomic is there so
/// that a core can move to its thread.
#[derive(Debug, Clone, Default)]
pub(in crate::core) struct Total(Arc<AtomicU64>);

impl Total {
    pub(super) fn add(&self, bytes: u64) {
        self.0.store(self.bytes() + bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: u64) {
        self.0.store(self.bytes().saturating_sub(bytes), Ordering::Relaxed);
    }

    /// The sum.
    #[inline]
    pub(in crate::core) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
