//! Publishing: events go into a bounded queue under a short lock; one task per publisher moves them to a router.
//!
//! A publisher keeps one connection and reconnects by itself. Events that were on their way when a connection was lost are
//! reported as *unknown* ([`Publisher::lost`]) and not sent again: the router may have got them. Events that were still
//! queued go out on the next connection, under the same publisher id and epoch.

mod task;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_proto::{Epoch, PublisherId, PublisherKey, Shard, TagSet, varint};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use crate::session::publisher::{HandlesExhausted, PublishError, TagHandle, Tags};

use crate::client::{Client, ConnectError};
use crate::clock::{Clock, nanos, wall_time_ns};
use crate::disconnect::Disconnect;
use crate::session::{PublisherConfig, PublisherSession};
use crate::targets::Targets;
use crate::time::Time;

/// Reports of lost connections that wait to be read, at most; the oldest give way. Totals in [`PublisherStats`] stay exact.
const REPORTS_MAX: usize = 1024;

/// Settings of one publisher.
#[derive(Debug, Clone)]
pub struct PublisherOptions {
    /// Its name, if it has one that outlives the process. Default: random.
    pub id: Option<PublisherId>,
    /// Longest time that an event waits for company. Default 5 ms; 0 sends as soon as the task turns.
    pub linger: Duration,
    /// Most bytes queued before publishing blocks. Default 1 MiB.
    pub buffer_bytes: usize,
    /// The shard of its main tag set: the connection then lands on the core that owns it. Default: the core is random.
    pub shard: Option<Shard>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self { id: None, linger: Duration::from_millis(5), buffer_bytes: 1024 * 1024, shard: None }
    }
}

/// Events of which nobody knows whether a router got them: they were on their way when a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Their seqs.
    pub seqs: Range<u64>,
    /// What happened to the connection.
    pub reason: Disconnect,
}

/// What a publisher has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublisherStats {
    /// Events that were taken.
    pub published: u64,
    /// Events that a router said it received.
    pub received: u64,
    /// Events that were on their way when a connection was lost.
    pub unknown: u64,
    /// Connections that were made.
    pub connections: u64,
}

/// Publishes events. All methods take `&self`: share it in an [`Arc`] among tasks.
///
/// Dropping a publisher discards what is queued; [`Publisher::close`] does not.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    key: PublisherKey,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// Tells the task that there is something to do.
    work: Notify,
    /// Tells those who wait that the queue has room, or that events were received or lost.
    progress: Notify,
}

#[derive(Debug)]
struct State {
    session: PublisherSession,
    flush_bytes: usize,
    /// The task was told since it last looked.
    woken: bool,
    ending: Ending,
    lost: VecDeque<Lost>,
    unknown: u64,
    connections: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not at all.
    Open,
    /// When everything is received.
    WhenFlushed,
    /// At once.
    Now,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` gives something.
    async fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if let Some(value) = ready(&mut self.lock()) {
                return value;
            }
            progress.await;
        }
    }
}

impl Publisher {
    pub(crate) async fn connect(client: Client, options: PublisherOptions) -> Result<Self, ConnectError> {
        let mut targets = Targets::new(client.config().routers.clone());
        let (link, welcome) = client.connect(&targets, options.shard, 0).await?;
        targets.welcomed(&welcome.alternates);
        let key = PublisherKey {
            publisher: options.id.unwrap_or_else(|| PublisherId(rand::random())),
            epoch: Epoch(rand::random::<u64>() & varint::MAX),
        };
        let config = PublisherConfig {
            linger_ns: nanos(options.linger),
            buffer_bytes: options.buffer_bytes,
            ..PublisherConfig::new(key)
        };
        let state = State {
            flush_bytes: config.flush_bytes,
            session: PublisherSession::new(config),
            woken: false,
            ending: Ending::Open,
            lost: VecDeque::new(),
            unknown: 0,
            connections: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            clock: client.clock(),
            work: Notify::new(),
            progress: Notify::new(),
        });
        let task = task::Task { client, shared: shared.clone(), targets, shard: options.shard };
        let task = tokio::spawn(task.run(link, welcome));
        Ok(Self { shared, key, task: Some(task) })
    }

    /// Who publishes: the constant part of its events' ids.
    #[must_use]
    pub const fn key(&self) -> PublisherKey {
        self.key
    }

    /// Gives a tag set a handle: publishing with it is cheaper than by value.
    ///
    /// # Errors
    /// [`HandlesExhausted`].
    pub fn register(&self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        self.shared.lock().session.register(tags)
    }

    /// Publishes an event that happens now; waits while the queue is full. Returns its seq.
    ///
    /// # Errors
    /// [`PublishError`], never [`PublishError::WouldBlock`].
    pub async fn publish<'t>(
        &self,
        tags: impl Into<Tags<'t>>,
        payload: impl AsRef<[u8]>,
    ) -> Result<u64, PublishError> {
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
    ) -> Result<u64, PublishError> {
        let (tags, payload) = (tags.into(), payload.as_ref());
        match self.try_publish_at(tags, time_ns, payload) {
            Err(PublishError::WouldBlock) => {
                let now = self.shared.clock.now();
                let outcome = self
                    .shared
                    .wait(|state| match state.session.publish(now, tags, time_ns, payload) {
                        Err(PublishError::WouldBlock) => None,
                        outcome => Some(outcome),
                    })
                    .await;
                self.shared.work.notify_one();
                outcome
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
    ) -> Result<u64, PublishError> {
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
    ) -> Result<u64, PublishError> {
        let mut state = self.shared.lock();
        let was_empty = state.session.queued_bytes() == 0;
        // Only the oldest queued event's time counts, so the clock is read once per batch.
        let now = if was_empty { self.shared.clock.now() } else { Time::ZERO };
        let seq = state.session.publish(now, tags, time_ns, payload.as_ref())?;
        let wake = !state.woken && (was_empty || state.session.queued_bytes() >= state.flush_bytes);
        state.woken |= wake;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(seq)
    }

    /// Sends what is queued and waits until a router has received every event published so far, or the loss of those on
    /// their way was reported. Waits through reconnects, for as long as no router can be reached: bound it with a timeout
    /// if that is too long.
    pub async fn flush(&self) {
        let end = {
            let mut state = self.shared.lock();
            state.session.flush();
            state.session.next_seq()
        };
        self.shared.work.notify_one();
        self.shared.wait(|state| (state.session.received() >= end).then_some(())).await;
    }

    /// Flushes, then closes the connection in order.
    pub async fn close(mut self) -> PublisherStats {
        self.flush().await;
        self.shared.lock().ending = Ending::WhenFlushed;
        self.shared.work.notify_one();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        self.stats()
    }

    /// The next report of events whose fate is unknown. May be dropped at any time.
    pub async fn lost(&self) -> Lost {
        self.shared.wait(|state| state.lost.pop_front()).await
    }

    /// The next report of events whose fate is unknown, if there is one.
    #[must_use]
    pub fn try_lost(&self) -> Option<Lost> {
        self.shared.lock().lost.pop_front()
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        let state = self.shared.lock();
        PublisherStats {
            published: state.session.next_seq(),
            received: state.session.received() - state.unknown,
            unknown: state.unknown,
            connections: state.connections,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.lock().ending = Ending::Now;
        self.shared.work.notify_one();
    }
}
