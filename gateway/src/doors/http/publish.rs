//! `POST /events`.

use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_client::TagSet;
use tokio::time::timeout;

use super::answer::{Problem, answer};
use super::binary;
use super::cloud_event::{Attributes, CloudEventError};
use super::content::Mode;
use super::guard::Guard;
use super::query::Query;
use super::structured::{self, BatchError};
use crate::admission::{Peer, Right};
use crate::counters::{Door, Reason};
use crate::room::Room;
use crate::upstream::{Level, NewEvent};

/// Bytes of a request's body: one event of the largest payload, or a batch.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Time that a client has for its body.
const BODY_MAX: Duration = Duration::from_secs(30);

/// What answers requests to publish.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    pub(super) room: Room,
    pub(super) guard: Guard,
}

/// Publishes what a request carries.
pub(super) async fn post(
    State(publish): State<Publish>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    publish.answer(&peer, request).await.unwrap_or_else(IntoResponse::into_response)
}

impl Publish {
    async fn answer(&self, peer: &Peer, request: Request) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default())
            .map_err(|error| self.refuse(Reason::Malformed, Problem::malformed(error)))?;
        let admitted = self.guard.admit(Door::Http, peer, &parts.headers, &query, Right::Publish)?;
        let level = level(&query).map_err(|problem| self.refuse(Reason::Malformed, problem))?;
        let tags: Vec<(String, String)> =
            tags_of(&query).map_err(|problem| self.refuse(Reason::Malformed, problem))?;
        let mode = Mode::of(&parts.headers, !tags.is_empty()).map_err(|error| {
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", error);
            self.refuse(Reason::ContentType, problem)
        })?;
        let body = self.body(&parts.headers, body).await?;
        let reader = Reader { tags, stamped: admitted.tags(), now: SystemTime::now() };
        let events = reader.read(mode, &parts.headers, &body).map_err(|problem| {
            let is_large = problem.name() == "too_large";
            self.refuse(if is_large { Reason::TooLarge } else { Reason::Malformed }, problem)
        })?;
        let underway = self.room.upstream.publish(Door::Http, level, &events).map_err(|unavailable| {
            let problem = Problem::from(unavailable);
            let is_busy = problem.name() == "busy";
            self.refuse(if is_busy { Reason::Busy } else { Reason::NoRouter }, problem)
        })?;
        Ok(answer(&underway.published().await, mode == Mode::Batch))
    }

    /// Counts a problem.
    fn refuse(&self, reason: Reason, problem: Problem) -> Problem {
        self.room.counters.refused(Door::Http, reason);
        problem
    }

    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        let too_large = || {
            let message = format!("a body has at most {BODY_BYTES_MAX} bytes: send less at once");
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
            self.refuse(Reason::TooLarge, problem)
        };
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        match timeout(BODY_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
            Ok(Ok(body)) => Ok(body),
            // Without a length it shows only while it is read.
            Ok(Err(error)) if length.is_none() && is_length(&error) => Err(too_large()),
            Ok(Err(error)) => {
                Err(self
                    .refuse(Reason::Malformed, Problem::malformed(format!("the body ends early: {error}"))))
            }
            Err(_) => {
                let message = format!("the body did not arrive within {} s", BODY_MAX.as_secs());
                Err(self.refuse(Reason::Slow, Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", message)))
            }
        }
    }
}

/// Whether a body was longer than it may be.
fn is_length(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

/// The level that a request asks for.
fn level(query: &Query) -> Result<Level, Problem> {
    let Some(name) = query.first("level") else { return Ok(Level::default()) };
    let message = || format!("level {name:?}: there are none, routed and delivered");
    Level::named(name).ok_or_else(|| Problem::malformed(message()))
}

/// The tags of a request's query string.
fn tags_of(query: &Query) -> Result<Vec<(String, String)>, Problem> {
    let pair = |tag: String| match tag.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Problem::malformed(format!(
            "tag {tag:?} is not of the form key=value; write \\, for a comma within a value"
        ))),
    };
    query.tags().map(pair).collect()
}

/// Makes events of a request.
struct Reader<'a> {
    /// Tags of the query string: every event gets them.
    tags: Vec<(String, String)>,
    /// Tags of the identity, in place of what the client says under their keys.
    stamped: &'a [(String, String)],
    now: SystemTime,
}

impl Reader<'_> {
    fn read(&self, mode: Mode, headers: &HeaderMap, body: &Bytes) -> Result<Vec<NewEvent>, Problem> {
        let one = |read: Result<NewEvent, CloudEventError>| read.map(|event| vec![event]).map_err(of);
        match mode {
            Mode::Plain if self.tags.is_empty() && self.stamped.is_empty() => Err(Problem::malformed(
                "an event without tags reaches nobody who asks for some: add ?tag=key=value",
            )),
            Mode::Plain => one(self.event(Vec::new(), self.now, body.clone())),
            Mode::Binary => {
                one(binary::attributes(headers)
                    .and_then(|attributes| self.cloud_event(attributes, body.clone())))
            }
            Mode::Structured => one(structured::event(body)
                .and_then(|(attributes, payload)| self.cloud_event(attributes, payload))),
            Mode::Batch => {
                let events = structured::batch(body).map_err(|error| match error {
                    BatchError::Json(_) => Problem::malformed(error),
                    BatchError::TooMany { .. } => {
                        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error)
                    }
                })?;
                let event = |(index, event): (usize, &&serde_json::value::RawValue)| {
                    structured::event(event.get().as_bytes())
                        .and_then(|(attributes, payload)| self.cloud_event(attributes, payload))
                        .map_err(|error| of(error).of_event(index))
                };
                events.iter().enumerate().map(event).collect()
            }
        }
    }

    fn cloud_event(&self, attributes: Attributes, payload: Bytes) -> Result<NewEvent, CloudEventError> {
        let (tags, time) = attributes.into_tags(self.now)?;
        self.event(tags, time, payload)
    }

    fn event(
        &self,
        mut tags: Vec<(String, String)>,
        time: SystemTime,
        payload: Bytes,
    ) -> Result<NewEvent, CloudEventError> {
        tags.extend(self.tags.iter().cloned());
        tags.retain(|(key, _)| self.stamped.iter().all(|(stamped, _)| stamped != key));
        tags.extend(self.stamped.iter().cloned());
        Ok(NewEvent::new(TagSet::new(tags)?, time, payload)?)
    }
}

fn of(error: CloudEventError) -> Problem {
    Problem::malformed(error)
}
