//! The receivers and subscriptions that a client wants, whichever router it is connected to.
//!
//! The plan outlives connections. A driver changes the plan and passes the change to the present
//! connection. On a new connection, [`Plan::replay`] asks for every receiver and subscription
//! again, in the order of their numbers, and forgets all acknowledgements.
//!
//! The plan uses a subscription number again only 1,024 subscriptions later, because an answer
//! names a subscription by its number alone and may arrive after the subscription has ended.
//!
//! The selectors of one subscription may be more than a frame holds (1,024 of 4,096 bytes each).
//! The plan then sends it as several subscriptions, its *parts*, each under a number of its own;
//! the first number is the subscription's name. The subscription has come as far as the part that
//! is furthest behind, and [`Plan::name_of`] tells whose part a number is.

use std::collections::BTreeMap;

use millrace_proto::control::{OpenReceiver, OverflowPolicy, Stage, Subscribed};
use millrace_proto::limits::{
    CONTROL_FRAME_BYTES_MAX, RECEIVERS_PER_CONNECTION_MAX, SELECTOR_BYTES_MAX, SELECTORS_PER_RECEIVER_MAX,
    SUBSCRIPTIONS_PER_RECEIVER_MAX,
};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};

pub use super::progress::Progress;
use super::{ConnectionSession, PastRequest};

/// What a client wants of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceiverWish {
    /// What happens when its queue at the router is full.
    pub policy: OverflowPolicy,
    /// Bytes that its queue may hold; 0 = the router's default.
    pub queue_bytes: u64,
    /// How long the router may gather events before it writes them, microseconds.
    pub linger_us: u64,
    /// The group that it is a member of, if it is.
    pub group: Option<GroupWish>,
    /// The name under which events are addressed to it; empty: none.
    pub name: String,
}

/// How a receiver is a member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupWish {
    /// The group.
    pub name: String,
    /// Its level, 1 to 8.
    pub level: u32,
    /// Events that it may have without acknowledging them; 0 = the router's default.
    pub max_inflight: u64,
    /// One member gets everything.
    pub exclusive: bool,
}
/// Why a change of the plan is not possible. The plan stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No receiver number is free.
    #[error("a connection carries at most {RECEIVERS_PER_CONNECTION_MAX} receivers")]
    TooManyReceivers,
    /// No subscription number is free.
    #[error("a receiver has at most {SUBSCRIPTIONS_PER_RECEIVER_MAX} subscriptions")]
    TooManySubscriptions,
    /// Too many selectors.
    #[error("a receiver has at most {SELECTORS_PER_RECEIVER_MAX} selectors")]
    TooManySelectors,
    /// No selector at all; `*` is everything.
    #[error("a subscription needs at least one selector; `*` is everything")]
    NoSelector,
    /// A selector is too long.
    #[error("a selector of {bytes} bytes exceeds the limit of {SELECTOR_BYTES_MAX}")]
    SelectorTooLong {
        /// Its size.
        bytes: usize,
    },
    /// The receiver is not in the plan.
    #[error("receiver {0:?} is not open")]
    UnknownReceiver(ReceiverNumber),
}

#[derive(Debug, Clone, Default)]
struct PlannedReceiver {
    wish: ReceiverWish,
    subscriptions: BTreeMap<SubscriptionNumber, PlannedSubscription>,
    /// Where the search for the next subscription's number begins.
    next_number: u32,
}

impl PlannedReceiver {
    /// The first free number behind the one given last, around the circle.
    fn free_number(&self) -> Option<SubscriptionNumber> {
        (0..SUBSCRIPTIONS_PER_RECEIVER_MAX)
            .map(|step| SubscriptionNumber((self.next_number + step) % SUBSCRIPTIONS_PER_RECEIVER_MAX))
            .find(|number| !self.subscriptions.contains_key(number))
    }
}

/// Bytes of a Subscribe frame besides its selectors, at most.
const FRAME_HEAD_BYTES: usize = 64;
/// Bytes of a selector in a frame besides its text, at most.
const SELECTOR_HEAD_BYTES: usize = 8;

/// A subscription, or a part of one, as it stands on the wire.
#[derive(Debug, Clone)]
struct PlannedSubscription {
    /// Number of the subscription's first part.
    name: SubscriptionNumber,
    selectors: Vec<String>,
    progress: Progress,
}

