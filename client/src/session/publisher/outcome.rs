//! What became of an event that its publisher asked a confirm level for.

use std::ops::Range;

use millrace_proto::control::{self, OutcomeKind, RecipientOutcome};

use super::store::GivenUp;

pub use millrace_proto::control::OutcomeReason;

/// What became of an event at a recipient that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipient {
    /// The recipient's name.
    pub name: String,
    /// What became of it there.
    pub fate: RecipientFate,
}

/// What became of an event at one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RecipientFate {
    /// It is there, as far as the level asks.
    Delivered,
    /// Nobody in the cluster has the name.
    NoReceiver,
    /// The recipient has no room for it, or does not answer: send it again later.
    Busy,
    /// Nobody has answered for it in time; it may be there.
    Expired,
    /// It is not known to be there, for another reason.
    Other(OutcomeReason),
}

impl RecipientFate {
    /// Its name in what people and programs read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::NoReceiver => "no_receiver",
            Self::Busy => "busy",
            Self::Expired => "expired",
            Self::Other(reason) => reason.name(),
        }
    }

    fn of(said: &RecipientOutcome) -> Self {
        match (said.kind, said.reason) {
            (OutcomeKind::Confirmed, _) => Self::Delivered,
            (_, OutcomeReason::NoReceiver) => Self::NoReceiver,
            (
                _,
                OutcomeReason::Busy
                | OutcomeReason::Overflow
                | OutcomeReason::LaneOverflow
                | OutcomeReason::MailboxOverflow,
            ) => Self::Busy,
            (_, OutcomeReason::Timeout | OutcomeReason::Expired) => Self::Expired,
            (_, reason) => Self::Other(reason),
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is at every receiver that matches, as far as the level asks.
    Confirmed {
        /// How many those are. 0: nobody wants it.
        receivers: u64,
    },
    /// It is not at all of them.
    Partial {
        /// How many have it.
        receivers: u64,
        /// How many do not, as far as anybody knows.
        missed: u64,
        /// Why.
        reasons: Vec<OutcomeReason>,
    },
    /// It is at none.
    Dropped {
        /// Why.
        reason: OutcomeReason,
    },
    /// Of an event that names recipients: what became of it at each.
    AtRecipients {
        /// Each of them once, by name.
        recipients: Vec<Recipient>,
    },
    /// Nobody can tell.
    Unknown,
    /// The publisher gave it up before its outcome was known.
    GivenUp {
        /// Why.
        why: GivenUp,
    },
}

impl Outcome {
    /// Whether it is at every receiver that matches, and at as many as the publisher asked for.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        match self {
            Self::Confirmed { .. } => true,
            Self::AtRecipients { recipients } => {
                recipients.iter().all(|recipient| recipient.fate == RecipientFate::Delivered)
            }
            _ => false,
        }
    }

    /// Of a reply: whoever asked is gone, or waits for no more replies.
    #[must_use]
    pub fn is_requester_gone(&self) -> bool {
        let is_gone =
            |reason: &OutcomeReason| matches!(reason, OutcomeReason::NoReceiver | OutcomeReason::Expired);
        match self {
            Self::Partial { receivers: 0, reasons, .. } => reasons.iter().any(is_gone),
            Self::Dropped { reason } => is_gone(reason),
            _ => false,
        }
    }

    /// Whether sending the event again may end better: it did not reach all its receivers, or
    /// nobody can tell, for reasons that pass.
    pub(super) fn may_improve(&self) -> bool {
        let passes = |reason: &OutcomeReason| {
            !matches!(
                reason,
                OutcomeReason::Expired
                    | OutcomeReason::FewReceivers
                    | OutcomeReason::NoReceiver
                    | OutcomeReason::Forbidden
                    | OutcomeReason::Fenced
                    | OutcomeReason::ClusterPath
                    | OutcomeReason::TooLarge
                    | OutcomeReason::Refused
                    | OutcomeReason::CannotAcknowledge
            )
        };
        match self {
            Self::Partial { reasons, .. } => reasons.is_empty() || reasons.iter().any(passes),
            Self::Dropped { reason } => passes(reason),
            Self::Unknown => true,
            Self::Confirmed { .. } | Self::AtRecipients { .. } | Self::GivenUp { .. } => false,
        }
    }

    /// What a router said, for a publisher that asks for `min_receivers`.
    pub(super) fn of(said: &control::Outcome, min_receivers: u64) -> Self {
        let control::Outcome { kind, receivers, missed, reasons, recipients, .. } = said;
        if !recipients.is_empty() {
            let recipient = |said: &RecipientOutcome| Recipient {
                name: said.name.clone(),
                fate: RecipientFate::of(said),
            };
            return Self::AtRecipients { recipients: recipients.iter().map(recipient).collect() };
        }
        let receivers = *receivers;
        match kind {
            OutcomeKind::Confirmed if receivers >= min_receivers => Self::Confirmed { receivers },
            OutcomeKind::Confirmed if receivers == 0 => Self::Dropped { reason: OutcomeReason::FewReceivers },
            OutcomeKind::Confirmed => Self::Partial {
                receivers,
                missed: min_receivers - receivers,
                reasons: vec![OutcomeReason::FewReceivers],
            },
            OutcomeKind::Dropped => {
                Self::Dropped { reason: reasons.first().copied().unwrap_or(OutcomeReason::Other) }
            }
            OutcomeKind::Unknown => Self::Unknown,
            // Partial, and kinds that this version does not know: not confirmed.
            _ => Self::Partial { receivers, missed: *missed, reasons: reasons.clone() },
        }
    }
}

/// Events that ended alike. Each event of a publisher with a confirm level ends once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What became of each.
    pub outcome: Outcome,
}
