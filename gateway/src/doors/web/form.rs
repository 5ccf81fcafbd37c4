//! How a stream of events is written: as server-sent events (HTML standard, section 9.2), or as
//! lines of JSON, for programs that read line by line.
//!
//! | | server-sent events | lines |
//! |---|---|---|
//! | an event | `id: …`, `data: {…}` | `{"id":…,"time":…,"tags":…,"payload":…}` |
//! | its place, where routers keep history | in `id:` | `"cursor":…` |
//! | events are missing | `event: gap` | `{"gap":{"reason":…,"events":…}}` |
//! | from here on nothing is missed | `event: subscribed` | `{"subscribed":{}}` |
//! | a sign of life | a comment | an empty line |

use axum::http::{HeaderMap, header};
use millrace_client::Gap;

use super::json;
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::upstream::Arrival;

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `text/event-stream`.
    Events,
    /// `application/x-ndjson`.
    Lines,
}

impl Form {
    /// What a request asks for: `?format=jsonl` or `?format=sse`; without, lines with
    /// `Accept: application/x-ndjson`, else server-sent events.
    ///
    /// # Errors
    /// A format that there is not.
    pub(crate) fn of(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        match query.first("format") {
            Some("jsonl") => return Ok(Self::Lines),
            Some("sse") => return Ok(Self::Events),
            Some(other) => {
                return Err(Problem::malformed(format!("format {other:?}: there are sse and jsonl")));
            }
            None => {}
        }
        let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_lines = accepts.is_some_and(|accepts| accepts.contains("application/x-ndjson"));
        Ok(if is_lines { Self::Lines } else { Self::Events })
    }

    /// Its media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// What a stream begins with: how long a browser waits before it comes back, milliseconds.
    pub(crate) const fn beginning(self) -> &'static str {
        match self {
            Self::Events => "retry: 2000\n\n",
            Self::Lines => "",
        }
    }

    /// From here on nothing is missed.
    pub(crate) const fn subscribed(self) -> &'static str {
        match self {
            Self::Events => "event: subscribed\ndata: {}\n\n",
            Self::Lines => "{\"subscribed\":{}}\n",
        }
    }

    /// A sign of life.
    pub(crate) const fn comment(self) -> &'static str {
        match self {
            Self::Events => ": still here\n\n",
            Self::Lines => "\n",
        }
    }

    /// Appends an event.
    pub(crate) fn event(self, out: &mut Vec<u8>, arrival: &Arrival) {
        match self {
            Self::Events => {
                match arrival.place() {
                    Some(place) => out.extend_from_slice(format!("id: {place}\ndata: ").as_bytes()),
                    None => out.extend_from_slice(format!("id: {}\ndata: ", arrival.id).as_bytes()),
                }
                out.extend_from_slice(json::event(arrival));
                out.extend_from_slice(b"\n\n");
            }
            Self::Lines => {
                let json = json::event(arrival);
                match (arrival.place(), json.split_first()) {
                    // Every event has fields, behind the first brace.
                    (Some(place), Some((_, fields))) => {
                        out.extend_from_slice(format!("{{\"cursor\":\"{place}\",").as_bytes());
                        out.extend_from_slice(fields);
                    }
                    _ => out.extend_from_slice(json),
                }
                out.push(b'\n');
            }
        }
    }

    /// Appends a gap.
    pub(crate) fn gap(self, out: &mut Vec<u8>, gap: &Gap) {
        let json = json::gap(gap);
        let text = match self {
            Self::Events => format!("event: gap\ndata: {json}\n\n"),
            Self::Lines => format!("{{\"gap\":{json}}}\n"),
        };
        out.extend_from_slice(text.as_bytes());
    }
}
