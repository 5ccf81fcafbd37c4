//! One subscription as a stream of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::batch::Batch;
use super::reading::Receiver;
use super::subscription::{SubscribeError, Subscription};
use crate::event::Item;

/// The events of one subscription and no others: an asynchronous stream of [`Item`]s.
///
/// It is a receiver of its own, because only so a slow reader makes its own gaps and nobody else's.
/// Dropping it ends the subscription.
#[derive(Debug)]
pub struct SubscriptionStream {
    receiver: Receiver,
    subscription: Subscription,
}

impl SubscriptionStream {
    pub(crate) fn new<S: AsRef<str>>(
        receiver: Receiver,
        selectors: impl IntoIterator<Item = S>,
    ) -> Result<Self, SubscribeError> {
        let subscription = receiver.subscribe(selectors)?;
        Ok(Self { receiver, subscription })
    }

    /// The subscription, to wait for its acknowledgement.
    pub const fn subscription(&mut self) -> &mut Subscription {
        &mut self.subscription
    }

    /// The receiver that it reads.
    #[must_use]
    pub const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// The next event or gap, as [`Receiver::next`].
    pub async fn next(&mut self) -> Option<Item> {
        self.receiver.next().await
    }

    /// The next events and gaps, as [`Receiver::next_batch`].
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.receiver.next_batch().await
    }
}

impl Stream for SubscriptionStream {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        Pin::new(&mut self.get_mut().receiver).poll_next(context)
    }
}
