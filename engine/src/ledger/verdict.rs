//! Levels and origins of runs that are followed, and the tallies with which their legs end.

use millrace_proto::control::{OutcomeKind, OutcomeReason};
use millrace_proto::data::flag;

use crate::transport::ConnKey;

/// How far a publisher wants its events followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The run is queued for every receiver that matches, on that receiver's core.
    Routed = 1,
    /// The application of every receiver that matches has acknowledged it.
    Delivered = 2,
}

impl Level {
    /// The level that a run's flags ask for. None for level none, and for *kept*, which this router
    /// does not list.
    #[must_use]
    pub const fn of_flags(flags: u64) -> Option<Self> {
        match flags & flag::LEVEL_MASK {
            1 => Some(Self::Routed),
            2 => Some(Self::Delivered),
            _ => None,
        }
    }
}

/// Where a run came from, and so whom to tell how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A publisher of this core.
    Publisher {
        /// The publisher's connection.
        conn: ConnKey,
        /// Its number there.
        number: u32,
        /// How many publishers had the number before it.
        life: u32,
    },
    /// A sibling core.
    Sibling {
        /// The core.
        core: u16,
        /// The number that its batch carried with the run.
        number: u64,
    },
    /// A peer's lane.
    Lane {
        /// The lane's connection.
        conn: ConnKey,
        /// The run's lane seq.
        seq: u64,
    },
    /// A recipient that a run names: its copy is followed apart from others.
    Recipient {
        /// The run, among those whose recipients are followed.
        direct: u32,
        /// Which of its recipients.
        recipient: u8,
    },
}

impl Origin {
    /// The connection of the origin, if it has one.
    #[must_use]
    pub const fn conn(&self) -> Option<ConnKey> {
        match *self {
            Self::Publisher { conn, .. } | Self::Lane { conn, .. } => Some(conn),
            Self::Sibling { .. } | Self::Recipient { .. } => None,
        }
    }
}

/// Consecutive events of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Seq of the first.
    pub first: u64,
    /// How many, at least 1.
    pub events: u32,
}

impl Span {
    /// One past the last seq.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first + self.events as u64
    }
}

/// A set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Reasons(u32);

impl Reasons {
    /// A set of one reason.
    #[must_use]
    pub const fn one(reason: OutcomeReason) -> Self {
        Self(1 << reason as u32)
    }

    /// The reasons, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = OutcomeReason> {
        let all = OutcomeReason::ALL.iter().copied();
        all.filter(move |&reason| self.0 & Self::one(reason).0 != 0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<OutcomeReason> for Reasons {
    fn from_iter<I: IntoIterator<Item = OutcomeReason>>(reasons: I) -> Self {
        reasons.into_iter().fold(Self::default(), |all, reason| all.and(Self::one(reason)))
    }
}

/// How an event ended: the sum of what its legs ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tally {
    /// Receivers that have the event, as far as the level asks.
    pub receivers: u32,
    /// Receivers that miss it, as far as anybody knows: at least one where there is a reason.
    pub missed: u32,
    /// Why they miss it.
    pub reasons: Reasons,
    /// Whether nobody followed it.
    pub is_unknown: bool,
    /// Whether it was not routed.
    pub is_dropped: bool,
}

impl Tally {
    /// The tally of a guard: nothing.
    pub const NONE: Self =
        Self { receivers: 0, missed: 0, reasons: Reasons(0), is_unknown: false, is_dropped: false };

    /// The tally of one receiver that has the event.
    pub const TAKEN: Self = Self { receivers: 1, ..Self::NONE };

    /// The tally of one leg that ended without the event.
    #[must_use]
    pub const fn missed(reason: OutcomeReason) -> Self {
        Self { missed: 1, reasons: Reasons::one(reason), ..Self::NONE }
    }

    /// The tally of a run that was routed, and that nobody follows.
    #[must_use]
    pub const fn unknown(reason: OutcomeReason) -> Self {
        Self { reasons: Reasons::one(reason), is_unknown: true, ..Self::NONE }
    }

    /// The tally of a run that was not routed.
    #[must_use]
    pub const fn dropped(reason: OutcomeReason) -> Self {
        Self { reasons: Reasons::one(reason), is_dropped: true, ..Self::NONE }
    }

    /// The tally of an answer from another core or router. An event that is not confirmed there
    /// misses at least one receiver.
    #[must_use]
    pub fn answered(kind: OutcomeKind, receivers: u64, missed: u64, reasons: &[OutcomeReason]) -> Self {
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if kind == OutcomeKind::Confirmed {
            return Self { receivers: count(receivers), ..Self::NONE };
        }
        let reasons = if reasons.is_empty() {
            Reasons::one(OutcomeReason::Other)
        } else {
            reasons.iter().copied().collect()
        };
        Self { receivers: count(receivers), missed: count(missed).max(1), reasons, ..Self::NONE }
    }

    /// A leg that was given up: the event is dropped, unless another receiver has it.
    #[must_use]
    pub const fn given_up(reason: OutcomeReason) -> Self {
        Self { is_dropped: true, ..Self::missed(reason) }
    }

    /// The sum of two tallies.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            receivers: self.receivers.saturating_add(other.receivers),
            missed: self.missed.saturating_add(other.missed),
            reasons: self.reasons.and(other.reasons),
            is_unknown: self.is_unknown | other.is_unknown,
            is_dropped: self.is_dropped | other.is_dropped,
        }
    }

    /// The kind of outcome that this is.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        if self.is_dropped && self.receivers == 0 {
            OutcomeKind::Dropped
        } else if self.missed > 0 || self.is_dropped {
            OutcomeKind::Partial
        } else if self.is_unknown {
            OutcomeKind::Unknown
        } else {
            OutcomeKind::Confirmed
        }
    }
}
