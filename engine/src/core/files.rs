//! What a core has for the router's history files: the runs that it has routed, in blocks, and
//! requests for earlier lives.
//!
//! A run is copied once more into a block that grows. The block is handed over when it is large
//! enough, and each second; whoever keeps the files takes it at the end of the turn or never.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::history::{Asker, Block, HistoryAsk, KeptRun, PastLives, ToFiles};
use crate::time::Time;

/// Bytes of runs from which on a block is handed over.
const BLOCK_BYTES: usize = 256 * 1024;

/// What a core has for history files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Whether the router has any.
    is_on: bool,
    /// The time of day at time zero, nanoseconds since 1970.
    unix_at_zero_ns: u64,
    /// Runs that were not handed over.
    block: Block,
    words: VecDeque<ToFiles>,
    /// What is kept of earlier lives.
    pub(super) past: Arc<PastLives>,
}

impl Files {
    /// Arrivals in files are times of day.
    pub(super) const fn set_time_of_day(&mut self, unix_at_zero_ns: u64) {
        self.unix_at_zero_ns = unix_at_zero_ns;
    }

    /// The router has files, which have this of earlier lives.
    pub(super) fn set_past(&mut self, past: Arc<PastLives>) {
        self.is_on = true;
        self.past = past;
    }

    /// A moment as a time of day.
    pub(super) const fn unix_ns(&self, time: Time) -> u64 {
        self.unix_at_zero_ns.saturating_add(time.as_nanos())
    }

    /// Keeps a run that was routed.
    #[inline]
    pub(super) fn keep(&mut self, run: &KeptRun<'_>) {
        if self.is_on {
            self.append(run);
        }
    }

    #[inline(never)]
    fn append(&mut self, run: &KeptRun<'_>) {
        self.block.push(&KeptRun { arrived: Time::from_nanos(self.unix_ns(run.arrived)), ..*run });
        if self.block.memory() >= BLOCK_BYTES {
            self.hand_over();
        }
    }

    /// Hands over what was routed since the last time.
    pub(super) fn hand_over(&mut self) {
        if !self.block.is_empty() {
            let mut block = std::mem::take(&mut self.block);
            block.close();
            self.words.push_back(ToFiles::Keep(block));
        }
    }

    /// The core has ended in order before a position.
    pub(super) fn end(&mut self, next: u64) {
        if self.is_on {
            self.hand_over();
            self.words.push_back(ToFiles::End { next });
        }
    }

    /// Asks for runs of an earlier life. Whoever asks bounds how often.
    pub(super) fn ask(&mut self, asker: Asker, ask: HistoryAsk) {
        self.words.push_back(ToFiles::Ask { asker, ask });
    }

    /// The next word for whoever keeps the files.
    pub(super) fn next(&mut self) -> Option<ToFiles> {
        self.words.pop_front()
    }
}
