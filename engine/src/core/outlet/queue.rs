//! Runs, gaps and marks that wait to be written: in order, runs bounded in bytes and droppable.
//!
//! One queue holds an item for each run, and blocks hold the bytes of the runs (tag set, fields,
//! body) one behind the other. A queue that fills and empties all the time therefore allocates once
//! per block, and is read in the order in which it lies in memory. Only large bodies that came in
//! buffers of their own stay in these. A run lies in one block. A block takes at most an eighth of
//! what waits, so that the two at the ends, of which a part is used, waste little. An empty queue
//! holds no memory.
//!
//! A queue counts twice: the bytes of its runs, which its policy bounds, and its *room*, the memory
//! that it has reserved, which counts in the budget of all queues.

mod dropped;
mod room;
mod shed;

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_proto::data::{Gap, GapReason, Mark};
use millrace_proto::{PublisherKey, TagSetRef};

use self::dropped::{Dropped, GAPS_MAX};
use self::room::Room;
use super::total::Total;
use crate::core::run::{Fate, RunOut};
use crate::history::Place;
use crate::ledger::EntryId;
use crate::message::CoreIndex;
use crate::routes::TagId;

/// Bytes that a queued run takes beside its own.
const OVERHEAD_BYTES: u64 = 128;

/// Bytes that an item takes beside those in blocks.
const ITEM_BYTES: usize = size_of::<Item>();

/// Which events give way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Overflow {
    DropOldest,
    DropNewest,
    /// The new run, and nothing that waits: publishers are held back before, and one with a confirm
    /// level is told that it is to come again.
    Block,
    /// None: the queue refuses the new run without a gap, because its receiver ends.
    Refuse,
}

/// The bound of a queue, and which events give way.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct QueuePolicy {
    pub(in crate::core) bytes_max: u64,
    pub(in crate::core) overflow: Overflow,
    /// The reason in the gap that stands for dropped events.
    pub(in crate::core) reason: GapReason,
}

/// A queued run without its bytes, which are the next ones in the blocks, all in one block.
#[derive(Debug)]
struct Waiting {
    tag: TagId,
    publisher: PublisherKey,
    flags: u64,
    events: u64,
    seq: u64,
    from: Option<CoreIndex>,
    entry: Option<EntryId>,
    place: Option<Place>,
    tags_bytes: usize,
    fields_bytes: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// In the block, with this length.
    Copied(usize),
    /// In a buffer of its own.
    Kept(Bytes),
}

impl Waiting {
    fn block_bytes(&self) -> usize {
        let body = if let Body::Copied(bytes) = self.body { bytes } else { 0 };
        self.tags_bytes + self.fields_bytes + body
    }

    /// The run, whose bytes stand at the beginning of `block`.
    fn run<'a>(&'a self, block: &'a [u8]) -> RunOut<'a> {
        let (tags, rest) = block.split_at(self.tags_bytes);
        let (fields, rest) = rest.split_at(self.fields_bytes);
        let (body, buffer) = match &self.body {
            Body::Copied(bytes) => (&rest[..*bytes], None),
            Body::Kept(body) => (&body[..], Some(body)),
        };
        RunOut {
            tag: self.tag,
            number: None,
            tags: TagSetRef::trusted(tags),
            publisher: self.publisher,
            flags: self.flags,
            fields,
            body,
            buffer,
            events: self.events,
            from: self.from,
            entry: self.entry,
            place: self.place.as_ref(),
        }
    }

    fn bytes(&self) -> u64 {
        let kept = if let Body::Kept(body) = &self.body { body.len() } else { 0 };
        (self.block_bytes() + kept) as u64 + OVERHEAD_BYTES
    }
}

#[derive(Debug)]
enum Item {
    Run(Waiting),
    Gap(Gap),
    Mark(Mark),
}

/// Runs and gaps that wait for one stream.
#[derive(Debug)]
pub(super) struct RunQueue {
    items: VecDeque<Item>,
    blocks: VecDeque<Vec<u8>>,
    /// Where the oldest run's bytes begin in the first block.
    head: usize,
    bytes: u64,
    events: u64,
    gaps: usize,
    policy: QueuePolicy,
    refused: bool,
    /// The memory that it has reserved.
    room: Room,
}

