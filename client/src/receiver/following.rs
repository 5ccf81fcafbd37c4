//! The connection that follows the present one, while receivers move from one to the other.
//!
//! The receivers are opened on the new connection while the old one still delivers. Their
//! [`Handover`](crate::session::receiver::Handover)s say what of the two streams is delivered; what
//! the new one brings is held here until the old one has ended. The connection's task drives both,
//! and [takes over](Following::take_over) when all receivers have moved, or the time is up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::Welcome;

use super::batch::Batch;
use super::building::{BatchBuilder, SharedHandover};
use super::incoming::{CHUNKS, Incoming};
use super::members::Members;
use super::sorting::Deliver;
use super::state::Shared;
use crate::connector::Connected;
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::receiver::{Handover, Session};
use crate::session::{ConnectionEvent, Plan};
use crate::time::{MILLISECOND_NS, Time};

/// How long the old connection stays for acknowledgements of what it has brought. An application
/// that takes longer has its publishers send those events again.
const SETTLE_NS: u64 = 500 * MILLISECOND_NS;

/// The connection that follows.
pub(super) struct Following {
    pub(super) link: Link,
    pub(super) incoming: Incoming,
    pub(super) welcome: Box<Welcome>,
    pub(super) credit: u64,
    hands: Hands,
    /// What its control stream has brought and the task handles once it is the present one.
    pub(super) later: VecDeque<ConnectionEvent>,
    chunks: Box<[Bytes; CHUNKS]>,
}

/// The receivers that move.
#[derive(Default)]
struct Hands {
    hands: BTreeMap<ReceiverNumber, Hand>,
}

/// One of them.
struct Hand {
    shared: Arc<Shared>,
    /// Its plan on the new connection.
    plan: Plan,
    handover: SharedHandover,
    held: Vec<Batch>,
    /// The connection of its inbox when the move began: the old router may open it anew.
    connection: u64,
    /// The new router does not want it.
    is_refused: bool,
    /// Until when its application may acknowledge what the old connection has brought.
    settle_by: Option<Time>,
}

impl Hand {
    fn handover<T>(&self, act: impl FnOnce(&mut Handover) -> T) -> T {
        act(&mut self.handover.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the move has failed: what may be missing is told as a gap.
    fn has_failed(&self) -> bool {
        self.is_refused || self.shared.lock().inbox.connection() != self.connection
    }

    /// Whether nothing is left to wait for.
    fn is_ready(&self, now: Time) -> bool {
        let state = self.shared.lock();
        if state.closed || self.is_refused || state.inbox.connection() != self.connection {
            return true;
        }
        let is_acknowledged = state.acknowledged.is_empty() && !state.inbox.has_receipts();
        self.settle_by.is_some_and(|due| is_acknowledged || now >= due)
    }
}

impl Following {
    /// Opens receivers on the connection that follows `old`. Members of groups, and receivers of
    /// routers that write no marks, are left to be opened when it is the present one.
    pub(super) fn begin(
        connected: Connected,
        members: &Members,
        old: &mut Link,
        old_incoming: &mut Incoming,
    ) -> Self {
        let (mut link, welcome) = connected;
        let (mut incoming, mut hands) = (Incoming::new(&link), Hands::default());
        let can_move = link.session.has_moves() && old.session.has_moves();
        for shared in members.0.values().map(|member| &member.shared).filter(|_| can_move) {
            let mut state = shared.lock();
            if state.closed || state.is_member() || state.is_named() || state.is_inbox {
                continue;
            }
            state.tell_changes(old);
            let (number, handover) = (shared.number, SharedHandover::default());
            let grant = incoming.open(number, shared.window_bytes, 0, shared.dedup.clone());
            let mut plan = state.plan.clone();
            plan.replay(&mut link.session, grant, |_| None);
            old_incoming.set_moving(number, Some((Session::Old, handover.clone())));
            incoming.set_moving(number, Some((Session::New, handover.clone())));
            let connection = state.inbox.connection();
            let hand = Hand {
                shared: shared.clone(),
                plan,
                handover,
                held: Vec::new(),
                connection,
                is_refused: false,
                settle_by: None,
            };
            hands.hands.insert(number, hand);
        }
        link.session.set_attentive(link.clock.now(), true);
        Self {
            link,
            incoming,
            welcome,
            credit: 0,
            hands,
            later: VecDeque::new(),
            chunks: Box::new(std::array::from_fn(|_| Bytes::new())),
        }
    }

    /// The receivers that are open on it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = ReceiverNumber> {
        self.hands.hands.keys().copied()
    }

    /// Whether the old connection has no subscriptions any more, so that nobody can stay there.
    pub(super) fn has_left_old(&self) -> bool {
        self.hands.hands.values().any(|hand| hand.handover(|handover| handover.has_drained()))
    }

    /// Moves bytes of the new connection, once. May be dropped at any time.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn step(&mut self) -> Result<(), Disconnect> {
        let Self { link, incoming, chunks, hands, .. } = self;
        let connection = link.connection.clone();
        let arrived = tokio::select! {
            turned = link.turn(None) => {
                turned?;
                None
            }
            (index, read) = incoming.next(chunks) => Some((index, read?)),
            stream = connection.accept_uni() => {
                incoming.add(stream?);
                None
            }
        };
        match arrived {
            Some((index, Some(count))) => {
                link.session.heard(link.clock.now());
                let ends =
                    incoming.feed(index, &mut chunks[..count], hands).map_err(|error| link.broken(error))?;
                incoming.grant(link);
                if !ends.is_empty() {
                    return Err(Disconnect::Ended("it ended a receiver that has just come".to_owned()));
                }
            }
            Some((_, None)) => {
                return Err(Disconnect::Ended("it finished a receiver's stream".to_owned()));
            }
            None => {}
        }
        while let Some(event) = self.link.session.poll_event() {
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: ConnectionEvent) -> Result<(), Disconnect> {
        match event {
            ConnectionEvent::Subscribed(subscribed) => {
                if let Some(hand) = self.hands.hands.get_mut(&subscribed.receiver) {
                    hand.plan.on_subscribed(&subscribed);
                }
                return Ok(());
            }
            ConnectionEvent::Credit { bytes } => {
                self.credit = self.credit.max(bytes);
                return Ok(());
            }
            ConnectionEvent::Dead { silent_ns } => return Err(self.link.dead(silent_ns)),
            _ => {}
        }
        let refused = match &event {
            ConnectionEvent::Refused(refused) if refused.publisher.is_none() => Some(refused.receiver),
            ConnectionEvent::ReceiverClosed(closed) => Some(closed.receiver),
            _ => None,
        };
        if let Some(hand) = refused.and_then(|receiver| self.hands.hands.get_mut(&receiver)) {
            hand.is_refused = true;
        }
        self.later.push_back(event);
        Ok(())
    }

    /// Asks for the marks that are due, of the new router and of the old one.
    pub(super) fn advance(&mut self, now: Time, old: &mut Link) {
        for (&number, hand) in &mut self.hands.hands {
            // What is planned from here on is asked for when the receiver has moved.
            let is_effective_there = hand.shared.lock().plan.is_effective_for(&hand.plan);
            let mut handover = hand.handover.lock().unwrap_or_else(PoisonError::into_inner);
            if is_effective_there {
                handover.effective(Session::Old);
            }
            if hand.plan.is_effective() {
                handover.effective(Session::New);
            }
            if let Some(session) = handover.to_ask() {
                if handover.has_drained() {
                    // What comes on the old connection from here on comes on the new one, too.
                    let all: Vec<_> = hand.plan.subscriptions(number).collect();
                    all.into_iter().for_each(|each| old.session.unsubscribe(number, each));
                }
                let link = if session == Session::Old { &mut *old } else { &mut self.link };
                handover.asked(link.session.ask_mark(number));
            }
            if handover.is_over() {
                hand.settle_by.get_or_insert(now.after(SETTLE_NS));
            }
        }
    }

    /// Whether all receivers have moved.
    pub(super) fn is_ready(&self, now: Time) -> bool {
        self.hands.hands.values().all(|hand| hand.is_ready(now))
    }

    /// When [`Following::is_ready`] may change by time alone.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.hands.hands.values().filter_map(|hand| hand.settle_by).min()
    }

