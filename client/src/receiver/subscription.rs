//! A subscription as the application sees it: its acknowledgements, and how to end it.

use std::sync::Arc;

use millrace_proto::control::{Refused, RefusedReason};
use millrace_proto::{RouterId, SelectorError, SubscriptionNumber};
use tokio::sync::watch;

use super::Shared;
use crate::session::plan::{PlanError, Progress};

/// Why a subscription is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// A selector cannot be read; the error names the column.
    #[error("selector {text:?}, {source}")]
    Selector {
        /// The selector.
        text: String,
        /// What is wrong with it.
        source: SelectorError,
    },
    /// A bound is exceeded, or there is no selector.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The router refused it; it is no longer asked for.
    #[error("the router refused the subscription ({}): {message}", .reason.name())]
    Refused {
        /// Why.
        reason: RefusedReason,
        /// What the router said, for people.
        message: String,
    },
    /// The router refused the receiver itself, with all its subscriptions.
    #[error(transparent)]
    Receiver(#[from] ReceiverRefused),
    /// The receiver is closed, or the subscription was ended.
    #[error("the receiver is closed")]
    Closed,
}

impl From<Refused> for SubscribeError {
    fn from(refused: Refused) -> Self {
        let Refused { reason, message, subscription, .. } = refused;
        match subscription {
            Some(_) => Self::Refused { reason, message },
            None => Self::Receiver(ReceiverRefused { reason, message }),
        }
    }
}

/// Why a receiver has ended by itself: the router would not open it. Nothing is asked for any more; open another receiver
/// when the cause is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the router refused the receiver ({}): {message}", .reason.name())]
pub struct ReceiverRefused {
    /// Why.
    pub reason: RefusedReason,
    /// What the router said, for people.
    pub message: String,
}

/// How far a subscription has come on the present connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Asked for, as far as acknowledged. Starts anew with each connection.
    Progress(Progress),
    /// Refused; it is no longer asked for. Without a subscription's number, the whole receiver was refused.
    Refused(Refused),
}

/// How much of the cluster a subscription is effective in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Routers that did not acknowledge it: linked but suspect, or known but not linked.
    pub left_out: Vec<RouterId>,
    /// Addresses of the mesh at which no router has answered: whoever may be there was left out as well.
    pub unanswered: u64,
}

impl Coverage {
    /// Whether every router has acknowledged it: from here on nothing is missed without a gap.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.unanswered == 0
    }
}

/// One subscription of a [`Receiver`](super::Receiver). Dropping the handle does not end it.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(super) number: SubscriptionNumber,
    pub(super) state: watch::Receiver<SubscriptionState>,
    pub(super) shared: Arc<Shared>,
}

impl Subscription {
    /// Its number: [`Event::matched`](crate::Event::matched) names it.
    #[must_use]
    pub const fn number(&self) -> SubscriptionNumber {
        self.number
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> SubscriptionState {
        self.state.borrow().clone()
    }

    /// Waits for the next change of its state, and returns it. For showing; to wait for a stage use the methods below.
    ///
    /// # Errors
    /// [`SubscribeError::Closed`].
    pub async fn changed(&mut self) -> Result<SubscriptionState, SubscribeError> {
        self.state.changed().await.map_err(|_| SubscribeError::Closed)?;
        Ok(self.state.borrow_and_update().clone())
    }

    /// Waits until it is effective for everything that enters through this client's router.
    ///
    /// # Errors
    /// [`SubscribeError::Refused`], [`SubscribeError::Receiver`] or [`SubscribeError::Closed`].
    pub async fn on_router(&mut self) -> Result<(), SubscribeError> {
        let reached = |progress: &Progress| !matches!(progress, Progress::Asked);
        self.reached(reached).await.map(drop)
    }

    /// Waits until it is effective for everything that enters through any router of the cluster. Returns who was left
    /// out.
    ///
    /// # Errors
    /// [`SubscribeError::Refused`], [`SubscribeError::Receiver`] or [`SubscribeError::Closed`].
    pub async fn in_cluster(&mut self) -> Result<Coverage, SubscribeError> {
        let reached = |progress: &Progress| matches!(progress, Progress::Cluster { .. });
        match self.reached(reached).await? {
            Progress::Cluster { left_out, unanswered } => Ok(Coverage { left_out, unanswered }),
            Progress::Asked | Progress::Router => Ok(Coverage::default()),
        }
    }

    /// Ends it. Events that are on their way may still come.
    pub fn unsubscribe(self) {
        self.shared.unsubscribe(self.number);
    }

    async fn reached(&mut self, reached: impl Fn(&Progress) -> bool) -> Result<Progress, SubscribeError> {
        let state = self
            .state
            .wait_for(|state| match state {
                SubscriptionState::Progress(progress) => reached(progress),
                SubscriptionState::Refused(_) => true,
            })
            .await
            .map_err(|_| SubscribeError::Closed)?;
        match &*state {
            SubscriptionState::Progress(progress) => Ok(progress.clone()),
            SubscriptionState::Refused(refused) => Err(refused.clone().into()),
        }
    }
}
