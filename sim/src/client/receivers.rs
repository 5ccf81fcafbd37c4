//! A client that receives: a plan of receivers and subscriptions, replayed on each connection, and programs that take
//! events, some slowly.

use std::collections::BTreeMap;
use std::fmt;

use millrace_attach::ClientConnection;
use millrace_client::session::plan::{Progress, ReceiverWish};
use millrace_client::session::{DeliveredRun, DeliverySink, Plan};
use millrace_engine::time::Time;
use millrace_proto::control::{Stage, Subscribed};
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, Selector, SubscriptionNumber};
use millrace_verify::checker::Delivery;
use millrace_verify::checker::convergence::Selectors;
use rand::RngExt;

use super::surroundings::Surroundings;
use crate::record::Record;
use crate::router::told;

/// What one receiver is to do.
#[derive(Debug, Clone)]
pub struct ReceiverSetup {
    /// Its number among all receivers.
    pub number: u32,
    /// How it is opened.
    pub wish: ReceiverWish,
    /// Bytes that may be on the way to its application.
    pub window_bytes: u64,
    /// What it subscribes to at first.
    pub first: Vec<Vec<Selector>>,
    /// What it may subscribe to later.
    pub pool: Vec<Vec<Selector>>,
}

/// A receiving client.
#[derive(Debug)]
pub struct Receivers {
    plan: Plan,
    receivers: BTreeMap<ReceiverNumber, Receiver>,
}

#[derive(Debug)]
struct Receiver {
    setup: ReceiverSetup,
    /// Its number for the checkers, in the session of the moment.
    session_number: Option<u32>,
    slow: bool,
    subscriptions: BTreeMap<SubscriptionNumber, Vec<Selector>>,
    /// A subscription that was ended, and the one that was asked for behind it.
    ending: Option<(SubscriptionNumber, SubscriptionNumber)>,
}

impl Receivers {
    /// Receivers that are not connected.
    #[must_use]
    pub fn new(setups: Vec<ReceiverSetup>) -> Self {
        let mut plan = Plan::new();
        let mut receivers = BTreeMap::new();
        for setup in setups {
            let Ok(number) = plan.open_receiver(setup.wish) else { continue };
            let mut subscriptions = BTreeMap::new();
            for selectors in &setup.first {
                if let Ok(subscription) = plan.subscribe(number, texts(selectors)) {
                    subscriptions.insert(subscription, selectors.clone());
                }
            }
            let receiver = Receiver { setup, session_number: None, slow: false, subscriptions, ending: None };
            receivers.insert(number, receiver);
        }
        Self { plan, receivers }
    }

