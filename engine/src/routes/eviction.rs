//! Which entry goes when there is no room: S3-FIFO (Yang et al., SOSP 2023).
//!
//! New entries wait in a short queue, a tenth of the whole. Who was looked up again by the time its
//! turn comes moves to the main queue; who was not goes, and leaves a mark. Who comes back while
//! its mark is there enters the main queue at once. The main queue gives a second chance for each
//! recent lookup. A scan over a million tag sets that are met once thus only passes through the
//! short queue.

use std::collections::VecDeque;

use super::entry::TagId;

/// The short queue's part of all entries.
const SHORT_PART: usize = 10;
/// A new entry's first lookup is why it was added; this many mean that it was met again.
const MET_AGAIN: u8 = 2;

#[derive(Debug)]
pub(super) struct Eviction {
    short: VecDeque<TagId>,
    main: VecDeque<TagId>,
    short_max: usize,
    /// Marks of those that went from the short queue, each at the slot that its low bits name. 0:
    /// none.
    ghosts: Vec<u32>,
    ghost_slots: usize,
}

/// What is known of a queued entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    /// It went in another way.
    Gone,
    /// It must stay, whatever its heat.
    Kept,
    /// It was looked up so often lately.
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

    /// Entries queued, also those that went in another way.
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

    /// Leaves a mark of an entry that went from the short queue.
    pub(super) fn remember(&mut self, mark: u32) {
        if self.ghosts.is_empty() {
            self.ghosts = vec![0; self.ghost_slots];
        }
        self.ghosts[mark as usize & (self.ghost_slots - 1)] = mark;
    }

    /// The entry that is to go next, and whether a mark of it is to be left. None when all must
    /// stay. `judge` tells an entry's standing, and cools it by one lookup. Those that went
    /// already are forgotten on the way.
    pub(super) fn next(&mut self, mut judge: impl FnMut(TagId) -> Standing) -> Option<(TagId, bool)> {
        // Each entry is passed at most once per unit of heat, plus once in the short queue.
        let mut kept = false;
        for _ in 0..self.queued() * 5 {
            // The one that is kept may be all there is in the main queue.
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
