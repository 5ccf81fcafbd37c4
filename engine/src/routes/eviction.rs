//! Which entry is evicted when there is no room: S3-FIFO (Yang et al., SOSP 2023).
//!
//! New entries wait in a short queue, a tenth of the whole. An entry that was looked up again by
//! the time its turn comes moves to the main queue; another one is evicted, and leaves a mark. An
//! entry that comes back while its mark is there enters the main queue at once. The main queue
//! gives a second chance for each recent lookup. A scan over a million tag sets that are met once
//! therefore passes through the short queue alone.

use std::collections::VecDeque;

use super::entry::TagId;

/// The short queue's part of all entries.
const SHORT_PART: usize = 10;
/// Lookups that show that an entry was met again; the first one is the reason why it was added.
const MET_AGAIN: u8 = 2;

#[derive(Debug)]
pub(super) struct Eviction {
    short: VecDeque<TagId>,
    main: VecDeque<TagId>,
    short_max: usize,
    /// Marks of entries that were evicted from the short queue, each at the slot that its low bits
    /// name. 0: none.
    ghosts: Vec<u32>,
    ghost_slots: usize,
}

/// The state of a queued entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    /// It was removed otherwise.
    Gone,
    /// It must stay, whatever its heat.
    Kept,
    /// It was looked up so often in the last rounds.
    Heat(u8),
}

impl Eviction {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            short: VecDeque::new(),
            main: VecDeque::new(),
            short_max: entries_max / SHORT_PART,
            ghosts: Vec::new(),
            ghost_slots: entries_max.next_power_of_two(),
        }
    }

    /// Queued entries, with those that were removed otherwise.
    pub(super) fn queued(&self) -> usize {
        self.short.len() + self.main.len()
    }

    /// Queues a new entry.
    pub(super) fn add(&mut self, id: TagId, mark: u32) {
        let slot = mark as usize & (self.ghost_slots - 1);
        match self.ghosts.get_mut(slot) {
            Some(ghost) if *ghost == mark && mark != 0 => {
                *ghost = 0;
                self.main.push_back(id);
            }
            _ => self.short.push_back(id),
        }
    }

    /// Leaves the mark of an entry that was evicted from the short queue.
    pub(super) fn remember(&mut self, mark: u32) {
        if self.ghosts.is_empty() {
            self.ghosts = vec![0; self.ghost_slots];
        }
        self.ghosts[mark as usize & (self.ghost_slots - 1)] = mark;
    }

    /// The entry to evict next, and whether to leave a mark of it. None when all must stay. `judge`
    /// returns an entry's standing, and cools it by one lookup. Entries that were removed otherwise
    /// leave the queue on the way.
    pub(super) fn next(&mut self, mut judge: impl FnMut(TagId) -> Standing) -> Option<(TagId, bool)> {
        // An entry has at most one turn for each unit of heat, and one in the short queue.
        let mut kept = false;
        for _ in 0..self.queued() * 5 {
            // The kept entry may be the only one in the main queue.
            let is_short =
                self.short.len() > self.short_max || self.main.is_empty() || kept && !self.short.is_empty();
            let queue = if is_short { &mut self.short } else { &mut self.main };
            let id = queue.pop_front()?;
            let bar = if is_short { MET_AGAIN } else { 1 };
            match judge(id) {
                Standing::Gone => {}
                Standing::Heat(heat) if heat < bar => return Some((id, is_short)),
                Standing::Heat(_) => self.main.push_back(id),
                Standing::Kept => {
                    kept = true;
                    self.main.push_back(id);
                }
            }
        }
        None
    }
}
