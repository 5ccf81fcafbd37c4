//! A publisher's share of one connection after the other: what the task of a connection does for
//! it.

use std::sync::Arc;

use millrace_proto::control::TableCapacity;
use millrace_proto::{PublisherSecret, Shard};
use quinn::{Connection, WriteError};
use tokio::sync::Notify;

use super::pen::Pen;
use super::state::Shared;
use super::voice::{Knows, Spoken, Voice};
use crate::disconnect::Disconnect;
use crate::session::{ConnectionEvent, ConnectionSession, SessionError, Side};
use crate::time::Time;

/// Moves the events of a publisher to the present connection, whose publish stream it has for
/// itself.
#[derive(Debug)]
pub(crate) struct Outgoing {
    voice: Voice,
    pen: Pen,
}

/// Why a connection is made anew for publishers that it has no numbers for.
pub(crate) const NO_NUMBERS: SessionError = SessionError::Limit { what: "the numbers of publishers" };

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
    /// The stream has no number left for another publisher: the next connection has.
    NoNumbers,
}

impl Outgoing {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { voice: Voice::new(shared), pen: Pen::default() }
    }

    /// One way of a publisher on two routers.
    pub(super) fn on_way(shared: Arc<Shared>, side: Side) -> Self {
        Self { voice: Voice::on_way(shared, side), pen: Pen::default() }
    }

    /// A router takes the client for `identity`: the publisher's id follows from that and its
    /// secret. For a publisher that began without a router.
    pub(super) fn identified(&self, secret: &PublisherSecret, identity: &str) {
        self.voice.identified(secret, identity);
    }

    /// A connection begins whose router holds `tables`, and knows confirms and names or does not.
    pub(crate) fn begin(&mut self, tables: TableCapacity, connection: &ConnectionSession) {
        self.voice.begin(Knows::of(connection), |ways, side| ways.stream_started(side, tables));
    }

    /// On a new connection it joins its set, if it is a member of one.
    pub(super) fn join_set(&self, connection: &mut ConnectionSession) {
        let Some(request) = self.voice.shared.lock().ways.first_mut().standby_request() else { return };
        if connection.sets() {
            connection.join_set(&request);
        } else {
            tracing::warn!("a router knows no standby sets, and this publisher waits: update the router");
        }
    }

    /// Tells the router what it has to know of the publisher in its set, if that is news.
    pub(super) fn tell_set(&mut self, connection: &mut ConnectionSession) {
        if let Some(news) = self.voice.set_news() {
            connection.join_set(&news);
        }
    }

    /// The connection is gone: what was on its way is reported as unknown, or goes out again.
    pub(crate) fn lost(&mut self, reason: Disconnect) {
        self.pen = Pen::default();
        self.voice.lost(reason);
    }

    /// Takes what the router said on the control stream, and ignores what concerns receivers.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol, and the caller closes the connection.
    pub(crate) fn event(&mut self, event: &ConnectionEvent) -> Result<(), SessionError> {
        self.voice.hear(event)
    }

    /// Takes the next bytes to write. `is_leaving`: no more events go out on this connection.
    pub(crate) fn turn(&mut self, now: Time, is_leaving: bool) -> Turned {
        if self.is_done() {
            return Turned::Ended;
        }
        let Self { voice, pen } = self;
        let Spoken { deadline, expects_answer, is_waiting } = voice.speak(now, is_leaving, pen, None);
        Turned::Serving { deadline, expects_answer, has_left: is_leaving && pen.is_empty() && !is_waiting }
    }

    /// Writes what a turn took, or opens the stream for it. Waits for ever when there is nothing to
    /// write. May be dropped at any time.
    pub(crate) async fn write(&mut self, connection: &Connection) -> Result<(), WriteError> {
        self.pen.write(connection).await
    }

    /// Tells that an application wants something.
    pub(crate) fn work(&self) -> Arc<Notify> {
        self.voice.work()
    }

    /// Whether the publisher needs no connection any more.
    pub(crate) fn is_done(&self) -> bool {
        self.voice.is_done()
    }

    /// What chooses the core of the next connection.
    pub(crate) fn shard(&self) -> Option<Shard> {
        self.voice.shard()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.voice.is_flushed() || !self.pen.is_empty() {
            self.pen.reset();
        }
    }
}
