//! What one client is subscribed to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_client::EventId;
use millrace_proto::limits::NAME_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use crate::doors::naming::{Dialect, Mapping};
use crate::upstream::{Feeds, Group, Mailbox, Membership};

/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// What follows a subscription waits for it to be effective, but no longer: a cluster takes
/// milliseconds.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);
/// A subscription that its client has ended still gets what was published before, because a program
/// that drains waits for that: it ends when nothing has come for so long,
const QUIET: Duration = Duration::from_millis(30);
/// and at the latest after this time.
const ENDS_WITHIN: Duration = Duration::from_millis(300);
/// Events that a client publishes while subscriptions end: beyond, they end at once.
const SINCE_MAX: usize = 8192;

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    /// Shared, because each message has it.
    pub(super) sid: Arc<str>,
    pattern: String,
    membership: Membership,
    delivered: u64,
    /// It ends with so many messages.
    max: Option<u64>,
    ending: Option<Ending>,
}

/// The end of a subscription.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// When it has been quiet for long enough.
    at: Instant,
    latest: Instant,
    /// The client's own events from this one on, in the list of them, are not for it.
    since: usize,
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
    by_sid: HashMap<Arc<str>, u64>,
    /// Those that are not known to be effective.
    fresh: Vec<u64>,
    /// Those that the client has ended.
    ending: Vec<u64>,
    /// What the client has published since the first one of them.
    since: Vec<EventId>,
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
        // One of the same name that ends has its end now: what it would still get has no other
        // name.
        let numbers = self.ending.iter().copied();
        let same =
            numbers.filter(|number| self.by_number.get(number).is_some_and(|ended| &*ended.sid == sid));
        same.collect::<Vec<_>>().into_iter().for_each(|number| self.forget(number));
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
        let (sid, pattern): (Arc<str>, _) = (sid.into(), pattern.to_owned());
        self.by_sid.insert(sid.clone(), number);
        let subscribed = Subscribed { sid, pattern, membership, delivered: 0, max: None, ending: None };
        self.by_number.insert(number, subscribed);
        self.fresh.push(number);
        Ok(())
    }

    /// Ends one, at once or with its `max`th message.
    pub(super) fn remove(&mut self, sid: &str, max: Option<u64>) {
        let Some(&number) = self.by_sid.get(sid) else { return };
        let Some(subscribed) = self.by_number.get_mut(&number) else { return };
        match max {
            Some(max) if max > subscribed.delivered => subscribed.max = Some(max),
            Some(_) => self.forget(number),
            None => {
                let now = Instant::now();
                subscribed.ending =
                    Some(Ending { at: now + QUIET, latest: now + ENDS_WITHIN, since: self.since.len() });
                self.ending.push(number);
                // Its name is free again.
                self.by_sid.remove(sid);
            }
        }
    }

    fn forget(&mut self, number: u64) {
        self.ending.retain(|ending| *ending != number);
        if self.ending.is_empty() {
            self.since.clear();
        }
        if let Some(subscribed) = self.by_number.remove(&number)
            && self.by_sid.get(&subscribed.sid) == Some(&number)
        {
            self.by_sid.remove(&subscribed.sid);
        }
    }

    fn endings(&self) -> impl Iterator<Item = Ending> {
        self.ending.iter().filter_map(|number| self.by_number.get(number)?.ending)
    }

    /// When the next one ends that the client has ended.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.endings().map(|ending| ending.at.min(ending.latest)).min()
    }

    /// By when those have ended that the client has ended so far.
    pub(super) fn last_end(&self) -> Option<Instant> {
        self.endings().map(|ending| ending.latest).max()
    }

    /// Whether some have not ended that were to have ended by then.
    pub(super) fn is_ending_by(&self, then: Option<Instant>) -> bool {
        then.is_some_and(|then| self.endings().any(|ending| ending.latest <= then))
    }

    /// Ends those that are due.
    pub(super) fn end_due(&mut self) {
        let now = Instant::now();
        for number in self.ending.clone() {
            let ending = self.by_number.get(&number).and_then(|subscribed| subscribed.ending);
            if ending.is_none_or(|ending| now >= ending.at || now >= ending.latest) {
                self.forget(number);
            }
        }
    }

    /// Notes what the client has published: what ends does not get it.
    pub(super) fn published(&mut self, id: EventId) {
        if self.ending.is_empty() {
            return;
        }
        if self.since.len() == SINCE_MAX {
            self.ending.clone().into_iter().for_each(|number| self.forget(number));
            return;
        }
        self.since.push(id);
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
    /// wants it; `id` is that of its event.
    pub(super) fn deliver(&mut self, number: u64, subject: &str, id: Option<EventId>) -> Option<Arc<str>> {
        let subscribed = self.by_number.get_mut(&number)?;
        if !Dialect::Nats.matches(&subscribed.pattern, subject) {
            return None;
        }
        let since = subscribed.ending.and_then(|ending| self.since.get(ending.since..)).unwrap_or_default();
        if id.is_some_and(|id| since.contains(&id)) {
            return None;
        }
        subscribed.delivered += 1;
        if let Some(ending) = &mut subscribed.ending {
            ending.at = Instant::now() + QUIET;
        }
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
