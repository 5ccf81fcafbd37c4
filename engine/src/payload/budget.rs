//! How much one core spends on scanning payloads, and which receivers wait for it.

use std::collections::VecDeque;

use super::plan::{Plan, Progress};

/// Bounds of one core's scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Steps in one turn: bytes of payloads times automata. Default 128 KiB, some 150 µs. A
    /// receiver may take a quarter of it at once, and a slice of it in each turn in which it waits.
    pub work_per_turn: usize,
    /// Bytes of runs that wait for one receiver; beyond them a gap stands for further runs. Default
    /// 2 MiB: room for the largest event.
    pub wait_bytes_per_receiver: usize,
    /// Bytes of runs that wait for all receivers of the core. Default 64 MiB.
    pub wait_bytes: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { work_per_turn: 128 * 1024, wait_bytes_per_receiver: 2 << 20, wait_bytes: 64 << 20 }
    }
}

/// Steps that the runs of one receiver take before another receiver has its turn.
const SLICE: usize = 16 * 1024;

/// The rest of one core's turn for scans, and the receivers that wait.
#[derive(Debug)]
pub struct ScanBudget {
    limits: ScanLimits,
    left: usize,
    turn: u64,
    /// Receivers with runs that wait, each once, by slot.
    waiting: VecDeque<u32>,
    /// Bytes of all runs that wait.
    pub(super) wait_bytes: usize,
    /// Memory for the plan of a run that is scanned at once.
    pub plan: Plan,
    /// Memory for the progress of a run that is scanned at once.
    pub progress: Progress,
}

impl ScanBudget {
    /// A budget of which nothing is spent.
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

    /// Sets the bounds from here on.
    pub const fn set_limits(&mut self, limits: ScanLimits) {
        self.limits = limits;
    }

    /// Steps that a core takes in one turn.
    #[must_use]
    pub const fn work_per_turn(&self) -> usize {
        self.limits.work_per_turn
    }

    /// The number of the turn, and the steps that one receiver may take in it at once.
    pub(super) const fn share(&self) -> (u64, usize) {
        (self.turn, self.limits.work_per_turn / 4)
    }

    /// Steps that are left in the turn.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.left
    }

    /// Spends steps. Those of matches found on the way may exceed what was left.
    pub const fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
    }

    /// Begins the next turn.
    pub const fn next_turn(&mut self) {
        self.turn += 1;
        self.left = self.limits.work_per_turn;
    }

    /// Puts a receiver behind the others that wait; it is not among them.
    pub fn put_last(&mut self, slot: u32) {
        self.waiting.push_back(slot);
    }

    /// The receiver whose turn it is, and the steps that it may take; none when no receiver waits
    /// or no steps are left.
    pub fn take_turn(&mut self) -> Option<(u32, usize)> {
        // Half of the turn is for new runs, so that those that wait do not make others wait.
        if self.left <= self.limits.work_per_turn / 2 {
            return None;
        }
        Some((self.waiting.pop_front()?, self.left.min(SLICE)))
    }

    /// Whether a receiver waits.
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