/// Cuts selectors into parts that fit a frame each.
fn parts(selectors: Vec<String>) -> Vec<Vec<String>> {
    let room = CONTROL_FRAME_BYTES_MAX - FRAME_HEAD_BYTES;
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for selector in selectors {
        let size = selector.len() + SELECTOR_HEAD_BYTES;
        if bytes + size > room {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(selector);
        }
    }
    parts
}

/// The receivers and subscriptions that a client wants. See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Plan {
    receivers: BTreeMap<ReceiverNumber, PlannedReceiver>,
}

impl Plan {
    /// A plan without receivers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a receiver under the lowest free number.
    ///
    /// # Errors
    /// [`PlanError::TooManyReceivers`].
    pub fn open_receiver(&mut self, wish: ReceiverWish) -> Result<ReceiverNumber, PlanError> {
        let number = (0..RECEIVERS_PER_CONNECTION_MAX)
            .map(ReceiverNumber)
            .find(|number| !self.receivers.contains_key(number))
            .ok_or(PlanError::TooManyReceivers)?;
        self.receivers.insert(number, PlannedReceiver { wish, ..PlannedReceiver::default() });
        Ok(number)
    }

    /// Plans a receiver under a number that the caller chose.
    ///
    /// # Errors
    /// [`PlanError::TooManyReceivers`] when the number is taken or too high.
    pub fn open_receiver_as(&mut self, number: ReceiverNumber, wish: ReceiverWish) -> Result<(), PlanError> {
        if number.0 >= RECEIVERS_PER_CONNECTION_MAX || self.receivers.contains_key(&number) {
            return Err(PlanError::TooManyReceivers);
        }
        self.receivers.insert(number, PlannedReceiver { wish, ..PlannedReceiver::default() });
        Ok(())
    }

    /// What is wished of a planned receiver.
    #[must_use]
    pub fn wish(&self, receiver: ReceiverNumber) -> Option<&ReceiverWish> {
        self.receivers.get(&receiver).map(|planned| &planned.wish)
    }

    /// Takes a receiver and its subscriptions out of the plan.
    pub fn close_receiver(&mut self, receiver: ReceiverNumber) {
        self.receivers.remove(&receiver);
    }

    /// Plans a subscription under the receiver's next free number, from 0 to 1,023 and around.
    /// Selectors that do not fit one frame take a number for each frame: see [`Plan::parts`]. The
    /// plan does not check the grammar of selectors; the router does.
    ///
    /// # Errors
    /// [`PlanError`] names the bound.
    pub fn subscribe(
        &mut self,
        receiver: ReceiverNumber,
        selectors: Vec<String>,
    ) -> Result<SubscriptionNumber, PlanError> {
        let planned = self.receivers.get_mut(&receiver).ok_or(PlanError::UnknownReceiver(receiver))?;
        if selectors.is_empty() {
            return Err(PlanError::NoSelector);
        }
        if let Some(long) = selectors.iter().find(|selector| selector.len() > SELECTOR_BYTES_MAX) {
            return Err(PlanError::SelectorTooLong { bytes: long.len() });
        }
        let count: usize = planned.subscriptions.values().map(|other| other.selectors.len()).sum();
        if count + selectors.len() > SELECTORS_PER_RECEIVER_MAX {
            return Err(PlanError::TooManySelectors);
        }
        let parts = parts(selectors);
        if planned.subscriptions.len() + parts.len() > SUBSCRIPTIONS_PER_RECEIVER_MAX as usize {
            return Err(PlanError::TooManySubscriptions);
        }
        let mut name = None;
        for selectors in parts {
            let number = planned.free_number().ok_or(PlanError::TooManySubscriptions)?;
            let name = *name.get_or_insert(number);
            planned.next_number = number.0 + 1;
            let progress = Progress::Asked;
            planned.subscriptions.insert(number, PlannedSubscription { name, selectors, progress });
        }
        name.ok_or(PlanError::NoSelector)
    }

