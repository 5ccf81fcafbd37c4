//! One publisher on one connection after the other, whether it writes their streams alone or with
//! others.

use std::sync::Arc;

use millrace_proto::control::Standby;
use millrace_proto::{PublisherId, PublisherKey, PublisherSecret, Shard};
use tokio::sync::Notify;

use super::holding::Holding;
use super::pen::Pen;
use super::state::Shared;
use super::stats::{Lost, REPORTS_MAX};
use crate::disconnect::Disconnect;
use crate::session::publisher::{Heard, SharedStream, Ways};
use crate::session::{ConnectionEvent, ConnectionSession, SessionError, Side};
use crate::time::Time;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) shared: Arc<Shared>,
    /// Which of the publisher's ways goes over this connection.
    side: Side,
    /// Something happened that those who wait for the publisher may want to see.
    progress: bool,
    /// The router has said what the publisher is in its set: it may have to be told something.
    is_set_heard: bool,
}

/// What the router of a connection knows of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knows {
    confirms: bool,
    names: bool,
}

impl Knows {
    pub(super) const fn of(connection: &ConnectionSession) -> Self {
        Self { confirms: connection.confirms(), names: connection.names() }
    }
}

/// What a turn of a publisher found out.
pub(super) struct Spoken {
    /// When the next turn is due, if nothing happens before.
    pub(super) deadline: Option<Time>,
    /// The router should be saying something.
    pub(super) expects_answer: bool,
    /// Some of what it has written waits for an answer.
    pub(super) is_waiting: bool,
}

impl Voice {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self::on_way(shared, Side::First)
    }

    /// One way of a publisher on two routers.
    pub(super) const fn on_way(shared: Arc<Shared>, side: Side) -> Self {
        Self { shared, side, progress: false, is_set_heard: false }
    }

    /// A router takes the client for `identity`: the publisher's id follows from that and its
    /// secret. For a publisher that began without a router.
    pub(super) fn identified(&self, secret: &PublisherSecret, identity: &str) {
        let mut state = self.shared.lock();
        let session = state.ways.first_mut();
        let publisher = PublisherId::derive(secret, identity, session.index());
        let key = PublisherKey { publisher, ..session.key() };
        session.set_key(key);
    }

    /// A connection begins whose router knows `knows`; `start` gives the session of this way its
    /// stream.
    pub(super) fn begin<T>(&mut self, knows: Knows, start: impl FnOnce(&mut Ways<Holding>, Side) -> T) -> T {
        let mut state = self.shared.lock();
        let started = start(&mut state.ways, self.side);
        state.knows_names = knows.names;
        if !knows.confirms && state.level.is_confirmed() {
            tracing::warn!("a router does not confirm events: what it receives ends as unknown; update it");
            state.ways.way_mut(self.side).cannot_confirm();
        }
        state.connections += 1;
        started
    }

    /// The connection is gone: what was on its way is reported as unknown, or goes out again.
    pub(super) fn lost(&mut self, reason: Disconnect) {
        let mut state = self.shared.lock();
        let unwanted = state.ways.way_mut(self.side).take_unwanted();
        let seqs = state.ways.stream_lost(self.side);
        state.settle();
        if !seqs.is_empty() {
            state.unknown += seqs.end - seqs.start;
            if state.lost.len() == REPORTS_MAX {
                state.lost.pop_front();
            }
            let key = state.ways.first().key();
            state.lost.push_back(Lost { key, seqs, reason });
        }
        drop(state);
        self.shared.on_wanted.tell(&unwanted, true);
        self.shared.progress.notify_waiters();
    }

    /// The control stream says something, of this publisher or of none.
    pub(super) fn hear(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        let mut state = self.shared.lock();
        let before = state.ways.first().standby();
        match state.ways.way_mut(self.side).hear(event)? {
            Heard::Nothing | Heard::Credit => return Ok(()),
            Heard::Wanted { sets, is_wanted } => {
                drop(state);
                self.shared.on_wanted.tell(&sets, is_wanted);
                return Ok(());
            }
            Heard::Standing => self.is_set_heard = true,
            Heard::Received(_) | Heard::Ended => {}
        }
        self.progress = true;
        state.settle();
        if state.wants_upkeep() {
            self.shared.upkeep.notify_one();
        }
        let now = state.ways.first().standby();
        drop(state);
        if let Some(now) = now.filter(|_| before != now) {
            self.shared.tell_standby(now);
        }
        Ok(())
    }

    /// What the router is to be told of the publisher in its set.
    pub(super) fn set_news(&mut self) -> Option<Standby> {
        let is_heard = std::mem::take(&mut self.is_set_heard);
        if is_heard { self.shared.lock().ways.first_mut().standby_news() } else { None }
    }

    /// Hands the next bytes to `pen`, if that has written what it had. `lent` is the stream, where
    /// others write it, too. `is_leaving`: no more events go out on this connection.
    pub(super) fn speak(
        &mut self,
        now: Time,
        is_leaving: bool,
        pen: &mut Pen,
        mut lent: Option<&mut SharedStream>,
    ) -> Spoken {
        let mut state = self.shared.lock();
        let state = &mut *state;
        if is_leaving {
            state.ways.way_mut(self.side).hold();
        }
        state.expire();
        if let Some(stream) = &mut lent {
            stream.lend(state.ways.first_mut());
        }
        if pen.is_empty()
            && let Some(chunk) = state.ways.take_output(self.side, now)
        {
            pen.take(chunk);
            self.progress = true;
        }
        self.progress |= state.settle();
        let output_due = if pen.is_empty() { state.ways.poll_timeout(self.side) } else { None };
        let session = state.ways.way(self.side);
        let answer_due = session.answer_due().filter(|&due| due > now);
        let deadline = output_due.into_iter().chain(answer_due).min();
        let expects_answer = session.expects_answer(now);
        let is_waiting = !session.unreceived().is_empty() || session.is_waiting();
        // Nothing that is published from here on can go out before the present chunk is written or
        // credit arrives, and the task turns then anyway.
        state.woken[self.side as usize] = !pen.is_empty() || session.is_out_of_credit(now);
        if let Some(stream) = lent {
            stream.take_back(state.ways.first_mut());
        }
        if std::mem::take(&mut self.progress) {
            self.shared.progress.notify_waiters();
        }
        Spoken { deadline, expects_answer, is_waiting }
    }

    /// Whether the publisher needs no connection any more.
    pub(super) fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// Whether nothing of it is on its way here or waits. The other one of two ways may have ended
    /// what this one has not written.
    pub(super) fn is_flushed(&self) -> bool {
        let state = self.shared.lock();
        if state.ways.is_redundant() {
            state.ways.way(self.side).unreceived().is_empty()
        } else {
            state.ways.is_flushed()
        }
    }

    /// Tells that an application wants something.
    pub(super) fn work(&self) -> Arc<Notify> {
        self.shared.work_of(self.side)
    }

    /// What chooses the core of the next connection.
    pub(super) fn shard(&self) -> Option<Shard> {
        self.shared.lock().shard
    }
}

impl Drop for Voice {
    /// The publisher gets no connection any more.
    fn drop(&mut self) {
        self.shared.lock().served = false;
        self.shared.progress.notify_waiters();
        self.shared.upkeep.notify_one();
    }
}
