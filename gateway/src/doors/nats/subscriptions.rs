//! What one client is subscribed to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::limits::NAME_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use crate::doors::naming::{Dialect, Mapping};
use crate::upstream::{Feeds, Group, Mailbox, Membership};

/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// What follows a subscription waits for it to be effective, but no longer: a cluster takes
/// milliseconds.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(2);

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) sid: String,
    pattern: String,
    membership: Membership,
    delivered: u64,
    /// It ends with so many messages.
    max: Option<u64>,
}

/// Why there is no subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("Invalid Subject")]
    Subject,
    #[error("Invalid Queue Name")]
    Queue,
    #[error("maximum subscriptions exceeded")]
    TooMany,
}

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_number: BTreeMap<u64, Subscribed>,
    by_sid: HashMap<String, u64>,
    /// Those that are not known to be effective.
    fresh: Vec<u64>,
    next: u64,
}

impl Subscriptions {
    /// Adds one; one of the same name is kept, as servers do.
    pub(super) fn add(
        &mut self,
        (pattern, queue, sid): (&str, Option<&str>, &str),
        mapping: &Mapping,
        feeds: &Feeds,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), Refused> {
        if !Dialect::Nats.is_pattern(pattern) {
            return Err(Refused::Subject);
        }
        if queue.is_some_and(|queue| queue.len() > NAME_BYTES_MAX) {
            return Err(Refused::Queue);
        }
        if self.by_number.len() >= SUBSCRIPTIONS_MAX {
            return Err(Refused::TooMany);
        }
        if self.by_sid.contains_key(sid) {
            return Ok(());
        }
        let number = self.next;
        let selectors = mapping.selectors(pattern);
        let joined = match queue {
            None => feeds.join(selectors, number, mailbox),
            // Equal selectors may stand for different patterns, whose readers are not to be mixed.
            Some(queue) => {
                let group = Group { name: queue.into(), readers: pattern.into() };
                feeds.join_group(selectors, group, number, mailbox)
            }
        };
        let membership = joined.map_err(|_| Refused::Subject)?;
        self.next += 1;
        let (sid, pattern) = (sid.to_owned(), pattern.to_owned());
        self.by_sid.insert(sid.clone(), number);
        self.by_number.insert(number, Subscribed { sid, pattern, membership, delivered: 0, max: None });
        self.fresh.push(number);
        Ok(())
    }

    /// Ends one, at once or with its `max`th message.
    pub(super) fn remove(&mut self, sid: &str, max: Option<u64>) {
        let Some(&number) = self.by_sid.get(sid) else { return };
        let Some(subscribed) = self.by_number.get_mut(&number) else { return };
        match max {
            Some(max) if max > subscribed.delivered => subscribed.max = Some(max),
            _ => self.forget(number),
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(subscribed) = self.by_number.remove(&number) {
            self.by_sid.remove(&subscribed.sid);
        }
    }

    /// Waits until nothing that is published is missed.
    pub(super) async fn effective(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let until = Instant::now() + EFFECTIVE_WITHIN;
        for number in std::mem::take(&mut self.fresh) {
            if let Some(subscribed) = self.by_number.get(&number) {
                // What is refused ends the mailbox, and what takes longer is effective later.
                let _ = timeout_at(until, subscribed.membership.effective()).await;
            }
        }
    }

    /// The name of the subscription that a message on `subject` is for, if it is still there and
    /// wants it.
    pub(super) fn deliver(&mut self, number: u64, subject: &str) -> Option<String> {
        let subscribed = self.by_number.get_mut(&number)?;
        if !Dialect::Nats.matches(&subscribed.pattern, subject) {
            return None;
        }
        subscribed.delivered += 1;
        let (sid, is_last) = (subscribed.sid.clone(), subscribed.max == Some(subscribed.delivered));
        if is_last {
            self.forget(number);
        }
        Some(sid)
    }

    /// The subscription of this client that an answer on `subject` is for.
    pub(super) fn waiting_for(&self, subject: &str) -> Option<u64> {
        let found =
            self.by_number.iter().find(|(_, subscribed)| Dialect::Nats.matches(&subscribed.pattern, subject));
        found.map(|(number, _)| *number)
    }
}
