//! The receivers of a connection, and where what arrives for them goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::ReceiverNumber;

use super::building::BatchBuilder;
use super::sorting::Deliver;
use super::state::Shared;

/// The receivers of a connection.
#[derive(Default)]
pub(super) struct Members(pub(super) BTreeMap<ReceiverNumber, Member>);

/// One of them.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    /// Whether a router has opened this receiver before.
    pub(super) was_open: bool,
}

impl Members {
    pub(super) fn add(&mut self, joined: Vec<Arc<Shared>>) {
        for shared in joined {
            self.0.insert(shared.number, Member { shared, was_open: false });
        }
    }
}

impl Deliver for Members {
    fn deliver(&mut self, receiver: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool {
        let Some(member) = self.0.get_mut(&receiver) else { return false };
        member.was_open = true;
        let mut state = member.shared.lock();
        let connection = state.inbox.connection();
        let Some(batch) = batch.take(bytes, connection) else { return false };
        batch.places.iter().for_each(|(_, place)| state.past.arrived(place, true));
        let waker = state.inbox.push(batch);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}
