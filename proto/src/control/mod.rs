//! Control frames between a client and its router, on the bidirectional stream that the client opens first.
//!
//! Every body is a sequence of [fields](crate::field); an absent integer is 0, an absent text empty, an absent list empty.
//! The client says [`Hello`] first, the router answers [`Welcome`]; nothing else is sent before. Both may [`Ping`].
//!
//! | direction | frames |
//! |---|---|
//! | client → router | Hello, OpenReceiver, Subscribe, Unsubscribe, Grant, CloseReceiver, Ping, Pong; Ack, Move, Member, Standby, Quenched |
//! | router → client | Welcome, Credit, Received, Subscribed, Refused, ReceiverClosed, Goaway, Ping, Pong; Outcome, Quench, Unquench, SetState, Demand, Replies |
//!
//! Those behind the semicolons belong to [features](crate::feature), and are sent only to a side that lists them.

mod define;
mod position;
mod publishing;
mod ranges;
mod receiving;
mod session;
mod standby;
mod value;

pub(crate) use define::{message, record, wire_enum};
pub use position::SourcePosition;
pub use publishing::{
    Credit, Demand, Outcome, OutcomeKind, OutcomeReason, Quench, Quenched, Received, RecipientOutcome,
    Replies, ReplyEnd, Unquench,
};
pub use ranges::SeqRanges;
pub use receiving::{
    Ack, AckKind, CloseReceiver, Grant, Member, Move, OpenReceiver, OverflowPolicy, ReceiverClosed, Refused,
    RefusedReason, Stage, Subscribe, Subscribed, Ticket, Unsubscribe,
};
pub use session::{Goaway, Hello, Ping, Pong, TableCapacity, Welcome};
pub use standby::{SetState, Standby, Standing};
pub use value::{Element, Value};

use crate::error::DecodeError;
use crate::frame;

/// Frame types of control streams between client and router. 0x74–0x7f are free; 0x60–0x6f and 0x80–0x8f are those
/// between routers ([`crate::mesh::kind`]).
pub mod kind {
    #![allow(missing_docs, reason = "each is documented at the message of the same name")]
    pub const HELLO: u64 = 0x20;
    pub const WELCOME: u64 = 0x22;
    pub const PING: u64 = 0x24;
    pub const PONG: u64 = 0x26;
    pub const GOAWAY: u64 = 0x28;
    pub const CREDIT: u64 = 0x2a;
    pub const RECEIVED: u64 = 0x2c;
    pub const OUTCOME: u64 = 0x2e;
    pub const ACK: u64 = 0x30;
    pub const MOVE: u64 = 0x32;
    pub const OPEN_RECEIVER: u64 = 0x34;
    pub const SUBSCRIBE: u64 = 0x36;
    pub const UNSUBSCRIBE: u64 = 0x38;
    pub const SUBSCRIBED: u64 = 0x3a;
    pub const REFUSED: u64 = 0x3c;
    pub const GRANT: u64 = 0x3e;
    pub const CLOSE_RECEIVER: u64 = 0x40;
    pub const RECEIVER_CLOSED: u64 = 0x42;
    pub const QUENCH: u64 = 0x44;
    pub const UNQUENCH: u64 = 0x46;
    pub const QUENCHED: u64 = 0x48;
    pub const MEMBER: u64 = 0x4a;
    pub const STANDBY: u64 = 0x4c;
    pub const SET_STATE: u64 = 0x4e;
    pub const DEMAND: u64 = 0x70;
    pub const REPLIES: u64 = 0x72;
}

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
