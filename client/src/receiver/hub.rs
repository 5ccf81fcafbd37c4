//! Who uses a connection: where receivers and a publisher join it, and how it knows that the last
//! one is gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
use millrace_proto::{PublisherSecret, ReceiverNumber};

use super::state::Shared;
use super::wake::Wake;
use crate::connector::Wants;
use crate::publisher::Outgoing;
use crate::session::plan::{PlanError, ReceiverWish};

/// The connection that receivers of a client share, while there is one.
pub(crate) type SharedHub = tokio::sync::Mutex<Weak<Hub>>;

/// What the id of a publisher follows from, besides its index.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) secret: PublisherSecret,
    /// As the router names this client.
    pub(crate) identity: String,
}

/// Whether a connection has a place for a publisher.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is kept until [`Hub::join_publisher`].
    Reserved(Proof),
    /// There is another publisher, or the connection was made for one of another kind.
    Taken,
    /// There is no connection.
    Ended,
}

/// The users of a connection.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) wake: Arc<Wake>,
    wants: Wants,
    identity: String,
    state: Mutex<State>,
}

/// The one publisher of a connection.
#[derive(Debug, Default)]
enum PublisherPlace {
    #[default]
    Free,
    /// Somebody is about to join.
    Reserved,
    /// The task does not know it yet.
    Joined(Box<Outgoing>),
    /// The publish stream of the present connection is used, whether or not its publisher is gone:
    /// a router allows one.
    Used,
}

#[derive(Debug, Default)]
struct State {
    /// Receivers that the task does not know yet.
    joined: Vec<Arc<Shared>>,
    /// Numbers that are not free.
    numbers: BTreeSet<ReceiverNumber>,
    publisher: PublisherPlace,
    ended: bool,
}

impl Hub {
    /// A connection for `wants`, whose router calls this client `identity`.
    pub(super) fn new(wants: Wants, identity: String) -> Self {
        Self { wake: Arc::default(), wants, identity, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a receiver under the lowest free number; `None` when the connection has ended.
    ///
    /// # Errors
    /// [`PlanError::TooManyReceivers`].
    pub(super) fn join(
        &self,
        wish: ReceiverWish,
        window_bytes: u64,
    ) -> Result<Option<Arc<Shared>>, PlanError> {
        let mut state = self.lock();
        if state.ended { Ok(None) } else { self.add(&mut state, wish, window_bytes).map(Some) }
    }

    fn add(
        &self,
        state: &mut State,
        wish: ReceiverWish,
        window_bytes: u64,
    ) -> Result<Arc<Shared>, PlanError> {
        let number = (0..RECEIVERS_PER_CONNECTION_MAX)
            .map(ReceiverNumber)
            .find(|number| !state.numbers.contains(number))
            .ok_or(PlanError::TooManyReceivers)?;
        let shared = Arc::new(Shared::new(number, wish, window_bytes, self.wake.clone())?);
        state.numbers.insert(number);
        state.joined.push(shared.clone());
        shared.tell();
        Ok(shared)
    }

    /// Keeps the place of the publisher for one that wants `publisher`.
    pub(crate) fn reserve_publisher(&self, publisher: &Wants) -> Place {
        let mut state = self.lock();
        let Wants { received_within, secret, .. } = self.wants;
        let fits = received_within == publisher.received_within
            && (publisher.secret.is_none() || publisher.secret == secret);
        match (&state.publisher, secret) {
            _ if state.ended => Place::Ended,
            (PublisherPlace::Free, Some(secret)) if fits => {
                state.publisher = PublisherPlace::Reserved;
                Place::Reserved(Proof { secret, identity: self.identity.clone() })
            }
            _ => Place::Taken,
        }
    }

    /// A publisher takes the place that was kept for it.
    pub(crate) fn join_publisher(&self, outgoing: Outgoing) {
        self.lock().publisher = PublisherPlace::Joined(Box::new(outgoing));
        self.wake.tell_task();
    }

    /// The publisher that joined since the last call.
    pub(super) fn take_publisher(&self) -> Option<Box<Outgoing>> {
        let mut state = self.lock();
        match std::mem::take(&mut state.publisher) {
            PublisherPlace::Joined(outgoing) => {
                state.publisher = PublisherPlace::Used;
                Some(outgoing)
            }
            other => {
                state.publisher = other;
                None
            }
        }
    }

    /// There is no publisher, and the next connection has a publish stream for another one.
    pub(super) fn free_publisher(&self) {
        let mut state = self.lock();
        if matches!(state.publisher, PublisherPlace::Used) {
            state.publisher = PublisherPlace::Free;
        }
    }

    /// Receivers that joined since the last call.
    pub(super) fn take_joined(&self) -> Vec<Arc<Shared>> {
        std::mem::take(&mut self.lock().joined)
    }

    /// A receiver's number is free.
    pub(super) fn free(&self, number: ReceiverNumber) {
        self.lock().numbers.remove(&number);
    }

    /// Ends the connection unless somebody has joined; whether it ended.
    pub(super) fn try_end(&self) -> bool {
        let mut state = self.lock();
        let is_left = matches!(state.publisher, PublisherPlace::Free | PublisherPlace::Used);
        state.ended |= state.joined.is_empty() && is_left;
        state.ended
    }

    /// Ends the connection; the receivers that have joined and were not taken yet.
    pub(super) fn end(&self) -> Vec<Arc<Shared>> {
        let mut state = self.lock();
        state.ended = true;
        state.publisher = PublisherPlace::Free;
        std::mem::take(&mut state.joined)
    }
}
