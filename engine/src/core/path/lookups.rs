//! What lookups of new tag sets take in one turn.
//!
//! A tag set that the route cache does not know, or whose route has changed, is looked up in all
//! selectors that may match. One lookup is bounded by how many selectors clients may have that no
//! tag leads to quickly ([`SelectorLimits`](crate::core::SelectorLimits)), and all lookups of a
//! turn by [`STEPS_PER_TURN`]: what comes beyond is left unread, and with it what follows on its
//! stream. Runs whose routes are known go on.
//!
//! Publishers take turns: the next turn begins behind the stream that had no more time in this one.
//! What sibling cores hand over may take half of a turn. Runs of peers are not left unread, because
//! everything between routers drains.

use super::reader::KnownTags;
use super::state::Path;

/// Selectors that the lookups of a turn look at: some 0.8 ms.
const STEPS_PER_TURN: u64 = 16 * 1024;

impl Path {
    /// A turn begins.
    pub(in crate::core) const fn lookups_begin(&mut self) {
        self.lookups_before = self.routes.steps();
    }

    /// Whether the turn has no more time for a publisher's lookups.
    #[inline]
    pub(in crate::core) const fn lookups_are_spent(&self) -> bool {
        self.routes.steps() - self.lookups_before >= STEPS_PER_TURN
    }

    /// Whether the turn has no more time for lookups of what siblings hand over.
    #[inline]
    pub(in crate::core) const fn sibling_lookups_are_spent(&self) -> bool {
        self.routes.steps() - self.lookups_before >= STEPS_PER_TURN / 2
    }

    /// Whether runs with these tags can be routed without a lookup, as this core's or another's.
    pub(in crate::core) fn is_settled(&self, tags: &KnownTags) -> bool {
        self.shards.other_owner(tags.hash).is_some() || self.is_settled_here(tags)
    }

    /// The same of what a sibling has handed over: it is routed here in any case.
    pub(in crate::core) fn is_settled_here(&self, tags: &KnownTags) -> bool {
        self.routes.is_settled(tags.id, &self.directory, &self.local)
    }
}
