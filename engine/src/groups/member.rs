//! A member of a group, as an owner sees it.

use super::levels::Rung;
use super::limits::REFUSAL_MEMORY;
use crate::time::Time;

/// A member's place in the directory: given by control, used again only after every core has
/// applied a directory without it.
pub type MemberIndex = u16;

/// What a member's core says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberState {
    /// Events that it has not acknowledged, those of all owners.
    pub in_flight: u64,
    /// Events that it takes besides; 0 while it takes none, however few are in flight.
    pub room: u64,
    /// Others are to be used in its place.
    pub busy: bool,
    /// Its session does not answer, or its router goes away. Its own router alone knows.
    pub is_silent: bool,
}

/// A member as it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joining {
    /// Its place in the order in which members are used.
    pub(super) rung: Rung,
    /// Names it for the choice among the members of a rung, alike at all owners.
    pub(super) identity: u64,
    /// Events that it may have without acknowledging them.
    pub(super) max_inflight: u64,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) rung: Rung,
    pub(super) identity: u64,
    max_inflight: u64,
    pub(super) state: MemberState,
    /// Events of this owner that it has not acknowledged.
    pub(super) in_flight: u64,
    /// It has handed an event back: it is passed over until then.
    refused_until: Time,
    /// Its router answers.
    pub(super) is_reachable: bool,
}

impl Member {
    pub(super) fn new(joining: Joining) -> Self {
        let Joining { rung, identity, max_inflight } = joining;
        let max_inflight = max_inflight.max(1);
        Self {
            rung,
            identity,
            max_inflight,
            state: MemberState { room: max_inflight, ..MemberState::default() },
            in_flight: 0,
            refused_until: Time::ZERO,
            is_reachable: true,
        }
    }

    /// Events that it may be given.
    pub(super) const fn room(&self) -> u64 {
        self.max_inflight.saturating_sub(self.in_flight)
    }

    /// Whether it may be given events.
    pub(super) fn is_eligible(&self, now: Time) -> bool {
        self.is_reachable && !self.state.busy && now >= self.refused_until && self.room() > 0
    }

    /// Whether it may be given events while nobody is eligible: it was busy, and has come down to
    /// half of what it may have, so that it only waits for its time to be over.
    pub(super) fn is_last_resort(&self, now: Time) -> bool {
        self.is_reachable
            && self.state.room > 0
            && now >= self.refused_until
            && self.in_flight <= self.max_inflight / 2
    }

    /// It has handed an event back.
    pub(super) fn refused(&mut self, now: Time) {
        self.refused_until = now + REFUSAL_MEMORY;
    }

    /// Its core says how it is.
    pub(super) const fn set_state(&mut self, state: MemberState) {
        self.state = state;
        self.refused_until = Time::ZERO;
    }
}
