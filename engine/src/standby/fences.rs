//! Which runs of sets pass a core.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use millrace_proto::PublisherId;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::limits::SETS_MAX;

use super::words::{SetCount, SetNews};

/// What becomes of a run of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// Its set has a newer generation, or its publisher does not hold the set: it is dropped.
    Fenced,
}

/// The highest generation of each set that a core has heard of, and who holds it.
#[derive(Debug, Default)]
pub struct Fences {
    /// At most [`SETS_MAX`]; runs of further sets pass, as they do at a router that has just begun.
    fences: HashMap<Box<str>, Fence, ahash::RandomState>,
    /// Sets of which control is to be told.
    changed: BTreeSet<Box<str>>,
}

#[derive(Debug)]
struct Fence {
    generation: u64,
    publisher: PublisherId,
    next_source_seq: u64,
    fenced: u64,
}

impl Fences {
    /// Control says who holds sets.
    pub fn hear(&mut self, news: &[SetNews]) {
        for SetNews { set, holder } in news {
            let Some((generation, publisher)) = *holder else {
                self.fences.remove(set);
                continue;
            };
            self.raise(set, generation, publisher);
            // Of two holders of one generation control knows which one counts.
            if let Some(fence) = self.fences.get_mut(set).filter(|fence| fence.generation == generation) {
                fence.publisher = publisher;
            }
        }
    }

    /// Judges a run that enters from its publisher, who has to hold the set.
    pub fn enter(&mut self, run: &StandbySet<'_>, publisher: PublisherId, events: u64) -> Verdict {
        let Some(fence) = self.fences.get_mut(run.set) else { return Verdict::Fenced };
        if (fence.generation, fence.publisher) != (run.generation, publisher) {
            fence.fenced += events;
            self.note(run.set);
            return Verdict::Fenced;
        }
        if let Some(last) = run.source_seqs().last()
            && last >= fence.next_source_seq
        {
            fence.next_source_seq = last + 1;
            self.note(run.set);
        }
        Verdict::Pass
    }

    /// Judges a run that comes from a sibling or a peer.
    pub fn pass(&mut self, run: &StandbySet<'_>, publisher: PublisherId, events: u64) -> Verdict {
        self.raise(run.set, run.generation, publisher);
        match self.fences.get_mut(run.set) {
            Some(fence) if run.generation < fence.generation && publisher != fence.publisher => {
                fence.fenced += events;
                self.note(run.set);
                Verdict::Fenced
            }
            _ => Verdict::Pass,
        }
    }

    /// Whether control is to be told something.
    #[must_use]
    pub fn has_counts(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What control is to be told.
    pub fn take_counts(&mut self) -> Vec<SetCount> {
        let changed = std::mem::take(&mut self.changed);
        let count = |set: Box<str>| {
            let fence = self.fences.get_mut(&set)?;
            let fenced = std::mem::take(&mut fence.fenced);
            Some(SetCount { next_source_seq: fence.next_source_seq, fenced, set })
        };
        changed.into_iter().filter_map(count).collect()
    }

    fn note(&mut self, set: &str) {
        if !self.changed.contains(set) {
            self.changed.insert(set.into());
        }
    }

    fn raise(&mut self, set: &str, generation: u64, publisher: PublisherId) {
        if let Some(fence) = self.fences.get_mut(set) {
            if generation > fence.generation {
                (fence.generation, fence.publisher) = (generation, publisher);
            }
        } else if self.fences.len() < SETS_MAX {
            let fence = Fence { generation, publisher, next_source_seq: 0, fenced: 0 };
            self.fences.insert(set.into(), fence);
        }
    }
}
