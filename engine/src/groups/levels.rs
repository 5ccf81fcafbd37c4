//! Which level of a group is in use: down at once, up again with hysteresis.
//!
//! A *rung* is a level; in an exclusive group, each member is a rung of its own. The lowest rung
//! with an eligible member is used. When the rung in use has none, the next one takes over at once.
//! A better one takes over after it was eligible for `failback` without a break; a return that is
//! undone within a minute doubles that time, to five minutes at most. So a member that flaps every
//! second moves its group once:
//!
//! ```text
//! level 1   up  down up  down up  down …
//! in use    1   2    2   2    2   2          never 5 s without a break
//! ```

use std::time::Duration;

use super::limits::{FAILBACK_MAX, FAILBACK_MEMORY};
use crate::time::Time;

/// A place in the order in which members are used: the level, then, in an exclusive group, the
/// member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rung {
    /// The level.
    pub level: u8,
    /// 0; in an exclusive group, a hash of the member, which all owners know alike.
    pub member: u64,
}

/// Why a group changed its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchReason {
    /// Its first member came.
    First,
    /// The level in use has no member left that answers.
    Gone,
    /// The members of the level in use are busy.
    Busy,
    /// A better level was eligible for long enough.
    Failback,
}

impl SwitchReason {
    /// Its name in `/groups`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Gone => "gone",
            Self::Busy => "busy",
            Self::Failback => "failback",
        }
    }
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// The rung that was in use; none before the first member.
    pub from: Option<Rung>,
    /// The rung that is.
    pub to: Rung,
    /// Why.
    pub reason: SwitchReason,
    /// When.
    pub at: Time,
}

/// The rung in use.
#[derive(Debug)]
pub(super) struct Levels {
    failback: Duration,
    last: Option<Switch>,
    /// Since when a better rung is eligible.
    better_since: Option<Time>,
    /// How long it has to be.
    delay: Duration,
    /// When the group last returned to a better rung.
    returned_at: Option<Time>,
    switches: u64,
}

impl Levels {
    pub(super) const fn new(failback: Duration) -> Self {
        Self { failback, last: None, better_since: None, delay: failback, returned_at: None, switches: 0 }
    }

    /// The rung in use.
    pub(super) fn in_use(&self) -> Option<Rung> {
        self.last.map(|last| last.to)
    }

    /// The last change.
    pub(super) const fn last(&self) -> Option<Switch> {
        self.last
    }

    /// Changes of level.
    pub(super) const fn switches(&self) -> u64 {
        self.switches
    }

    /// Looks at the lowest rung with an eligible member, and why the one in use has none, if it has
    /// none: after each change, and from time to time.
    pub(super) fn look(&mut self, now: Time, lowest: Option<Rung>, unfit: Option<SwitchReason>) {
        let Some(lowest) = lowest else {
            self.better_since = None;
            return;
        };
        let Some(in_use) = self.in_use() else {
            return self.switch(now, lowest, SwitchReason::First);
        };
        if lowest == in_use {
            self.better_since = None;
            return;
        }
        if let Some(reason) = unfit {
            let is_undone =
                lowest > in_use && self.returned_at.take().is_some_and(|at| now.since(at) < FAILBACK_MEMORY);
            let doubled = (self.delay * 2).min(FAILBACK_MAX.max(self.failback));
            self.delay = if is_undone { doubled } else { self.delay };
            return self.switch(now, lowest, reason);
        }
        if lowest > in_use {
            self.better_since = None;
            return;
        }
        let since = *self.better_since.get_or_insert(now);
        if now.since(since) >= self.delay {
            self.returned_at = Some(now);
            self.switch(now, lowest, SwitchReason::Failback);
        }
    }

    /// A return that has held for long enough: the next one waits as long as the first.
    pub(super) fn forget(&mut self, now: Time) {
        if self.returned_at.is_some_and(|at| now.since(at) >= FAILBACK_MEMORY) {
            self.returned_at = None;
            self.delay = self.failback;
        }
    }

    fn switch(&mut self, at: Time, to: Rung, reason: SwitchReason) {
        self.better_since = None;
        self.switches += 1;
        self.last = Some(Switch { from: self.in_use(), to, reason, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILBACK: Duration = Duration::from_secs(5);
    const ONE: Rung = Rung { level: 1, member: 0 };
    const TWO: Rung = Rung { level: 2, member: 0 };

    /// Level 2 is always eligible, level 1 where `is_up` says so, looked at each 100 ms.
    fn switches(seconds: u64, is_up: impl Fn(u64) -> bool) -> Vec<(u64, u8)> {
        let mut levels = Levels::new(FAILBACK);
        let mut found = Vec::new();
        for tenth in 0..seconds * 10 {
            let now = Time::from_nanos(tenth * 100_000_000);
            let unfit = (levels.in_use() != Some(TWO)).then_some(SwitchReason::Gone);
            let (lowest, unfit) = if is_up(tenth) { (ONE, None) } else { (TWO, unfit) };
            levels.forget(now);
            levels.look(now, Some(lowest), unfit);
            if let Some(last) = levels.last().filter(|last| last.at == now) {
                found.push((tenth, last.to.level));
            }
        }
        found
    }

    #[test]
    fn down_is_at_once_and_up_waits() {
        let found = switches(30, |tenth| !(100..150).contains(&tenth));
        assert_eq!(found, [(0, 1), (100, 2), (200, 1)]);
    }

    #[test]
    fn a_member_that_flaps_each_second_moves_its_group_once() {
        let found = switches(60, |tenth| tenth % 10 < 5);
        assert!(found.len() <= 4, "{found:?}");
    }

    #[test]
    fn a_break_begins_the_wait_anew() {
        let found = switches(30, |tenth| tenth < 100 || tenth > 110 && tenth != 150);
        assert_eq!(found, [(0, 1), (100, 2), (201, 1)]);
    }

    #[test]
    fn a_return_that_is_undone_doubles_the_wait() {
        // Down for a second whenever it was used for two.
        let is_up = |tenth: u64| ![100, 170, 290, 510].contains(&tenth);
        assert_eq!(
            switches(120, is_up),
            [(0, 1), (100, 2), (151, 1), (170, 2), (271, 1), (290, 2), (491, 1), (510, 2), (911, 1)]
        );
    }

    #[test]
    fn the_group_stays_where_it_is_while_nobody_is_eligible() {
        let mut levels = Levels::new(FAILBACK);
        levels.look(Time::ZERO, Some(TWO), None);
        levels.look(Time::from_nanos(1), None, Some(SwitchReason::Busy));
        assert_eq!(levels.in_use(), Some(TWO));
        levels.look(Time::from_nanos(2), Some(ONE), Some(SwitchReason::Busy));
        assert_eq!(levels.in_use(), Some(ONE), "nobody is left to wait with");
    }
}
