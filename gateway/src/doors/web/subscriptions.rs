//! What one WebSocket is subscribed to.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;

use crate::doors::http::answer::Problem;
use crate::room::Room;
use crate::upstream::{Mailbox, Membership};

/// Subscriptions of one WebSocket: a page of many widgets has a few dozen.
const SUBSCRIPTIONS_MAX: usize = 256;

/// The subscriptions of one WebSocket, by the client's names and by numbers.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_name: BTreeMap<String, u64>,
    by_number: BTreeMap<u64, (String, Arc<Membership>)>,
    next: u64,
}

impl Subscriptions {
    /// Adds one. Returns its number and its membership, to wait until it is effective.
    pub(super) fn add(
        &mut self,
        sub: &str,
        select: &[String],
        room: &Room,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(u64, Arc<Membership>), Problem> {
        if self.by_name.contains_key(sub) {
            return Err(Problem::malformed("this sub is subscribed already: unsubscribe it first"));
        }
        if self.by_number.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        let number = self.next;
        let membership = room.upstream.feeds().join(select, number, mailbox).map_err(Problem::malformed)?;
        let membership = Arc::new(membership);
        self.next += 1;
        self.by_name.insert(sub.to_owned(), number);
        self.by_number.insert(number, (sub.to_owned(), membership.clone()));
        Ok((number, membership))
    }

    /// Removes one; whether it was there.
    pub(super) fn remove(&mut self, sub: &str) -> bool {
        self.by_name.remove(sub).is_some_and(|number| self.by_number.remove(&number).is_some())
    }

    /// The name of a subscription, while it is there.
    pub(super) fn name(&self, number: u64) -> Option<&str> {
        self.by_number.get(&number).map(|(name, _)| name.as_str())
    }
}
