//! Publishing: events go into bounded queues under short locks; one task per connection moves them to a router.
//!
//! A publisher keeps its connections and makes them anew by itself. Events that were on their way when a connection was lost
//! are reported as *unknown* ([`Publisher::lost`]) and not sent again: the router may have got them. Events that were still
//! queued go out on the next connection, under the same publisher id and epoch.
//!
//! A publisher of one source has one connection, on the core that owns its tag set. One of many sources may have a
//! connection for each core of the router ([`Connections::PerCore`]): each event then goes over the connection whose core
//! owns its shard, and crosses no mailbox in the router. The number of connections is that of the cores of the first router,
//! for the publisher's life, so a tag set always uses one connection and keeps its order. At a router of another number of
//! cores everything works, too; some events then cross between its cores.
//!
//! ```text
//!                    shard % 3 = 0   ┌ feed: queue ── task ── connection ─► core 0 ┐
//! publish(tags, …) ─► shard % 3 = 1 ─► feed: queue ── task ── connection ─► core 1 ├ router
//!                    shard % 3 = 2   └ feed: queue ── task ── connection ─► core 2 ┘
//! ```

mod feed;
mod options;
mod task;

use std::ops::Range;
use std::sync::Arc;

use millrace_proto::id::EventId;
use millrace_proto::{Epoch, PublisherId, PublisherKey, PublisherSecret, Shard, TagSet, varint};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use self::options::{Connections, ConnectionsError, PublisherOptions};
pub use crate::session::publisher::{HandlesExhausted, PublishError, TagHandle, Tags};

use self::feed::{Begin, Feed};
use crate::attaching::Attaching;
use crate::clock::wall_time_ns;
use crate::connector::Connector;
use crate::disconnect::Disconnect;
use crate::error::ConnectError;

/// Reports of lost connections that wait to be read, at most, per connection; the oldest give way. Totals in
/// [`PublisherStats`] stay exact.
const REPORTS_MAX: usize = 1024;
/// Connections of one publisher, whatever it asks for or a router says about its cores.
const CONNECTIONS_MAX: u16 = 256;

/// Events of which nobody knows whether a router got them: they were on their way when a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The part of their ids that they share.
    pub key: PublisherKey,
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What happened to the connection.
    pub reason: Disconnect,
}

/// What a publisher has done so far, over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Events that were taken.
    pub published: u64,
    /// Events that a router said it received.
    pub received: u64,
    /// Events that were on their way when a connection was lost.
    pub unknown: u64,
    /// Connections that were made, one after the other or at once.
    pub connections: u64,
}

/// Publishes events. All methods take `&self`: share it in an [`Arc`] among tasks.
///
/// Dropping a publisher discards what is queued; [`Publisher::close`] does not.
#[derive(Debug)]
pub struct Publisher {
    /// One per connection; an event belongs to the one at its shard modulo their number.
    feeds: Vec<Feed>,
    progress: Arc<Notify>,
}

impl Publisher {
    pub(crate) async fn connect(
        connector: Connector,
        mut options: PublisherOptions,
    ) -> Result<Self, ConnectError> {
        let shard = match options.connections {
            Connections::One => options.shard,
            Connections::Exactly(number) if number.get() == 1 => options.shard,
            Connections::PerCore | Connections::Exactly(_) => Some(shard_of_core(0)),
        };
        let secret = *options.secret.get_or_insert_with(|| PublisherSecret(rand::random()));
        let wants = options.wants();
        // What is wrong with trust or identity is said before any name is looked up.
        connector.check_tls()?;
        let mut attaching = Attaching::new(connector.clone(), wants);
        let (link, welcome) = *attaching.attach(shard).await?;
        let count = match options.connections {
            Connections::One => 1,
            Connections::PerCore => welcome.cores.clamp(1, CONNECTIONS_MAX),
            Connections::Exactly(number) => number.get().min(CONNECTIONS_MAX),
        };
        let place = link.place.clone();
        let mut begins = vec![(0, Begin { attaching, link, welcome, shard })];
        let mut attempts: JoinSet<Result<(u16, Begin), ConnectError>> = JoinSet::new();
        for core in 1..count {
            let (connector, place) = (connector.on_own_socket()?, place.clone());
            attempts.spawn(async move {
                let shard = Some(shard_of_core(core));
                let (link, welcome) = connector.connect_to(&place, shard, wants).await?;
                let mut attaching = Attaching::new(connector, wants);
                attaching.begin_attached(&welcome);
                Ok((core, Begin { attaching, link, welcome, shard }))
            });
        }
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(begin) => begins.push(begin?),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        begins.sort_by_key(|(core, _)| *core);
        let progress = Arc::new(Notify::new());
        let epoch = Epoch(rand::random::<u64>() & varint::MAX);
        let start = |(core, begin): (u16, Begin)| {
            let index = u64::from(core);
            let publisher = PublisherId::derive(&secret, &begin.welcome.identity, index);
            Feed::start(begin, PublisherKey { publisher, epoch }, index, &options, progress.clone())
        };
        let feeds = begins.into_iter().map(start).collect();
        Ok(Self { feeds, progress })
    }

