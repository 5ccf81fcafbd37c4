//! A receiver for one local client alone, which goes on behind where the client was.
//!
//! It asks the routers for what they have kept since then. Where they keep no history it begins
//! with what comes.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Batch, ConnectError, Cursor, Receiver, ReceiverOptions, RefusedReason, SubscribeError, Subscription,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::receivers::Receivers;

/// While no router can be reached, one is asked for again after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no such receiver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// All connections are full.
    #[error(transparent)]
    Full(ConnectError),
    /// A selector cannot be read.
    #[error("{0} (?select=…)")]
    Selector(SubscribeError),
    /// The routers refuse it.
    #[error(transparent)]
    Refused(SubscribeError),
}

impl From<SubscribeError> for FollowError {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Selector { .. } | SubscribeError::Plan(_) => Self::Selector(error),
            error => Self::Refused(error),
        }
    }
}

/// What of the past there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// What was asked for, as far as it is kept; gaps stand for the rest.
    Kept,
    /// The routers keep no history: what comes from here on.
    None,
}

/// A receiver for one local client alone, which goes on behind where the client was.
#[derive(Debug)]
pub struct Following {
    receivers: Receivers,
    selectors: Arc<[String]>,
    /// What is asked of the past, until it is known that there is none.
    options: Option<ReceiverOptions>,
    open: Option<Open>,
    /// Its place among those that there may be.
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Open {
    receiver: Receiver,
    subscription: Subscription,
    is_effective: bool,
}

impl Following {
    pub(super) fn new(
        receivers: Receivers,
        selectors: Arc<[String]>,
        options: ReceiverOptions,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { receivers, selectors, options: Some(options), open: None, _permit: permit }
    }

    /// Whether nothing more is missed.
    #[must_use]
    pub fn is_effective(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_effective)
    }

    /// Opens the receiver, and waits until nothing more is missed, for as long as no router can be
    /// reached. May be dropped at any time.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn effective(&mut self) -> Result<Past, FollowError> {
        loop {
            if self.is_effective() {
                return Ok(self.past());
            }
            if self.open.is_none() {
                let options = self.options.clone().unwrap_or_default();
                let receiver = self.connect(&options).await?;
                let subscription = receiver.subscribe(self.selectors.iter())?;
                self.open = Some(Open { receiver, subscription, is_effective: false });
            }
            let Some(Open { subscription, is_effective, .. }) = &mut self.open else { continue };
            match subscription.in_cluster().await {
                Ok(_) => *is_effective = true,
                Err(SubscribeError::Refused { reason: RefusedReason::History, .. }) => {
                    (self.options, self.open) = (None, None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn connect(&self, options: &ReceiverOptions) -> Result<Receiver, FollowError> {
        loop {
            match self.receivers.open(options).await {
                Ok(receiver) => return Ok(receiver),
                Err(error @ ConnectError::Receivers(_)) => return Err(FollowError::Full(error)),
                Err(error) => tracing::debug!(%error, "a receiver waits for a router"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// What of the past there is, as far as is known.
    const fn past(&self) -> Past {
        if self.options.is_some() { Past::Kept } else { Past::None }
    }

    /// The next events and gaps; `None` when the receiver is over. To be called once it is
    /// [effective](Self::effective). May be dropped at any time.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.open.as_mut()?.receiver.next_batch().await
    }

    /// How far it has come: what [`Following::next_batch`] has given is behind it. Empty where
    /// routers keep no history.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.open.as_ref().map(|open| open.receiver.cursor()).unwrap_or_default()
    }
}
