//! A stream of events as the answer to a request: server-sent events, or lines of JSON.
//!
//! Where routers keep history, `id:` of an event is its [place](crate::upstream::Arrival::place),
//! at most 128 bytes: what a client shows again in `Last-Event-ID` or `?cursor=`. It is then
//! replayed what it missed, by a receiver of its own. Elsewhere, and where what it shows is no
//! place, the stream begins with one `event: gap`. A comment every 15 s keeps proxies and clients
//! from taking a quiet stream for a dead one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use millrace_client::Batch;
use millrace_client::receiver::BatchItem;
use tokio::time::timeout;

use super::form::Form;
use super::resumed::MISSED;
use crate::admission::{Standing, withdrawn};
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::lobby::Lobby;
use crate::upstream::{
    Arrival, Delivery, Feeds, FollowError, Following, JoinError, Letter, Mailbox, Membership,
    PLACE_BYTES_MAX, Past, Place, Trail,
};

/// A quiet stream has a comment this often.
pub(crate) const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// The answer waits this long for the subscription to be effective, so that who has the answer
/// misses nothing; a cluster takes milliseconds. If it takes longer, `event: subscribed` says when.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);
/// Events that are written at once.
const EVENTS_AT_ONCE: usize = 256;

/// Answers a request with a stream.
pub(crate) async fn answer(
    lobby: &Lobby,
    feeds: &Feeds,
    headers: &HeaderMap,
    query: &Query,
    standing: Option<Standing>,
) -> Result<Response, Problem> {
    let form = Form::of(headers, query).map_err(|problem| refuse(lobby, problem))?;
    let (source, is_gap_first) = match shown(headers, query).map_err(|problem| refuse(lobby, problem))? {
        Shown::Nothing => (join(lobby, feeds, query).await?, false),
        Shown::NoPlace => (join(lobby, feeds, query).await?, true),
        Shown::Place(place) => match follow(lobby, feeds, query, place).await? {
            Some(following) => (following, false),
            None => (join(lobby, feeds, query).await?, true),
        },
    };
    let mut beginning = form.beginning().as_bytes().to_vec();
    if is_gap_first {
        form.gap(&mut beginning, &MISSED);
    }
    if source.is_effective() {
        beginning.extend_from_slice(form.subscribed().as_bytes());
    }
    let running = Running { lobby: lobby.clone(), form, source, standing, beginning: Some(beginning) };
    Ok(streamed(form, events(running)))
}

/// A client of a feed that others read, too.
async fn join(lobby: &Lobby, feeds: &Feeds, query: &Query) -> Result<Source, Problem> {
    let mailbox = Mailbox::new(Door::Web, lobby.counters.clone());
    let membership = feeds
        .join_with_places(query.all("select"), 0, &mailbox)
        .map_err(|error| refuse(lobby, malformed(&error)))?;
    let is_effective = match timeout(EFFECTIVE_WITHIN, membership.effective()).await {
        Ok(Ok(())) => true,
        Ok(Err(ended)) => return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "refused", ended)),
        Err(_) => false,
    };
    Ok(Source::Shared { mailbox, membership: Box::new(membership), is_effective })
}

/// A client that comes back with a place; `None` where nothing can be replayed.
async fn follow(
    lobby: &Lobby,
    feeds: &Feeds,
    query: &Query,
    place: Place,
) -> Result<Option<Source>, Problem> {
    let mut following = match feeds.follow(query.all("select"), place) {
        Ok(following) => following,
        Err(JoinError::Busy) => {
            lobby.counters.refused(Door::Web, Reason::Busy);
            return Ok(None);
        }
        Err(error) => return Err(refuse(lobby, malformed(&error))),
    };
    match timeout(EFFECTIVE_WITHIN, following.effective()).await {
        Ok(Ok(Past::None) | Err(FollowError::Full(_))) => Ok(None),
        Ok(Err(error)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "refused", error)),
        Ok(Ok(Past::Kept)) | Err(_) => Ok(Some(Source::Own { following: Box::new(following) })),
    }
}

fn malformed(error: &JoinError) -> Problem {
    Problem::malformed(format!("{error} (?select=…)"))
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

/// What a client says of where it was.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// It was not here before.
    Nothing,
    /// Something that was no place, or is none any more.
    NoPlace,
    Place(Place),
}

fn shown(headers: &HeaderMap, query: &Query) -> Result<Shown, Problem> {
    let header = headers.get("last-event-id").map(|value| value.as_bytes());
    let shown = header.or_else(|| query.first("cursor").map(str::as_bytes)).filter(|shown| !shown.is_empty());
    let Some(shown) = shown else { return Ok(Shown::Nothing) };
    if shown.len() > PLACE_BYTES_MAX {
        let message = format!("a cursor has at most {PLACE_BYTES_MAX} bytes: send the id of an event");
        return Err(Problem::malformed(message));
    }
    Ok(std::str::from_utf8(shown).ok().and_then(Place::read).map_or(Shown::NoPlace, Shown::Place))
}

/// Where the events of a stream come from.
enum Source {
    /// A feed that others read, too.
    Shared { mailbox: Arc<Mailbox>, membership: Box<Membership>, is_effective: bool },
    /// A receiver of its own, which goes on where the client was.
    Own { following: Box<Following> },
}

