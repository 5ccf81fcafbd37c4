//! One connection's share of a publisher: a session under a short lock, and the task that serves it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_proto::control::Welcome;
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, Shard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::task::Task;
use super::{Lost, PublishError, PublisherOptions, PublisherStats, Tags};
use crate::attaching::Attaching;
use crate::clock::{Clock, nanos};
use crate::link::Link;
use crate::session::{PublisherConfig, PublisherSession};
use crate::time::Time;

/// A session with its task.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) key: PublisherKey,
    task: Option<JoinHandle<()>>,
}

/// What the task and the publisher's callers share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    /// Tells the task that there is something to do.
    pub(super) work: Notify,
    /// Tells those who wait that the queue has room, or that events were received or lost. One for all of a publisher's feeds.
    pub(super) progress: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) session: PublisherSession,
    flush_bytes: usize,
    /// What chooses the core: a shard that was asked for, else that of the first event.
    pub(super) shard: Option<Shard>,
    /// The task was told since it last looked.
    pub(super) woken: bool,
    pub(super) ending: Ending,
    pub(super) lost: VecDeque<Lost>,
    pub(super) unknown: u64,
    pub(super) connections: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not at all.
    Open,
    /// When everything is received.
    WhenFlushed,
    /// At once.
    Now,
}

/// A connection that a feed begins with.
pub(super) struct Begin {
    pub(super) attaching: Attaching,
    pub(super) link: Link,
    pub(super) welcome: Box<Welcome>,
    pub(super) shard: Option<Shard>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event, and tells the task when that makes a difference.
    pub(super) fn publish(&self, tags: Tags<'_>, time_ns: u64, payload: &[u8]) -> Result<u64, PublishError> {
        let mut state = self.lock();
        let was_empty = state.session.queued_bytes() == 0;
        // Only the oldest queued event's time counts, so the clock is read once per batch.
        let now = if was_empty { self.clock.now() } else { Time::ZERO };
        let seq = state.session.publish(now, tags, time_ns, payload)?;
        if state.shard.is_none() {
            state.shard = Some(tags.shard());
        }
        let wake = !state.woken && (was_empty || state.session.queued_bytes() >= state.flush_bytes);
        state.woken |= wake;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(seq)
    }
}

impl Feed {
    pub(super) fn start(
        begin: Begin,
        key: PublisherKey,
        index: u64,
        options: &PublisherOptions,
        progress: Arc<Notify>,
    ) -> Self {
        let Begin { attaching, link, welcome, shard } = begin;
        let wants = options.wants();
        let config = PublisherConfig {
            index,
            linger_ns: nanos(options.linger),
            buffer_bytes: options.buffer_bytes,
            received_within_ns: nanos(wants.received_within),
            ..PublisherConfig::new(key)
        };
        let state = State {
            flush_bytes: config.flush_bytes,
            session: PublisherSession::new(config),
            shard,
            woken: false,
            ending: Ending::Open,
            lost: VecDeque::new(),
            unknown: 0,
            connections: 0,
        };
        let clock = attaching.connector().clock();
        let shared = Arc::new(Shared { state: Mutex::new(state), clock, work: Notify::new(), progress });
        let task = Task { attaching, shared: shared.clone(), key };
        let task = tokio::spawn(task.run(link, welcome));
        Self { shared, key, task: Some(task) }
    }

    pub(super) fn publish(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<EventId, PublishError> {
        let seq = self.shared.publish(tags, time_ns, payload)?;
        Ok(EventId { publisher: self.key, seq })
    }

    /// Makes everything that is queued due; returns the seq behind the last event.
    pub(super) fn flush(&self) -> u64 {
        let mut state = self.shared.lock();
        state.session.flush();
        state.session.report();
        let end = state.session.next_seq();
        drop(state);
        self.shared.work.notify_one();
        end
    }

    /// Ends the task as soon as everything is received.
    pub(super) fn end(&self) {
        self.shared.lock().ending = Ending::WhenFlushed;
        self.shared.work.notify_one();
    }

    /// Waits for the task's end.
    pub(super) async fn ended(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }

    pub(super) fn stats(&self) -> PublisherStats {
        let state = self.shared.lock();
        PublisherStats {
            published: state.session.next_seq(),
            received: state.session.received() - state.unknown,
            unknown: state.unknown,
            connections: state.connections,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.lock().ending = Ending::Now;
        self.shared.work.notify_one();
    }
}
