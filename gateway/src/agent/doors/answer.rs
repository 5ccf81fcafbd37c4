//! Answers of an agent: as those of a gateway, for events that stand in a spool.
//!
//! | status | when |
//! |---|---|
//! | 202 | every event is in the spool, and as far as the client wanted to wait for |
//! | 400 … 415 | the request cannot be read |
//! | 503 | an event has ended, and is not at every receiver |
//! | 504 | an event is pending still: it is in the spool, and goes out |
//! | 507 | the spool is full, and the event is not in it |

use axum::http::StatusCode;
use axum::response::Response;
use millrace_client::{EventId, Outcome};
use serde_json::{Value, json};

use crate::agent::producers::NotTaken;
use crate::counters::Reason;
use crate::doors::http::answer::{Problem, outcome, page};
use crate::upstream::Published;

/// An event that was taken.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: EventId,
    /// What became of it, if the client wanted to wait for that and it is known.
    pub(super) outcome: Option<Outcome>,
    /// It has not ended in the time that the client wanted to wait.
    pub(super) is_pending: bool,
}

impl Ended {
    fn json(&self) -> Value {
        if self.is_pending {
            return json!({ "id": self.id.to_string(), "outcome": "pending" });
        }
        outcome(&Published { id: self.id, outcome: self.outcome.clone() })
    }

    fn is_unconfirmed(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| !outcome.is_confirmed())
    }
}

/// The answer to events that were taken: one, or a batch.
pub(super) fn answer(ended: &[Ended], is_batch: bool) -> Response {
    let mut body = match ended {
        [one] if !is_batch => one.json(),
        events => json!({ "events": events.iter().map(Ended::json).collect::<Vec<_>>() }),
    };
    let unconfirmed = ended.iter().filter(|ended| ended.is_unconfirmed()).count();
    let pending = ended.iter().filter(|ended| ended.is_pending).count();
    let count = ended.len();
    let (status, error, message) = match (unconfirmed, pending) {
        (0, 0) => return page(StatusCode::ACCEPTED, &body),
        (0, pending) => (
            StatusCode::GATEWAY_TIMEOUT,
            "pending",
            format!("{pending} of {count} events are in the spool, and go out when a router can be reached"),
        ),
        (unconfirmed, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unconfirmed",
            format!(
                "{unconfirmed} of {count} events are not at every receiver that wants them; `outcome` and `reasons` say why"
            ),
        ),
    };
    body["error"] = error.into();
    body["message"] = message.into();
    page(status, &body)
}

/// What an event that was not taken counts as, and its answer.
pub(super) fn not_taken(error: &NotTaken) -> (Reason, Problem) {
    let (reason, status, name) = match error {
        NotTaken::Shed(_) => (Reason::Shed, StatusCode::INSUFFICIENT_STORAGE, "shed"),
        NotTaken::Full(_) => (Reason::Full, StatusCode::INSUFFICIENT_STORAGE, "spool_full"),
        NotTaken::Event(_) => (Reason::Malformed, StatusCode::BAD_REQUEST, "malformed"),
        NotTaken::Disk(_) | NotTaken::Closed(_) => {
            (Reason::Disk, StatusCode::SERVICE_UNAVAILABLE, "spool_failed")
        }
    };
    (reason, Problem::new(status, name, error))
}

#[cfg(test)]
mod tests {
    use millrace_client::OutcomeReason;

    use super::*;

    #[test]
    fn a_status_says_how_far_events_have_come() {
        let ended = |outcome, is_pending| Ended { id: EventId::default(), outcome, is_pending };
        let status = |all: &[Ended]| answer(all, all.len() > 1).status().as_u16();
        assert_eq!(status(&[ended(None, false)]), 202);
        let confirmed = || ended(Some(Outcome::Confirmed { receivers: 1 }), false);
        assert_eq!(status(&[confirmed(), ended(None, true)]), 504);
        let busy = Outcome::Dropped { reason: OutcomeReason::Busy };
        assert_eq!(status(&[confirmed(), ended(None, true), ended(Some(busy), false)]), 503);
    }
}
