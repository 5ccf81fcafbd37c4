//! What the control stream of a connection tells its client.

use millrace_proto::control::{
    Goaway, Outcome, Quench, ReceiverClosed, Refused, SetState, Subscribed, Unquench, Welcome,
};

use crate::session::forwarding::Forwarding;
use crate::time::Time;

/// An event of the control stream. Every kind is named, so that a loop which drives sessions has to
/// say what it does with a new one. Those that are a publisher's go to
/// [`PublisherSession::hear`](crate::session::PublisherSession::hear).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The router answered: the connection can be used.
    Welcomed(Box<Welcome>),
    /// The publisher may write more.
    Credit {
        /// Bytes of the publish stream allowed in all.
        bytes: u64,
    },
    /// The router has read events of the publisher.
    Received {
        /// The publisher's number on the stream.
        publisher: u64,
        /// First seq that the router has not read.
        next_seq: u64,
    },
    /// Events of the publisher that it names have ended.
    Outcome(Outcome),
    /// What the publisher is in its standby set.
    SetState {
        /// When it came.
        at: Time,
        /// What the publisher is in its set.
        state: SetState,
    },
    /// Nobody wants events of some tag sets. It is taken for applied when the next output is taken.
    Quench(Quench),
    /// Somebody wants events of some tag sets. As above.
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
