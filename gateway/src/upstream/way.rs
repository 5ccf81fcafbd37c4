//! The way to the routers, as doors use it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_client::{
    Config, ConfirmLevel, Confirmation, ConnectError, EventId, Outcome, PublishError, TagSet,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::feeds::Feeds;
use super::line::Line;
use super::outgoing::{Level, NewEvent, Published, Unavailable};
use crate::counters::{Counters, Door};

/// How long a local client waits for an outcome. Routers answer within their confirm timeout of 30
/// s; the rest is for a publisher that changes routers meanwhile.
const OUTCOME_MAX: Duration = Duration::from_secs(35);

/// Publishes and subscribes for all doors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    lines: Arc<Lines>,
    feeds: Feeds,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Lines {
    /// Events whose outcome somebody wants: level *routed*.
    routed: Arc<Line>,
    /// The same for level *delivered*.
    delivered: Arc<Line>,
    /// Streams of protocols that have no answer: sent again behind a lost connection, never
    /// confirmed.
    streams: Arc<Line>,
    keeping: [JoinHandle<()>; 4],
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.keeping.iter().for_each(JoinHandle::abort);
    }
}

/// Events that were published and whose outcome is not known yet.
#[derive(Debug)]
pub struct Underway {
    ids: Vec<EventId>,
    /// `None` for level *none*.
    outcomes: Option<oneshot::Receiver<Vec<Outcome>>>,
}

impl Underway {
    /// The events' ids, in their order.
    #[must_use]
    pub fn ids(&self) -> &[EventId] {
        &self.ids
    }

    /// Waits for what becomes of the events, in their order: 35 s at most, and not at all for level
    /// *none*.
    pub async fn published(self) -> Vec<Published> {
        let Self { ids, outcomes } = self;
        let Some(outcomes) = outcomes else {
            return ids.into_iter().map(|id| Published { id, outcome: None }).collect();
        };
        // Without an answer in time nobody can tell.
        let outcomes = timeout(OUTCOME_MAX, outcomes).await.ok().and_then(Result::ok).unwrap_or_default();
        let mut outcomes = outcomes.into_iter();
        let outcome = |id| Published { id, outcome: Some(outcomes.next().unwrap_or(Outcome::Unknown)) };
        ids.into_iter().map(outcome).collect()
    }
}

impl Upstream {
    /// Opens the way; connects in the background. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError::NoRouters`] or [`ConnectError::Socket`].
    pub fn open(config: &Config, counters: Arc<Counters>) -> Result<Self, ConnectError> {
        let (routed, first) = Line::open(config.clone(), ConfirmLevel::Routed)?;
        let (delivered, second) = Line::open(config.clone(), ConfirmLevel::Delivered)?;
        let (streams, third) = Line::open(config.clone(), ConfirmLevel::None)?;
        let feeds = Feeds::new(config.clone());
        let keeping = [first, second, third, feeds.stand_by()];
        let lines = Lines { routed, delivered, streams, keeping };
        Ok(Self { lines: Arc::new(lines), feeds, counters })
    }

