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
//! did not use is kept for a load that begins, [`NEW_STEPS_MAX`] at most. A stream that waits for
//! it is left alone until then (`Agenda::late`).
//!
//! Worked example: a publisher sends nothing but new tag sets, some 70 steps each. A core has five
//! million steps in a second for them, so that it takes 70,000 of them; a router that begins takes
//! another 70,000 at once.

use super::reader::{KnownTags, RunTags};
use super::state::Path;
use crate::routes::TagId;
use crate::time::Time;

/// Selectors that the lookups of a turn evaluate: some 0.8 ms.
const STEPS_PER_TURN: u64 = 16 * 1024;
/// Time in which a step for new tag sets is earned: four times what it costs.
const EARNED_NS: u64 = 200;
/// Most steps that are kept for new tag sets: those of a second.
const NEW_STEPS_MAX: i64 = 5_000_000;
/// With fewer than these, streams that wait are left alone.
const NEW_STEPS_MIN: i64 = STEPS_PER_TURN as i64 / 4;
/// A core without runs of known routes for so long has all of its time for new ones.
const QUIET_NS: u64 = 10_000_000;

/// What new tag sets of publishers may cost.
#[derive(Debug)]
pub(in crate::core) struct NewTagSets {
    /// Steps that are left, or owed.
    left: i64,
    /// When they were counted last.
    at: Time,
    /// Lookups of known routes, and when there was one.
    known: u64,
    known_at: Time,
    /// What they had cost when the read at hand began, and when it has used up what is left.
    began: u64,
    until: u64,
}

impl NewTagSets {
    pub(in crate::core) const fn new() -> Self {
        let (at, known_at) = (Time::ZERO, Time::ZERO);
        Self { left: NEW_STEPS_MAX, at, known: 0, known_at, began: 0, until: u64::MAX }
    }

    fn begin_turn(&mut self, now: Time, known: u64) {
        if std::mem::replace(&mut self.known, known) != known {
            self.known_at = now;
        }
        let earned = now.nanos_since(self.at) / EARNED_NS;
        if earned > 0 {
            let earned = i64::try_from(earned).unwrap_or(NEW_STEPS_MAX);
            (self.left, self.at) = (self.left.saturating_add(earned).min(NEW_STEPS_MAX), now);
        }
        if now.nanos_since(self.known_at) > QUIET_NS {
            self.left = self.left.max(STEPS_PER_TURN as i64);
        }
    }

    /// Whether streams that wait may go on.
    pub(in crate::core) const fn is_ready(&self) -> bool {
        self.left >= NEW_STEPS_MIN
    }

    /// Whether nothing is left.
    pub(in crate::core) const fn is_used_up(&self) -> bool {
        self.left <= 0
    }

    /// When streams that wait may go on.
    pub(in crate::core) fn ready_at(&self) -> Time {
        let missing = u64::try_from(NEW_STEPS_MIN - self.left).unwrap_or(0);
        self.at.after(missing * EARNED_NS).min(self.known_at.after(QUIET_NS + 1))
    }
}

impl Path {
    /// Begins a turn.
    pub(in crate::core) fn lookups_begin(&mut self, now: Time) {
        self.routes.begin_turn();
        self.new_tag_sets.begin_turn(now, self.routes.known_lookups());
    }

    /// Goes on with lookups in a turn that has had its share.
    pub(in crate::core) const fn lookups_go_on(&mut self) {
        self.routes.begin_turn();
    }

    /// A publisher's stream is read from here on.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_begin(&mut self) {
        let (new, began) = (&mut self.new_tag_sets, self.routes.new_steps());
        new.began = began;
        new.until = began.saturating_add_signed(if new.left > 0 { new.left } else { 0 });
    }

    /// A publisher's stream was read.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_end(&mut self) {
        self.new_tag_sets.left -= (self.routes.new_steps() - self.new_tag_sets.began).cast_signed();
    }

    /// Whether the publisher at hand has used up what new tag sets may cost.
    #[inline]
    pub(in crate::core) const fn new_tag_sets_are_spent(&self) -> bool {
        self.routes.new_steps() >= self.new_tag_sets.until
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

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn beside_known_routes_new_tag_sets_have_a_quarter_of_the_time_and_without_them_all() {
        let (mut new, mut spent) = (NewTagSets::new(), 0);
        for turn in 1..=20_000 {
            new.begin_turn(Time(turn * MILLISECOND / 10), turn);
            if new.is_ready() {
                let part = new.left.min(STEPS_PER_TURN as i64);
                (new.left, spent) = (new.left - part, spent + part);
            }
        }
        // In two seconds, with what was kept from before. A step takes 50 ns.
        let (kept, quarter) = (NEW_STEPS_MAX, 2 * 1_000_000_000 / 50 / 4);
        assert!((kept + quarter - 20_000..=kept + quarter).contains(&spent), "{spent}");
        assert!(new.ready_at() > Time(2_000 * MILLISECOND));
        new.begin_turn(Time(2_011 * MILLISECOND), 20_000);
        assert!(new.left >= STEPS_PER_TURN as i64, "nothing else came for a while");
        new.left = -NEW_STEPS_MAX;
        assert_eq!(new.ready_at(), Time(2_010 * MILLISECOND + 1), "what is owed is forgotten then");
    }
}
