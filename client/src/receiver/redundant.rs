//! A receiver on two routers, as its application reads it: two inboxes become one stream.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millrace_proto::PublisherKey;
use millrace_proto::data::{Gap, GapReason, Mark};
use tokio::time::Sleep;

use super::batch::Batch;
use super::sifting::{Sieve, Sifted};
use super::state::{AskedMark, Shared};
use crate::apart::Apart;
use crate::clock::Clock;
use crate::session::Side;
use crate::session::receiver::{Fresh, Pair};
use crate::time::Time;

/// The two sessions of a receiver.
#[derive(Debug)]
pub(super) struct Redundant {
    pair: Pair,
    sessions: [One; 2],
    /// The session that was read last.
    last: Side,
    /// Subscriptions that the pair knows.
    subscribed: u64,
    /// What was delivered last says that a session was lost.
    said_lost: bool,
    clock: Clock,
    /// Ends when marks are to be asked for again.
    retry: Option<Pin<Box<Sleep>>>,
}

/// One of them.
#[derive(Debug)]
struct One {
    shared: Arc<Shared>,
    apart: Apart,
    /// The session of its inbox that the pair knows.
    life: Option<u64>,
    /// What stands behind its mark, until its turn has come.
    kept: Option<Batch>,
}

impl Redundant {
    pub(super) fn new(shared: [Arc<Shared>; 2], apart: [Apart; 2], clock: Clock) -> Self {
        let [first, second] = shared;
        let [here, there] = apart;
        let one = |shared, apart| One { shared, apart, life: None, kept: None };
        Self {
            pair: Pair::default(),
            sessions: [one(first, here), one(second, there)],
            last: Side::Second,
            subscribed: 0,
            said_lost: false,
            clock,
            retry: None,
        }
    }

    pub(super) fn shared(&self, side: Side) -> &Arc<Shared> {
        &self.sessions[side as usize].shared
    }

