//! The runs that one owner has routed lately: appended at one end, evicted at the other.
//!
//! Eviction takes whole blocks, a sixteenth of the ring or less, so that it costs next to nothing
//! per run. A block goes when a new one needs its room, or when its youngest run is older than the
//! age that the ring keeps.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use millrace_proto::TagSetRef;

use super::block::{Block, KeptRun};
use crate::time::Time;

/// Bytes of a block, at least: a small ring has few runs in each.
const BLOCK_BYTES_MIN: usize = 4 * 1024;
/// Bytes of a block, at most: what goes at once.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Blocks of a full ring, at least.
const BLOCKS_MIN: usize = 16;

/// How much one owner keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Bytes of memory, at most, of one owner. Default 0: nothing is kept, and nothing is spent on
    /// it. At least [`BYTES_MIN`](Self::BYTES_MIN) otherwise.
    pub bytes: usize,
    /// Age, at most, by the router's clock. Default one hour.
    pub age: Duration,
}

impl HistoryLimits {
    /// The least that a ring can do with: a few blocks.
    pub const BYTES_MIN: usize = 64 * 1024;
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { bytes: 0, age: Duration::from_secs(3600) }
    }
}

/// The runs that one owner has routed lately.
#[derive(Debug, Default)]
pub struct Ring {
    limits: HistoryLimits,
    /// Oldest first; none is empty, and only the last one grows.
    pub(super) blocks: VecDeque<Block>,
    /// Memory of all but the last.
    closed_bytes: usize,
    /// Oldest position that is kept; the next one while there is none.
    oldest: u64,
    /// Position of the next run.
    next: u64,
    evicted_runs: u64,
    evicted_events: u64,
    /// When the youngest run arrived that is gone.
    evicted_until: Option<Time>,
    /// Position of the newest run of each tag set that is kept, by the tag set's hash. It takes
    /// what closed blocks are charged for a map of their own, which they have only while they grow.
    newest: HashMap<u64, u64, ahash::RandomState>,
}

impl Ring {
    /// An empty ring; the first run will have the position `next`.
    #[must_use]
    pub fn new(limits: HistoryLimits, next: u64) -> Self {
        Self { limits, oldest: next, next, ..Self::default() }
    }

    /// Sets the limits from here on; what exceeds them goes when the next run comes.
    pub const fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// Whether anything is kept.
    #[inline]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.limits.bytes > 0
    }

    /// Oldest position that is kept; [`next`](Self::next) while there is none.
    #[must_use]
    pub const fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Position of the next run.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.closed_bytes + self.blocks.back().map_or(0, Block::memory)
    }

    /// Time from the oldest run's arrival to `now`; zero while there is none.
    #[must_use]
    pub fn span(&self, now: Time) -> Duration {
        let oldest = self.blocks.front().and_then(Block::arrivals);
        oldest.map_or(Duration::ZERO, |(first, _)| now.since(first))
    }

    /// Position of the newest run of a tag set, if one is kept.
    pub(super) fn newest_of(&self, tags: TagSetRef<'_>) -> Option<u64> {
        self.newest.get(&tags.hash()).copied()
    }

    /// Whether a run that arrived at or after a time is gone.
    pub(super) fn is_cut_since(&self, time: Time) -> bool {
        self.evicted_until.is_some_and(|last| last >= time)
    }

    /// Runs and events that were appended and are gone.
    #[must_use]
    pub const fn evicted(&self) -> (u64, u64) {
        (self.evicted_runs, self.evicted_events)
    }

    /// Appends a run, which has the next position.
    pub fn append(&mut self, run: &KeptRun<'_>) {
        self.next = run.position;
        self.expire(run.arrived);
        // Many small runs take more for what is known of them than for their bytes.
        let is_open = |block: &Block| block.fits(run) && block.memory() < 2 * self.room();
        if !self.blocks.back().is_some_and(is_open) {
            self.begin_block(run);
        }
        self.next = run.position + 1;
        if let Some(last) = self.blocks.back_mut() {
            last.push(run);
            self.newest.insert(run.tags.hash(), run.position);
        } else {
            // A run that alone exceeds what is kept.
            self.oldest = self.next;
            self.evicted_runs += 1;
            self.evicted_events += run.events;
            self.evicted_until = Some(run.arrived);
        }
        while self.memory() > self.limits.bytes && self.blocks.len() > 1 {
            self.evict();
        }
    }

    /// Forgets what is older than the ring keeps.
    pub fn expire(&mut self, now: Time) {
        while let Some((_, last)) = self.blocks.front().and_then(Block::arrivals)
            && now.since(last) > self.limits.age
        {
            self.evict();
        }
    }

    /// Bytes of runs in a block of runs of common size.
    fn room(&self) -> usize {
        (self.limits.bytes / BLOCKS_MIN).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
    }

    /// Begins a block that `run` fits in, unless it exceeds the ring.
    fn begin_block(&mut self, run: &KeptRun<'_>) {
        if let Some(last) = self.blocks.back_mut() {
            last.close();
            self.closed_bytes += last.memory();
        }
        let room = self.room().max(run.body.len() + run.tags.canonical().len());
        while !self.blocks.is_empty() && self.closed_bytes + room > self.limits.bytes {
            self.evict_closed();
        }
        if Block::memory_of(run) <= self.limits.bytes {
            self.blocks.push_back(Block::with_room(room));
        }
    }

    /// Evicts the oldest block while all are closed.
    fn evict_closed(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.closed_bytes -= block.memory();
            self.count_out(&block);
        }
    }

    /// Evicts the oldest block.
    fn evict(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            if !self.blocks.is_empty() {
                self.closed_bytes -= block.memory();
            }
            self.count_out(&block);
        }
    }

    fn count_out(&mut self, block: &Block) {
        self.evicted_runs += block.len() as u64;
        self.evicted_events += block.events();
        self.evicted_until = block.arrivals().map(|(_, last)| last).max(self.evicted_until);
        self.oldest = self.blocks.front().and_then(Block::first_position).unwrap_or(self.next);
        for hash in (0..block.tag_sets()).map(|index| block.tag_set(index).hash()) {
            if self.newest.get(&hash).is_some_and(|&newest| newest < self.oldest) {
                self.newest.remove(&hash);
            }
        }
    }
}
