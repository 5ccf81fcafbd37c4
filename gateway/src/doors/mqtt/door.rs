//! What all clients of the door share.

use std::sync::Arc;

use super::codec::Code;
use super::sessions::Sessions;
use crate::admission::Access;
use crate::counters::{Door, Reason};
use crate::doors::naming::Mapping;
use crate::room::Room;

/// What each client's task gets. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mqtt {
    pub(super) room: Room,
    pub(super) access: Access,
    pub(super) mapping: Arc<Mapping>,
    pub(super) sessions: Sessions,
}

impl Mqtt {
    /// Counts what was refused with a reason code.
    pub(super) fn refused(&self, code: Code) {
        self.counted(reason_of(code));
    }

    /// Counts a refusal.
    pub(super) fn counted(&self, reason: Reason) {
        self.room.counters.refused(Door::Mqtt, reason);
    }
}

/// What a reason code counts as, if nothing else is known.
pub(super) const fn reason_of(code: Code) -> Reason {
    match code {
        Code::NOT_AUTHORIZED => Reason::Forbidden,
        Code::PASSWORD => Reason::Unauthenticated,
        Code::TOO_LARGE => Reason::TooLarge,
        Code::BUSY => Reason::Busy,
        Code::KEEP_ALIVE => Reason::Slow,
        _ => Reason::Malformed,
    }
}
