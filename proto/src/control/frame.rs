//! Any frame of a control stream between client and router.

use super::publishing::{Credit, Demand, Outcome, Quench, Quenched, Received, Replies, Unquench};
use super::receiving::{
    Ack, CloseReceiver, Grant, Member, Move, OpenReceiver, ReceiverClosed, Refused, Subscribe, Subscribed,
    Unsubscribe,
};
use super::session::{Goaway, Hello, Ping, Pong, Welcome};
use super::standby::{SetState, Standby};
use crate::error::DecodeError;
use crate::frame;

/// Any frame of a control stream between client and router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the message of the same name")]
pub enum ControlFrame {
    Hello(Hello),
    Welcome(Welcome),
    Ping(Ping),
    Pong(Pong),
    Goaway(Goaway),
    Credit(Credit),
    Received(Received),
    OpenReceiver(OpenReceiver),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Subscribed(Subscribed),
    Refused(Refused),
    Grant(Grant),
    CloseReceiver(CloseReceiver),
    ReceiverClosed(ReceiverClosed),
    Outcome(Outcome),
    Ack(Ack),
    Move(Move),
    Quench(Quench),
    Unquench(Unquench),
    Quenched(Quenched),
    Member(Member),
    Standby(Standby),
    SetState(SetState),
    Demand(Demand),
    Replies(Replies),
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

macro_rules! frames {
    ($($name:ident),*) => {
        impl ControlFrame {
            /// Decodes one frame that was split off a control stream.
            ///
            /// # Errors
            /// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
            pub fn decode(kind: u64, body: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $($name::KIND => Ok(Self::$name($name::decode(body)?)),)*
                    _ => frame::skip_unknown(kind).map(|()| Self::Skipped { kind }),
                }
            }

            /// Appends the frame. Skipped frames write nothing.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                    Self::Skipped { .. } => {}
                }
            }
        }
    };
}
frames!(
    Hello,
    Welcome,
    Ping,
    Pong,
    Goaway,
    Credit,
    Received,
    OpenReceiver,
    Subscribe,
    Unsubscribe,
    Subscribed,
    Refused,
    Grant,
    CloseReceiver,
    ReceiverClosed,
    Outcome,
    Ack,
    Move,
    Quench,
    Unquench,
    Quenched,
    Member,
    Standby,
    SetState,
    Demand,
    Replies
);
