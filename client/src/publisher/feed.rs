//! One connection's share of a publisher: its session, and the task that serves it.

use std::sync::Arc;

use millrace_proto::control::Welcome;
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, Shard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::confirmation::Confirmation;
use super::options::PublisherOptions;
use super::outgoing::Outgoing;
use super::state::{Ending, Shared};
use super::stats::PublisherStats;
use super::task::Task;
use crate::attaching::Attaching;
use crate::clock::Clock;
use crate::link::Link;
use crate::session::{ConfirmLevel, PublishError, Tags};

/// A session with its task.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) key: PublisherKey,
    /// Its own; none where the task of a shared connection serves it.
    task: Option<JoinHandle<()>>,
}

/// The first connection of a feed.
pub(super) struct FirstConnection {
    pub(super) attaching: Attaching,
    pub(super) link: Link,
    pub(super) welcome: Box<Welcome>,
    pub(super) shard: Option<Shard>,
}

impl Feed {
    /// A feed with a connection of its own.
    pub(super) fn start(
        first: FirstConnection,
        key: PublisherKey,
        index: u64,
        options: &PublisherOptions,
        progress: Arc<Notify>,
    ) -> Self {
        let FirstConnection { attaching, link, welcome, shard } = first;
        let clock = attaching.connector().clock();
        let shared = Arc::new(Shared::new(options.session(key, index), shard, clock, progress));
        let task = Task { attaching, outgoing: Outgoing::new(shared.clone(), key) };
        let task = tokio::spawn(task.run(link, welcome));
        Self { shared, key, task: Some(task) }
    }

    /// A feed that the task of a connection serves which others use, too, and what that task needs.
    pub(super) fn on_shared(
        key: PublisherKey,
        options: &PublisherOptions,
        clock: Clock,
        progress: Arc<Notify>,
    ) -> (Self, Outgoing) {
        let shared = Arc::new(Shared::new(options.session(key, 0), None, clock, progress));
        let outgoing = Outgoing::new(shared.clone(), key);
        (Self { shared, key, task: None }, outgoing)
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

    pub(super) fn publish_confirmed(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<Confirmation, PublishError> {
        if !self.shared.lock().level.is_confirmed() {
            return Err(PublishError::NoConfirmLevel);
        }
        let (seq, outcome) = self.shared.publish_confirmed(tags, time_ns, payload)?;
        Ok(Confirmation::new(EventId { publisher: self.key, seq }, outcome))
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

    /// Waits until nobody serves it any more; an own connection is closed then.
    pub(super) async fn ended(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = task.await;
            return;
        }
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if !self.shared.lock().served {
                return;
            }
            progress.await;
        }
    }

    pub(super) fn stats(&self) -> PublisherStats {
        let state = self.shared.lock();
        PublisherStats {
            published: state.session.next_seq(),
            received: match state.level {
                ConfirmLevel::None => state.session.received() - state.unknown,
                // An outcome tells it, too.
                _ => state.received.max(state.session.settled()),
            },
            unknown: state.unknown,
            confirmed: state.confirmed,
            partial: state.partial,
            dropped: state.dropped,
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