    /// The next batch, which may have nothing but receipts. `None` when routers have refused the
    /// receiver.
    pub(super) fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        loop {
            if let Some(gap) = self.observe(context) {
                return Poll::Ready(Some(gap));
            }
            if self.pair.is_joining() {
                self.join();
            }
            let mut is_idle = true;
            for side in [self.last.other(), self.last] {
                match self.look(side) {
                    Poll::Ready(Some(batch)) => {
                        self.last = side;
                        return Poll::Ready(Some(batch));
                    }
                    Poll::Ready(None) => is_idle = false,
                    Poll::Pending => {}
                }
            }
            if !is_idle || self.poll_retry(context) {
                continue;
            }
            return if self.has_ended() { Poll::Ready(None) } else { Poll::Pending };
        }
    }

    /// Whether a router has refused the receiver, and the other session has none.
    fn has_ended(&self) -> bool {
        let ended = |one: &One| one.life.is_none() && one.shared.lock().inbox.is_ended();
        self.sessions.iter().all(|one| one.life.is_none()) && self.sessions.iter().any(ended)
    }

    /// The application has everything that stands before the places of a batch, whichever session
    /// asks for the past.
    pub(super) fn passed(&self, batch: &Batch) {
        for One { shared, .. } in &self.sessions {
            let mut state = shared.lock();
            if state.past.is_wanted() {
                batch.places.iter().for_each(|(_, place)| state.past.arrived(place, false));
            }
        }
    }

    /// Tells the pair which sessions there are. Returns the gap that the loss of one is. Whatever
    /// happens from here on wakes the application.
    fn observe(&mut self, context: &Context<'_>) -> Option<Batch> {
        let now = self.clock.now();
        for side in Side::BOTH {
            let One { shared, apart, life, kept } = &mut self.sessions[side as usize];
            let mut state = shared.lock();
            state.inbox.wait(context.waker());
            let next = state.inbox.next_life();
            let subscribed = state.subscribed;
            drop(state);
            if side == Side::First && std::mem::replace(&mut self.subscribed, subscribed) != subscribed {
                self.pair.subscribed();
            }
            // What is kept is of the session that the pair knows.
            if next == *life || kept.is_some() {
                continue;
            }
            let had = life.take().is_some();
            if had && self.pair.lost(side, now) && !self.said_lost {
                self.said_lost = true;
                let gap = Gap { reason: GapReason::SessionLost, ..Gap::default() };
                return Some(Batch::of_gap(gap, 0));
            }
            if next.is_some() {
                *life = next;
                self.pair.opened(side, apart.router());
            }
        }
        None
    }

    /// Takes the next batch of a session; none when what came instead has changed its stage.
    fn look(&mut self, side: Side) -> Poll<Option<Batch>> {
        let One { shared, life, kept, .. } = &mut self.sessions[side as usize];
        let mut state = shared.lock();
        if !self.pair.reads(side) || (kept.is_none() && state.inbox.next_life() != *life) {
            return Poll::Pending;
        }
        let Some(mut batch) = kept.take().or_else(|| state.inbox.pop()) else { return Poll::Pending };
        let wake = state.inbox.taken_in_all() >= shared.window_bytes / 4;
        let awaited = match state.mark {
            AskedMark::Asked { connection, number } if connection == batch.connection => Some(number),
            _ => None,
        };
        drop(state);
        if wake {
            shared.tell();
        }
        batch.side = side;
        let mut judge = Judge { pair: &mut self.pair, side, awaited, now: self.clock.now() };
        if batch.sift(&mut judge) == Sifted::ToMark {
            self.sessions[side as usize].kept = Some(batch);
            return Poll::Ready(None);
        }
        if !self.pair.is_whole(side) {
            // How far this session has come says nothing of what the other one has brought.
            batch.places.clear();
        }
        if !batch.is_empty() {
            self.said_lost = batch.is_session_lost();
        }
        Poll::Ready(Some(batch))
    }

    /// Asks for the mark that is due.
    fn join(&mut self) {
        let now = self.clock.now();
        for side in Side::BOTH {
            if self.pair.is_subscribing(side) && self.shared(side).lock().plan.is_effective() {
                self.pair.effective(side, now);
            }
        }
        if let Some(side) = self.pair.awaits() {
            let state = self.shared(side).lock();
            let present = state.inbox.connection();
            // A connection that took the place of the one that was asked does not know of it.
            let is_lost = matches!(state.mark, AskedMark::Asked { connection, .. } if connection != present);
            drop(state);
            if is_lost {
                self.pair.unasked();
            }
        }
        if let Some(side) = self.pair.to_ask() {
            self.pair.asks();
            let shared = self.shared(side);
            shared.lock().mark = AskedMark::Wanted;
            shared.tell();
        }
    }

    /// Whether it is time to ask for marks again.
    fn poll_retry(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        let Some(due) = self.pair.poll_timeout().filter(|due| *due > now) else {
            self.retry = None;
            return false;
        };
        let due = self.clock.instant(due);
        let retry = self.retry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if retry.deadline() != due {
            retry.as_mut().reset(due);
        }
        retry.as_mut().poll(context).is_ready()
    }
}

/// Judges what one session brings.
struct Judge<'a> {
    pair: &'a mut Pair,
    side: Side,
    /// The mark that was asked for on the batch's connection, or a later one, is awaited.
    awaited: Option<u64>,
    now: Time,
}

impl Sieve for Judge<'_> {
    fn run(&mut self, publisher: PublisherKey, seqs: Range<u64>) -> Fresh {
        self.pair.run(self.side, publisher, seqs)
    }

    fn gap(&mut self, gap: &Gap) -> bool {
        self.pair.gap(self.side, gap, self.now)
    }

    fn mark(&mut self, mark: &Mark) -> bool {
        if self.awaited.is_some_and(|awaited| mark.number >= awaited) {
            self.pair.marked(self.side, mark, self.now);
        }
        self.pair.reads(self.side)
    }
}
