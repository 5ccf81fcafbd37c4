//! The future of one event's outcome, and who else may hear it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millrace_proto::id::EventId;
use tokio::sync::oneshot;

use crate::session::Outcome;

/// What becomes of an event, once it is known: a future of its [`Outcome`]. It waits through
/// reconnects, for as long as no router can be reached; bound it with a timeout if that is too
/// long. Dropping it changes nothing for the event.
#[derive(Debug)]
#[must_use = "an event that nobody waits for is published with `publish`"]
pub struct Confirmation {
    id: EventId,
    outcome: oneshot::Receiver<Outcome>,
}

impl Confirmation {
    pub(super) const fn new(id: EventId, outcome: oneshot::Receiver<Outcome>) -> Self {
        Self { id, outcome }
    }

    /// The event's id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }
}

/// Hears the outcome of an event at once, under the publisher's lock: it does little, and publishes
/// nothing.
pub(crate) trait Hears: fmt::Debug + Send + Sync {
    fn hear(&self, outcome: &Outcome);
}

/// Who waits for the outcome of an event.
#[derive(Debug)]
pub(super) enum Waiter {
    Confirmation(oneshot::Sender<Outcome>),
    Hearer(Arc<dyn Hears>),
}

impl Waiter {
    pub(super) fn tell(self, outcome: &Outcome) {
        match self {
            // Sending fails only if the application has dropped the future.
            Self::Confirmation(sender) => drop(sender.send(outcome.clone())),
            Self::Hearer(hearer) => hearer.hear(outcome),
        }
    }
}

impl Future for Confirmation {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // A publisher that is gone hears no outcome.
        Pin::new(&mut self.outcome).poll(context).map(|outcome| outcome.unwrap_or(Outcome::Unknown))
    }
}
