//! What new tag sets of publishers may cost.

use crate::time::Time;

/// Selectors that the lookups of a turn evaluate: some 0.8 ms.
pub(super) const STEPS_PER_TURN: u64 = 16 * 1024;
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
    pub(super) left: i64,
    /// When they were counted last.
    at: Time,
    /// Lookups of known routes, and when there was one.
    known: u64,
    known_at: Time,
    /// What they had cost when the read at hand began, and when it has used up what is left.
    pub(super) began: u64,
    pub(super) until: u64,
}

impl NewTagSets {
    pub(in crate::core) const fn new() -> Self {
        let (at, known_at) = (Time::ZERO, Time::ZERO);
        Self { left: NEW_STEPS_MAX, at, known: 0, known_at, began: 0, until: u64::MAX }
    }

    pub(super) fn begin_turn(&mut self, now: Time, known: u64) {
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