    /// What local clients subscribe to.
    #[must_use]
    pub const fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Whether every line has a router.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        let Lines { routed, delivered, streams, .. } = &*self.lines;
        [routed, delivered, streams].iter().all(|line| line.is_attached())
    }

    /// Publishes events, all or none of them; their order among calls is that of the calls. What is
    /// returned tells what becomes of them. They go out whether or not anybody waits for that.
    ///
    /// # Errors
    /// [`Unavailable`]; nothing is published then.
    pub fn publish(&self, door: Door, level: Level, events: &[NewEvent]) -> Result<Underway, Unavailable> {
        let line = match level {
            Level::None | Level::Routed => &self.lines.routed,
            Level::Delivered => &self.lines.delivered,
        };
        let (room, waiting) = take(line, events)?;
        self.counters.published(door, events.len() as u64);
        let ids = waiting.iter().map(Confirmation::id).collect();
        let outcomes = self.settle(door, room, waiting);
        Ok(Underway { ids, outcomes: (level != Level::None).then_some(outcomes) })
    }

    /// Waits for outcomes in the background: the room of the events is taken until then, whoever
    /// stops waiting.
    fn settle(
        &self,
        door: Door,
        room: OwnedSemaphorePermit,
        waiting: Vec<Confirmation>,
    ) -> oneshot::Receiver<Vec<Outcome>> {
        let (sender, receiver) = oneshot::channel();
        let counters = self.counters.clone();
        tokio::spawn(async move {
            let mut outcomes = Vec::with_capacity(waiting.len());
            for outcome in waiting {
                outcomes.push(outcome.await);
            }
            drop(room);
            let confirmed = outcomes.iter().filter(|outcome| outcome.is_confirmed()).count() as u64;
            counters.ended(door, confirmed, outcomes.len() as u64 - confirmed);
            // Nobody waits any more otherwise.
            let _ = sender.send(outcomes);
        });
        receiver
    }

    /// Publishes an event of a protocol that has no answer; waits while the queue is full, through
    /// lost connections, too: the door then reads no more of its client.
    ///
    /// # Errors
    /// [`Unavailable::NoRouter`] until the first router was reached.
    pub async fn stream(&self, door: Door, event: &NewEvent) -> Result<EventId, Unavailable> {
        self.stream_parts(door, &event.tags, event.time, &event.payload).await
    }

    /// As [`Upstream::stream`], of an event whose parts were checked as [`NewEvent::new`] does.
    ///
    /// # Errors
    /// As [`Upstream::stream`].
    pub async fn stream_parts(
        &self,
        door: Door,
        tags: &TagSet,
        time: SystemTime,
        payload: &[u8],
    ) -> Result<EventId, Unavailable> {
        let publisher = self.lines.streams.begun().ok_or(Unavailable::NoRouter)?;
        let published = publisher.publish_at(tags, time, payload).await;
        let id = published.map_err(|_| Unavailable::Busy)?;
        self.counters.published(door, 1);
        Ok(id)
    }

    /// Publishes an event of a protocol that can neither be answered nor be made to wait.
    ///
    /// # Errors
    /// [`Unavailable::NoRouter`] until the first router was reached; [`Unavailable::Busy`] when the
    /// queue is full.
    pub fn try_stream(&self, door: Door, event: &NewEvent) -> Result<EventId, Unavailable> {
        let publisher = self.lines.streams.begun().ok_or(Unavailable::NoRouter)?;
        let published = publisher.try_publish_at(&event.tags, event.time, &event.payload);
        let id = published.map_err(|_| Unavailable::Busy)?;
        self.counters.published(door, 1);
        Ok(id)
    }

    /// Waits until a router has what was streamed so far.
    pub async fn streamed(&self) {
        if let Some(publisher) = self.lines.streams.begun() {
            publisher.flush().await;
        }
    }

    /// Waits until everything published has left or ended, for programs that exit.
    pub async fn flush(&self) {
        let Lines { routed, delivered, streams, .. } = &*self.lines;
        for line in [routed, delivered, streams] {
            if let Some(publisher) = line.begun() {
                publisher.flush().await;
            }
        }
    }
}

/// Puts events into a line, all or none: a line has room for them, or it has not.
fn take(line: &Line, events: &[NewEvent]) -> Result<(OwnedSemaphorePermit, Vec<Confirmation>), Unavailable> {
    let publisher = line.publisher()?;
    let bytes: usize = events.iter().map(NewEvent::room_bytes).sum();
    let permits = u32::try_from(bytes).map_err(|_| Unavailable::Busy)?;
    let room = line.room.clone().try_acquire_many_owned(permits).map_err(|_| Unavailable::Busy)?;
    let publish =
        |event: &NewEvent| publisher.try_publish_confirmed_at(&event.tags, event.time, &event.payload);
    // The room is the publisher's, so the first event fails or none does.
    let waiting: Result<_, PublishError> = events.iter().map(publish).collect();
    Ok((room, waiting.map_err(|_| Unavailable::Busy)?))
}
