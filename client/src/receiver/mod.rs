//! Receiving: one queue at the router, one stream, one task that reads it and hands batches to the application.
//!
//! A receiver keeps one connection, notices its death by its own pings, reconnects and asks anew for every subscription. What
//! it may have missed in between is marked by a [`Gap`](crate::Gap) with
//! [`GapReason::SessionLost`](crate::GapReason::SessionLost) in its stream. The router sends no more than the application
//! takes, plus one window.
//!
//! A router may refuse the receiver itself: its policy is not supported, its identity not allowed, the router full. The
//! stream then ends, and [`Receiver::refused`] says why. Only a receiver that was open before and finds the next router
//! full goes on trying, with growing pauses: places become free, and other routers may have some.

mod batch;
mod inbox;
mod subscription;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use millrace_proto::control::OverflowPolicy;
use millrace_proto::{ReceiverNumber, Selector, SubscriptionNumber};
use tokio::sync::{Notify, watch};

pub use batch::{Batch, BatchEvent, BatchItem};
pub use subscription::{Coverage, ReceiverRefused, SubscribeError, Subscription, SubscriptionState};

use self::inbox::Inbox;
use crate::attaching::Attaching;
use crate::connector::{Connector, Wants};
use crate::error::ConnectError;
use crate::event::Item;
use crate::session::Plan;
use crate::session::plan::{Progress, ReceiverWish};
use crate::session::receiver::WINDOW_BYTES;

/// The number of a receiver on its connection: there is one.
const RECEIVER: ReceiverNumber = ReceiverNumber(0);
/// What its connection is for: one receiver, and nothing that is published.
const WANTS: Wants = Wants { receivers: 1, received_within: Duration::ZERO };

/// Settings of one receiver.
#[derive(Debug, Clone)]
pub struct ReceiverOptions {
    /// What happens when its queue at the router is full. Default: the oldest events give way.
    /// [`OverflowPolicy::Block`] is not possible yet: no router of this version offers it.
    pub policy: OverflowPolicy,
    /// Bytes that its queue may hold; 0 = the router's default. The router may hold less.
    pub queue_bytes: u64,
    /// How long the router may gather events before it writes them. Default 0; dashboards use 100 ms to 1 s.
    pub linger: Duration,
    /// Bytes that may be on the way or waiting in this process. Default 1 MiB, at most 2 MiB (the stream's flow control).
    pub window_bytes: u64,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self {
            policy: OverflowPolicy::DropOldest,
            queue_bytes: 0,
            linger: Duration::ZERO,
            window_bytes: WINDOW_BYTES,
        }
    }
}

/// Receives events: an asynchronous stream of [`Item`]s.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    window_bytes: u64,
    /// The batch that [`Receiver::next`] is reading, and where it stands.
    current: Option<(Batch, usize)>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Tells the task that there is something to do.
    work: Notify,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    /// Who waits for acknowledgements.
    watches: BTreeMap<SubscriptionNumber, watch::Sender<SubscriptionState>>,
    /// Subscriptions that ended since the present connection was told; told before `added`, which may reuse their numbers.
    ended: BTreeSet<SubscriptionNumber>,
    /// Subscriptions that were added since the present connection was told.
    added: BTreeSet<SubscriptionNumber>,
    inbox: Inbox,
    closed: bool,
    /// Why there is no receiver any more.
    refused: Option<ReceiverRefused>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsubscribe(&self, number: SubscriptionNumber) {
        let mut state = self.lock();
        let parts: Vec<_> = state.plan.parts(RECEIVER, number).collect();
        state.plan.unsubscribe(RECEIVER, number);
        state.watches.remove(&number);
        for part in parts {
            state.added.remove(&part);
            state.ended.insert(part);
        }
        drop(state);
        self.work.notify_one();
    }
}

impl State {
    /// Tells those who wait for a subscription how far it has come.
    fn show_progress(&mut self) {
        for (&number, watch) in &self.watches {
            let Some(progress) = self.plan.progress(RECEIVER, number) else { continue };
            watch.send_if_modified(|state| {
                let new = SubscriptionState::Progress(progress.clone());
                let changed = *state != new;
                *state = new;
                changed
            });
        }
    }
}

