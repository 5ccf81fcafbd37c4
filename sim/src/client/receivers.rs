//! A client that receives: a plan of receivers and subscriptions, replayed on each connection, and programs that take
//! events, some slowly.

use std::collections::BTreeMap;
use std::fmt;

use millrace_client::session::plan::{Progress, ReceiverWish};
use millrace_client::session::{
    ConnectionSession, DeliveredRun, DeliverySink, Plan, PreambleReader, ReceiverConfig, ReceiverSession,
    SessionError, StreamFor,
};
use millrace_engine::time::Time;
use millrace_engine::transport::StreamKey;
use millrace_proto::control::{Stage, Subscribed, TableCapacity};
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, Selector, SubscriptionNumber};
use millrace_verify::checker::Delivery;
use millrace_verify::checker::convergence::Selectors;
use rand::RngExt;

use super::Around;
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
    streams: BTreeMap<StreamKey, Incoming>,
}

#[derive(Debug)]
struct Receiver {
    setup: ReceiverSetup,
    /// Its number for the checkers, in the session of the moment.
    session_number: Option<u32>,
    session: ReceiverSession,
    slow: bool,
    subscriptions: BTreeMap<SubscriptionNumber, Vec<Selector>>,
    /// A subscription that was ended, and the one that was asked for behind it.
    ending: Option<(SubscriptionNumber, SubscriptionNumber)>,
}

#[derive(Debug)]
enum Incoming {
    Preamble(PreambleReader),
    Receiver(ReceiverNumber),
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
            let session = ReceiverSession::new(ReceiverConfig::default());
            let receiver =
                Receiver { setup, session_number: None, session, slow: false, subscriptions, ending: None };
            receivers.insert(number, receiver);
        }
        Self { plan, receivers, streams: BTreeMap::new() }
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

    pub(super) fn started(
        &mut self,
        tables: TableCapacity,
        connection: &mut ConnectionSession,
        around: &mut Around<'_>,
    ) {
        let now = around.queue.now();
        for (&number, receiver) in &mut self.receivers {
            let session = around.record.new_receiver();
            receiver.session_number = Some(session);
            receiver.session = ReceiverSession::new(ReceiverConfig {
                receiver: number,
                window_bytes: receiver.setup.window_bytes,
                tables,
            });
            receiver.ending = None;
            for (subscription, selectors) in &receiver.subscriptions {
                around.record.asked(session, subscription.0, selectors.clone(), now);
            }
            // `Plan::replay` gives all receivers one first grant; these have one each.
            let grant = receiver.session.first_grant();
            if let Some(request) = self.plan.open_request(number, grant) {
                connection.open_receiver(&request);
            }
            for (&subscription, selectors) in &receiver.subscriptions {
                connection.subscribe(number, subscription, &texts(selectors));
            }
        }
    }

    pub(super) fn lost(&mut self, heard: Time, record: &mut Record) {
        self.plan.on_lost();
        self.streams.clear();
        for receiver in self.receivers.values_mut() {
            if let Some(session) = receiver.session_number.take() {
                record.checker.lapsed(session, heard.0);
            }
            receiver.ending = None;
        }
    }

    pub(super) fn stream_opened(&mut self, stream: StreamKey) {
        self.streams.insert(stream, Incoming::Preamble(PreambleReader::new()));
    }

    pub(super) fn data(
        &mut self,
        stream: StreamKey,
        mut chunk: &[u8],
        record: &mut Record,
    ) -> Result<(), SessionError> {
        let Some(incoming) = self.streams.get_mut(&stream) else { return Ok(()) };
        if let Incoming::Preamble(preamble) = incoming {
            let Some((stream, taken)) = preamble.feed(chunk)? else { return Ok(()) };
            let StreamFor::Receiver(number) = stream else {
                return Err(SessionError::Unexpected { frame: "a stream that was not asked for" });
            };
            *incoming = Incoming::Receiver(number);
            chunk = &chunk[taken..];
        }
        let Incoming::Receiver(number) = incoming else { return Ok(()) };
        let Some(receiver) = self.receivers.get_mut(number) else {
            return Err(SessionError::Unexpected { frame: "a stream for a receiver that is not open" });
        };
        let Some(session) = receiver.session_number else { return Ok(()) };
        receiver.session.data(chunk, &mut Application { session, record })?;
        if !receiver.slow {
            receiver.session.consumed(chunk.len() as u64);
        }
        Ok(())
    }

    pub(super) fn grant(&mut self, connection: &mut ConnectionSession) {
        for (&number, receiver) in &mut self.receivers {
            if receiver.session_number.is_some()
                && let Some(bytes) = receiver.session.poll_grant()
            {
                connection.grant(number, bytes);
            }
        }
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

    pub(super) fn churn(&mut self, connection: &mut ConnectionSession, around: &mut Around<'_>) {
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

    pub(super) fn set_slow(&mut self, receiver: u32, slow: bool) {
        for state in self.receivers.values_mut().filter(|state| state.setup.number == receiver) {
            state.slow = slow;
            if !slow {
                state.session.consumed(u64::MAX / 2);
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

/// The program that takes events.
struct Application<'a> {
    session: u32,
    record: &'a mut Record,
}

impl DeliverySink for Application<'_> {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let matched: Vec<u32> = run.matched().collect();
        for event in run.events() {
            let delivery = Delivery {
                receiver: self.session,
                tags: run.tags,
                payload: event.payload,
                matched: &matched,
            };
            self.record.delivered(delivery);
        }
    }

    fn gap(&mut self, _: ReceiverNumber, gap: &Gap) {
        self.record.gap(self.session, gap);
    }
}
