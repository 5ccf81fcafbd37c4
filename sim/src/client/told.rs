//! An outcome as the checkers take it.

use millrace_client::session::publisher::Outcome;
use millrace_engine::time::Time;
use millrace_proto::RouterId;
use millrace_proto::control::OutcomeKind;
use millrace_verify::checker::publication::{End, Told};

/// What `router` has told of an event.
pub(super) fn told(outcome: &Outcome, router: RouterId, now: Time) -> End {
    let (kind, receivers, missed, reasons) = match outcome {
        Outcome::Confirmed { receivers } => (OutcomeKind::Confirmed, *receivers, 0, Vec::new()),
        Outcome::Partial { receivers, missed, reasons } => {
            (OutcomeKind::Partial, *receivers, *missed, reasons.clone())
        }
        Outcome::Dropped { reason } => (OutcomeKind::Dropped, 0, 0, vec![*reason]),
        _ => (OutcomeKind::Unknown, 0, 0, Vec::new()),
    };
    End { at: now.0, router, told: Told { kind, receivers, missed, reasons } }
}
