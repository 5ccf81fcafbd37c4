//! One connection's share of a publisher: its session, and the task that serves it.

use std::sync::Arc;

#[cfg(all(unix, feature = "spool"))]
use millrace_proto::PublisherId;
use millrace_proto::control::Welcome;
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, Shard};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::carried::Carried;
use super::confirmation::{Confirmation, Waiter};
#[cfg(all(unix, feature = "spool"))]
use super::holding::Holding;
use super::holding::in_memory;
use super::options::PublisherOptions;
use super::outgoing::Outgoing;
use super::state::{Ending, Shared};
use super::stats::PublisherStats;
use super::task::Task;
#[cfg(all(unix, feature = "spool"))]
use super::upkeep::upkeep;
use crate::attaching::Attaching;
use crate::clock::Clock;
use crate::link::Link;
use crate::session::{PublishError, Side, Tags};
#[cfg(all(unix, feature = "spool"))]
use crate::spool::{DiskStorage, Identity, SpoolStore};

/// A session with its task.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    /// Looks after its spool, where it has one.
    #[cfg(all(unix, feature = "spool"))]
    upkeep: Option<JoinHandle<()>>,
    /// Its own tasks, one for each router; none where the task of a shared connection serves it.
    tasks: Vec<JoinHandle<()>>,
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
        let config = options.session(key, index);
        let holding = in_memory(&config);
        let shared = Arc::new(Shared::new(config, holding, options.ttl, shard, clock, progress));
        shared.set_options(options);
        shared.report_standby(options.standby.as_ref());
        let carried = Carried::One { outgoing: Outgoing::new(shared.clone()), secret: None };
        let task = Task { attaching, carried };
        let task = tokio::spawn(task.run(Some(Box::new((link, welcome)))));
        Self::new(shared, vec![task])
    }

    /// A feed on two routers: it has a connection to the first one, and looks for the second one as
    /// long as it takes.
    pub(super) fn on_two(
        first: FirstConnection,
        second: Attaching,
        key: PublisherKey,
        options: &PublisherOptions,
        progress: Arc<Notify>,
    ) -> Self {
        let FirstConnection { attaching, link, welcome, shard } = first;
        let clock = attaching.connector().clock();
        let config = options.session(key, 0);
        let holding = in_memory(&config);
        let shared = Arc::new(Shared::new(config, holding, options.ttl, shard, clock, progress));
        shared.set_options(options);
        let task = |attaching, side| {
            let outgoing = Outgoing::on_way(shared.clone(), side);
            Task { attaching, carried: Carried::One { outgoing, secret: None } }
        };
        let here = task(attaching, Side::First).run(Some(Box::new((link, welcome))));
        let there = task(second, Side::Second).run(None);
        Self::new(shared, vec![tokio::spawn(here), tokio::spawn(there)])
    }

    /// A feed whose events stand on disk, and that has no connection yet.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn on_spool(
        attaching: Attaching,
        store: SpoolStore<DiskStorage>,
        options: &PublisherOptions,
        progress: Arc<Notify>,
    ) -> Self {
        let secret = store.spool().identity().secret;
        let clock = attaching.connector().clock();
        let shared = Arc::new(spooled(store, options, clock, progress));
        if let (Some(standby), Some(spool)) = (&options.standby, &options.spool) {
            shared.remember_generation(spool.folder.clone(), standby.wish.set.clone());
        }
        let carried = Carried::One { outgoing: Outgoing::new(shared.clone()), secret: Some(secret) };
        let task = Task { attaching, carried };
        let task = tokio::spawn(task.run(None));
        let upkeep = tokio::spawn(upkeep(shared.clone()));
        Self { shared, upkeep: Some(upkeep), tasks: vec![task] }
    }

    /// As [`Feed::on_spool`], on the connection of a bundle, whose task `work` tells that there is
    /// something to do.
    #[cfg(all(unix, feature = "spool"))]
    pub(super) fn on_spool_in_bundle(
        store: SpoolStore<DiskStorage>,
        options: &PublisherOptions,
        (clock, work): (Clock, Arc<Notify>),
        progress: Arc<Notify>,
    ) -> Self {
        let shared = Arc::new(spooled(store, options, clock, progress).served_on(work));
        let upkeep = tokio::spawn(upkeep(shared.clone()));
        Self { shared, upkeep: Some(upkeep), tasks: Vec::new() }
    }

    /// A feed whose events stand in memory, on the connection of a bundle.
    pub(super) fn in_bundle(
        key: PublisherKey,
        index: u64,
        options: &PublisherOptions,
        (clock, work): (Clock, Arc<Notify>),
        progress: Arc<Notify>,
    ) -> Self {
        let config = options.session(key, index);
        let holding = in_memory(&config);
        let shared = Shared::new(config, holding, options.ttl, None, clock, progress);
        shared.set_options(options);
        Self::new(Arc::new(shared.served_on(work)), Vec::new())
    }

    /// A feed on a connection that receivers use, too, and what that connection's task needs to
    /// serve it.
    pub(super) fn on_shared(
        key: PublisherKey,
        options: &PublisherOptions,
        clock: Clock,
        progress: Arc<Notify>,
    ) -> (Self, Carried) {
        let config = options.session(key, 0);
        let holding = in_memory(&config);
        let shared = Arc::new(Shared::new(config, holding, options.ttl, None, clock, progress));
        shared.set_options(options);
        let carried = Carried::One { outgoing: Outgoing::new(shared.clone()), secret: None };
        (Self::new(shared, Vec::new()), carried)
    }

    const fn new(shared: Arc<Shared>, tasks: Vec<JoinHandle<()>>) -> Self {
        Self {
            shared,
            #[cfg(all(unix, feature = "spool"))]
            upkeep: None,
            tasks,
        }
    }

    /// Who publishes.
    pub(super) fn key(&self) -> PublisherKey {
        self.shared.lock().ways.first().key()
    }

    pub(super) fn publish(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
    ) -> Result<EventId, PublishError> {
        self.shared.publish(tags, time_ns, payload)
    }

    /// Publishes an event whose outcome is wanted; `address` is as in a run's hop header.
    pub(super) fn publish_confirmed(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
    ) -> Result<Confirmation, PublishError> {
        let (sender, outcome) = oneshot::channel();
        let id = self.publish_heard(tags, time_ns, payload, address, Waiter::Confirmation(sender))?;
        Ok(Confirmation::new(id, outcome))
    }

    /// As [`Feed::publish_confirmed`], and `waiter` hears the outcome.
    pub(super) fn publish_heard(
        &self,
        tags: Tags<'_>,
        time_ns: u64,
        payload: &[u8],
        address: &[u8],
        waiter: Waiter,
    ) -> Result<EventId, PublishError> {
        {
            let state = self.shared.lock();
            if !state.level.is_confirmed() {
                return Err(PublishError::NoConfirmLevel);
            }
            // Such a router would give it to whoever selects its tags.
            if !address.is_empty() && !state.knows_names {
                return Err(PublishError::NoNames);
            }
        }
        self.shared.publish_confirmed(tags, time_ns, payload, address, waiter)
    }

    /// Makes everything that is queued due; returns the seq behind the last event.
    pub(super) fn flush(&self) -> u64 {
        let mut state = self.shared.lock();
        state.ways.flush();
        state.ways.report();
        let end = state.ways.next_seq();
        drop(state);
        self.shared.wake();
        end
    }

    /// Has its spool synced without waiting for the interval; returns the seq behind the last
    /// event.
    pub(super) fn want_sync(&self) -> u64 {
        let mut state = self.shared.lock();
        state.wants_sync_now = true;
        let end = state.ways.next_seq();
        drop(state);
        self.shared.upkeep.notify_one();
        end
    }

    /// Ends the task as soon as everything is received.
    pub(super) fn end(&self) {
        self.shared.lock().ending = Ending::WhenFlushed;
        self.shared.wake();
    }

    /// Ends the task now.
    pub(super) fn end_now(&self) {
        self.shared.lock().ending = Ending::Now;
        self.shared.wake();
    }

    /// Waits until nobody serves it any more; an own connection is closed then, and a spool is in
    /// order.
    pub(super) async fn ended(&mut self) {
        if self.tasks.is_empty() {
            self.unserved().await;
        }
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        #[cfg(all(unix, feature = "spool"))]
        if let Some(upkeep) = self.upkeep.take() {
            let _ = upkeep.await;
        }
    }

    /// Waits until the task of a connection that others use, too, has let it go.
    async fn unserved(&self) {
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

    /// Closes its spool in order, where it has one. Nobody serves or uses it any more.
    pub(super) async fn close_spool(&mut self) {
        #[cfg(all(unix, feature = "spool"))]
        if let Some(store) = self.shared.take_spool() {
            let closed = tokio::task::spawn_blocking(|| store.into_spool().close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!("a spool was not closed in order; nothing that is written is lost: {error}");
            }
        }
    }

    pub(super) fn stats(&self) -> PublisherStats {
        self.shared.lock().stats()
    }
}

/// What the feed of a spool shares with its task.
#[cfg(all(unix, feature = "spool"))]
fn spooled(
    store: SpoolStore<DiskStorage>,
    options: &PublisherOptions,
    clock: Clock,
    progress: Arc<Notify>,
) -> Shared {
    let Identity { secret, index, epoch } = store.spool().identity();
    // Until a router has said for whom it takes this client.
    let known_as = options.spool.as_ref().map_or("", |spool| &spool.known_as);
    let key = PublisherKey { publisher: PublisherId::derive(&secret, known_as, index), epoch };
    let holding = Holding::Spool(Box::new(store));
    let config = options.session(key, index);
    let shared = Shared::new(config, holding, options.ttl, options.shard, clock, progress);
    shared.set_options(options);
    shared.report_standby(options.standby.as_ref());
    shared
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end_now();
    }
}
