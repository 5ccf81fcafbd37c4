//! Bytes that may wait in a mailbox: one budget for all of its writers.
//!
//! A mailbox bounded in messages alone is bounded by its largest message times their number. A
//! [`Share`] goes with each message and comes back when the message is dropped, wherever that
//! happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget, shared by its clones.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    bytes_max: usize,
    taken: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: Arc::default() }
    }

    /// Whether the next message may wait. Each writer can overdraw by the one message that it sends
    /// then.
    pub(crate) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Takes the bytes of one message.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Share { bytes, taken: self.taken.clone() }
    }
}

/// What one message has taken of a budget; returned on drop.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: usize,
    taken: Arc<AtomicUsize>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_the_message_is_gone() {
        let budget = Budget::new(10);
        let writer = budget.clone();
        let (first, second) = (budget.take(4), writer.take(20));
        assert!(!budget.has_room() && !writer.has_room());
        drop(second);
        assert!(budget.has_room());
        drop(first);
        assert!(writer.has_room());
    }
}
