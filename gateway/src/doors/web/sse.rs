//! A stream of events as the answer to a request: server-sent events, or lines of JSON.
//!
//! `id:` of an event is what a client shows again in `Last-Event-ID` or `?cursor=`: at most 128
//! bytes. Where the events since then cannot be replayed, the stream begins with one `event: gap`.
//! A comment every 15 s keeps proxies and clients from taking a quiet stream for a dead one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use millrace_client::{Gap, GapReason};
use tokio::time::timeout;

use super::form::Form;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::lobby::Lobby;
use crate::upstream::{Delivery, Feeds, Letter, Mailbox, Membership};

/// A quiet stream has a comment this often.
pub(crate) const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// The answer waits this long for the subscription to be effective, so that who has the answer misses
/// nothing; a cluster takes milliseconds. If it takes longer, `event: subscribed` says when.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);
/// Events that are written at once.
const EVENTS_AT_ONCE: usize = 256;
/// Bytes of a cursor.
const CURSOR_BYTES_MAX: usize = 128;

/// Answers a request with a stream.
pub(crate) async fn answer(
    lobby: &Lobby,
    feeds: &Feeds,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response, Problem> {
    let form = Form::of(headers, query);
    let cursor = cursor(headers, query).map_err(|problem| refuse(lobby, problem))?;
    let mailbox = Mailbox::new(Door::Web, lobby.counters.clone());
    let membership = feeds
        .join(query.all("select"), 0, &mailbox)
        .map_err(|error| refuse(lobby, Problem::malformed(format!("{error} (?select=…)"))))?;
    let is_effective = match timeout(EFFECTIVE_WITHIN, membership.effective()).await {
        Ok(Ok(())) => true,
        Ok(Err(ended)) => return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "refused", ended)),
        Err(_) => false,
    };
    let begins = Begins { after_gap: cursor, is_effective };
    let running = Running {
        lobby: lobby.clone(),
        form,
        mailbox,
        membership,
        is_effective,
        beginning: Some(begins.text(form)),
    };
    Ok(streamed(form, events(running)))
}

/// The answer that a stream is the body of.
pub(crate) fn streamed(
    form: Form,
    chunks: impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, form.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        // nginx and those that follow it keep nothing back then.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

fn refuse(lobby: &Lobby, problem: Problem) -> Problem {
    lobby.counters.refused(Door::Web, Reason::Malformed);
    problem
}

/// Whether the client has seen events before, and says which was the last.
fn cursor(headers: &HeaderMap, query: &Query) -> Result<bool, Problem> {
    let header = headers.get("last-event-id").map(|value| value.as_bytes());
    let shown = header.or_else(|| query.first("cursor").map(str::as_bytes)).filter(|shown| !shown.is_empty());
    match shown {
        Some(shown) if shown.len() > CURSOR_BYTES_MAX => {
            let message = format!("a cursor has at most {CURSOR_BYTES_MAX} bytes: send the id of an event");
            Err(Problem::malformed(message))
        }
        shown => Ok(shown.is_some()),
    }
}

/// What a stream begins with.
#[derive(Debug, Clone, Copy)]
struct Begins {
    /// The client had events before, and those between are not replayed.
    after_gap: bool,
    is_effective: bool,
}

impl Begins {
    fn text(self, form: Form) -> Vec<u8> {
        let mut text = form.beginning().as_bytes().to_vec();
        if self.after_gap {
            form.gap(&mut text, &Gap { reason: GapReason::SessionLost, events: 0, router: None });
        }
        if self.is_effective {
            text.extend_from_slice(form.subscribed().as_bytes());
        }
        text
    }
}

/// What a stream needs while it runs.
struct Running {
    lobby: Lobby,
    form: Form,
    mailbox: Arc<Mailbox>,
    membership: Membership,
    is_effective: bool,
    beginning: Option<Vec<u8>>,
}

/// The chunks of a stream; it ends when the program stops or the feed does.
fn events(running: Running) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(running, |mut running| async move {
        let chunk = running.next().await?;
        Some((Ok(chunk), running))
    })
}

impl Running {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(beginning) = self.beginning.take() {
            return Some(beginning.into());
        }
        tokio::select! {
            taken = timeout(COMMENT_EVERY, self.mailbox.take(EVENTS_AT_ONCE)) => match taken {
                Ok(Ok(letters)) => Some(self.write(&letters)),
                // The feed is over, and the client will ask again.
                Ok(Err(_)) => None,
                Err(_) => Some(Bytes::from_static(self.form.comment().as_bytes())),
            },
            effective = self.membership.effective(), if !self.is_effective => {
                self.is_effective = true;
                effective.ok().map(|()| Bytes::from_static(self.form.subscribed().as_bytes()))
            }
            () = self.lobby.stopped() => None,
        }
    }

    fn write(&self, letters: &[Letter]) -> Bytes {
        let mut chunk = Vec::with_capacity(letters.len() * 256);
        let mut events = 0;
        for letter in letters {
            match &letter.delivery {
                Delivery::Event(arrival) => {
                    events += 1;
                    self.form.event(&mut chunk, arrival);
                }
                Delivery::Gap(gap) => self.form.gap(&mut chunk, gap),
            }
        }
        self.lobby.counters.delivered(Door::Web, events);
        chunk.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_header_or_a_parameter_and_bounded() {
        let none = HeaderMap::new();
        let query = |text| Query::parse(text).unwrap();
        assert_eq!(cursor(&none, &query("")), Ok(false));
        assert_eq!(cursor(&none, &query("cursor=")), Ok(false));
        assert_eq!(cursor(&none, &query("cursor=a.b.1")), Ok(true));
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", "x".repeat(128).parse().unwrap());
        assert_eq!(cursor(&headers, &query("")), Ok(true));
        headers.insert("last-event-id", "x".repeat(129).parse().unwrap());
        assert!(cursor(&headers, &query("")).is_err());
    }
}
