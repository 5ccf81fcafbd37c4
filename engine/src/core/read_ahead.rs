//! What a replay has read of a source, until its receiver has it.

use super::outlet::Charge;
use crate::history::{Chunk, KeptRun};

/// What was read of a source and is to be delivered.
#[derive(Debug)]
pub(super) struct ReadAhead {
    chunk: Chunk,
    done: usize,
    /// Its bytes count in the core's sum for as long as it is there.
    _charge: Charge,
}

impl ReadAhead {
    pub(super) const fn new(chunk: Chunk, charge: Charge) -> Self {
        Self { chunk, done: 0, _charge: charge }
    }

    /// Bytes that a chunk takes.
    pub(super) const fn bytes_of(chunk: &Chunk) -> u64 {
        chunk.runs.memory() as u64
    }

    /// Takes the next run.
    pub(super) fn take(&mut self) -> Option<KeptRun<'_>> {
        let run = self.chunk.runs.get(self.done)?;
        self.done += 1;
        Some(run)
    }

    /// Position at which the next read goes on.
    pub(super) const fn next(&self) -> u64 {
        self.chunk.next
    }

    /// Position at which it would go on if nothing more were taken.
    pub(super) fn rest(&self) -> u64 {
        self.chunk.runs.get(self.done).map_or(self.chunk.next, |run| run.position)
    }
}
