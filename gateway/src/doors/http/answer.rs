//! Answers: a status for programs that look at nothing else, JSON for those that do.
//!
//! | status | when |
//! |---|---|
//! | 202 | every event is confirmed at the level asked for, or taken, with level *none* |
//! | 400 | something cannot be read; `index` names the event of a batch |
//! | 401, 403 | nobody knows who asks, or it may not |
//! | 404, 405 | another path, another method |
//! | 408, 413, 415 | too slow, too large, another content type |
//! | 426 | another version of WebSocket; `Sec-WebSocket-Version` says which one there is |
//! | 503 | nothing, or not everything, is at all receivers: `Retry-After` says when to try again |
//! | 504 | nobody can tell within the time: the events may still arrive |

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_client::{Outcome, OutcomeReason};
use serde::Serialize;
use serde_json::{Value, json};

use crate::upstream::{Published, Unavailable};

/// Seconds after which a client that was turned away tries again: a router that is lost is replaced
/// within two.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not answered as it wished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What it is, for programs.
    error: &'static str,
    /// What it is, for people, and what to do.
    message: String,
    /// The event of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

impl Problem {
    /// A problem with its status, its name for programs, and what people read.
    pub fn new(status: StatusCode, error: &'static str, message: impl ToString) -> Self {
        Self { status, error, message: message.to_string(), index: None }
    }

    /// Something that cannot be read.
    pub fn malformed(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// The same, of this event of a batch.
    #[must_use]
    pub fn of_event(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.error
    }

    /// What people read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let error = match unavailable {
            Unavailable::NoRouter => "no_router",
            Unavailable::Busy => "busy",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, unavailable)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = page(self.status, &self);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// A page of JSON that ends with a line break, for terminals.
pub(crate) fn page(status: StatusCode, body: &impl Serialize) -> Response {
    let mut text = serde_json::to_string(body).unwrap_or_default();
    text.push('\n');
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// What became of one event, as JSON.
#[must_use]
pub fn outcome(published: &Published) -> Value {
    let id = published.id.to_string();
    match &published.outcome {
        None => json!({ "id": id, "outcome": "accepted" }),
        Some(Outcome::Confirmed { receivers }) => {
            json!({ "id": id, "outcome": "confirmed", "receivers": receivers })
        }
        Some(Outcome::Partial { receivers, missed, reasons }) => {
            let reasons: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
            json!({
                "id": id, "outcome": "partial", "receivers": receivers, "missed": missed, "reasons": reasons
            })
        }
        Some(Outcome::Dropped { reason }) => {
            json!({ "id": id, "outcome": "dropped", "reasons": [reason.name()] })
        }
        Some(_) => json!({ "id": id, "outcome": "unknown" }),
    }
}

/// Whether nobody has to do anything about an event any more.
#[must_use]
pub fn is_done(published: &Published) -> bool {
    published.outcome.as_ref().is_none_or(Outcome::is_confirmed)
}

/// The answer to events that were published: one, or a batch.
#[must_use]
pub fn answer(published: &[Published], is_batch: bool) -> Response {
    let mut body = match published {
        [one] if !is_batch => outcome(one),
        events => json!({ "events": events.iter().map(outcome).collect::<Vec<_>>() }),
    };
    let Some(status) = published.iter().filter_map(failure).max() else {
        return page(StatusCode::ACCEPTED, &body);
    };
    let failed = published.iter().filter(|published| !is_done(published)).count();
    let count = published.len();
    body["error"] = "unconfirmed".into();
    body["message"] = format!(
        "{failed} of {count} events are not at every receiver that wants them; `outcome` and `reasons` say why"
    )
    .into();
    let mut response = page(status, &body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The status that an event alone would have, unless it is done.
fn failure(published: &Published) -> Option<StatusCode> {
    match published.outcome.as_ref()? {
        Outcome::Confirmed { .. } => None,
        Outcome::Dropped { reason: OutcomeReason::Forbidden } => Some(StatusCode::FORBIDDEN),
        Outcome::Partial { .. } | Outcome::Dropped { .. } => Some(StatusCode::SERVICE_UNAVAILABLE),
        _ => Some(StatusCode::GATEWAY_TIMEOUT),
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::EventId;

    use super::*;

    fn ended(outcome: Option<Outcome>) -> Published {
        Published { id: EventId::default(), outcome }
    }

    #[test]
    fn a_status_says_whether_to_try_again() {
        let confirmed = || ended(Some(Outcome::Confirmed { receivers: 2 }));
        let status = |published: &[Published]| answer(published, published.len() > 1).status().as_u16();
        assert_eq!(status(&[confirmed(), confirmed()]), 202);
        assert_eq!(status(&[ended(None)]), 202);
        let busy = ended(Some(Outcome::Dropped { reason: OutcomeReason::Busy }));
        assert_eq!(status(&[confirmed(), busy.clone()]), 503);
        assert_eq!(status(&[ended(Some(Outcome::Unknown)), busy.clone()]), 504);
        assert_eq!(answer(&[busy], false).headers().get(header::RETRY_AFTER), Some(&RETRY_AFTER));
    }
}