impl Receiver {
    pub(crate) async fn connect(
        connector: Connector,
        options: ReceiverOptions,
    ) -> Result<Self, ConnectError> {
        if options.policy == OverflowPolicy::Block {
            return Err(ConnectError::BlockPolicy);
        }
        // What is wrong with trust or identity is said before any name is looked up.
        connector.quic_config(None)?;
        let mut attaching = Attaching::new(connector, WANTS);
        let (link, _) = *attaching.attach(None).await?;
        let wish = ReceiverWish {
            policy: options.policy,
            queue_bytes: options.queue_bytes,
            linger_us: u64::try_from(options.linger.as_micros()).unwrap_or(u64::MAX),
        };
        let mut plan = Plan::new();
        // The first receiver of an empty plan has number 0.
        let _ = plan.open_receiver(wish);
        let state = State {
            plan,
            watches: BTreeMap::new(),
            ended: BTreeSet::new(),
            added: BTreeSet::new(),
            inbox: Inbox::default(),
            closed: false,
            refused: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Notify::new() });
        let window_bytes = options.window_bytes.clamp(1, 2 * WINDOW_BYTES);
        let task = task::Task { attaching, shared: shared.clone(), window_bytes, was_open: false };
        tokio::spawn(task.run(link));
        Ok(Self { shared, window_bytes, current: None })
    }

    /// Subscribes to events that match any of the selectors. Returns at once; wait for [`Subscription::on_router`] or
    /// [`Subscription::in_cluster`] to know that nothing published from then on is missed.
    ///
    /// # Errors
    /// [`SubscribeError::Selector`] names the column; [`SubscribeError::Plan`] the bound; [`SubscribeError::Receiver`] why
    /// this receiver has ended.
    pub fn subscribe<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
    ) -> Result<Subscription, SubscribeError> {
        let mut texts = Vec::new();
        for selector in selectors {
            let text = selector.as_ref();
            let parsed = Selector::parse(text)
                .map_err(|source| SubscribeError::Selector { text: text.to_owned(), source })?;
            texts.push(parsed.text().to_owned());
        }
        let mut state = self.shared.lock();
        if state.closed {
            return Err(SubscribeError::Closed);
        }
        if let Some(refused) = &state.refused {
            return Err(refused.clone().into());
        }
        let number = state.plan.subscribe(RECEIVER, texts)?;
        let (sender, receiver) = watch::channel(SubscriptionState::Progress(Progress::Asked));
        state.watches.insert(number, sender);
        let parts: Vec<_> = state.plan.parts(RECEIVER, number).collect();
        state.inbox.name_parts(number, &parts);
        state.added.extend(parts);
        drop(state);
        self.shared.work.notify_one();
        Ok(Subscription { number, state: receiver, shared: self.shared.clone() })
    }

    /// Why the router refused this receiver, which has ended then; `None` while it is open.
    #[must_use]
    pub fn refused(&self) -> Option<ReceiverRefused> {
        self.shared.lock().refused.clone()
    }

    /// The next event or gap; waits for it, through reconnects. `None` when a router refused this receiver, behind
    /// everything that arrived: [`Receiver::refused`] says why. May be dropped at any time.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|context| self.poll_item(context)).await
    }

    /// The next events and gaps, as many as there are: the cheapest way to read a busy stream. May be dropped at any time.
    /// What [`Receiver::next`] has not given of its batch is skipped, so use one or the other. `None` as there.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.current = None;
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some((batch, at)) = &mut self.current
                && let Some(item) = batch.item(*at)
            {
                *at += 1;
                return Poll::Ready(Some(item));
            }
            match self.poll_batch(context) {
                Poll::Ready(Some(batch)) => self.current = Some((batch, 0)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        let mut state = self.shared.lock();
        let Some(batch) = state.inbox.pop() else {
            if state.inbox.is_ended() {
                return Poll::Ready(None);
            }
            state.inbox.wait(context.waker());
            return Poll::Pending;
        };
        // The session raises the grant at half of the window; waking the task more often gains nothing.
        let wake = state.inbox.taken() >= self.window_bytes / 4;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        Poll::Ready(Some(batch))
    }
}

impl Stream for Receiver {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.get_mut().poll_item(context)
    }
}

impl Drop for Receiver {
    /// Closes the connection in order.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.watches.clear();
        drop(state);
        self.shared.work.notify_one();
    }
}
