//! Control frames between a client and its router, on the bidirectional stream that the client
//! opens first.
//!
//! Every body is a sequence of [fields](crate::field); an absent integer is 0, an absent text
//! empty, an absent list empty. The client says [`Hello`] first, the router answers [`Welcome`];
//! nothing else is sent before. Both may [`Ping`].
//!
//! | direction | frames |
//! |---|---|
//! | client → router | Hello, OpenReceiver, Subscribe, Unsubscribe, Grant, CloseReceiver, Ping, Pong; Ack, Move, Member, Standby, Quenched |
//! | router → client | Welcome, Credit, Received, Subscribed, Refused, ReceiverClosed, Goaway, Ping, Pong; Outcome, Quench, Unquench, SetState, Demand, Replies |
//!
//! Those behind the semicolons belong to [features](crate::feature), and are sent only to a side
//! that lists them.

mod define;
mod frame;
pub mod kind;
mod position;
mod publishing;
mod ranges;
mod receiving;
mod session;
mod standby;
mod value;

pub(crate) use define::{message, record, wire_enum};
pub use frame::ControlFrame;
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
