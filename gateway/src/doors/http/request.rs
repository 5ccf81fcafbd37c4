//! What a request to publish carries: events, read in one of four modes.

use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use millrace_client::TagSet;
use tokio::time::timeout;

use super::answer::Problem;
use super::binary;
use super::cloud_event::{Attributes, CloudEventError};
use super::content::Mode;
use super::query::Query;
use super::structured::{self, BatchError};
use crate::counters::Reason;
use crate::upstream::NewEvent;

/// Bytes of a request's body: one event of the largest payload, or a batch.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Time that a client has for its body.
const BODY_MAX: Duration = Duration::from_secs(30);

/// What a request carries.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Its events, in their order.
    pub(crate) events: Vec<NewEvent>,
    /// They came as a batch, and are answered as one.
    pub(crate) is_batch: bool,
}

/// A request that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What it counts as.
    pub(crate) reason: Reason,
    /// How it is answered.
    pub(crate) problem: Problem,
}

impl Unreadable {
    fn malformed(problem: Problem) -> Self {
        Self { reason: Reason::Malformed, problem }
    }
}

/// What is set on events, whoever sends them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Tags that stand in place of what the client says under their keys.
    pub(crate) stamped: &'a [(String, String)],
    /// Events get further tags behind this reader, so that one without any is none that reaches
    /// nobody.
    pub(crate) are_more: bool,
}

/// Reads the events of a request.
///
/// # Errors
/// [`Unreadable`]: the whole request is refused.
pub(crate) async fn read(
    parts: &Parts,
    query: &Query,
    body: Body,
    given: Given<'_>,
) -> Result<Carried, Unreadable> {
    let tags = tags_of(query).map_err(Unreadable::malformed)?;
    let mode = Mode::of(&parts.headers, !tags.is_empty()).map_err(|error| {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", error);
        Unreadable { reason: Reason::ContentType, problem }
    })?;
    let body = whole(&parts.headers, body).await?;
    let reader = Reader { tags, given, now: SystemTime::now() };
    let events = reader.read(mode, &parts.headers, &body).map_err(|problem| {
        let is_large = problem.name() == "too_large";
        Unreadable { reason: if is_large { Reason::TooLarge } else { Reason::Malformed }, problem }
    })?;
    Ok(Carried { events, is_batch: mode == Mode::Batch })
}

async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes, Unreadable> {
    let too_large = || {
        let message = format!("a body has at most {BODY_BYTES_MAX} bytes: send less at once");
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        Unreadable { reason: Reason::TooLarge, problem }
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    match timeout(BODY_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        // Without a length it shows only while it is read.
        Ok(Err(error)) if length.is_none() && is_length(&error) => Err(too_large()),
        Ok(Err(error)) => {
            Err(Unreadable::malformed(Problem::malformed(format!("the body ends early: {error}"))))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_MAX.as_secs());
            let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", message);
            Err(Unreadable { reason: Reason::Slow, problem })
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
    given: Given<'a>,
    now: SystemTime,
}

impl Reader<'_> {
    fn read(&self, mode: Mode, headers: &HeaderMap, body: &Bytes) -> Result<Vec<NewEvent>, Problem> {
        let one = |read: Result<NewEvent, CloudEventError>| read.map(|event| vec![event]).map_err(of);
        match mode {
            Mode::Plain if self.tags.is_empty() && self.given.stamped.is_empty() && !self.given.are_more => {
                Err(Problem::malformed(
                    "an event without tags reaches nobody who asks for some: add ?tag=key=value",
                ))
            }
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
        tags.retain(|(key, _)| self.given.stamped.iter().all(|(stamped, _)| stamped != key));
        tags.extend(self.given.stamped.iter().cloned());
        Ok(NewEvent::new(TagSet::new(tags)?, time, payload)?)
    }
}

fn of(error: CloudEventError) -> Problem {
    Problem::malformed(error)
}
