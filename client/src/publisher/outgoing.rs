//! A publisher's share of one connection after the other: what the task of a connection does for
//! it.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::{PublisherId, PublisherKey, PublisherSecret, Shard};
use quinn::{Connection, SendStream, VarInt, WriteError};
use tokio::sync::Notify;

use super::state::Shared;
use super::stats::{Lost, REPORTS_MAX};
use crate::disconnect::Disconnect;
use crate::session::{ConnectionEvent, ConnectionSession, SessionError};
use crate::time::Time;

/// Moves the events of a publisher to the present connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    /// The publish stream; opened with the first output.
    stream: Option<SendStream>,
    /// Output that is not written yet.
    out: Bytes,
    /// Something happened that those who wait for the publisher may want to see.
    progress: bool,
}

/// What a turn found out.
pub(crate) enum Turned {
    /// The publisher is closed, and needs the connection no more.
    Ended,
    /// It goes on.
    Serving {
        /// When the next turn is due, if nothing happens before.
        deadline: Option<Time>,
        /// The router should be saying something.
        expects_answer: bool,
        /// The connection is to be left, and nothing is on its way any more.
        has_left: bool,
    },
}

impl Outgoing {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, stream: None, out: Bytes::new(), progress: false }
    }

    /// A router takes the client for `identity`: the publisher's id follows from that and its
    /// secret. For a publisher that began without a router.
    pub(crate) fn identified(&self, secret: &PublisherSecret, identity: &str) {
        let mut state = self.shared.lock();
        let publisher = PublisherId::derive(secret, identity, 0);
        let key = PublisherKey { publisher, ..state.session.key() };
        state.session.set_key(key);
    }

    /// A connection begins whose router holds `tables`, and knows confirms and names or does not.
    pub(crate) fn begin(&mut self, tables: TableCapacity, connection: &ConnectionSession) {
        let mut state = self.shared.lock();
        state.session.stream_started(tables);

        state.knows_names = connection.names();
        if !connection.confirms() && state.level.is_confirmed() {
            tracing::warn!("a router does not confirm events: what it receives ends as unknown; update it");
            state.session.cannot_confirm();
        }
        state.connections += 1;
    }

    /// On a new connection it joins its set, if it is a member of one.
    pub(super) fn join_set(&self, connection: &mut ConnectionSession) {
        let Some(request) = self.shared.lock().session.standby_request() else { return };
        if connection.sets() {
            connection.join_set(&request);
        } else {
            tracing::warn!("a router knows no standby sets, and this publisher waits: update the router");
        }
    }

    /// The connection is gone: what was on its way is reported as unknown, or goes out again.
    pub(crate) fn lost(&mut self, reason: Disconnect) {
        self.stream = None;
        self.out = Bytes::new();
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

    /// Takes what the router said on the control stream, and ignores what concerns receivers.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol, and the caller closes the connection.
    pub(crate) fn event(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        match event {
            ConnectionEvent::Credit { bytes } => self.shared.lock().session.on_credit(*bytes),
            ConnectionEvent::Quench(said) => {
                let sets = self.shared.lock().session.on_quench(said);
                self.shared.on_wanted.tell(&sets, false);
            }
            ConnectionEvent::Unquench(said) => {
                let sets = self.shared.lock().session.on_unquench(said);
                self.shared.on_wanted.tell(&sets, true);
            }
            ConnectionEvent::Received { next_seq } => {
                self.progress = true;
                let mut state = self.shared.lock();
                state.session.on_received(*next_seq)?;
                state.settle();
                if state.wants_upkeep() {
                    self.shared.upkeep.notify_one();
                }
            }
            ConnectionEvent::Outcome(outcome) => {
                self.progress = true;
                let mut state = self.shared.lock();
                state.session.on_outcome(outcome)?;
                state.settle();
                if state.wants_upkeep() {
                    self.shared.upkeep.notify_one();
                }
            }
            ConnectionEvent::SetState { at, state: said } => {
                self.progress = true;
                let mut state = self.shared.lock();
                let before = state.session.standby();
                state.session.on_set_state(*at, said);
                state.settle();
                let now = state.session.standby();
                drop(state);
                if let Some(now) = now.filter(|_| before != now) {
                    self.shared.tell_standby(now);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the next bytes to write. `is_leaving`: no more events go out on this connection.
    pub(crate) fn turn(&mut self, now: Time, is_leaving: bool) -> Turned {
        if self.is_done() {
            return Turned::Ended;
        }
        let mut state = self.shared.lock();
        let state = &mut *state;
        if is_leaving {
            state.session.hold();
        }
        state.expire();
        if self.out.is_empty()
            && let Some(chunk) = state.session.take_output(now)
        {
            self.out = chunk;
            self.progress = true;
        }
        state.settle();
        let session = &state.session;
        let output_due = if self.out.is_empty() { session.poll_timeout() } else { None };
        let answer_due = session.answer_due().filter(|&due| due > now);
        let deadline = output_due.into_iter().chain(answer_due).min();
        let expects_answer = session.expects_answer(now);
        let is_waiting = !session.unreceived().is_empty() || session.is_waiting();
        let has_left = is_leaving && self.out.is_empty() && !is_waiting;
        // Nothing that is published from here on can go out before the present chunk is written or
        // credit arrives, and the task turns then anyway.
        state.woken = !self.out.is_empty() || session.is_out_of_credit(now);
        if std::mem::take(&mut self.progress) {
            self.shared.progress.notify_waiters();
        }
        Turned::Serving { deadline, expects_answer, has_left }
    }

    /// Writes what a turn took, or opens the stream for it. Waits for ever when there is nothing to
    /// write. May be dropped at any time.
    pub(crate) async fn write(&mut self, connection: &Connection) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return std::future::pending().await;
        }
        match &mut self.stream {
            Some(stream) => stream.write_chunks(std::slice::from_mut(&mut self.out)).await.map(drop),
            None => {
                self.stream = Some(connection.open_uni().await?);
                Ok(())
            }
        }
    }

    /// Tells that an application wants something.
    pub(crate) fn work(&self) -> Arc<Notify> {
        self.shared.work.clone()
    }

    /// Whether the publisher needs no connection any more.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// What chooses the core of the next connection.
    pub(crate) fn shard(&self) -> Option<Shard> {
        self.shared.lock().shard
    }
}

impl Drop for Outgoing {
    /// The publisher gets no connection any more. A stream that ends within a run would break the
    /// protocol, so one that may do so is reset.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.served = false;
        let is_flushed = state.session.is_flushed();
        drop(state);
        if let Some(stream) = &mut self.stream
            && !is_flushed
        {
            // Resetting fails only for a stream that is closed already.
            let _ = stream.reset(VarInt::from_u32(0));
        }
        self.shared.progress.notify_waiters();
        self.shared.upkeep.notify_one();
    }
}
