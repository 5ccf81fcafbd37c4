//! Bounds of groups, and their times.

use std::time::Duration;

use crate::ledger::PROLONGED_MAX;

/// Bounds of the groups of a core, and their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Events that a member may have without acknowledging them, unless it asks for another number.
    /// Default 256.
    pub max_inflight: u64,
    /// What a member has not acknowledged after this time is given to another one. Default 30 s.
    pub ack_wait: Duration,
    /// An event waits for a member that takes it, at most. Default 30 s.
    pub hold: Duration,
    /// Bytes of the events of one group that an owner keeps at most: those that wait, and those
    /// that are not acknowledged. Default 64 MiB.
    ///
    /// All groups of a core together keep four times as much.
    pub hold_bytes: usize,
    /// A level that is better than the one in use is used after it could be for this time without a
    /// break. Default 5 s.
    pub failback: Duration,
    /// A member that was busy stays so for this time, at least. Default 1 s.
    pub busy_hold: Duration,
}

/// All groups of a core together keep so many times what one of them may, at most.
const HOLD_SHARES: usize = 4;

impl GroupLimits {
    /// Bytes of the events of all groups of a core together.
    pub(super) const fn hold_all(&self) -> usize {
        self.hold_bytes.saturating_mul(HOLD_SHARES)
    }
}

/// Members that hand an event back before it waits for one that takes it: beyond a few, the group
/// is full.
pub(super) const HAND_BACKS_MAX: u32 = 8;
/// Times that an event is given to members without an acknowledgement: one that kills its workers
/// kills no more of them.
pub(super) const DELIVERIES_MAX: u32 = 5;
/// An event ends after this time, whatever becomes of it: five deliveries of 30 s, and a wait.
pub(super) const LIFE_MAX: Duration = PROLONGED_MAX;
/// A return to a better level that ends within this time doubles the wait before the next one.
pub(super) const FAILBACK_MEMORY: Duration = Duration::from_secs(60);
/// The wait before a return to a better level, at most.
pub(super) const FAILBACK_MAX: Duration = Duration::from_secs(300);
/// A member that handed an event back is passed over for this time, unless news of it come.
pub(super) const REFUSAL_MEMORY: Duration = Duration::from_secs(1);

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            max_inflight: 256,
            ack_wait: Duration::from_secs(30),
            hold: Duration::from_secs(30),
            hold_bytes: 64 << 20,
            failback: Duration::from_secs(5),
            busy_hold: Duration::from_secs(1),
        }
    }
}
