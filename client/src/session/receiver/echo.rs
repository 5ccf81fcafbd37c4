//! What a receiver's old stream has brought in a move, and the new one may bring again.
//!
//! The new router may be far behind the old one, so that copies come on its stream when the move is
//! over. A last mark, which is asked for behind the move, says when all have come.

use std::ops::Range;

use hashbrown::HashMap;
use millrace_proto::data::{Mark, Source};
use millrace_proto::{PublisherKey, SubscriptionNumber};

use super::dedup::Fresh;
use crate::session::cursor::Passed;
use crate::session::publisher::Finals;

/// Runs that are remembered, at most: those of a second at a million per second and receiver would
/// be more than an application takes. What is delivered beyond them is marked as a possible
/// duplicate.
const REMEMBERED_MAX: usize = 262_144;

/// Events of which the new stream may bring another copy.
#[derive(Debug, Default)]
pub struct Echo {
    had: HashMap<PublisherKey, Finals, ahash::RandomState>,
    /// How far the old stream had come with each source, where it tells positions: what a mark does
    /// not say, because a router could not be asked, they do.
    passed: Passed,
    remembered: usize,
    /// The mark of the new stream that no copy stands behind.
    last: Option<u64>,
}

impl Echo {
    /// The old stream has brought a run of these seqs.
    pub(super) fn remember(&mut self, publisher: PublisherKey, seqs: Range<u64>) {
        if self.remembered < REMEMBERED_MAX {
            self.remembered += 1;
            self.had.entry(publisher).or_default().insert(seqs);
        }
    }

    /// The old stream has come so far.
    pub(super) fn passed(&mut self, passed: Passed) {
        self.passed = passed;
    }

    /// Whether a subscription has had what stands at this place.
    #[must_use]
    pub fn has_passed(&self, subscription: SubscriptionNumber, place: &(Source, u64)) -> bool {
        self.passed.has(subscription, place)
    }

    /// Whether no copy can come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.had.is_empty() && self.passed.is_empty()
    }

    /// What of a run on the new stream is to be delivered.
    #[must_use]
    pub fn fresh(&self, publisher: PublisherKey, seqs: Range<u64>) -> Fresh {
        let pending = |had: &Finals| had.pending_in(seqs.clone());
        let parts = self.had.get(&publisher).map(pending).filter(|parts| *parts != [seqs.clone()]);
        Fresh { parts, maybe_duplicate: self.remembered == REMEMBERED_MAX }
    }

    /// The move is over, and the new router was asked for a mark of this number.
    pub const fn asked(&mut self, number: u64) {
        self.last = Some(number);
    }

    /// Whether all copies have come when this mark stands in the new stream.
    #[must_use]
    pub fn ends_at(&self, mark: &Mark) -> bool {
        !mark.partial && self.last.is_some_and(|last| mark.number >= last)
    }
}
