//! How much of a turn goes to the past: live runs go first.
//!
//! A turn's most is [`PARTS`] parts, each about a microsecond with what it costs to send what was
//! read. A core that had no live runs since the last turn spends it all. One that had some spends
//! a quarter of the time that has passed, so that a replay slows down beside live traffic and never
//! the other way round; what it has not spent it keeps, up to one turn's most.
//!
//! Worked example: live runs come all the time, and turns take 200 µs. Each earns 50 parts, so that
//! every second one spends a hundred: 250,000 runs or 125 MB of history in a second.

use crate::time::Time;

/// What a turn may spend at most.
pub(super) const PARTS: usize = 256;
/// With less than this a turn leaves the past alone: reading a little costs as much as reading
/// more.
const PARTS_MIN: usize = PARTS / 4;
/// Time in which one part is earned: four times what it costs.
const EARNED_NS: u64 = 4_000;

/// What a core may spend on the past.
#[derive(Debug)]
pub(super) struct Allowance {
    parts: usize,
    /// When it was counted last.
    at: Time,
    /// Live runs until then.
    live: u64,
}

impl Allowance {
    /// As much as a turn may spend.
    pub(super) const fn new() -> Self {
        Self { parts: PARTS, at: Time::ZERO, live: 0 }
    }

    /// What this turn may spend. `live` counts the live runs that the core has had since its start.
    pub(super) fn begin(&mut self, now: Time, live: u64) -> usize {
        let is_quiet = std::mem::replace(&mut self.live, live) == live;
        let earned = now.nanos_since(self.at) / EARNED_NS;
        if is_quiet {
            (self.parts, self.at) = (PARTS, now);
        } else if earned > 0 {
            let earned = usize::try_from(earned).unwrap_or(PARTS);
            (self.parts, self.at) = (self.parts.saturating_add(earned).min(PARTS), now);
        }
        if self.parts < PARTS_MIN { 0 } else { self.parts }
    }

    /// What was spent of it.
    pub(super) const fn spend(&mut self, parts: usize) {
        self.parts = self.parts.saturating_sub(parts);
    }

    /// When there is something to spend.
    pub(super) fn ready_at(&self) -> Time {
        let missing = PARTS_MIN.saturating_sub(self.parts) as u64;
        if missing == 0 { Time::ZERO } else { self.at.after(missing * EARNED_NS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn beside_live_runs_the_past_gets_a_quarter_of_the_time_and_without_them_all() {
        let (mut allowance, mut spent) = (Allowance::new(), 0);
        for turn in 1..=10_000 {
            let parts = allowance.begin(Time(turn * MILLISECOND / 10), turn);
            allowance.spend(parts);
            spent += parts;
        }
        // In a second, of a million parts that it has.
        assert!((245_000..=251_000).contains(&spent), "{spent}");
        assert!(allowance.ready_at() > Time(1_000 * MILLISECOND));
        assert_eq!(allowance.begin(Time(1_000 * MILLISECOND), 10_000), PARTS, "nothing came since");
        assert_eq!(allowance.ready_at(), Time::ZERO);
    }

    #[test]
    fn time_is_not_lost_in_short_turns_and_not_saved_for_longer_than_one() {
        let mut allowance = Allowance::new();
        allowance.spend(PARTS);
        for turn in 1..=1_000 {
            // Less than one part is earned in each.
            let parts = allowance.begin(Time(turn * 1_000), turn);
            assert_eq!(parts > 0, turn >= 256, "{turn}");
        }
        assert_eq!(allowance.begin(Time(1_000 * MILLISECOND), 2_000), PARTS);
    }
}
