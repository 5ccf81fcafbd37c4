//! A client that receives: a plan of receivers and subscriptions, replayed on each connection, and
//! programs that take events, some slowly.

use std::collections::BTreeMap;
use std::fmt;

use millrace_attach::ClientConnection;
use millrace_client::session::plan::{Progress, ReceiverWish};
use millrace_client::session::receiver::Echo;
use millrace_client::session::{Dedup, Place, Plan};
use millrace_engine::time::Time;
use millrace_proto::control::{OverflowPolicy, Stage, Subscribed};
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{ReceiverNumber, Selector, SubscriptionNumber};
use millrace_verify::checker::convergence::Selectors;
use millrace_verify::checker::interest::LeftOut;
use millrace_verify::checker::session::Session;
use rand::RngExt;

use super::acks::{AckHabit, Acks};
use super::moving::Move;
use super::reading::{PastWish, QUIET, Reading};
use super::surroundings::Surroundings;
use super::wanted::told;
use crate::record::Record;

/// What one receiver is to do.
#[derive(Debug, Clone)]
pub struct ReceiverSetup {
    /// Its number among all receivers.
    pub number: u32,
    /// How it is opened.
    pub wish: ReceiverWish,
    /// Bytes that may be on the way to its application.
    pub window_bytes: u64,
    /// How its application acknowledges.
    pub acks: AckHabit,
    /// What it subscribes to at first.
    pub first: Vec<Vec<Selector>>,
    /// What it may subscribe to later.
    pub pool: Vec<Vec<Selector>>,
    /// What it wants of the past, if it does.
    pub past: Option<PastWish>,
    /// The standby set that it wants, and nothing else.
    pub watches: Option<u32>,
}

/// What a receiving client is to do.
#[derive(Debug, Clone)]
pub struct ReceivingClient {
    /// Its receivers.
    pub receivers: Vec<ReceiverSetup>,
    /// Whether it acknowledges what publishers want acknowledged.
    pub confirms: bool,
}

/// A receiving client.
#[derive(Debug)]
pub struct Receivers {
    pub(super) receivers: BTreeMap<ReceiverNumber, Receiver>,
    /// Whether their client acknowledges at all.
    confirms: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) setup: ReceiverSetup,
    /// Its own plan, because its end on a shared stream is no other's.
    pub(super) plan: Plan,
    /// Its number for the checkers, in the session of the moment.
    pub(super) session_number: Option<u32>,
    slow: bool,
    /// What it has had, in all its sessions.
    pub(super) dedup: Dedup,
    pub(super) acks: Acks,
    pub(super) subscriptions: BTreeMap<SubscriptionNumber, Vec<Selector>>,
    /// A subscription that was ended, and the one that was asked for behind it.
    ending: Option<(SubscriptionNumber, SubscriptionNumber)>,
    /// Its move to the next router.
    pub(super) moving: Option<Box<Move>>,
    /// What the router that it has moved from has brought, and the present one may bring again.
    pub(super) echo: Option<Echo>,
    /// How it reads the past.
    pub(super) reading: Option<Reading>,
    /// When it was given something last.
    pub(super) given_at: Time,
}

impl Receivers {
    /// Receivers that are not connected, of a client that acknowledges or does not.
    #[must_use]
    pub fn new(setups: Vec<ReceiverSetup>, confirms: bool) -> Self {
        let mut receivers = BTreeMap::new();
        for (number, setup) in (0..).map(ReceiverNumber).zip(setups) {
            let mut plan = Plan::new();
            if plan.open_receiver_as(number, setup.wish.clone()).is_err() {
                continue;
            }
            let mut subscriptions = BTreeMap::new();
            for selectors in &setup.first {
                if let Ok(subscription) = plan.subscribe(number, texts(selectors)) {
                    subscriptions.insert(subscription, selectors.clone());
                }
            }
            let mut dedup = Dedup::default();
            if subscriptions.len() > 1 {
                dedup.serves_several();
            }
            let reading = setup.past.map(Reading::new);
            let receiver = Receiver {
                setup,
                plan,
                session_number: None,
                slow: false,
                dedup,
                acks: Acks::default(),
                subscriptions,
                ending: None,
                moving: None,
                echo: None,
                reading,
                given_at: Time::ZERO,
            };
            receivers.insert(number, receiver);
        }
        Self { receivers, confirms }
    }

