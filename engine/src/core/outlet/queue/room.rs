//! The memory that a queue has reserved.

use std::collections::VecDeque;

use crate::core::outlet::total::Total;

/// The smallest block, and the largest.
const BLOCK_BYTES_MIN: usize = 512;
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A block takes this part of what waits; both ends waste at most one.
const BLOCK_PART: u64 = 8;
/// A queue with more items than these grows by an eighth, and not by as many again.
const ITEMS_DOUBLED_MAX: usize = 64;
const ITEMS_MIN: usize = 4;

/// Bytes of the next block of a queue with so many bytes: a power of two, so that blocks that are
/// given back fit others.
pub(super) fn block_bytes(waiting: u64) -> usize {
    let part = usize::try_from(waiting / BLOCK_PART).unwrap_or(BLOCK_BYTES_MAX);
    1 << part.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).ilog2()
}

/// Makes places for more items: never for many more than there are.
#[cold]
pub(super) fn grow<T>(items: &mut VecDeque<T>) {
    let len = items.len();
    items.reserve_exact(if len <= ITEMS_DOUBLED_MAX { len.max(ITEMS_MIN) } else { len / 8 });
}

/// Memory that a queue has reserved, which counts in a sum, too: blocks, bodies that it keeps, and
/// items. Places for items to come are not counted; they are few.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u64,
    total: Total,
}

impl Room {
    pub(super) const fn new(total: Total) -> Self {
        Self { bytes: 0, total }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.total.add(bytes as u64);
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.bytes -= bytes as u64;
        self.total.take(bytes as u64);
    }

    /// Nothing is reserved any more.
    pub(super) fn clear(&mut self) {
        self.total.take(self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.clear();
    }
}