    /// Who publishes: the constant part of its events' ids. The first of [`Publisher::keys`].
    #[must_use]
    pub fn key(&self) -> PublisherKey {
        self.feeds[0].key
    }

    /// Who publishes, one for each connection: seqs are gapless for each of them.
    pub fn keys(&self) -> impl Iterator<Item = PublisherKey> {
        self.feeds.iter().map(|feed| feed.key)
    }

    /// Gives a tag set a handle: publishing with it is cheaper than by value.
    ///
    /// # Errors
    /// [`HandlesExhausted`].
    pub fn register(&self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        self.feed(Tags::Set(tags)).shared.lock().session.register(tags)
    }

    /// Publishes an event that happens now; waits while the queue is full. Returns its id.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        self.publish_at(tags, wall_time_ns(), payload).await
    }

    /// Publishes an event that happened at `time_ns`, nanoseconds since 1970; waits while the queue is full.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish_at<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        let (tags, payload) = (tags.into(), payload.as_ref());
        let feed = self.feed(tags);
        match feed.publish(tags, time_ns, payload) {
            Err(PublishError::WouldBlock) => {
                self.wait(|| match feed.publish(tags, time_ns, payload) {
                    Err(PublishError::WouldBlock) => None,
                    outcome => Some(outcome),
                })
                .await
            }
            outcome => outcome,
        }
    }

    /// Publishes an event that happens now, if the queue has room.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    pub fn try_publish<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        self.try_publish_at(tags, wall_time_ns(), payload)
    }

    /// Publishes an event that happened at `time_ns`, nanoseconds since 1970, if the queue has room.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then.
    pub fn try_publish_at<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: impl AsRef<[u8]>,
    ) -> Result<EventId, PublishError> {
        let tags = tags.into();
        self.feed(tags).publish(tags, time_ns, payload.as_ref())
    }

    /// Sends what is queued and waits until a router has received every event published so far, or the loss of those on
    /// their way was reported. Waits through reconnects, for as long as no router can be reached: bound it with a timeout
    /// if that is too long.
    pub async fn flush(&self) {
        let ends: Vec<(&Feed, u64)> = self.feeds.iter().map(|feed| (feed, feed.flush())).collect();
        let received = |(feed, end): &(&Feed, u64)| feed.shared.lock().session.received() >= *end;
        self.wait(|| ends.iter().all(received).then_some(())).await;
    }

    /// Flushes, then closes the connections in order.
    pub async fn close(mut self) -> PublisherStats {
        self.flush().await;
        self.feeds.iter().for_each(Feed::end);
        for feed in &mut self.feeds {
            feed.ended().await;
        }
        self.stats()
    }

    /// The next report of events whose fate is unknown. May be dropped at any time.
    pub async fn lost(&self) -> Lost {
        self.wait(|| self.try_lost()).await
    }

    /// The next report of events whose fate is unknown, if there is one.
    #[must_use]
    pub fn try_lost(&self) -> Option<Lost> {
        self.feeds.iter().find_map(|feed| feed.shared.lock().lost.pop_front())
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.feeds.iter().map(Feed::stats).fold(PublisherStats::default(), |sum, one| PublisherStats {
            published: sum.published + one.published,
            received: sum.received + one.received,
            unknown: sum.unknown + one.unknown,
            connections: sum.connections + one.connections,
        })
    }

    /// The feed of an event.
    #[inline]
    fn feed(&self, tags: Tags<'_>) -> &Feed {
        match &self.feeds[..] {
            [only] => only,
            feeds => &feeds[usize::from(tags.shard().number()) % feeds.len()],
        }
    }

    /// Waits until `ready` gives something.
    async fn wait<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if let Some(value) = ready() {
                return value;
            }
            progress.await;
        }
    }
}

/// A shard that steers to a core, however many there are above it.
fn shard_of_core(core: u16) -> Shard {
    Shard::of_hash(u64::from(core))
}