impl RunQueue {
    /// An empty queue, whose room counts in `total`, too.
    pub(super) fn new(policy: QueuePolicy, total: Total) -> Self {
        Self {
            items: VecDeque::new(),
            blocks: VecDeque::new(),
            head: 0,
            bytes: 0,
            events: 0,
            gaps: 0,
            policy,
            refused: false,
            room: Room::new(total),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that the runs take.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory that it has reserved.
    pub(super) const fn room(&self) -> u64 {
        self.room.bytes()
    }

    /// Most bytes that the runs may take.
    pub(super) const fn bytes_max(&self) -> u64 {
        self.policy.bytes_max
    }

    /// Runs, gaps and marks.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether runs that wait, or would, give way for others.
    pub(super) const fn may_drop(&self) -> bool {
        matches!(self.policy.overflow, Overflow::DropOldest | Overflow::DropNewest)
    }

    /// Whether publishers wait for it for as long as it takes.
    pub(super) const fn blocks(&self) -> bool {
        matches!(self.policy.overflow, Overflow::Block)
    }

    /// The reason in the gap that stands for dropped events.
    pub(super) const fn gap_reason(&self) -> GapReason {
        self.policy.reason
    }

    /// Events of the runs.
    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// Bytes that a run will take.
    pub(super) fn bytes_of(run: &RunOut<'_>) -> u64 {
        (run.tags.canonical().len() + run.fields.len() + run.body.len()) as u64 + OVERHEAD_BYTES
    }

    /// Whether [`Overflow::Refuse`] has refused a run.
    pub(super) const fn has_refused(&self) -> bool {
        self.refused
    }

    /// Queues a run, or drops by policy. Returns what became of the run, with a gap that the caller
    /// puts behind everything, and calls `lost` for each older run that gave way for it.
    pub(super) fn offer(
        &mut self,
        run: &RunOut<'_>,
        seq: u64,
        lost: impl FnMut(&RunOut<'_>),
    ) -> (Fate, Option<Gap>) {
        let QueuePolicy { bytes_max, overflow, reason } = self.policy;
        let bytes = Self::bytes_of(run);
        let gap = |reason| Some(Gap { reason, events: run.events, router: None });
        if bytes > bytes_max {
            return (Fate::TooLarge, gap(GapReason::TooLarge));
        }
        if self.bytes + bytes > bytes_max {
            match overflow {
                Overflow::Refuse => {
                    self.refused = true;
                    return (Fate::Refused, None);
                }
                Overflow::DropNewest => return (Fate::Refused, gap(reason)),
                Overflow::Block => return (Fate::Busy, gap(reason)),
                Overflow::DropOldest => {
                    self.drop_oldest(|queue| queue.bytes + bytes <= bytes_max, reason, lost);
                }
            }
        }
        self.push(run, seq);
        (Fate::Kept, None)
    }

    /// Drops everything without a gap, and calls `lost` for each run that is a leg of an entry.
    /// Returns the events dropped.
    pub(super) fn clear(&mut self, mut lost: impl FnMut(&RunOut<'_>)) -> u64 {
        let events = self.events;
        while let Some(item) = self.take_first() {
            if let Item::Run(waiting) = item {
                let run = self.take_out(&waiting);
                if run.entry.is_some() {
                    lost(&run);
                }
            }
        }
        self.tidy();
        self.gaps = 0;
        events
    }

    fn push(&mut self, run: &RunOut<'_>, seq: u64) {
        let tags = run.tags.canonical();
        let body =
            run.buffer.map_or(Body::Copied(run.body.len()), |buffer| Body::Kept(buffer.slice_ref(run.body)));
        let waiting = Waiting {
            tag: run.tag,
            publisher: run.publisher,
            flags: run.flags,
            events: run.events,
            seq,
            from: run.from,
            entry: run.entry,
            place: run.place.cloned(),
            tags_bytes: tags.len(),
            fields_bytes: run.fields.len(),
            body,
        };
        let block = self.block_for(waiting.block_bytes());
        block.extend_from_slice(tags);
        block.extend_from_slice(run.fields);
        if let Body::Kept(body) = &waiting.body {
            self.room.add(body.len());
        } else {
            block.extend_from_slice(run.body);
        }
        self.bytes += waiting.bytes();
        self.events += run.events;
        self.append(Item::Run(waiting));
    }

    /// The last block if it has room for `bytes`, otherwise a new one.
    fn block_for(&mut self, bytes: usize) -> &mut Vec<u8> {
        let free = self.blocks.back().map(|block| block.capacity() - block.len());
        if free.is_none_or(|free| free < bytes) {
            let block = Vec::with_capacity(room::block_bytes(self.bytes).max(bytes));
            self.room.add(block.capacity());
            self.blocks.push_back(block);
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    fn append(&mut self, item: Item) {
        if self.items.len() == self.items.capacity() {
            room::grow(&mut self.items);
        }
        self.items.push_back(item);
        self.room.add(ITEM_BYTES);
    }

    /// Takes the oldest item.
    fn take_first(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.room.take(ITEM_BYTES);
        Some(item)
    }

    /// Takes the newest item.
    fn take_last(&mut self) -> Option<Item> {
        let item = self.items.pop_back()?;
        self.room.take(ITEM_BYTES);
        Some(item)
    }

    /// Puts a gap behind everything. Returns whether it is an item of its own.
    pub(super) fn push_gap(&mut self, gap: Gap) -> bool {
        if let Some(Item::Gap(last)) = self.items.back_mut()
            && (last.reason == gap.reason && last.router == gap.router || self.gaps >= GAPS_MAX)
        {
            if last.router != gap.router {
                last.router = None;
            }
            last.events += gap.events;
            return false;
        }
        self.append(Item::Gap(gap));
        self.gaps += 1;
        true
    }

    /// Puts a mark behind everything. It stands for one that is last already.
    pub(super) fn push_mark(&mut self, mark: Mark) {
        match self.items.back_mut() {
            Some(Item::Mark(last)) => *last = mark,
            _ => self.append(Item::Mark(mark)),
        }
    }

    /// Takes the oldest item and gives it to `write`, a run with its seq; `false` when there is
    /// none.
    pub(super) fn pop(&mut self, write: impl FnOnce(Popped<'_>)) -> bool {
        match self.take_first() {
            Some(Item::Run(waiting)) => {
                write(Popped::Run(self.take_out(&waiting), waiting.seq));
                self.tidy();
                true
            }
            Some(Item::Gap(gap)) => {
                self.gaps -= 1;
                write(Popped::Gap(gap));
                self.tidy();
                true
            }
            Some(Item::Mark(mark)) => {
                write(Popped::Mark(mark));
                self.tidy();
                true
            }
            None => false,
        }
    }

    /// Takes the oldest run's bytes out of the blocks.
    fn take_out<'a>(&'a mut self, waiting: &'a Waiting) -> RunOut<'a> {
        self.forget(waiting);
        let bytes = self.skip_to(waiting.block_bytes());
        waiting.run(self.blocks.front().map_or(&[][..], |block| &block[bytes..]))
    }

    /// Counts a run no more.
    fn forget(&mut self, waiting: &Waiting) {
        self.bytes -= waiting.bytes();
        self.events -= waiting.events;
        if let Body::Kept(body) = &waiting.body {
            self.room.take(body.len());
        }
    }

    /// Steps over the next `bytes` in the blocks. Returns where they begin in the first block.
    fn skip_to(&mut self, bytes: usize) -> usize {
        // The bytes of a run are in one block, so the rest of the first block is either theirs or
        // empty.
        while self.blocks.front().is_some_and(|block| block.len() - self.head < bytes) {
            self.room.take(self.blocks.pop_front().map_or(0, |block| block.capacity()));
            self.head = 0;
        }
        let start = self.head;
        self.head += bytes;
        start
    }

    fn tidy(&mut self) {
        if self.items.is_empty() {
            (self.items, self.blocks, self.head) = (VecDeque::new(), VecDeque::new(), 0);
            self.room.clear();
        }
    }

    /// Drops the oldest runs until it `fits`, and calls `lost` for each; one gap of this reason
    /// stands where they were, on each side of a mark.
    fn drop_oldest(
        &mut self,
        fits: impl Fn(&Self) -> bool,
        reason: GapReason,
        mut lost: impl FnMut(&RunOut<'_>),
    ) {
        let (mut dropped, mut front) = (Dropped::new(reason), Vec::new());
        while !fits(self) {
            match self.take_first() {
                Some(Item::Run(waiting)) => {
                    dropped.count(waiting.events);
                    lost(&self.take_out(&waiting));
                }
                Some(Item::Gap(gap)) => {
                    self.gaps -= 1;
                    dropped.merge(gap);
                }
                Some(Item::Mark(mark)) => {
                    front.extend(dropped.take().into_iter().map(Item::Gap));
                    front.push(Item::Mark(mark));
                }
                None => break,
            }
        }
        front.extend(dropped.take().into_iter().map(Item::Gap));
        for item in front.into_iter().rev() {
            self.gaps += usize::from(matches!(item, Item::Gap(_)));
            self.items.push_front(item);
            self.room.add(ITEM_BYTES);
        }
    }
}

/// An item that was taken from a queue.
#[derive(Debug)]
pub(super) enum Popped<'a> {
    /// A run, and its seq.
    Run(RunOut<'a>, u64),
    Gap(Gap),
    Mark(Mark),
}

#[cfg(test)]
mod tests;
