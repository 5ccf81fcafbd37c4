//! One receiver as its application and its connection's task share it: the plan, waiting
//! applications, and batches that have arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use millrace_proto::control::{AckKind, Refused, RefusedReason};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use tokio::sync::{oneshot, watch};

use super::acks::{Answered, Runs};
use super::batch::SharedDedup;
use super::inbox::Inbox;
use super::wake::Wake;
use crate::link::Link;
use crate::session::plan::{PlanError, Progress, ReceiverWish};
use crate::session::{Past, Plan};

/// Why a receiver has ended by itself: the router refused to open it. The client does not ask
/// again; open another receiver when the cause is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the router refused the receiver ({}): {message}", .reason.name())]
pub struct ReceiverRefused {
    /// Why.
    pub reason: RefusedReason,
    /// What the router said, for people.
    pub message: String,
}

/// How far a subscription has come on the present connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// Asked for, as far as acknowledged. Starts anew with each connection.
    Progress(Progress),
    /// Refused; the client does not ask for it again. Without a subscription's number, the whole
    /// receiver was refused.
    Refused(Refused),
}

#[derive(Debug)]
pub(super) struct Shared {
    /// Its number on the connection.
    pub(super) number: ReceiverNumber,
    pub(super) window_bytes: u64,
    pub(super) dedup: SharedDedup,
    state: Mutex<State>,
    wake: Arc<Wake>,
}

/// Whether a receiver takes events of its group, and whether the present router knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    pub(super) is_busy: bool,
    pub(super) is_told: bool,
}

/// A mark that is wanted in the receiver's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum AskedMark {
    #[default]
    No,
    /// The router is to be asked.
    Wanted,
    /// It was asked, on this connection of the inbox, for a mark of this number.
    Asked { connection: u64, number: u64 },
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) number: ReceiverNumber,
    /// This receiver and its subscriptions.
    pub(super) plan: Plan,
    /// Applications that wait for acknowledgements of their subscription.
    pub(super) watches: BTreeMap<SubscriptionNumber, watch::Sender<SubscriptionState>>,
    /// Subscriptions that ended since the present connection was told. They are told before
    /// `added`, which may use their numbers again.
    pub(super) ended: BTreeSet<SubscriptionNumber>,
    /// Subscriptions that were added since the present connection was told.
    pub(super) added: BTreeSet<SubscriptionNumber>,
    pub(super) inbox: Inbox,
    /// Runs that the application has answered for, and that the router was not told.
    pub(super) acknowledged: Answered,
    /// Whether it takes events of its group.
    pub(super) busy: Busy,
    pub(super) past: Past,
    pub(super) mark: AskedMark,
    /// Subscriptions that were made so far.
    pub(super) subscribed: u64,
    pub(super) closed: bool,
    /// Who waits until the router of a closed receiver knows what it has acknowledged.
    pub(super) told: Option<oneshot::Sender<()>>,
    /// Replies come to it, which go to the connection that asked: it does not move ahead of its
    /// publisher.
    pub(super) is_inbox: bool,
    /// Why the receiver has ended.
    pub(super) refused: Option<ReceiverRefused>,
}