    /// Receivers on this connection.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.receivers.len()).unwrap_or(u32::MAX)
    }

    /// Their present sessions, as checkers number them.
    pub fn sessions(&self) -> impl Iterator<Item = u32> {
        self.receivers.values().filter_map(|receiver| receiver.session_number)
    }

    /// Whether some read the past.
    pub(super) fn read_past(&self) -> bool {
        self.receivers.values().any(|receiver| receiver.reading.is_some())
    }

    /// Whether nothing of the past has come for a while, so that their replays seem to be over.
    pub(super) fn have_read(&self, now: Time) -> bool {
        let readers = self.receivers.values().filter(|receiver| receiver.reading.is_some());
        readers.into_iter().all(|receiver| now >= receiver.given_at + QUIET)
    }

    /// Their program ends, and begins again with the cursors that it has saved.
    pub(super) fn restart(&mut self, record: &mut Record) {
        for receiver in self.receivers.values_mut() {
            let is_one = receiver.subscriptions.len() == 1;
            if let Some(reading) = &mut receiver.reading
                && is_one
                && reading.restart()
            {
                receiver.dedup = Dedup::default();
                record.checker.readers().0.restarted(receiver.setup.number);
                record.standby.restarted(receiver.setup.number);
            }
        }
    }

    pub(super) const fn confirms(&self) -> bool {
        self.confirms
    }

    /// Whether every subscription is effective in the cluster.
    #[must_use]
    pub fn are_effective(&self) -> bool {
        self.receivers.iter().all(|(&receiver, state)| {
            state.ending.is_none()
                && state.subscriptions.keys().all(|&subscription| {
                    matches!(state.plan.progress(receiver, subscription), Some(Progress::Cluster { .. }))
                })
        })
    }

    /// What routers are to know of them.
    pub fn wanted(&self, wanted: &mut Selectors) {
        let selectors = self.receivers.values().flat_map(|state| state.subscriptions.values().flatten());
        wanted.extend(selectors.map(told));
    }

    pub(super) fn started(&mut self, connection: &mut ClientConnection, around: &mut Surroundings<'_>) {
        let acknowledges = connection.confirms();
        for (&number, receiver) in &mut self.receivers {
            receiver.start(number, acknowledges, connection, around);
        }
    }

    /// The router ended receivers on the stream that all share: what follows is another session of
    /// each.
    pub(super) fn ended(
        &mut self,
        ended: &[ReceiverNumber],
        connection: &mut ClientConnection,
        around: &mut Surroundings<'_>,
    ) {
        let now = around.queue.now();
        for number in ended {
            if let Some(receiver) = self.receivers.get_mut(number) {
                receiver.lost(now, around.record);
                receiver.start(*number, connection.confirms(), connection, around);
            }
        }
    }

    pub(super) fn lost(&mut self, heard: Time, record: &mut Record) {
        self.receivers.values_mut().for_each(|receiver| receiver.lost(heard, record));
    }

    /// When a program is done with something that it took.
    pub(super) fn acks_due(&self) -> Option<Time> {
        let awake = self.receivers.values().filter(|receiver| !receiver.slow);
        awake.filter_map(|receiver| receiver.acks.due()).min()
    }

    /// Acknowledges what programs are done with.
    pub(super) fn acknowledge(&mut self, connection: &mut ClientConnection, now: Time, record: &mut Record) {
        for (&number, receiver) in self.receivers.iter_mut().filter(|(_, receiver)| !receiver.slow) {
            let Some(session) = receiver.session_number else { continue };
            let (frames, events) = receiver.acks.done(number, now);
            frames.iter().for_each(|ack| connection.acknowledge(ack));
            for (emitter, n) in events {
                record.checker.acknowledged(session, emitter, n, now.0);
            }
        }
    }

    pub(super) fn subscribed(&mut self, subscribed: &Subscribed, now: Time, record: &mut Record) {
        let Some(receiver) = self.receivers.get_mut(&subscribed.receiver) else { return };
        receiver.plan.on_subscribed(subscribed);
        let Some(session) = receiver.session_number else { return };
        let subscription = subscribed.subscription;
        if subscribed.stage == Stage::Cluster && receiver.subscriptions.contains_key(&subscription) {
            let left_out = LeftOut {
                routers: subscribed.left_out.clone(),
                is_unknown: subscribed.unanswered > 0,
                publishers: subscribed.left_out_publishers.clone(),
            };
            if receiver.reading.is_some() {
                let (readers, ..) = record.checker.readers();
                readers.effective(receiver.setup.number, subscription.0, &left_out, now.0);
            }
            receiver.effective((session, subscription), left_out, now, record);
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
        let is_free = receiver.ending.is_none() && receiver.moving.is_none();
        if !is_free || receiver.setup.pool.is_empty() {
            return;
        }
        let ended = receiver.subscriptions.keys().nth(around.rng.random_range(0..3)).copied();
        let selectors = receiver.setup.pool[around.rng.random_range(0..receiver.setup.pool.len())].clone();
        // Planned before the other goes, so that it has another number.
        let Ok(subscription) = receiver.plan.subscribe(number, texts(&selectors)) else { return };
        if let Some(ended) = ended {
            receiver.plan.unsubscribe(number, ended);
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
        (now, record): (Time, &mut Record),
    ) {
        for (&number, state) in self.receivers.iter_mut().filter(|(_, state)| state.setup.number == receiver)
        {
            state.slow = slow;
            if let Some(session) = state.session_number
                && !state.setup.acks.is_slow()
            {
                record.checker.stalled(session, slow, now.0);
            }
            match &mut connection {
                Some(connection) if slow => connection.hold(number),
                Some(connection) => connection.release(number),
                None => {}
            }
        }
    }
}

impl Receiver {
    /// Asks a router for everything: another session for the checkers.
    fn start(
        &mut self,
        number: ReceiverNumber,
        acknowledges: bool,
        connection: &mut ClientConnection,
        around: &mut Surroundings<'_>,
    ) {
        self.begin_session(acknowledges, around.queue.now(), around.record);
        let window_bytes = self.setup.window_bytes;
        if let Some(request) = self.plan.open_request(number, window_bytes)
            && let Err(error) = connection.open_receiver(request, window_bytes)
        {
            around.record.findings.add("session", || format!("receiver {}: {error}", number.0));
        }
        if self.slow {
            connection.hold(number);
        }
        let now = around.queue.now();
        let asks = self.begin_reading(connection.has_history(), now, around.record);
        for (&subscription, selectors) in &self.subscriptions {
            match self.reading.as_mut().filter(|_| asks) {
                Some(reading) => {
                    let past = reading.past.ask(subscription, now);
                    connection.subscribe_from(number, subscription, &texts(selectors), past);
                }
                None => connection.subscribe(number, subscription, &texts(selectors)),
            }
        }
    }

    /// A connection begins. Says whether its router is asked for the past.
    fn begin_reading(&mut self, has_history: bool, now: Time, record: &mut Record) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        let owner = self.setup.number;
        let subscriptions = self.subscriptions.iter().map(|(number, selectors)| (number.0, selectors));
        reading.begin(owner, subscriptions, now, record);
        let asks = reading.past.begins(has_history) && has_history;
        if !asks {
            // The library refuses, or tells of a lost session.
            reading.past.take_owed_gap();
            self.subscriptions.keys().for_each(|&number| reading.past.follow(number));
            self.miss(&Gap { reason: GapReason::SessionLost, ..Gap::default() }, now, record);
        }
        asks
    }

    /// Its application is told of a gap.
    pub(super) fn miss(&self, gap: &Gap, now: Time, record: &mut Record) {
        if self.reading.is_some() {
            record.checker.readers().0.gap(self.setup.number, gap, now.0);
        }
    }

    /// A place in its stream has come, and its application has taken what stands before it.
    pub(super) fn pass(&mut self, place: &Place) {
        if let Some(reading) = &mut self.reading {
            reading.past.arrived(place, true);
            reading.past.taken(place, true);
        }
    }

    /// Begins another session for the checkers.
    pub(super) fn begin_session(&mut self, acknowledges: bool, now: Time, record: &mut Record) {
        let mut session = Session::new(self.setup.number, acknowledges);
        session.reads_past = self.reading.is_some();
        session.blocks = self.setup.wish.policy == OverflowPolicy::Block;
        let session = record.new_receiver(session);
        if self.slow || self.setup.acks.is_slow() {
            record.checker.stalled(session, true, now.0);
        }
        self.session_number = Some(session);
        self.ending = None;
        self.acks.forget();
        for (subscription, selectors) in &self.subscriptions {
            record.asked(session, subscription.0, selectors.clone(), now);
        }
    }

    /// Tells the checkers that a subscription is effective in the cluster.
    fn effective(
        &self,
        (session, subscription): (u32, SubscriptionNumber),
        left_out: LeftOut,
        now: Time,
        record: &mut Record,
    ) {
        if let Some(set) = self.setup.watches {
            if left_out.routers.is_empty() && !left_out.is_unknown {
                record.standby.watching(self.setup.number, set, now.0);
            } else {
                record.standby.lapsed(self.setup.number);
            }
        }
        record.checker.effective(session, subscription.0, now.0, left_out);
    }

    /// Tells the checkers how far its subscriptions have come.
    pub(super) fn show_progress(&self, number: ReceiverNumber, now: Time, record: &mut Record) {
        let Some(session) = self.session_number else { return };
        for &subscription in self.subscriptions.keys() {
            if let Some(Progress::Cluster { left_out, unanswered, left_out_publishers }) =
                self.plan.progress(number, subscription)
            {
                let left_out = LeftOut {
                    routers: left_out.clone(),
                    is_unknown: *unanswered > 0,
                    publishers: left_out_publishers.clone(),
                };
                self.effective((session, subscription), left_out, now, record);
            }
        }
    }

    fn lost(&mut self, heard: Time, record: &mut Record) {
        self.plan.on_lost();
        self.acks.forget();
        self.echo = None;
        if let Some(session) = self.session_number.take() {
            record.checker.lapsed(session, heard.0);
            let has_subscriptions = !self.subscriptions.is_empty();
            self.reading.iter_mut().for_each(|reading| reading.past.lost(has_subscriptions));
        }
        record.standby.lapsed(self.setup.number);
        self.ending = None;
        // A move of which only the old connection is left.
        if let Some(moving) = &mut self.moving {
            moving.has_failed = true;
        }
    }
}

impl fmt::Display for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (&number, state) in &self.receivers {
            for &subscription in state.subscriptions.keys() {
                let progress = state.plan.progress(number, subscription);
                write!(f, "receiver {}, subscription {}: {progress:?}; ", number.0, subscription.0)?;
            }
        }
        Ok(())
    }
}

pub(super) fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(|selector| selector.text().to_owned()).collect()
}
