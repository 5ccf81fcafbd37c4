//! What a connection's control stream says to its publisher.

use std::ops::Range;

use millrace_proto::TagSet;

use super::session::PublisherSession;
use super::store::Store;
use crate::session::{ConnectionEvent, SessionError};

/// What an event of the control stream was for a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is for others: receivers, or the owner of the connection.
    Nothing,
    /// The publisher may write more.
    Credit,
    /// The router has received these events, which were not known to be received before; empty when
    /// nothing is new.
    Received(Range<u64>),
    /// Events have ended: [`PublisherSession::poll_ended`] says how.
    Ended,
    /// The publisher's place in its standby set may be another one.
    Standing,
    /// Some tag sets are wanted from here on, or are wanted no more; empty when nothing is new.
    Wanted {
        /// The tag sets.
        sets: Vec<TagSet>,
        /// Whether somebody wants them.
        is_wanted: bool,
    },
}

impl<S: Store> PublisherSession<S> {
    /// Takes an event of the control stream of the connection that carries its stream. Where
    /// several publishers write that, events that name another one are not for this one.
    ///
    /// # Errors
    /// [`SessionError`]: the router broke the protocol; the connection is to be closed.
    pub fn hear(&mut self, event: &ConnectionEvent) -> Result<Heard, SessionError> {
        Ok(match event {
            ConnectionEvent::Credit { bytes } => {
                self.on_credit(*bytes);
                Heard::Credit
            }
            ConnectionEvent::Received { next_seq, .. } => {
                let before = self.received();
                self.on_received(*next_seq)?;
                Heard::Received(before..self.received())
            }
            ConnectionEvent::Outcome(outcome) => {
                self.on_outcome(outcome)?;
                Heard::Ended
            }
            ConnectionEvent::SetState { at, state } => {
                self.on_set_state(*at, state);
                Heard::Standing
            }
            ConnectionEvent::Quench(said) => Heard::Wanted { sets: self.on_quench(said), is_wanted: false },
            ConnectionEvent::Unquench(said) => {
                Heard::Wanted { sets: self.on_unquench(said), is_wanted: true }
            }
            ConnectionEvent::Welcomed(_)
            | ConnectionEvent::Subscribed(_)
            | ConnectionEvent::Refused(_)
            | ConnectionEvent::ReceiverClosed(_)
            | ConnectionEvent::Forwarding(_)
            | ConnectionEvent::Goaway(_)
            | ConnectionEvent::Dead { .. } => Heard::Nothing,
        })
    }
}
