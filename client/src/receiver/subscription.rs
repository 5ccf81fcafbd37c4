//! Subscriptions as the application sees them: it asks for them, waits for acknowledgements, and
//! ends them.

use std::sync::Arc;

use millrace_proto::control::{Refused, RefusedReason};
use millrace_proto::{PublisherId, RouterId, Selector, SelectorError, SubscriptionNumber};
use tokio::sync::watch;

use super::state::{ReceiverRefused, Shared, SubscriptionState};
use crate::session::plan::{PlanError, Progress};

/// Why a subscription is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// The router refused it, and the client does not ask again.
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

/// How much of the cluster a subscription is effective in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Coverage {
    /// Routers that did not acknowledge it: linked but suspect, or known but not linked.
    pub left_out: Vec<RouterId>,
    /// Addresses of the mesh at which no router has answered; a router there is left out, too.
    pub unanswered: u64,
    /// Publishers that were told that nobody wants their events, and may not know yet that somebody
    /// does: they may leave some out until they do.
    pub left_out_publishers: Vec<PublisherId>,
}

impl Coverage {
    /// Whether every router has acknowledged it, and every publisher that was quenched: from here
    /// on nothing is missed without a gap.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.unanswered == 0 && self.left_out_publishers.is_empty()
    }
}

/// Subscribes for a [`Receiver`](super::Receiver), for tasks other than the one that reads it.
/// Cheap to clone; does not keep the receiver open.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub(super) shared: Arc<Shared>,
    /// The other session, of a receiver on two routers.
    pub(super) second: Option<Arc<Shared>>,
}

impl Subscriber {
    /// Subscribes to events that match any of the selectors. Returns at once; wait for
    /// [`Subscription::on_router`] or [`Subscription::in_cluster`] to know that nothing published
    /// from then on is missed.
    ///
    /// # Errors
    /// [`SubscribeError::Selector`] names the column; [`SubscribeError::Plan`] the bound;
    /// [`SubscribeError::Receiver`] why this receiver has ended.
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
        // Both sessions have it before either brings anything for it, and under one number.
        let mut second = self.second.as_ref().map(|second| second.lock());
        let (number, receiver) = state.subscribe(texts.clone())?;
        if let Some(second) = &mut second {
            second.subscribe(texts)?;
        }
        if state.subscribed > 1 {
            self.shared.has_several();
        }
        drop((state, second));
        self.shared.tell();
        if let Some(second) = &self.second {
            second.tell();
        }
        Ok(Subscription { number, state: receiver, shared: self.shared.clone(), second: self.second.clone() })
    }
}

/// One subscription of a [`Receiver`](super::Receiver). Dropping the handle does not end it.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(super) number: SubscriptionNumber,
    pub(super) state: watch::Receiver<SubscriptionState>,
    pub(super) shared: Arc<Shared>,
    pub(super) second: Option<Arc<Shared>>,
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

    /// Waits for the next change of its state, and returns it, for programs that show it. To wait
    /// for a stage use the methods below.
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

    /// Waits until it is effective for everything that enters through any router of the cluster.
    /// Returns who was left out.
    ///
    /// # Errors
    /// [`SubscribeError::Refused`], [`SubscribeError::Receiver`] or [`SubscribeError::Closed`].
    pub async fn in_cluster(&mut self) -> Result<Coverage, SubscribeError> {
        let reached = |progress: &Progress| matches!(progress, Progress::Cluster { .. });
        match self.reached(reached).await? {
            Progress::Cluster { left_out, unanswered, left_out_publishers } => {
                Ok(Coverage { left_out, unanswered, left_out_publishers })
            }
            Progress::Asked | Progress::Router => Ok(Coverage::default()),
        }
    }

    /// Ends it. Events that are on their way may still come.
    pub fn unsubscribe(self) {
        self.shared.unsubscribe(self.number);
        if let Some(second) = &self.second {
            second.unsubscribe(self.number);
        }
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
