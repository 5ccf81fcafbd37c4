//! How a queue gives way by the memory that it has reserved.

use std::collections::VecDeque;

use millrace_proto::data::GapReason;

use super::dropped::Dropped;
use super::{Item, Overflow, QueuePolicy, RunQueue};
use crate::core::run::RunOut;

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
