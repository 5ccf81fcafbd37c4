//! The users of a connection: receivers and a publisher join it here, and its task sees here that
//! the last one is gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;
use millrace_proto::{PublisherSecret, ReceiverNumber};

use super::state::Shared;
use super::wake::Wake;
use crate::connector::Wants;
use crate::publisher::Carried;
use crate::session::plan::{PlanError, ReceiverWish};

/// The connection that the receivers of a client share, while there is one.
pub(crate) type SharedHub = tokio::sync::Mutex<Weak<Hub>>;

/// What a publisher's id follows from, beside its index.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) secret: PublisherSecret,
    /// The client's identity, as the router has it.
    pub(crate) identity: String,
}

/// A connection's place for a publisher.
#[derive(Debug)]
pub(crate) enum Place {
    /// Reserved for the caller until [`Hub::join_publisher`].
    Reserved(Proof),
    /// Taken by another publisher, or unfit for this one, because the connection was made with
    /// other wants.
    Taken,
    /// The connection has ended.
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

/// Who publishes on a connection: one publisher, or one bundle of them.
#[derive(Debug, Default)]
enum PublisherPlace {
    #[default]
    Free,
    /// A publisher is about to join.
    Reserved,
    /// A publisher has joined, and the task does not know it yet.
    Joined(Box<Carried>),
    /// The publish stream of the present connection is used, even when its publisher is gone,
    /// because a router allows one.
    Used,
}

#[derive(Debug, Default)]
struct State {
    /// Receivers that have joined, and that the task does not know yet.
    joined: Vec<Arc<Shared>>,
    /// Numbers that receivers have.
    numbers: BTreeSet<ReceiverNumber>,
    publisher: PublisherPlace,
    ended: bool,
}

impl Hub {
    /// The users of a connection for `wants`, whose router has `identity` for this client.
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
        wish: &ReceiverWish,
        window_bytes: u64,
    ) -> Result<Option<Arc<Shared>>, PlanError> {
        let mut state = self.lock();
        if state.ended { Ok(None) } else { self.add(&mut state, wish, window_bytes).map(Some) }
    }

    fn add(
        &self,
        state: &mut State,
        wish: &ReceiverWish,
        window_bytes: u64,
    ) -> Result<Arc<Shared>, PlanError> {
        let number = (0..RECEIVERS_PER_CONNECTION_MAX)
            .map(ReceiverNumber)
            .find(|number| !state.numbers.contains(number))
            .ok_or(PlanError::TooManyReceivers)?;
        let shared = Arc::new(Shared::new(number, wish.clone(), window_bytes, self.wake.clone())?);
        state.numbers.insert(number);
        state.joined.push(shared.clone());
        shared.tell();
        Ok(shared)
    }

    /// Reserves the publisher's place for one that wants `publisher`.
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

    /// Fills the place that was reserved, or that of a connection whose only owner is the caller.
    pub(crate) fn join_publisher(&self, carried: Carried) {
        self.lock().publisher = PublisherPlace::Joined(Box::new(carried));
        self.wake.tell_task();
    }

    /// Takes the publisher that joined since the last call.
    pub(super) fn take_publisher(&self) -> Option<Box<Carried>> {
        let mut state = self.lock();
        match std::mem::take(&mut state.publisher) {
            PublisherPlace::Joined(carried) => {
                state.publisher = PublisherPlace::Used;
                Some(carried)
            }
            other => {
                state.publisher = other;
                None
            }
        }
    }

    /// Frees the place of a publisher that is gone, because the next connection has a publish
    /// stream.
    pub(super) fn free_publisher(&self) {
        let mut state = self.lock();
        if matches!(state.publisher, PublisherPlace::Used) {
            state.publisher = PublisherPlace::Free;
        }
    }

    /// Takes the receivers that joined since the last call.
    pub(super) fn take_joined(&self) -> Vec<Arc<Shared>> {
        std::mem::take(&mut self.lock().joined)
    }

    /// Frees a receiver's number.
    pub(super) fn free(&self, number: ReceiverNumber) {
        self.lock().numbers.remove(&number);
    }

    /// Ends the connection unless another user has joined. Returns whether it ended.
    pub(super) fn try_end(&self) -> bool {
        let mut state = self.lock();
        let is_left = matches!(state.publisher, PublisherPlace::Free | PublisherPlace::Used);
        state.ended |= state.joined.is_empty() && is_left;
        state.ended
    }

    /// Ends the connection. Returns the receivers that have joined and were not taken.
    pub(super) fn end(&self) -> Vec<Arc<Shared>> {
        let mut state = self.lock();
        state.ended = true;
        state.publisher = PublisherPlace::Free;
        std::mem::take(&mut state.joined)
    }
}
