//! The connection that an attachment has.

use millrace_proto::Incarnation;

use super::interface::AttemptId;
use crate::time::Time;

/// Why a client looks for a better router beside a connection that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The present router is of a further level.
    Back,
    /// It is of another zone.
    Home,
    /// It is far.
    Nearer,
}

/// The present connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) attempt: AttemptId,
    pub(super) since: Time,
    pub(super) incarnation: Incarnation,
    pub(super) level: usize,
    /// When a way to a better router is tried, and which.
    pub(super) better: Option<(Time, Way)>,
    pub(super) leaving: Option<Leaving>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) at: Time,
    pub(super) latest: Time,
    pub(super) begun: bool,
}
