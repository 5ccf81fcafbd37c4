//! What a session is subscribed to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::limits::NAME_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use super::codec::{Code, Qos, Wish};
use crate::doors::naming::{Dialect, Mapping};
use crate::upstream::{Feeds, Mailbox, Member, Membership};

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// `SUBACK` waits for subscriptions to be effective, but no longer: a cluster takes milliseconds.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);
/// What a shared subscription begins with (MQTT 5, section 4.8.2).
const SHARE: &str = "$share/";

/// What a subscription has of the cluster.
#[derive(Debug)]
enum Joined {
    Reader(Box<Membership>),
    Member(Member),
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    /// Which topics it matches.
    pub(super) filter: String,
    pub(super) qos: Qos,
    pub(super) no_local: bool,
    /// The client's number of it.
    pub(super) identifier: Option<u32>,
    group: Option<String>,
    /// `None` in a session without a connection, for those of a group.
    joined: Option<Joined>,
}

/// What subscriptions need of the door.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) feeds: &'a Feeds,
    pub(super) mailbox: &'a Arc<Mailbox>,
}

/// The subscriptions of a session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_number: BTreeMap<u64, Subscribed>,
    /// By the topic filter as the client wrote it.
    by_filter: HashMap<String, u64>,
    /// Those that are not known to be effective.
    fresh: Vec<u64>,
    next: u64,
}

/// Group and topic filter of a shared subscription, or a topic filter alone.
fn parts(text: &str) -> Option<(Option<&str>, &str)> {
    let Some(shared) = text.strip_prefix(SHARE) else { return Some((None, text)) };
    let (group, filter) = shared.split_once('/')?;
    let is_name = !group.is_empty() && group.len() <= NAME_BYTES_MAX && !group.contains(['+', '#']);
    is_name.then_some((Some(group), filter))
}

impl Subscriptions {
    /// Adds one, or changes the options of one with the same topic filter. Returns what is granted.
    ///
    /// # Errors
    /// Why not, as a reason code.
    pub(super) fn add(&mut self, wish: &Wish, identifier: Option<u32>, way: Way<'_>) -> Result<Code, Code> {
        let Wish { filter: text, qos, no_local } = wish;
        let granted = Code(u8::from(*qos == Qos::AtLeastOnce));
        let known = self.by_filter.get(text).and_then(|number| self.by_number.get_mut(number));
        if let Some(known) = known {
            (known.qos, known.no_local, known.identifier) = (*qos, *no_local, identifier);
            return Ok(granted);
        }
        let (group, filter) = parts(text).ok_or(Code::FILTER)?;
        if !Dialect::Mqtt.is_pattern(filter) {
            return Err(Code::FILTER);
        }
        if self.by_number.len() >= SUBSCRIPTIONS_MAX {
            return Err(Code::QUOTA);
        }
        let number = self.next;
        let joined = join(filter, group, number, way).ok_or(Code::FILTER)?;
        self.next += 1;
        let subscribed = Subscribed {
            filter: filter.to_owned(),
            qos: *qos,
            no_local: *no_local,
            identifier,
            group: group.map(str::to_owned),
            joined: Some(joined),
        };
        self.by_filter.insert(text.clone(), number);
        self.by_number.insert(number, subscribed);
        self.fresh.push(number);
        Ok(granted)
    }

    /// Ends one. Returns whether there was one.
    pub(super) fn remove(&mut self, text: &str) -> bool {
        let number = self.by_filter.remove(text);
        number.and_then(|number| self.by_number.remove(&number)).is_some()
    }

    /// Waits until nothing that is published is missed.
    pub(super) async fn effective(&mut self) {
        let until = Instant::now() + EFFECTIVE_WITHIN;
        for number in std::mem::take(&mut self.fresh) {
            // What is refused ends the mailbox, and what takes longer is effective later.
            let joined = self.by_number.get(&number).and_then(|subscribed| subscribed.joined.as_ref());
            match joined {
                Some(Joined::Reader(membership)) => drop(timeout_at(until, membership.effective()).await),
                Some(Joined::Member(member)) => drop(timeout_at(until, member.effective()).await),
                None => {}
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Subscribed> {
        self.by_number.get(&number)
    }

    /// Whether some are not for what this client publishes itself.
    pub(super) fn has_no_local(&self) -> bool {
        self.by_number.values().any(|subscribed| subscribed.no_local)
    }

    /// Leaves all groups, because a client without a connection does no work.
    pub(super) fn leave_groups(&mut self) {
        for subscribed in self.by_number.values_mut().filter(|subscribed| subscribed.group.is_some()) {
            subscribed.joined = None;
        }
    }

    /// Joins the groups that were left.
    pub(super) fn join_groups(&mut self, way: Way<'_>) {
        for (number, subscribed) in &mut self.by_number {
            if subscribed.joined.is_none() {
                subscribed.joined = join(&subscribed.filter, subscribed.group.as_deref(), *number, way);
                self.fresh.push(*number);
            }
        }
    }
}

fn join(filter: &str, group: Option<&str>, number: u64, way: Way<'_>) -> Option<Joined> {
    let Way { mapping, feeds, mailbox } = way;
    let selectors = mapping.selectors(filter);
    match group {
        None => feeds.join(selectors, number, mailbox).ok().map(Box::new).map(Joined::Reader),
        Some(group) => feeds.join_as_member(selectors, group, number, mailbox).ok().map(Joined::Member),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_subscription_has_a_group_and_a_filter() {
        assert_eq!(parts("a/b"), Some((None, "a/b")));
        assert_eq!(parts("$share/g/a/#"), Some((Some("g"), "a/#")));
        assert_eq!(parts("$share/g//a"), Some((Some("g"), "/a")));
        assert_eq!(parts("$shared/g/a"), Some((None, "$shared/g/a")));
        let long = format!("$share/{}/a", "x".repeat(NAME_BYTES_MAX + 1));
        for wrong in ["$share/", "$share/g", "$share//a", "$share/+/a", "$share/g#/a", &long] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