    /// Receivers on this connection.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.receivers.len()).unwrap_or(u32::MAX)
    }

    /// Whether every subscription is effective in the cluster.
    #[must_use]
    pub fn are_effective(&self) -> bool {
        self.receivers.iter().all(|(&receiver, state)| {
            state.ending.is_none()
                && state.subscriptions.keys().all(|&subscription| {
                    matches!(self.plan.progress(receiver, subscription), Some(Progress::Cluster { .. }))
                })
        })
    }

    /// What routers are to know of them.
    pub fn wanted(&self, wanted: &mut Selectors) {
        let selectors = self.receivers.values().flat_map(|state| state.subscriptions.values().flatten());
        wanted.extend(selectors.map(told));
    }

    pub(super) fn started(&mut self, connection: &mut ClientConnection, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        for (&number, receiver) in &mut self.receivers {
            let session = around.record.new_receiver();
            receiver.session_number = Some(session);
            receiver.ending = None;
            for (subscription, selectors) in &receiver.subscriptions {
                around.record.asked(session, subscription.0, selectors.clone(), now);
            }
            let window_bytes = receiver.setup.window_bytes;
            if let Some(request) = self.plan.open_request(number, window_bytes)
                && let Err(error) = connection.open_receiver(request, window_bytes)
            {
                around.record.findings.add("session", || format!("receiver {}: {error}", number.0));
            }
            if receiver.slow {
                connection.hold(number);
            }
            for (&subscription, selectors) in &receiver.subscriptions {
                connection.subscribe(number, subscription, &texts(selectors));
            }
        }
    }

    pub(super) fn lost(&mut self, heard: Time, record: &mut Record) {
        self.plan.on_lost();
        for receiver in self.receivers.values_mut() {
            if let Some(session) = receiver.session_number.take() {
                record.checker.lapsed(session, heard.0);
            }
            receiver.ending = None;
        }
    }

    /// The programs that take what arrives on the connection of the moment.
    pub(super) fn programs<'a>(&'a self, record: &'a mut Record) -> Programs<'a> {
        Programs(Some((&self.receivers, record)))
    }

    pub(super) fn subscribed(&mut self, subscribed: &Subscribed, now: Time, record: &mut Record) {
        self.plan.on_subscribed(subscribed);
        let Some(receiver) = self.receivers.get_mut(&subscribed.receiver) else { return };
        let Some(session) = receiver.session_number else { return };
        let subscription = subscribed.subscription;
        if subscribed.stage == Stage::Cluster && receiver.subscriptions.contains_key(&subscription) {
            let Subscribed { left_out, unanswered, .. } = subscribed;
            record.checker.effective(session, subscription.0, now.0, left_out, *unanswered > 0);
        }
        if let Some((ended, behind)) = receiver.ending
            && behind == subscription
        {
            // The router took the end before this request.
            record.checker.unsubscribed(session, ended.0, now.0);
            receiver.ending = None;
        }
    }

    pub(super) fn churn(&mut self, connection: &mut ClientConnection, around: &mut Surroundings<'_>) {
        let now = around.queue.now();
        let at = around.rng.random_range(0..self.receivers.len().max(1));
        let Some((&number, receiver)) = self.receivers.iter_mut().nth(at) else { return };
        let Some(session) = receiver.session_number else { return };
        if receiver.ending.is_some() || receiver.setup.pool.is_empty() {
            return;
        }
        let ended = receiver.subscriptions.keys().nth(around.rng.random_range(0..3)).copied();
        let selectors = receiver.setup.pool[around.rng.random_range(0..receiver.setup.pool.len())].clone();
        // Planned before the other goes, so that it has another number.
        let Ok(subscription) = self.plan.subscribe(number, texts(&selectors)) else { return };
        if let Some(ended) = ended {
            self.plan.unsubscribe(number, ended);
            receiver.subscriptions.remove(&ended);
            receiver.ending = Some((ended, subscription));
            around.record.checker.unsubscribe(session, ended.0, now.0);
            connection.unsubscribe(number, ended);
        }
        around.record.asked(session, subscription.0, selectors.clone(), now);
        connection.subscribe(number, subscription, &texts(&selectors));
        receiver.subscriptions.insert(subscription, selectors);
    }

    pub(super) fn set_slow(
        &mut self,
        receiver: u32,
        slow: bool,
        mut connection: Option<&mut ClientConnection>,
    ) {
        for (&number, state) in self.receivers.iter_mut().filter(|(_, state)| state.setup.number == receiver)
        {
            state.slow = slow;
            match &mut connection {
                Some(connection) if slow => connection.hold(number),
                Some(connection) => connection.release(number),
                None => {}
            }
        }
    }
}

impl fmt::Display for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (&number, state) in &self.receivers {
            for &subscription in state.subscriptions.keys() {
                let progress = self.plan.progress(number, subscription);
                write!(f, "receiver {}, subscription {}: {progress:?}; ", number.0, subscription.0)?;
            }
        }
        Ok(())
    }
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(|selector| selector.text().to_owned()).collect()
}

/// The programs that take events: none for a client that publishes.
#[derive(Debug, Default)]
pub(super) struct Programs<'a>(Option<(&'a BTreeMap<ReceiverNumber, Receiver>, &'a mut Record)>);

impl Programs<'_> {
    /// The checkers' number of a receiver's session, and where to note what it takes.
    fn of(&mut self, receiver: ReceiverNumber) -> Option<(u32, &mut Record)> {
        let (receivers, record) = self.0.as_mut()?;
        Some((receivers.get(&receiver)?.session_number?, record))
    }
}

impl DeliverySink for Programs<'_> {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let Some((receiver, record)) = self.of(run.receiver) else { return };
        let matched: Vec<u32> = run.matched().collect();
        for event in run.events() {
            record.delivered(Delivery {
                receiver,
                tags: run.tags,
                payload: event.payload,
                matched: &matched,
            });
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        if let Some((receiver, record)) = self.of(receiver) {
            record.gap(receiver, gap);
        }
    }
}
