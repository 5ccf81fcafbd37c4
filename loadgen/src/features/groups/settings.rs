//! Sizes and times, and what groups are called.

use std::time::Duration;

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// Groups at a time, each with a member of level 1 and one of level 2.
    pub groups: u32,
    /// Times that the process with the members of level 1 is killed, each time of other groups.
    pub kills: u32,
    /// Router processes, linked with each other: publisher, level 1 and level 2 are apart.
    pub routers: u16,
    /// Events per second of all groups that are in use.
    pub rate: u64,
    /// The 99th percentile of the time that a switch may take after BUSY.
    pub busy_max: Duration,
    /// The same after a kill.
    pub killed_max: Duration,
}

/// Events per second of each group: between two of them no switch is seen, and BUSY may take 5 ms.
const RATE_OF_EACH: u64 = 1_000;

impl GroupSettings {
    /// Events per second of so many groups, and of the one that flaps beside them.
    #[must_use]
    pub const fn rate_of(groups: u32) -> u64 {
        RATE_OF_EACH * (groups as u64 + 1)
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            groups: 10,
            kills: 3,
            routers: 2,
            rate: Self::rate_of(10),
            busy_max: Duration::from_millis(20),
            killed_max: Duration::from_millis(1_600),
        }
    }
}

/// A group by its number, from 0 over all that the preset uses.
pub(super) type Number = u32;

/// What a group is called.
pub(super) fn name(group: Number) -> String {
    format!("loadgen-{group}")
}

/// The tag of a group's events, and the selector of its members.
pub(super) fn tag(group: Number) -> String {
    format!("work={group}")
}
