//! What was dropped from a queue between two marks: the gaps that stand for it.

use millrace_proto::data::{Gap, GapReason};

/// Most gaps of other reasons that stay apart between two overflow gaps; more of them become one
/// gap of all routers.
pub(super) const GAPS_MAX: usize = 64;

/// Runs that were dropped, and gaps that stood between them.
#[derive(Debug)]
pub(super) struct Dropped {
    overflow: Gap,
    others: Vec<Gap>,
}

impl Dropped {
    /// Nothing yet; what is dropped gets a gap of this reason.
    pub(super) const fn new(reason: GapReason) -> Self {
        Self { overflow: Gap { reason, events: 0, router: None }, others: Vec::new() }
    }

    /// A run of so many events was dropped.
    pub(super) const fn count(&mut self, events: u64) {
        self.overflow.events += events;
    }

    /// A gap stood among the runs: one stays for each reason and router, and beyond [`GAPS_MAX`]
    /// one gap of all routers.
    pub(super) fn merge(&mut self, gap: Gap) {
        if gap.reason == self.overflow.reason {
            self.overflow.events += gap.events;
            return;
        }
        let is_same = |other: &&mut Gap| other.reason == gap.reason && other.router == gap.router;
        if let Some(same) = self.others.iter_mut().find(is_same) {
            same.events += gap.events;
        } else if self.others.len() < GAPS_MAX {
            self.others.push(gap);
        } else if let Some(last) = self.others.last_mut() {
            last.router = None;
            last.events += gap.events;
        }
    }

    /// The gaps, in their order; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Gap> {
        let reason = self.overflow.reason;
        let Self { overflow, mut others } = std::mem::replace(self, Self::new(reason));
        others.extend((overflow.events > 0).then_some(overflow));
        others
    }
}
