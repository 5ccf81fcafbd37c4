//! Which receivers a connection has: where they join it, and how it knows that the last one is gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_proto::ReceiverNumber;
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;

use super::state::Shared;
use super::wake::Wake;
use crate::session::plan::{PlanError, ReceiverWish};

/// The connection that receivers of a client share, while there is one.
pub(crate) type SharedHub = tokio::sync::Mutex<Weak<Hub>>;

/// The receivers of a connection.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(super) wake: Arc<Wake>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Receivers that the task does not know yet.
    joined: Vec<Arc<Shared>>,
    /// Numbers that are not free.
    numbers: BTreeSet<ReceiverNumber>,
    ended: bool,
}

impl Hub {
    /// A connection with its first receiver.
    pub(super) fn with_first(
        wish: ReceiverWish,
        window_bytes: u64,
    ) -> Result<(Arc<Self>, Arc<Shared>), PlanError> {
        let hub = Self::default();
        let shared = hub.add(&mut hub.lock(), wish, window_bytes)?;
        Ok((Arc::new(hub), shared))
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
        state.ended |= state.joined.is_empty();
        state.ended
    }

    /// Ends the connection; who has joined and was not taken yet.
    pub(super) fn end(&self) -> Vec<Arc<Shared>> {
        let mut state = self.lock();
        state.ended = true;
        std::mem::take(&mut state.joined)
    }
}