impl Source {
    fn is_effective(&self) -> bool {
        match self {
            Self::Shared { is_effective, .. } => *is_effective,
            Self::Own { following } => following.is_effective(),
        }
    }
}

/// What a stream needs while it runs.
struct Running {
    lobby: Lobby,
    form: Form,
    source: Source,
    /// Who the client is, where it has to be somebody.
    standing: Option<Standing>,
    beginning: Option<Vec<u8>>,
}

/// The chunks of a stream; it ends when the program stops, the feed ends, or the client may not
/// read it any more.
fn events(running: Running) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(running, |mut running| async move {
        let chunk = running.next().await?;
        Some((Ok(chunk), running))
    })
}

impl Running {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(beginning) = self.beginning.take().filter(|beginning| !beginning.is_empty()) {
            return Some(beginning.into());
        }
        let Self { lobby, form, source, standing, .. } = self;
        let next = async {
            match source {
                Source::Shared { mailbox, membership, is_effective } => {
                    shared(lobby, *form, mailbox, membership, is_effective).await
                }
                Source::Own { following } => own(lobby, *form, following).await,
            }
        };
        tokio::select! {
            biased;
            refusal = withdrawn(standing.as_mut()) => {
                tracing::info!(%refusal, "a stream ends: its client has lost a right");
                lobby.counters.refused(Door::Web, Reason::Withdrawn);
                None
            }
            () = lobby.stopped() => None,
            next = timeout(COMMENT_EVERY, next) => {
                next.unwrap_or_else(|_| Some(Bytes::from_static(form.comment().as_bytes())))
            }
        }
    }
}

/// What comes next of a feed; `None` when it is over, and the client will ask again.
async fn shared(
    lobby: &Lobby,
    form: Form,
    mailbox: &Mailbox,
    membership: &Membership,
    is_effective: &mut bool,
) -> Option<Bytes> {
    tokio::select! {
        letters = mailbox.take(EVENTS_AT_ONCE) => Some(letters_text(lobby, form, &letters.ok()?)),
        effective = membership.effective(), if !*is_effective => {
            *is_effective = true;
            effective.ok().map(|()| Bytes::from_static(form.subscribed().as_bytes()))
        }
    }
}

/// What comes next of a receiver of its own.
async fn own(lobby: &Lobby, form: Form, following: &mut Following) -> Option<Bytes> {
    if following.is_effective() {
        let trail = Trail::behind(following.cursor());
        let batch = following.next_batch().await?;
        return Some(batch_text(lobby, form, &batch, trail));
    }
    match following.effective().await {
        Ok(past) => {
            let mut text = Vec::new();
            if past == Past::None {
                form.gap(&mut text, &MISSED);
            }
            text.extend_from_slice(form.subscribed().as_bytes());
            Some(text.into())
        }
        Err(error) => {
            tracing::info!(%error, "a stream that goes on has ended");
            None
        }
    }
}

fn letters_text(lobby: &Lobby, form: Form, letters: &[Letter]) -> Bytes {
    let mut chunk = Vec::with_capacity(letters.len() * 256);
    let mut events = 0;
    for letter in letters {
        match &letter.delivery {
            Delivery::Event(arrival) => {
                events += 1;
                form.event(&mut chunk, arrival);
            }
            Delivery::Gap(gap) => form.gap(&mut chunk, gap),
        }
    }
    lobby.counters.delivered(Door::Web, events);
    chunk.into()
}

/// The events and gaps of a batch, as text for a client of its own.
pub(crate) fn batch_text(lobby: &Lobby, form: Form, batch: &Batch, mut trail: Trail) -> Bytes {
    let mut chunk = Vec::with_capacity(batch.len() * 256);
    let mut events = 0;
    for (entry, item) in batch.iter().enumerate() {
        let place = trail.pass(batch, entry);
        match item {
            BatchItem::Event(event) => {
                events += 1;
                form.event(&mut chunk, &Arrival::placed(&event, place));
            }
            BatchItem::Gap(gap) => form.gap(&mut chunk, gap),
            // One that this version of the client library does not know.
            _ => {}
        }
    }
    lobby.counters.delivered(Door::Web, events);
    chunk.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_header_or_a_parameter_and_bounded() {
        let none = HeaderMap::new();
        let query = |text| Query::parse(text).unwrap();
        assert_eq!(shown(&none, &query("")), Ok(Shown::Nothing));
        assert_eq!(shown(&none, &query("cursor=")), Ok(Shown::Nothing));
        assert_eq!(shown(&none, &query("cursor=a.b.1")), Ok(Shown::NoPlace));
        assert!(matches!(shown(&none, &query("cursor=tAAAAAA")), Ok(Shown::Place(_))));
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", "x".repeat(128).parse().unwrap());
        assert_eq!(shown(&headers, &query("cursor=tAAAAAA")), Ok(Shown::NoPlace));
        headers.insert("last-event-id", "x".repeat(129).parse().unwrap());
        assert!(shown(&headers, &query("")).is_err());
    }
}
