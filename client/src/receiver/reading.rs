//! A receiver as the application reads it: item by item, in batches, or as a stream.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use millrace_proto::control::AckKind;
use tokio::sync::oneshot;

use super::acks::Runs;
use super::batch::Batch;
use super::given::Given;
use super::options::Acknowledge;
use super::redundant::Redundant;
use super::state::{Busy, ReceiverRefused, Shared};
use super::subscription::{SubscribeError, Subscriber, Subscription};
use crate::event::Item;
use crate::session::Cursor;
use crate::session::Side;

/// How long [`Receiver::close`] waits.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Receives events: an asynchronous stream of [`Item`]s.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    /// Both sessions, of a receiver on two routers.
    redundant: Option<Box<Redundant>>,
    /// The batch that [`Receiver::next`] is reading, and where it stands.
    current: Option<(Batch, usize)>,
    acknowledge: Acknowledge,
    /// Runs that were given and are not acknowledged, of each session.
    given: [Runs; 2],
}

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>, acknowledge: Acknowledge) -> Self {
        Self { shared, redundant: None, current: None, acknowledge, given: Default::default() }
    }

    /// A receiver on two routers.
    pub(super) fn redundant(redundant: Redundant, acknowledge: Acknowledge) -> Self {
        let shared = redundant.shared(Side::First).clone();
        let mut receiver = Self::new(shared, acknowledge);
        receiver.redundant = Some(Box::new(redundant));
        receiver
    }

    /// The session of the second router, of a receiver on two.
    fn second(&self) -> Option<&Arc<Shared>> {
        self.redundant.as_ref().map(|redundant| redundant.shared(Side::Second))
    }

    /// Its [`Subscriber`], for other tasks than the one that reads it.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        Subscriber { shared: self.shared.clone(), second: self.second().cloned() }
    }

    /// Subscribes to events that match any of the selectors. Returns at once; wait for
    /// [`Subscription::on_router`] or [`Subscription::in_cluster`] to know that nothing
    /// published from then on is missed.
    ///
    /// # Errors
    /// [`SubscribeError::Selector`] names the column; [`SubscribeError::Plan`] the bound;
    /// [`SubscribeError::Receiver`] why this receiver has ended.
    pub fn subscribe<S: AsRef<str>>(
        &self,
        selectors: impl IntoIterator<Item = S>,
    ) -> Result<Subscription, SubscribeError> {
        self.subscriber().subscribe(selectors)
    }

    /// Why the router refused this receiver, which has ended then; `None` while it is open.
    #[must_use]
    pub fn refused(&self) -> Option<ReceiverRefused> {
        let refused = self.shared.lock().refused.clone();
        refused.or_else(|| self.second()?.lock().refused.clone())
    }

    /// The next event or gap; waits for it, through reconnects. `None` when a router refused this
    /// receiver, behind everything that arrived: [`Receiver::refused`] says why. May be dropped
    /// at any time.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|context| self.poll_item(context)).await
    }

    /// The next events and gaps, as many as there are: the cheapest way to read a busy stream. May
    /// be dropped at any time. What [`Receiver::next`] has not given of its batch is skipped,
    /// so use one or the other. `None` as there.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.current = None;
        let batch = std::future::poll_fn(|context| self.poll_batch(context)).await?;
        self.gave(&batch, 0, batch.len());
        Some(batch)
    }

    /// Acknowledges all events that were given so far, for a receiver of [`Acknowledge::Explicit`].
    /// As a member of a group it then has room for others, and nobody else gets these. Otherwise
    /// publishers of the level [`Delivered`](crate::ConfirmLevel::Delivered) hear that they are
    /// delivered. Events that were published in one run are acknowledged together, with the last of
    /// them. Those of a connection that is lost are not: their publishers send them again.
    pub fn acknowledge(&mut self) {
        let [first, second] = &mut self.given;
        self.shared.answer(AckKind::Taken, first);
        if let Some(redundant) = &self.redundant {
            redundant.shared(Side::Second).answer(AckKind::Taken, second);
        }
    }

    /// As [`acknowledge`](Self::acknowledge), but of the batch that was given last only the runs
    /// that end with its first `entries` events and gaps.
    pub fn acknowledge_part(&mut self, batch: &Batch, entries: usize) {
        let given = &mut self.given[batch.side as usize];
        given.forget_from(batch.connection, batch.acks(0, batch.len()).count());
        for receipt in batch.acks(0, entries) {
            given.push(batch.connection, receipt);
        }
        self.acknowledge();
    }

    /// Takes what [`acknowledge`](Self::acknowledge) would acknowledge, to be answered for on its
    /// own: for work that ends in another order than it came, or that can fail.
    pub fn take_given(&mut self) -> Given {
        let [first, second] = std::mem::take(&mut self.given);
        let other = self.redundant.as_ref().map(|redundant| redundant.shared(Side::Second).clone());
        let given = [(Some(self.shared.clone()), first), (other, second)];
        Given::new(given.into_iter().filter_map(|(shared, runs)| Some((shared?, runs))).collect())
    }

    /// Says whether this receiver takes events of its group: while it is busy, other members get
    /// them, and what it has stays with it. It is not busy when it is opened, and a new connection
    /// is told again. Means nothing to a receiver without a group.
    pub fn busy(&self, is_busy: bool) {
        self.shared.lock().busy = Busy { is_busy, is_told: false };
        self.shared.tell();
    }

    /// The application gets the entries of a batch from `before` to `entries`.
    fn gave(&mut self, batch: &Batch, before: usize, entries: usize) {
        for receipt in batch.acks(before, entries) {
            self.given[batch.side as usize].push(batch.connection, receipt);
        }
        if self.acknowledge == Acknowledge::Taken {
            self.acknowledge();
        }
        let mut places = batch.places(before, entries).peekable();
        if places.peek().is_some() {
            if let Some(redundant) = &self.redundant {
                redundant.passed(batch);
            }
            let mut state = self.shared.lock();
            let is_present = batch.side == Side::First && state.inbox.connection() == batch.connection;
            places.for_each(|place| state.past.taken(place, is_present));
        }
    }

    /// Events that were removed because this receiver had had them: their publishers sent them
    /// again.
    #[must_use]
    pub fn duplicates_removed(&self) -> u64 {
        let removed =
            |shared: &Arc<Shared>| shared.dedup.lock().unwrap_or_else(PoisonError::into_inner).removed();
        removed(&self.shared) + self.second().map_or(0, removed)
    }

    /// Events of standby sets that were dropped because their publisher had been replaced
    /// ([`PublisherOptions::standby`](field@crate::PublisherOptions::standby)).
    #[must_use]
    pub fn fenced(&self) -> u64 {
        self.shared.dedup.lock().unwrap_or_else(PoisonError::into_inner).fenced()
    }

    /// How far the application has come: everything that [`Receiver::next`] and
    /// [`Receiver::next_batch`] have given is behind it. Empty at routers that keep no history. A
    /// quiet receiver's cursor advances each second, too, while its application waits for events.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.shared.lock().past.cursor()
    }

    /// Closes it, and waits until its router knows what was acknowledged, at most a second: for
    /// programs that exit. Who drops it and closes its client at once takes the last
    /// acknowledgements back.
    pub async fn close(self) {
        let mut waits = Vec::new();
        for shared in [Some(&self.shared), self.second()].into_iter().flatten() {
            let (told, wait) = oneshot::channel();
            shared.lock().told = Some(told);
            waits.push(wait);
        }
        drop(self);
        let all = async {
            for wait in waits {
                // One that has no connection, or had nothing to tell, is not waited for.
                let _ = wait.await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, all).await;
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some((batch, at)) = self.current.take()
                && let Some(item) = batch.item(at)
            {
                self.gave(&batch, at, at + 1);
                self.current = Some((batch, at + 1));
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
        loop {
            if let Some(redundant) = &mut self.redundant {
                match redundant.poll_batch(context) {
                    Poll::Ready(Some(batch)) if batch.is_empty() => self.gave(&batch, 0, 0),
                    polled => return polled,
                }
                continue;
            }
            let mut state = self.shared.lock();
            let Some(batch) = state.inbox.pop() else {
                if state.inbox.is_ended() {
                    return Poll::Ready(None);
                }
                state.inbox.wait(context.waker());
                return Poll::Pending;
            };
            // The session raises the grant at a quarter of the window; waking the task more often
            // gains nothing.
            let wake = state.inbox.taken_in_all() >= self.shared.window_bytes / 4;
            drop(state);
            if wake {
                self.shared.tell();
            }
            if !batch.is_empty() {
                return Poll::Ready(Some(batch));
            }
            // Nothing but duplicates of what was given before.
            self.gave(&batch, 0, 0);
        }
    }
}

impl Stream for Receiver {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.get_mut().poll_item(context)
    }
}

impl Drop for Receiver {
    /// Closes it at the router, and the connection in order when no other receiver uses it.
    fn drop(&mut self) {
        for shared in [Some(&self.shared), self.second()].into_iter().flatten() {
            let mut state = shared.lock();
            state.closed = true;
            state.watches.clear();
            drop(state);
            shared.tell();
        }
    }
}
