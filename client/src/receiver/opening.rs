//! Asks a router for a receiver: on its first connection, and on each later one.

use millrace_proto::control::{Refused, RefusedReason};

use super::incoming::Incoming;
use super::state::Shared;
use crate::link::Link;

/// Asks for a receiver and its subscriptions.
pub(super) fn open(shared: &Shared, link: &mut Link, incoming: &mut Incoming) {
    let mut state = shared.lock();
    if state.is_member() && !link.session.groups() {
        // A router that does not know groups would give it every event.
        let message = "this router has no groups: update it, or use another one".to_owned();
        let (reason, receiver) = (RefusedReason::Unsupported, shared.number);
        state.receiver_refused(&Refused { reason, receiver, message, ..Refused::default() });
        drop(state);
        return shared.end();
    }
    if state.is_named() && !link.session.names() {
        let message = "this router knows no names of receivers: update it, or use another one".to_owned();
        let (reason, receiver) = (RefusedReason::Unsupported, shared.number);
        state.receiver_refused(&Refused { reason, receiver, message, ..Refused::default() });
        drop(state);
        return shared.end();
    }
    state.inbox.begin_life();
    state.inbox.begin_connection();
    state.ended.clear();
    state.added.clear();
    let grant = incoming.open(shared.number, shared.window_bytes, state.inbox.bytes(), shared.dedup.clone());
    state.open_on(link, grant);
    let waker = state.say_lost();
    // A receiver begins as one that is not busy.
    state.busy.is_told = !state.busy.is_busy;
    state.tell_busy(link);
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
