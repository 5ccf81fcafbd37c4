//! `GET /events?name=NAME&select=…`: a subscription whose cursor the agent keeps. The next reader
//! of the name goes on behind what the last one was given, as far as routers keep history.
//!
//! The cursor follows what was handed to the client's connection: an event may come again behind an
//! end, and none is passed over. A router that keeps no history begins with what comes, behind one
//! gap.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use millrace_client::{Batch, Cursor, Gap, GapReason, ReceiverOptions};
use tokio::time::{Instant, timeout};

use crate::agent::cursors::{CursorsError, Place};
use crate::agent::room::AgentRoom;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::doors::web::form::Form;
use crate::doors::web::sse;
use crate::upstream::{FollowError, Following, JoinError, Past, Trail};

/// A cursor is written this often while there is something new.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// The answer waits this long for the subscription to be effective, as that of one without a name.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Answers a request with a stream.
pub(super) async fn answer(
    room: &AgentRoom,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response, Problem> {
    let refuse = |reason, problem| {
        room.counters.refused(Door::Web, reason);
        problem
    };
    let place = room.cursors.take(query.first("name").unwrap_or_default()).map_err(|error| {
        let (reason, status, name) = match &error {
            CursorsError::Taken(_) => (Reason::Busy, StatusCode::CONFLICT, "taken"),
            CursorsError::Name(_) => (Reason::Malformed, StatusCode::BAD_REQUEST, "malformed"),
            CursorsError::TooMany | CursorsError::File { .. } => {
                (Reason::Disk, StatusCode::INSUFFICIENT_STORAGE, "cursor")
            }
        };
        refuse(reason, Problem::new(status, name, error))
    })?;
    let cursor = place.read().map_err(|error| {
        refuse(Reason::Disk, Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "cursor", error))
    })?;
    let form = Form::of(headers, query).map_err(|problem| refuse(Reason::Malformed, problem))?;
    let mut options = ReceiverOptions::default().since(Duration::ZERO);
    if let Some(cursor) = &cursor {
        options = options.cursor(cursor.clone());
    }
    let following = room.feeds.follow_with(query.all("select"), options).map_err(|error| match error {
        JoinError::Busy => refuse(Reason::Busy, Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error)),
        error => refuse(Reason::Malformed, Problem::malformed(format!("{error} (?select=…)"))),
    })?;
    let mut reading = Reading {
        room: room.clone(),
        form,
        place,
        following,
        had_cursor: cursor.is_some(),
        cursor,
        write_at: Instant::now(),
        beginning: Some(form.beginning().as_bytes().to_vec()),
    };
    // Who has a wrong selector hears it at once; who has no router waits in the stream.
    match timeout(EFFECTIVE_WITHIN, reading.opened()).await {
        Ok(Err(refused)) => Err(refuse(Reason::Malformed, refused)),
        Ok(Ok(())) | Err(_) => Ok(sse::streamed(form, chunks(reading))),
    }
}

/// What a stream needs while it runs.
struct Reading {
    room: AgentRoom,
    form: Form,
    place: Place,
    following: Following,
    /// It has a place to go on at: what is not replayed is missed.
    had_cursor: bool,
    /// How far the client has come.
    cursor: Option<Cursor>,
    write_at: Instant,
    /// What stands before the first event.
    beginning: Option<Vec<u8>>,
}

impl Drop for Reading {
    /// What was handed over and is not written is asked for again.
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            self.place.write(cursor);
        }
    }
}

fn chunks(reading: Reading) -> impl stream::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(reading, |mut reading| async move {
        let lobby = reading.room.lobby.clone();
        let chunk = tokio::select! {
            chunk = reading.next() => chunk?,
            () = lobby.stopped() => return None,
        };
        Some((Ok(chunk), reading))
    })
}

impl Reading {
    /// The next bytes for the client. To be called again when the last ones are handed over.
    async fn next(&mut self) -> Option<Bytes> {
        self.keep_cursor();
        if let Err(problem) = self.opened().await {
            tracing::info!(
                name = self.place.name(),
                why = problem.message(),
                "a named subscription has ended"
            );
            return None;
        }
        if let Some(beginning) = self.beginning.take().filter(|beginning| !beginning.is_empty()) {
            return Some(beginning.into());
        }
        let trail = Trail::behind(self.following.cursor());
        match timeout(sse::COMMENT_EVERY, self.following.next_batch()).await {
            Err(_) => Some(Bytes::from_static(self.form.comment().as_bytes())),
            Ok(None) => None,
            Ok(Some(batch)) => Some(self.write(&batch, trail)),
        }
    }

    /// Opens the receiver, and waits until nothing more is missed. May be dropped at any time.
    async fn opened(&mut self) -> Result<(), Problem> {
        if self.following.is_effective() {
            return Ok(());
        }
        let past = self.following.effective().await.map_err(|error| match error {
            FollowError::Full(error) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error),
            FollowError::Selector(_) => Problem::malformed(error),
            error => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "refused", error),
        })?;
        if past == Past::None {
            self.cursor = None;
            if std::mem::take(&mut self.had_cursor) {
                let gap = Gap { reason: GapReason::Evicted, events: 0, router: None };
                self.before_events(|form, out| form.gap(out, &gap));
            }
        }
        self.before_events(|form, out| out.extend_from_slice(form.subscribed().as_bytes()));
        Ok(())
    }

    fn before_events(&mut self, put: impl FnOnce(Form, &mut Vec<u8>)) {
        put(self.form, self.beginning.get_or_insert_default());
    }

    fn write(&self, batch: &Batch, trail: Trail) -> Bytes {
        sse::batch_text(&self.room.lobby, self.form, batch, trail)
    }

    /// Notes how far the client has come: everything before was handed to its connection.
    fn keep_cursor(&mut self) {
        let cursor = self.following.cursor();
        if cursor.is_empty() || !self.following.is_effective() {
            return;
        }
        self.cursor = Some(cursor.clone());
        let now = Instant::now();
        if now >= self.write_at {
            self.write_at = now + WRITE_EVERY;
            self.place.write(cursor);
        }
    }
}