impl Shared {
    /// A receiver that is not open yet.
    pub(super) fn new(
        number: ReceiverNumber,
        wish: ReceiverWish,
        window_bytes: u64,
        wake: Arc<Wake>,
    ) -> Result<Self, PlanError> {
        let mut plan = Plan::new();
        plan.open_receiver_as(number, wish)?;
        let state = State {
            number,
            plan,
            watches: BTreeMap::new(),
            ended: BTreeSet::new(),
            added: BTreeSet::new(),
            inbox: Inbox::default(),
            acknowledged: Answered::default(),
            busy: Busy::default(),
            past: Past::default(),
            mark: AskedMark::default(),
            subscribed: 0,
            closed: false,
            told: None,
            is_inbox: false,
            refused: None,
        };
        Ok(Self { number, window_bytes, dedup: SharedDedup::default(), state: Mutex::new(state), wake })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has several subscriptions, each with a replay of its own.
    pub(super) fn has_several(&self) {
        self.dedup.lock().unwrap_or_else(PoisonError::into_inner).serves_several();
    }

    /// Tells the task that there is something to do.
    pub(super) fn tell(&self) {
        self.wake.tell(self.number);
    }

    /// Adds runs that the application has taken, or refused.
    pub(super) fn answer(&self, kind: AckKind, runs: &mut Runs) {
        if runs.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.inbox.acknowledged(runs.connection(), runs.take_count());
        let is_news = state.acknowledged.append(kind, runs);
        drop(state);
        if is_news {
            self.tell();
        }
    }

    pub(super) fn unsubscribe(&self, number: SubscriptionNumber) {
        let mut state = self.lock();
        let parts: Vec<_> = state.plan.parts(self.number, number).collect();
        state.plan.unsubscribe(self.number, number);
        state.watches.remove(&number);
        for part in parts {
            state.past.forget(part);
            state.added.remove(&part);
            state.ended.insert(part);
        }
        drop(state);
        self.tell();
    }

    /// Marks in the receiver's stream that events may be missing, if any were asked for.
    pub(super) fn lost(&self) {
        let mut state = self.lock();
        state.inbox.end_life();
        state.plan.on_lost();
        state.show_progress();
        let has_subscriptions = !state.watches.is_empty();
        state.past.lost(has_subscriptions);
        // What a router fills from history is not missing; the next one says what it has.
        let said = if state.past.is_wanted() { None } else { state.say_lost() };
        let waker = said.or_else(|| state.inbox.take_waker());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the stream of items.
    pub(super) fn end(&self) {
        let waker = self.lock().inbox.end();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Asks a new connection for everything that is planned, from where each subscription has come.
    pub(super) fn open_on(&mut self, link: &mut Link, grant: u64) {
        let asks = self.past.begins(link.session.has_history());
        let (past, now) = (&mut self.past, link.clock.now());
        self.plan.replay(&mut link.session, grant, |subscription| {
            if asks {
                return Some(past.ask(subscription, now));
            }
            past.follow(subscription);
            None
        });
    }

    /// Says that events of a lost session may be missing, if that is owed. The caller wakes the
    /// waker after it has released the lock.
    pub(super) fn say_lost(&mut self) -> Option<Waker> {
        self.past.take_owed_gap().then(|| self.inbox.session_lost())?
    }

    /// Tells the router which subscriptions have ended and which are new.
    pub(super) fn tell_changes(&mut self, link: &mut Link) {
        while let Some(number) = self.ended.pop_first() {
            link.session.unsubscribe(self.number, number);
        }
        while let Some(number) = self.added.pop_first() {
            let Some(selectors) = self.plan.selectors(self.number, number) else { continue };
            if self.past.is_wanted() {
                let past = self.past.ask(number, link.clock.now());
                link.session.subscribe_from(self.number, number, selectors, past);
            } else {
                self.past.follow(number);
                link.session.subscribe(self.number, number, selectors);
            }
        }
    }

    /// Plans a subscription, and tells how far it has come.
    pub(super) fn subscribe(
        &mut self,
        texts: Vec<String>,
    ) -> Result<(SubscriptionNumber, watch::Receiver<SubscriptionState>), PlanError> {
        let number = self.plan.subscribe(self.number, texts)?;
        let (sender, receiver) = watch::channel(SubscriptionState::Progress(Progress::Asked));
        self.watches.insert(number, sender);
        let parts: Vec<_> = self.plan.parts(self.number, number).collect();
        self.inbox.name_parts(number, &parts);
        self.added.extend(parts);
        self.subscribed += 1;
        Ok((number, receiver))
    }

    /// Asks the router for the mark that is wanted, if one is.
    pub(super) fn tell_mark(&mut self, link: &mut Link) {
        if self.mark == AskedMark::Wanted && link.session.has_moves() {
            let (connection, number) = (self.inbox.connection(), link.session.ask_mark(self.number));
            self.mark = AskedMark::Asked { connection, number };
        }
    }

    /// Whether it is a member of a group.
    pub(super) fn is_member(&self) -> bool {
        self.plan.wish(self.number).is_some_and(|wish| wish.group.is_some())
    }

    /// Whether it has a name.
    pub(super) fn is_named(&self) -> bool {
        self.plan.wish(self.number).is_some_and(|wish| !wish.name.is_empty())
    }

    /// Whether replies come to it that would find nobody now: its router has yet to say that it
    /// knows this receiver.
    pub(super) fn awaits_opening(&self) -> bool {
        let is_asked = |&number: &SubscriptionNumber| {
            self.plan.progress(self.number, number).is_some_and(|progress| *progress == Progress::Asked)
        };
        self.is_inbox && !self.closed && self.watches.keys().any(is_asked)
    }

    /// Tells the router whether this member of a group is busy, if it does not know.
    pub(super) fn tell_busy(&mut self, link: &mut Link) {
        if !std::mem::replace(&mut self.busy.is_told, true) {
            link.session.set_busy(self.number, self.busy.is_busy);
        }
    }

    /// Tells the router which runs the application has acknowledged.
    pub(super) fn tell_acknowledged(&mut self, link: &mut Link) {
        for ack in self.acknowledged.take(self.number, self.inbox.connection()) {
            link.session.acknowledge(&ack);
        }
    }

    /// Handles the refusal of a subscription, for which the client does not ask again. A number
    /// without a subscription means nothing. Neither does a refusal because the receiver is not
    /// open: the request has crossed the receiver's end, and the client asks for everything planned
    /// when it opens the receiver again.
    pub(super) fn subscription_refused(&mut self, number: u64, refused: Refused) {
        if refused.reason == RefusedReason::Receiver {
            return;
        }
        let Some(number) = u32::try_from(number).ok().map(SubscriptionNumber) else { return };
        let Some(name) = self.plan.name_of(self.number, number) else { return };
        let others: Vec<_> = self.plan.parts(self.number, name).filter(|&part| part != number).collect();
        self.ended.extend(others);
        self.plan.unsubscribe(self.number, name);
        if let Some(watch) = self.watches.remove(&name) {
            watch.send_replace(SubscriptionState::Refused(refused));
        }
    }

    /// Handles the refusal of the receiver: applications that wait for a subscription are told, and
    /// later ones at once.
    pub(super) fn receiver_refused(&mut self, refused: &Refused) {
        let Refused { reason, message, .. } = refused;
        self.refused = Some(ReceiverRefused { reason: *reason, message: message.clone() });
        for watch in std::mem::take(&mut self.watches).into_values() {
            watch.send_replace(SubscriptionState::Refused(refused.clone()));
        }
    }

    /// Tells those who wait for a subscription how far it has come.
    pub(super) fn show_progress(&mut self) {
        for (&number, watch) in &self.watches {
            let Some(progress) = self.plan.progress(self.number, number) else { continue };
            watch.send_if_modified(|state| {
                let new = SubscriptionState::Progress(progress.clone());
                let changed = *state != new;
                *state = new;
                changed
            });
        }
    }
}
