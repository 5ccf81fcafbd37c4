//! What one WebSocket is subscribed to.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::mpsc;

use super::resumed::{News, Resumed};
use crate::doors::http::answer::Problem;
use crate::room::Room;
use crate::upstream::{Following, Mailbox, Membership};

/// Subscriptions of one WebSocket: a page of many widgets has a few dozen.
const SUBSCRIPTIONS_MAX: usize = 256;

/// Where the events of a subscription come from.
#[derive(Debug)]
enum Source {
    /// A feed that others read, too.
    Shared { _membership: Arc<Membership> },
    /// A receiver of its own, which goes on where the client was.
    Own { _resumed: Resumed },
}

/// The subscriptions of one WebSocket, by the client's names and by numbers.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_name: BTreeMap<String, u64>,
    by_number: BTreeMap<u64, (String, Source)>,
    next: u64,
}

impl Subscriptions {
    /// Whether there may be another one, of this name.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, sub: &str) -> Result<(), Problem> {
        if self.by_name.contains_key(sub) {
            return Err(Problem::malformed("this sub is subscribed already: unsubscribe it first"));
        }
        if self.by_number.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        Ok(())
    }

    /// Adds one. Returns its number and its membership, to wait until it is effective.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn add(
        &mut self,
        sub: &str,
        select: &[String],
        room: &Room,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(u64, Arc<Membership>), Problem> {
        self.check(sub)?;
        let joined = room.upstream.feeds().join_with_places(select, self.next, mailbox);
        let membership = Arc::new(joined.map_err(Problem::malformed)?);
        let number = self.put(sub, |_| Source::Shared { _membership: membership.clone() });
        Ok((number, membership))
    }

    /// Adds one that [`Subscriptions::check`] has allowed, which goes on where the client was.
    pub(super) fn resume(
        &mut self,
        sub: &str,
        select: &[String],
        following: Following,
        news: mpsc::Sender<News>,
    ) {
        self.put(sub, |number| Source::Own {
            _resumed: Resumed::begin(following, number, sub, select, news),
        });
    }

    fn put(&mut self, sub: &str, source: impl FnOnce(u64) -> Source) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_name.insert(sub.to_owned(), number);
        self.by_number.insert(number, (sub.to_owned(), source(number)));
        number
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
