//! One publisher on one connection after the other, whether it writes their streams alone or with
//! others.

use std::sync::Arc;

use millrace_proto::{PublisherId, PublisherKey, PublisherSecret, Shard};

use super::holding::Holding;
use super::pen::Pen;
use super::state::Shared;
use super::stats::{Lost, REPORTS_MAX};
use crate::disconnect::Disconnect;
use crate::session::publisher::{Heard, SharedStream};
use crate::session::{ConnectionEvent, ConnectionSession, PublisherSession, SessionError};
use crate::time::Time;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) shared: Arc<Shared>,
    /// Something happened that those who wait for the publisher may want to see.
    progress: bool,
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
        Self { shared, progress: false }
    }

    /// A router takes the client for `identity`: the publisher's id follows from that and its
    /// secret. For a publisher that began without a router.
    pub(super) fn identified(&self, secret: &PublisherSecret, identity: &str) {
        let mut state = self.shared.lock();
        let publisher = PublisherId::derive(secret, identity, state.session.index());
        let key = PublisherKey { publisher, ..state.session.key() };
        state.session.set_key(key);
    }

    /// A connection begins whose router knows `knows`; `start` gives the session its stream.
    pub(super) fn begin<T>(
        &mut self,
        knows: Knows,
        start: impl FnOnce(&mut PublisherSession<Holding>) -> T,
    ) -> T {
        let mut state = self.shared.lock();
        let started = start(&mut state.session);
        state.knows_names = knows.names;
        if !knows.confirms && state.level.is_confirmed() {
            tracing::warn!("a router does not confirm events: what it receives ends as unknown; update it");
            state.session.cannot_confirm();
        }
        state.connections += 1;
        started
    }

    /// The connection is gone: what was on its way is reported as unknown, or goes out again.
    pub(super) fn lost(&mut self, reason: Disconnect) {
        let mut state = self.shared.lock();
        let unwanted = state.session.take_unwanted();
        let seqs = state.session.stream_lost();
        if !seqs.is_empty() {
            state.unknown += seqs.end - seqs.start;
            if state.lost.len() == REPORTS_MAX {
                state.lost.pop_front();
            }
            let key = state.session.key();
            state.lost.push_back(Lost { key, seqs, reason });
        }
        drop(state);
        self.shared.on_wanted.tell(&unwanted, true);
        self.shared.progress.notify_waiters();
    }

    /// The control stream says something, of this publisher or of none.
    pub(super) fn hear(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        let mut state = self.shared.lock();
        let before = state.session.standby();
        match state.session.hear(event)? {
            Heard::Nothing | Heard::Credit => return Ok(()),
            Heard::Wanted { sets, is_wanted } => {
                drop(state);
                self.shared.on_wanted.tell(&sets, is_wanted);
                return Ok(());
            }
            Heard::Received(_) | Heard::Ended | Heard::Standing => {}
        }
        self.progress = true;
        state.settle();
        if state.wants_upkeep() {
            self.shared.upkeep.notify_one();
        }
        let now = state.session.standby();
        drop(state);
        if let Some(now) = now.filter(|_| before != now) {
            self.shared.tell_standby(now);
        }
        Ok(())
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
            state.session.hold();
        }
        state.expire();
        if let Some(stream) = &mut lent {
            stream.lend(&mut state.session);
        }
        if pen.is_empty()
            && let Some(chunk) = state.session.take_output(now)
        {
            pen.take(chunk);
            self.progress = true;
        }
        state.settle();
        let session = &state.session;
        let output_due = if pen.is_empty() { session.poll_timeout() } else { None };
        let answer_due = session.answer_due().filter(|&due| due > now);
        let deadline = output_due.into_iter().chain(answer_due).min();
        let expects_answer = session.expects_answer(now);
        let is_waiting = !session.unreceived().is_empty() || session.is_waiting();
        // Nothing that is published from here on can go out before the present chunk is written or
        // credit arrives, and the task turns then anyway.
        state.woken = !pen.is_empty() || session.is_out_of_credit(now);
        if let Some(stream) = lent {
            stream.take_back(&mut state.session);
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

    /// Whether nothing of it is on its way or waits.
    pub(super) fn is_flushed(&self) -> bool {
        self.shared.lock().session.is_flushed()
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
