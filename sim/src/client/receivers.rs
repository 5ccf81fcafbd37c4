//! A client that receives: a plan of receivers and subscriptions, replayed on each connection, and
//! programs that take events, some slowly.

use std::collections::BTreeMap;
use std::fmt;

use millrace_attach::ClientConnection;
use millrace_client::session::plan::{Progress, ReceiverWish};
use millrace_client::session::receiver::{Echo, Session as Side, Verdict};
use millrace_client::session::{Dedup, DeliveredRun, DeliverySink, Plan};
use millrace_engine::time::Time;
use millrace_proto::control::{Stage, Subscribed};
use millrace_proto::data::{Gap, Mark, ReceiverEnd};
use millrace_proto::{ReceiverNumber, Selector, SubscriptionNumber};
use millrace_verify::checker::Delivery;
use millrace_verify::checker::convergence::Selectors;
use millrace_verify::checker::interest::LeftOut;
use millrace_verify::checker::repeats::Vouched;
use millrace_verify::checker::session::Session;
use millrace_verify::payload::Stamp;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::acks::{AckHabit, Acks};
use super::moving::{Move, stamps};
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
            let receiver = Receiver {
                setup,
                plan,
                session_number: None,
                slow: false,
                dedup: Dedup::default(),
                acks: Acks::default(),
                subscriptions,
                ending: None,
                moving: None,
                echo: None,
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

    /// The programs that take what arrives on the connection of the moment.
    pub(super) fn programs<'a>(
        &'a mut self,
        now: Time,
        side: Side,
        (record, rng): (&'a mut Record, &'a mut Pcg64Mcg),
    ) -> Programs<'a> {
        Programs { of: Some((&mut self.receivers, record, rng)), side, now, ended: Vec::new() }
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
            record.checker.effective(session, subscription.0, now.0, left_out);
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
        for (&subscription, selectors) in &self.subscriptions {
            connection.subscribe(number, subscription, &texts(selectors));
        }
    }

    /// Begins another session for the checkers.
    pub(super) fn begin_session(&mut self, acknowledges: bool, now: Time, record: &mut Record) {
        let session = record.new_receiver(Session::new(self.setup.number, acknowledges));
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
                record.checker.effective(session, subscription.0, now.0, left_out);
            }
        }
    }

    fn lost(&mut self, heard: Time, record: &mut Record) {
        self.plan.on_lost();
        self.acks.forget();
        self.echo = None;
        if let Some(session) = self.session_number.take() {
            record.checker.lapsed(session, heard.0);
        }
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

/// The programs that take events: none for a client that publishes.
#[derive(Debug)]
pub(super) struct Programs<'a> {
    of: Option<(&'a mut BTreeMap<ReceiverNumber, Receiver>, &'a mut Record, &'a mut Pcg64Mcg)>,
    /// The connection that is read, while receivers move from one to another.
    side: Side,
    now: Time,
    /// Receivers that the router ended: at most as many as are open.
    ended: Vec<ReceiverNumber>,
}

impl Programs<'_> {
    /// None: the client publishes.
    pub(super) const fn none(now: Time) -> Self {
        Self { of: None, side: Side::Old, now, ended: Vec::new() }
    }

    /// The receivers that ended in what was read.
    pub(super) fn into_ended(self) -> Vec<ReceiverNumber> {
        self.ended
    }
}

impl DeliverySink for Programs<'_> {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let Some((receivers, record, rng)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&run.receiver) else { return };
        let Some(session) = receiver.session_number else { return };
        if let Some(moving) = &mut receiver.moving {
            match moving.keep_run(self.side, run) {
                Verdict::Deliver => {}
                Verdict::Drop if self.side == Side::Old && run.wants_ack() => {
                    // The next connection brings it.
                    let copy = (run.number, stamps(run));
                    return receiver.acks.take(receiver.setup.acks, copy, self.now, rng);
                }
                Verdict::Hold | Verdict::Drop => return,
            }
        }
        let matched: Vec<u32> = run.matched().collect();
        let fresh = run.has_level().then(|| {
            let seqs = run.first_seq()..run.first_seq() + run.count();
            receiver.dedup.take(run.publisher, seqs, run.floor(), run.maybe_duplicate())
        });
        let vouched = match &fresh {
            None => Vouched::No,
            Some(fresh) if fresh.maybe_duplicate => Vouched::Marked,
            Some(_) => Vouched::Once,
        };
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let new = receiver.echo.as_ref().map(|echo| echo.fresh(run.publisher, seqs));
        let mut taken = Vec::new();
        for event in run.events() {
            let stamp = Stamp::decode(event.payload).ok().map(|stamp| (stamp.emitter, stamp.n));
            taken.extend(stamp.filter(|_| run.wants_ack()));
            if fresh.iter().chain(&new).all(|fresh| fresh.contains(event.seq)) {
                record.delivered(Delivery {
                    receiver: session,
                    tags: run.tags,
                    payload: event.payload,
                    matched: &matched,
                    at: self.now.0,
                    vouched,
                });
            } else if let Some((emitter, n)) = stamp.filter(|_| run.has_level()) {
                record.checker.removed(session, emitter, n);
            }
        }
        if run.wants_ack() {
            receiver.acks.take(receiver.setup.acks, (run.number, taken), self.now, rng);
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        let Some((receivers, record, _)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&receiver) else { return };
        if let Some(moving) = &mut receiver.moving
            && moving.keep_gap(self.side, gap) != Verdict::Deliver
        {
            return;
        }
        if let Some(session) = receiver.session_number {
            record.gap(session, gap, self.now);
        }
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        let Some((receivers, ..)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&receiver) else { return };
        if self.side == Side::Old {
            receiver.echo.take_if(|echo| echo.ends_at(mark));
        }
        if let Some(moving) = &mut receiver.moving {
            moving.handover.marked(self.side, mark);
        }
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.ended.push(end.receiver);
    }
}