    /// The numbers under which a subscription stands on the wire, ascending; usually its own alone.
    pub fn parts(
        &self,
        receiver: ReceiverNumber,
        subscription: SubscriptionNumber,
    ) -> impl Iterator<Item = SubscriptionNumber> {
        let planned = self.receivers.get(&receiver).map(|planned| planned.subscriptions.iter());
        planned
            .into_iter()
            .flatten()
            .filter(move |(_, part)| part.name == subscription)
            .map(|(&number, _)| number)
    }

    /// The subscription that a number on the wire belongs to.
    #[must_use]
    pub fn name_of(
        &self,
        receiver: ReceiverNumber,
        number: SubscriptionNumber,
    ) -> Option<SubscriptionNumber> {
        Some(self.receivers.get(&receiver)?.subscriptions.get(&number)?.name)
    }

    /// Takes a subscription out of the plan, with all its parts.
    pub fn unsubscribe(&mut self, receiver: ReceiverNumber, subscription: SubscriptionNumber) {
        if let Some(planned) = self.receivers.get_mut(&receiver) {
            planned.subscriptions.retain(|_, part| part.name != subscription);
        }
    }

    /// The planned receivers.
    pub fn receivers(&self) -> impl Iterator<Item = ReceiverNumber> {
        self.receivers.keys().copied()
    }

    /// The numbers of a receiver's subscriptions and their parts, ascending.
    pub fn subscriptions(&self, receiver: ReceiverNumber) -> impl Iterator<Item = SubscriptionNumber> {
        let planned = self.receivers.get(&receiver).map(|planned| planned.subscriptions.keys().copied());
        planned.into_iter().flatten()
    }

    /// The selectors of one part of a planned subscription.
    #[must_use]
    pub fn selectors(&self, receiver: ReceiverNumber, subscription: SubscriptionNumber) -> Option<&[String]> {
        let planned = self.receivers.get(&receiver)?.subscriptions.get(&subscription)?;
        Some(&planned.selectors)
    }

    /// The progress of the slowest part of a subscription. Its list of those left out stands for
    /// all parts.
    #[must_use]
    pub fn progress(&self, receiver: ReceiverNumber, subscription: SubscriptionNumber) -> Option<&Progress> {
        let planned = self.receivers.get(&receiver)?.subscriptions.values();
        let parts = planned.filter(|part| part.name == subscription).map(|part| &part.progress);
        parts.max_by_key(|progress| progress.behind())
    }

    /// The request that opens a planned receiver with a first grant of `grant` bytes.
    #[must_use]
    pub fn open_request(&self, receiver: ReceiverNumber, grant: u64) -> Option<OpenReceiver> {
        let ReceiverWish { policy, queue_bytes, linger_us, group, name: own_name } =
            self.receivers.get(&receiver)?.wish.clone();
        let GroupWish { name: group, level, max_inflight, exclusive } = group.unwrap_or_default();
        Some(OpenReceiver {
            receiver,
            policy,
            queue_bytes,
            linger_us,
            grant,
            name: own_name,
            group,
            level,
            max_inflight,
            exclusive,
        })
    }

    /// Notes an acknowledgement. One for a subscription that is not planned changes nothing.
    pub fn on_subscribed(&mut self, subscribed: &Subscribed) {
        let Subscribed { receiver, subscription, stage, left_out, unanswered, left_out_publishers } =
            subscribed;
        let planned = self.receivers.get_mut(receiver).and_then(|it| it.subscriptions.get_mut(subscription));
        if let Some(planned) = planned {
            match (stage, &planned.progress) {
                (Stage::Router, Progress::Cluster { .. }) => {}
                (Stage::Router, _) => planned.progress = Progress::Router,
                (Stage::Cluster, _) => {
                    planned.progress = Progress::Cluster {
                        left_out: left_out.clone(),
                        unanswered: *unanswered,
                        left_out_publishers: left_out_publishers.clone(),
                    };
                }
                // Nothing waits for a stage that only a later protocol version knows.
                (_, _) => {}
            }
        }
    }

    /// Takes over how far subscriptions have come on another connection, on which `other`, a copy
    /// of this plan, was asked for. What was planned since has not come anywhere.
    pub fn take_progress(&mut self, other: &Self) {
        for (number, receiver) in &mut self.receivers {
            let there = other.receivers.get(number);
            for (number, planned) in &mut receiver.subscriptions {
                let same = there.and_then(|there| there.subscriptions.get(number));
                let same = same.filter(|same| same.selectors == planned.selectors);
                planned.progress = same.map_or(Progress::Asked, |same| same.progress.clone());
            }
        }
    }

