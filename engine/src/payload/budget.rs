//! What one core spends on scanning payloads, and who waits for it.

use std::collections::VecDeque;

use super::plan::{Plan, Progress};

/// Bounds of one core's scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Steps in one turn: bytes of payloads times automata. Default 128 KiB, some 150 µs. A
    /// receiver has a quarter of it at once, and a slice of it in each turn in which it waits.
    pub work_per_turn: usize,
    /// Bytes of runs that wait for one receiver; beyond, a gap stands for what comes. Default 2
    /// MiB: the largest event has room.
    pub wait_bytes_per_receiver: usize,
    /// The same for all receivers of the core. Default 64 MiB.
    pub wait_bytes: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { work_per_turn: 128 * 1024, wait_bytes_per_receiver: 2 << 20, wait_bytes: 64 << 20 }
    }
}

/// Steps that one receiver's runs take before the next one's turn.
const SLICE: usize = 16 * 1024;

/// What is left of one core's turn for scans, and the receivers that wait.
#[derive(Debug)]
pub struct ScanBudget {
    limits: ScanLimits,
    left: usize,
    turn: u64,
    /// Receivers with runs that wait, each once, by slot.
    waiting: VecDeque<u32>,
    /// Bytes of all that waits.
    pub(super) wait_bytes: usize,
    /// For runs that are scanned at once.
    pub plan: Plan,
    /// The same.
    pub progress: Progress,
}

impl ScanBudget {
    /// Nothing was spent, nobody waits.
    #[must_use]
    pub fn new(limits: ScanLimits) -> Self {
        Self {
            limits,
            left: limits.work_per_turn,
            turn: 0,
            waiting: VecDeque::new(),
            wait_bytes: 0,
            plan: Plan::default(),
            progress: Progress::default(),
        }
    }

    /// The bounds in force.
    #[must_use]
    pub const fn limits(&self) -> ScanLimits {
        self.limits
    }

    /// Sets other bounds, from here on.
    pub const fn set_limits(&mut self, limits: ScanLimits) {
        self.limits = limits;
    }

    /// Steps that a core takes in one turn.
    #[must_use]
    pub const fn work_per_turn(&self) -> usize {
        self.limits.work_per_turn
    }

    /// The number of the turn, and what one receiver may take in it at once.
    pub(super) const fn share(&self) -> (u64, usize) {
        (self.turn, self.limits.work_per_turn / 4)
    }

    /// What is left of the turn.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.left
    }

    /// Counts what was spent; it may be more than was left by what was found.
    pub const fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
    }

    /// Begins the next turn.
    pub const fn next_turn(&mut self) {
        self.turn += 1;
        self.left = self.limits.work_per_turn;
    }

    /// Puts a receiver that waits behind the others; it is not among them.
    pub fn put_last(&mut self, slot: u32) {
        self.waiting.push_back(slot);
    }

    /// The receiver whose turn it is, and the steps that it may take; none when nobody waits or
    /// nothing is left.
    pub fn take_turn(&mut self) -> Option<(u32, usize)> {
        // The other half is for what comes in this turn: who waits does not make others wait, too.
        if self.left <= self.limits.work_per_turn / 2 {
            return None;
        }
        Some((self.waiting.pop_front()?, self.left.min(SLICE)))
    }

    /// Whether anybody waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes of runs that wait.
    #[must_use]
    pub const fn wait_bytes(&self) -> usize {
        self.wait_bytes
    }
}
