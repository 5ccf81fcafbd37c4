//! How many lookups of new tag sets one turn may take, and how much of a core's time.
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
//!
//! Tag sets that publishers bring for the first time cost every core and router that has them, and
//! a lane cannot be read past those that it carries. Beside runs with known routes, publishers of a
//! core therefore have a quarter of its time for them, so that those behind it keep up: what they
//! did not use is kept for a load that begins, a second's at most. A stream that waits for
//! it is left alone until then (`Agenda::late`).
//!
//! Worked example: a publisher sends nothing but new tag sets, some 70 steps each. A core has five
//! million steps in a second for them, so that it takes 70,000 of them; a router that begins takes
//! another 70,000 at once.

use super::new_tags::STEPS_PER_TURN;
use super::reader::{KnownTags, RunTags};
use super::state::Path;
use crate::routes::TagId;
use crate::time::Time;

impl Path {
    /// Begins a turn.
    pub(in crate::core) fn lookups_begin(&mut self, now: Time) {
        self.routes.begin_turn();
        self.pacing.new_tag_sets.begin_turn(now, self.routes.known_lookups());
    }

    /// Goes on with lookups in a turn that has had its share.
    pub(in crate::core) const fn lookups_go_on(&mut self) {
        self.routes.begin_turn();
    }

    /// A publisher's stream is read from here on.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_begin(&mut self) {
        let (new, began) = (&mut self.pacing.new_tag_sets, self.routes.new_steps());
        new.began = began;
        new.until = began.saturating_add_signed(if new.left > 0 { new.left } else { 0 });
    }

    /// A publisher's stream was read.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_end(&mut self) {
        self.pacing.new_tag_sets.left -=
            (self.routes.new_steps() - self.pacing.new_tag_sets.began).cast_signed();
    }

    /// Whether the publisher at hand has used up what new tag sets may cost.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_are_spent(&self) -> bool {
        self.routes.new_steps() >= self.pacing.new_tag_sets.until
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

    /// Whether the publisher at hand has to wait with these tags: this core has not had them
    /// before, for itself or for the sibling that routes them, and new ones have had their time.
    pub(in crate::core) fn is_too_new(&self, tags: RunTags<'_>) -> bool {
        let is_known = || match tags {
            RunTags::Written(tags) => self.routes.has(tags, tags.hash()),
            RunTags::Numbered(tags) => {
                let is_named = match self.positions.shards.other_owner(tags.hash) {
                    Some(_) => tags.id != TagId::default(),
                    None => self.routes.contains(tags.id),
                };
                is_named || self.routes.has(tags.tags(), tags.hash)
            }
        };
        self.new_tag_sets_are_spent() && !is_known()
    }
}
