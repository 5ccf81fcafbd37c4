//! The memory that a queue has reserved, and how it gives way by it.

use std::collections::VecDeque;

use millrace_proto::data::GapReason;

use super::dropped::Dropped;
use super::{Item, Overflow, QueuePolicy, RunQueue};
use crate::core::outlet::total::Total;
use crate::core::run::RunOut;

/// The smallest block, and the largest.
const BLOCK_BYTES_MIN: usize = 512;
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A block takes this part of what waits; both ends waste at most one.
const BLOCK_PART: u64 = 8;
/// A queue with more items than these grows by an eighth, and not by as many again.
const ITEMS_DOUBLED_MAX: usize = 64;
const ITEMS_MIN: usize = 4;

/// Bytes that an item takes beside those in blocks.
pub(super) const ITEM_BYTES: usize = size_of::<Item>();

/// Bytes of the next block of a queue with so many bytes: a power of two, so that blocks that are
/// given back fit others.
pub(super) fn block_bytes(waiting: u64) -> usize {
    let part = usize::try_from(waiting / BLOCK_PART).unwrap_or(BLOCK_BYTES_MAX);
    1 << part.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).ilog2()
}

/// Makes places for more items: never for many more than there are.
#[cold]
pub(super) fn grow(items: &mut VecDeque<Item>) {
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

impl RunQueue {
    /// Drops runs by policy until it has at most `room` reserved, and calls `lost` for each; a gap
    /// stands where they were. Gaps and marks stay, whatever they take.
    pub(in super::super) fn shed(&mut self, room: u64, lost: impl FnMut(&RunOut<'_>)) {
        let QueuePolicy { overflow, reason, .. } = self.policy;
        match overflow {
            Overflow::DropOldest => self.drop_oldest(|queue| queue.room() <= room, reason, lost),
            Overflow::DropNewest => self.drop_newest(room, reason, lost),
            // Its room was set aside.
            Overflow::Block => {}
            Overflow::Refuse => {
                self.refused = true;
                self.drop_oldest(|queue| queue.room() <= room, reason, lost);
            }
        }
        if self.bytes == 0 {
            self.room.take(self.blocks.iter().map(Vec::capacity).sum());
            (self.blocks, self.head) = (VecDeque::new(), 0);
        }
        // A queue at its bound fills again, and to move its items costs more than their places.
        let len = self.items.len();
        if self.items.capacity() / 2 > len {
            self.items.shrink_to(len + len / 8);
        }
    }

    fn drop_newest(&mut self, room: u64, reason: GapReason, mut lost: impl FnMut(&RunOut<'_>)) {
        let (mut dropped, mut marks) = (Dropped::new(reason), Vec::new());
        while self.room() > room {
            match self.take_last() {
                Some(Item::Run(waiting)) => {
                    dropped.count(waiting.events);
                    self.forget(&waiting);
                    let block = self.blocks.back_mut();
                    // The newest run's bytes are the last ones.
                    let from = block.as_ref().map_or(0, |block| block.len() - waiting.block_bytes());
                    lost(&waiting.run(block.as_ref().map_or(&[][..], |block| &block[from..])));
                    if let Some(block) = block {
                        block.truncate(from);
                    }
                    if self.blocks.len() > 1 && from == 0 {
                        self.room.take(self.blocks.pop_back().map_or(0, |block| block.capacity()));
                    }
                }
                Some(Item::Gap(gap)) => {
                    self.gaps -= 1;
                    dropped.merge(gap);
                }
                Some(Item::Mark(mark)) => marks.push((dropped.take(), mark)),
                None => break,
            }
        }
        for gap in dropped.take() {
            self.push_gap(gap);
        }
        for (gaps, mark) in marks.into_iter().rev() {
            self.push_mark(mark);
            for gap in gaps {
                self.push_gap(gap);
            }
        }
    }
}
