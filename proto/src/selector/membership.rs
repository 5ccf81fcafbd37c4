//! Who wants what a selector selects, where that is a member of a group.

/// A member of a group, as the interest of each of its selectors names it. It stays as it is for
/// as long as the member is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Membership {
    /// The group.
    pub group: Box<str>,
    /// The member, by its router's number.
    pub member: u32,
    /// Its level, 1 to [`GROUP_LEVEL_MAX`](crate::limits::GROUP_LEVEL_MAX): lower ones are used
    /// first.
    pub level: u8,
    /// One member of the group gets everything.
    pub exclusive: bool,
    /// Events that it may have without acknowledging them.
    pub max_inflight: u64,
}
