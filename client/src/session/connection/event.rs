//! What the control stream of a connection tells its client.

use millrace_proto::control::{
    Goaway, Outcome, Quench, ReceiverClosed, Refused, SetState, Subscribed, Unquench, Welcome,
};

use crate::session::forwarding::Forwarding;
use crate::time::Time;

/// An event of the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The router answered: the connection can be used.
    Welcomed(Box<Welcome>),
    /// For [`PublisherSession::on_credit`](crate::session::PublisherSession::on_credit).
    Credit {
        /// Bytes of the publish stream allowed in all.
        bytes: u64,
    },
    /// For [`PublisherSession::on_received`](crate::session::PublisherSession::on_received).
    Received {
        /// The publisher's number on the stream.
        publisher: u64,
        /// First seq that the router has not read.
        next_seq: u64,
    },
    /// For [`PublisherSession::on_outcome`](crate::session::PublisherSession::on_outcome) of the publisher
    /// that it names.
    Outcome(Outcome),
    /// For [`PublisherSession::on_set_state`](crate::session::PublisherSession::on_set_state).
    SetState {
        /// When it came.
        at: Time,
        /// What the publisher is in its set.
        state: SetState,
    },
    /// For [`PublisherSession::on_quench`](crate::session::PublisherSession::on_quench). It is taken for
    /// applied when the next output is taken.
    Quench(Quench),
    /// For [`PublisherSession::on_unquench`](crate::session::PublisherSession::on_unquench). As above.
    Unquench(Unquench),
    /// A subscription reached a stage.
    Subscribed(Subscribed),
    /// A request was refused; nothing changed at the router.
    Refused(Refused),
    /// A receiver is gone at the router.
    ReceiverClosed(ReceiverClosed),
    /// For who forwards: what the router said of publishers whose runs are passed on, or of what is
    /// wanted there.
    Forwarding(Forwarding),
    /// The router goes away.
    Goaway(Goaway),
    /// Nothing was heard for too long: close with
    /// [`CloseCode::Timeout`](millrace_proto::CloseCode::Timeout) and reconnect.
    Dead {
        /// How long nothing was heard.
        silent_ns: u64,
    },
}
