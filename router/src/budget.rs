//! Bytes that may wait in a mailbox: one budget for all of its writers.
//!
//! A mailbox that is bounded in messages alone may hold that many of the largest message. Therefore
//! a [`Share`] travels with each message, and gives its bytes back when the message is dropped,
//! wherever that happens.

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

    /// Whether the next message may wait. Each writer may then overdraw by that one message.
    pub(crate) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Takes the bytes of one message.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Share { bytes, taken: self.taken.clone() }
    }
}

/// The bytes of one message in a budget, given back on drop.
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