    /// Makes this the present connection of its receivers: what it has brought follows what the old
    /// one has. Returns those that go on; the others are closed on it, and what their router says
    /// of that comes later.
    pub(super) fn take_over(&mut self, members: &Members) -> BTreeSet<ReceiverNumber> {
        let mut moved = BTreeSet::new();
        for (number, hand) in std::mem::take(&mut self.hands.hands) {
            self.incoming.set_moving(number, None);
            let is_there =
                members.0.get(&number).is_some_and(|member| Arc::ptr_eq(&member.shared, &hand.shared));
            if !is_there {
                self.incoming.close(number);
                self.link.session.close_receiver(number);
                continue;
            }
            moved.insert(number);
            hand.take_over(&mut self.incoming, &mut self.link);
        }
        moved
    }
}

impl Hand {
    fn take_over(mut self, incoming: &mut Incoming, link: &mut Link) {
        let has_failed = self.has_failed();
        let mut handover = self.handover.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        let is_whole = !has_failed && handover.is_whole() && self.plan.reaches_as_much_as(&state.plan);
        let mut waker = None;
        if !is_whole && !state.watches.is_empty() {
            waker = state.inbox.session_lost();
        }
        let connection = state.inbox.begin_connection();
        handover.passed(state.past.moved());
        incoming.set_held(self.shared.number, state.inbox.bytes());
        // What a receiver that was opened anew has brought since was not remembered.
        let held = if has_failed { Vec::new() } else { std::mem::take(&mut self.held) };
        for mut batch in held {
            batch.freshen(&handover, &self.shared.dedup);
            batch.connection = connection;
            batch.places.iter().for_each(|(_, place)| state.past.arrived(place, true));
            waker = state.inbox.push(batch).or(waker);
        }
        state.plan.take_progress(&self.plan);
        state.show_progress();
        drop(state);
        let mut echo = std::mem::take(&mut *handover).into_echo();
        drop(handover);
        if !has_failed && !echo.is_empty() {
            echo.asked(link.session.ask_mark(self.shared.number));
            incoming.set_moved(self.shared.number, echo);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        self.shared.tell();
    }
}

impl Deliver for Hands {
    fn deliver(&mut self, receiver: ReceiverNumber, batch: &mut BatchBuilder, bytes: u64) -> bool {
        let Some(hand) = self.hands.get_mut(&receiver) else { return false };
        let Some(mut batch) = batch.take(bytes, 0) else { return false };
        let has_entries = !batch.is_empty();
        if !has_entries {
            // Its receipts are given when the receiver has moved; its bytes nobody takes.
            batch.stream_bytes = 0;
        }
        hand.held.push(batch);
        has_entries
    }
}
