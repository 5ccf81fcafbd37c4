//! `GET /events?name=NAME&select=…`: a subscription whose cursor the agent keeps. The next reader of
//! the name goes on behind what the last one was given, as far as routers keep history.
//!
//! The cursor follows what was handed to the client's connection: an event may come again behind an
//! end, and none is passed over. A router that keeps no history begins with what comes, behind one
//! gap.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use millrace_client::receiver::BatchItem;
use millrace_client::{
    Batch, ConnectError, Cursor, Gap, GapReason, Receiver, ReceiverOptions, RefusedReason, SubscribeError,
    Subscription,
};
use tokio::time::{Instant, sleep, timeout};

use crate::agent::cursors::{CursorsError, Place};
use crate::agent::room::AgentRoom;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::doors::web::form::Form;
use crate::doors::web::sse;
use crate::upstream::Arrival;

/// While no router can be reached, one is asked for again after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
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
    let form = Form::of(headers, query);
    let mut reading = Reading {
        room: room.clone(),
        form,
        selectors: query.all("select").map(str::to_owned).collect(),
        place,
        open: None,
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

/// A receiver with its subscription.
struct Open {
    receiver: Receiver,
    subscription: Subscription,
    is_effective: bool,
}

/// What a stream needs while it runs.
struct Reading {
    room: AgentRoom,
    form: Form,
    selectors: Vec<String>,
    place: Place,
    open: Option<Open>,
    /// Where it goes on.
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
        let Open { receiver, .. } = self.open.as_mut()?;
        match timeout(sse::COMMENT_EVERY, receiver.next_batch()).await {
            Err(_) => Some(Bytes::from_static(self.form.comment().as_bytes())),
            Ok(None) => None,
            Ok(Some(batch)) => Some(self.write(&batch)),
        }
    }

    /// Opens the receiver, and waits until nothing more is missed. May be dropped at any time.
    async fn opened(&mut self) -> Result<(), Problem> {
        loop {
            if self.open.as_ref().is_some_and(|open| open.is_effective) {
                return Ok(());
            }
            if self.open.is_none() {
                self.open = Some(self.connect().await?);
            }
            let Some(Open { subscription, is_effective, .. }) = &mut self.open else { continue };
            match subscription.in_cluster().await {
                Ok(_) => {
                    *is_effective = true;
                    self.before_events(|form, out| out.extend_from_slice(form.subscribed().as_bytes()));
                }
                Err(SubscribeError::Refused { reason: RefusedReason::History, .. }) => {
                    self.open = Some(self.without_history().await?);
                }
                Err(error) => return Err(ended(&error)),
            }
        }
    }

    async fn connect(&self) -> Result<Open, Problem> {
        let mut options = ReceiverOptions::default().since(Duration::ZERO);
        if let Some(cursor) = &self.cursor {
            options = options.cursor(cursor.clone());
        }
        self.connect_with(options).await
    }

    /// The router keeps no history: what was missed stays missed, and is told.
    async fn without_history(&mut self) -> Result<Open, Problem> {
        if self.cursor.take().is_some() {
            let gap = Gap { reason: GapReason::Evicted, events: 0, router: None };
            self.before_events(|form, out| form.gap(out, &gap));
        }
        self.connect_with(ReceiverOptions::default()).await
    }

    async fn connect_with(&self, options: ReceiverOptions) -> Result<Open, Problem> {
        loop {
            match self.room.cursors.client.receiver(options.clone()).await {
                Ok(receiver) => {
                    let subscription = receiver.subscribe(&self.selectors).map_err(|error| ended(&error))?;
                    return Ok(Open { receiver, subscription, is_effective: false });
                }
                Err(error @ ConnectError::Receivers(_)) => {
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error));
                }
                Err(error) => tracing::debug!(%error, "a named subscription waits for a router"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn before_events(&mut self, put: impl FnOnce(Form, &mut Vec<u8>)) {
        put(self.form, self.beginning.get_or_insert_default());
    }

    fn write(&mut self, batch: &Batch) -> Bytes {
        let mut chunk = Vec::with_capacity(batch.len() * 256);
        let mut events = 0;
        for item in batch.iter() {
            match item {
                BatchItem::Event(event) => {
                    events += 1;
                    self.form.event(&mut chunk, &Arrival::new(&event));
                }
                BatchItem::Gap(gap) => self.form.gap(&mut chunk, gap),
                // One that this version of the client library does not know.
                _ => {}
            }
        }
        self.room.counters.delivered(Door::Web, events);
        chunk.into()
    }

    /// Notes how far the client has come: everything before was handed to its connection.
    fn keep_cursor(&mut self) {
        let Some(open) = self.open.as_ref().filter(|open| open.is_effective) else { return };
        let cursor = open.receiver.cursor();
        if cursor.is_empty() {
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

fn ended(error: &SubscribeError) -> Problem {
    match error {
        SubscribeError::Selector { .. } | SubscribeError::Plan(_) => {
            Problem::malformed(format!("{error} (?select=…)"))
        }
        error => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "refused", error),
    }
}