    /// Whether every subscription is effective in the cluster.
    #[must_use]
    pub fn is_effective(&self) -> bool {
        let mut all = self.receivers.values().flat_map(|receiver| receiver.subscriptions.values());
        all.all(|planned| matches!(planned.progress, Progress::Cluster { .. }))
    }

    /// Whether every subscription that `other` has, too, is effective in the cluster.
    #[must_use]
    pub fn is_effective_for(&self, other: &Self) -> bool {
        let has = |receiver, subscription| {
            other.receivers.get(receiver).is_some_and(|there| there.subscriptions.contains_key(subscription))
        };
        let all = self.receivers.iter().flat_map(|(number, receiver)| {
            receiver.subscriptions.iter().map(move |(subscription, here)| (number, subscription, here))
        });
        let mut shared = all.filter(|&(number, subscription, _)| has(number, subscription));
        shared.all(|(.., here)| matches!(here.progress, Progress::Cluster { .. }))
    }

    /// Whether every subscription reaches as many of the known routers as in `other`. Addresses at
    /// which nobody answers do not count, because routers tell each other whom they know.
    #[must_use]
    pub fn reaches_as_much_as(&self, other: &Self) -> bool {
        let all = self.receivers.iter().flat_map(|(number, receiver)| {
            receiver.subscriptions.iter().map(move |(subscription, here)| (number, subscription, here))
        });
        all.into_iter().all(|(number, subscription, here)| {
            let there = other.receivers.get(number).and_then(|it| it.subscriptions.get(subscription));
            let lacks = |progress: &Progress| match progress {
                Progress::Cluster { left_out, .. } => left_out.clone(),
                Progress::Asked | Progress::Router => Vec::new(),
            };
            let before = there.map(|there| lacks(&there.progress)).unwrap_or_default();
            lacks(&here.progress).iter().all(|router| before.contains(router))
        })
    }

    /// Forgets all acknowledgements, because the connection that carried them is lost.
    pub fn on_lost(&mut self) {
        for planned in self.receivers.values_mut().flat_map(|receiver| receiver.subscriptions.values_mut()) {
            planned.progress = Progress::Asked;
        }
    }

