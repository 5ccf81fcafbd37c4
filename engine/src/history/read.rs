//! A request for a stretch of a ring, and its answer.

use std::sync::Arc;

use millrace_proto::Selector;

use super::block::{Block, KeptRun};
use super::ring::Ring;
use crate::time::Time;

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what arrived at this time, by the owner's clock.
    Since(Time),
    /// At this position of the owner's present life.
    At(u64),
    /// With the oldest run that is kept.
    Oldest,
}

/// How much is replayed of the runs that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// All of them.
    #[default]
    All,
    /// Of each tag set the newest one.
    Newest,
}

/// What of a ring is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First position.
    pub from: u64,
    /// Position up to which it is replayed: live runs begin with it.
    pub to: u64,
    /// Oldest position that is kept.
    pub oldest: u64,
    /// Runs that were asked for are gone.
    pub is_cut: bool,
}

/// Work that a read may take. A run that is looked at is one step, and so is each selector that is
/// tried on a tag set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBudget {
    /// Steps, some 20 ns each.
    pub steps: usize,
    /// Bytes of runs that are copied; one run may exceed it.
    pub bytes: usize,
}

impl ReadBudget {
    /// Whether nothing is left.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.steps == 0 || self.bytes == 0
    }
}

/// What a read has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Runs that match, in order.
    pub runs: Block,
    /// Position at which the next read goes on.
    pub next: u64,
    /// Runs between where the read was to begin and where it could begin are gone.
    pub is_cut: bool,
}

impl Ring {
    /// What of the ring a replay that is asked for `now` consists of.
    #[must_use]
    pub fn span_of(&self, begin: Begin) -> Span {
        let (oldest, to) = (self.oldest(), self.next());
        let (from, is_cut) = match begin {
            Begin::Oldest => (oldest, false),
            Begin::At(position) => (position.clamp(oldest, to), position < oldest),
            Begin::Since(time) => {
                let first = self.blocks.iter().find_map(|block| block.get(block.at_time(time)));
                let from = first.map_or(to, |run| run.position);
                (from, self.is_cut_since(time))
            }
        };
        Span { from, to, oldest, is_cut }
    }

    /// Reads runs from `from` to below `to` that any of the selectors matches, as far as the budget
    /// goes; their payload patterns are not looked at. The budget is lowered by what was spent.
    #[must_use]
    pub fn read(
        &self,
        (from, to): (u64, u64),
        selectors: &[Arc<Selector>],
        which: Which,
        budget: &mut ReadBudget,
    ) -> Chunk {
        let begin = from.max(self.oldest());
        let mut chunk = Chunk { next: begin, is_cut: begin > from && from < to, ..Chunk::default() };
        if begin > to {
            chunk.next = to.max(from);
            return chunk;
        }
        let first = self.blocks.partition_point(|block| block.first_position() <= Some(begin));
        for block in self.blocks.iter().skip(first.saturating_sub(1)) {
            // By tag set: from which position on its runs are wanted, if they are.
            let mut known: Vec<Option<Option<u64>>> = vec![None; block.tag_sets()];
            for index in block.at_position(begin)..block.len() {
                let Some(run) = block.get(index).filter(|run| run.position < to) else {
                    chunk.next = to;
                    return chunk;
                };
                if budget.is_spent() {
                    return chunk;
                }
                chunk.next = run.position + 1;
                budget.steps -= 1;
                let place = block.tag_of(index);
                let wanted = known[place].unwrap_or_else(|| {
                    let newest = || self.newest_of(run.tags).unwrap_or(0);
                    matches(&run, selectors, budget).then(|| if which == Which::All { 0 } else { newest() })
                });
                known[place] = Some(wanted);
                if wanted.is_some_and(|first| run.position >= first) {
                    budget.bytes = budget.bytes.saturating_sub(Block::memory_of(&run));
                    chunk.runs.push(&run);
                }
            }
        }
        chunk.next = to;
        chunk
    }
}

/// Whether any selector matches a run's tags.
pub(super) fn matches(run: &KeptRun<'_>, selectors: &[Arc<Selector>], budget: &mut ReadBudget) -> bool {
    budget.steps = budget.steps.saturating_sub(selectors.len());
    selectors.iter().any(|selector| selector.matches_tags(run.tags))
}
