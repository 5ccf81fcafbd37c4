//! How many lookups of new tag sets one turn may take.
//!
//! A tag set that the route cache does not know, or whose route has changed, is looked up among all
//! selectors that may match. [`SelectorLimits`](crate::core::SelectorLimits) bounds one lookup,
//! because it bounds the selectors that no tag leads to quickly. [`STEPS_PER_TURN`] bounds all
//! lookups of a turn: beyond it the core leaves a run with a new tag set unread, and with it
//! everything that follows on its stream. Runs with known routes go on.
//!
//! Streams of publishers and lanes of peers take turns: the next turn begins behind the stream that
//! had no more time in this one. Batches of sibling cores may take half of a turn. A lane that is
//! left unread drains all the same, a lookup a turn at least; meanwhile its peer queues what it has
//! for this router.

use super::reader::KnownTags;
use super::state::Path;

/// Selectors that the lookups of a turn evaluate: some 0.8 ms.
const STEPS_PER_TURN: u64 = 16 * 1024;

impl Path {
    /// Begins a turn.
    pub(in crate::core) const fn lookups_begin(&mut self) {
        self.routes.begin_turn();
    }

    /// Whether the turn has no more time for lookups of what publishers and peers send.
    #[inline]
    pub(in crate::core) const fn lookups_are_spent(&self) -> bool {
        self.routes.steps_in_turn() >= STEPS_PER_TURN
    }

    /// Whether the turn has no more time for lookups of what siblings hand over.
    #[inline]
    pub(in crate::core) const fn sibling_lookups_are_spent(&self) -> bool {
        self.routes.steps_in_turn() >= STEPS_PER_TURN / 2
    }

    /// Whether runs with these tags need no lookup, whether this core or a sibling routes them.
    pub(in crate::core) fn is_settled(&self, tags: &KnownTags) -> bool {
        self.positions.shards.other_owner(tags.hash).is_some() || self.is_settled_here(tags)
    }

    /// Whether runs with these tags that a sibling or a peer has handed over need no lookup: this
    /// core routes them in any case.
    pub(in crate::core) fn is_settled_here(&self, tags: &KnownTags) -> bool {
        let is_settled = |id| self.routes.is_settled(id, &self.directory, &self.local);
        is_settled(tags.id) || self.positions.ruling.effective(tags.id).is_some_and(is_settled)
    }
}