    /// Asks a new connection for every receiver and subscription; each receiver's first grant is
    /// `grant` bytes.
    ///
    /// `past` says what each subscription asks for of the past, if it does.
    pub fn replay(
        &mut self,
        connection: &mut ConnectionSession,
        grant: u64,
        mut past: impl FnMut(SubscriptionNumber) -> Option<PastRequest>,
    ) {
        self.on_lost();
        for (&number, receiver) in &self.receivers {
            if let Some(request) = self.open_request(number, grant) {
                connection.open_receiver(&request);
            }
            for (&subscription, planned) in &receiver.subscriptions {
                match past(subscription) {
                    Some(past) => {
                        connection.subscribe_from(number, subscription, &planned.selectors, past);
                    }
                    None => connection.subscribe(number, subscription, &planned.selectors),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::RouterId;

    use super::*;
    use crate::session::ConnectionConfig;
    use crate::time::Time;

    fn acknowledge(plan: &mut Plan, stage: Stage) {
        plan.on_subscribed(&Subscribed { stage, left_out: vec![RouterId(3)], ..Subscribed::default() });
    }

    #[test]
    fn acknowledgements_start_from_nothing_on_a_new_connection() {
        let mut plan = Plan::new();
        let receiver = plan.open_receiver(ReceiverWish::default()).unwrap();
        let subscription = plan.subscribe(receiver, vec!["*".into()]).unwrap();
        acknowledge(&mut plan, Stage::Router);
        assert_eq!(plan.progress(receiver, subscription), Some(&Progress::Router));
        acknowledge(&mut plan, Stage::Cluster);
        acknowledge(&mut plan, Stage::Router);
        assert!(
            matches!(plan.progress(receiver, subscription), Some(Progress::Cluster { left_out, .. }) if left_out.len() == 1)
        );
        let mut connection = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
        let moving = plan.clone();
        plan.replay(&mut connection, 64, |_| None);
        assert_eq!(plan.progress(receiver, subscription), Some(&Progress::Asked));
        assert!(moving.is_effective_for(&plan) && !plan.is_effective_for(&moving));
        assert!(plan.is_effective_for(&Plan::new()), "what was planned since does not matter");
    }

    #[test]
    fn a_late_answer_about_an_ended_subscription_is_not_taken_for_the_next_one() {
        let mut plan = Plan::new();
        let receiver = plan.open_receiver(ReceiverWish::default()).unwrap();
        let ended = plan.subscribe(receiver, vec!["a".into()]).unwrap();
        plan.unsubscribe(receiver, ended);
        let next = plan.subscribe(receiver, vec!["b".into()]).unwrap();
        acknowledge(&mut plan, Stage::Cluster);
        assert_eq!(plan.progress(receiver, next), Some(&Progress::Asked));
    }

    #[test]
    fn selectors_that_fill_several_frames_are_one_subscription() {
        let mut plan = Plan::new();
        let receiver = plan.open_receiver(ReceiverWish::default()).unwrap();
        let selectors = vec!["x".repeat(SELECTOR_BYTES_MAX); SELECTORS_PER_RECEIVER_MAX];
        let name = plan.subscribe(receiver, selectors).unwrap();
        let parts: Vec<_> = plan.parts(receiver, name).collect();
        assert_eq!((parts[0], parts.len()), (name, 69));
        let mut connection = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
        for &part in &parts {
            let selectors = plan.selectors(receiver, part).unwrap();
            connection.subscribe(receiver, part, selectors);
            let bytes: usize = selectors.iter().map(|selector| selector.len() + SELECTOR_HEAD_BYTES).sum();
            assert!(bytes <= CONTROL_FRAME_BYTES_MAX);
            assert_eq!(plan.name_of(receiver, part), Some(name));
            assert_ne!(plan.progress(receiver, name), Some(&Progress::Router));
            let answer =
                Subscribed { receiver, subscription: part, stage: Stage::Router, ..Subscribed::default() };
            plan.on_subscribed(&answer);
        }
        assert_eq!(plan.progress(receiver, name), Some(&Progress::Router), "all parts are there");
        plan.unsubscribe(receiver, name);
        assert_eq!(plan.parts(receiver, name).count(), 0);
    }

    #[test]
    fn numbers_are_given_in_turn_and_come_around() {
        let mut plan = Plan::new();
        let receiver = plan.open_receiver(ReceiverWish::default()).unwrap();
        let kept = plan.subscribe(receiver, vec!["*".into()]).unwrap();
        assert_eq!(kept, SubscriptionNumber(0));
        for expected in (1..SUBSCRIPTIONS_PER_RECEIVER_MAX).chain(1..3) {
            let number = plan.subscribe(receiver, vec!["*".into()]).unwrap();
            assert_eq!(number, SubscriptionNumber(expected));
            plan.unsubscribe(receiver, number);
        }
    }

    #[test]
    fn numbers_are_reused_and_bounds_are_named() {
        let mut plan = Plan::new();
        let first = plan.open_receiver(ReceiverWish::default()).unwrap();
        let second = plan.open_receiver(ReceiverWish::default()).unwrap();
        plan.close_receiver(first);
        assert_eq!(plan.open_receiver(ReceiverWish::default()), Ok(first));
        assert_eq!(plan.subscribe(second, vec![]), Err(PlanError::NoSelector));
        let all = vec!["*".to_owned(); SELECTORS_PER_RECEIVER_MAX];
        assert_eq!(plan.subscribe(second, all), Ok(SubscriptionNumber(0)));
        assert_eq!(plan.subscribe(second, vec!["*".into()]), Err(PlanError::TooManySelectors));
        plan.unsubscribe(second, SubscriptionNumber(0));
        assert_eq!(plan.subscribe(second, vec!["*".into()]), Ok(SubscriptionNumber(1)));
        let long = PlanError::SelectorTooLong { bytes: 5_000 };
        assert_eq!(plan.subscribe(second, vec!["x".repeat(5_000)]), Err(long));
    }
}
