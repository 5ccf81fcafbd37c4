//! Sans-IO sessions: everything a client decides, without sockets, tasks or clocks.
//!
//! One connection to a router carries one control stream and, as needed, one publish stream and one
//! stream per receiver. Each has its session here; a driver (the async shell of this crate, the
//! load generator's loop, the simulator) moves bytes and time:
//!
//! ```text
//!                    control bytes              publish bytes             receiver bytes
//!                         │  ▲                        ▲                        │
//!            control_data ▼  │ poll_control_output    │ take_output            ▼ data(stream, chunk, sink)
//!                 ConnectionSession ── hear ───▶ PublisherSession         Deliveries
//!                         │                             ▲                      │ poll_grant
//!                         └─ grant() ◀──────────────────┼──────────────────────┘
//!                                                 publish(…)
//! ```
//!
//! | session | life | what it keeps |
//! |---|---|---|
//! | [`ConnectionSession`] | one connection | Hello and Welcome, pings, frames of the control stream |
//! | [`PublisherSession`] | one publisher, across connections | queued runs, tables of the present stream, credit, `received` |
//! | [`SharedStream`] | one connection | the stream that several publishers write: numbers, tables, credit |
//! | [`ReceiverSession`] | one receiver on one connection | tables, an incomplete frame, the grant |
//! | [`Deliveries`] | all receivers of one connection | their sessions, or one for all where they share a stream; their numbers and grants |
//! | [`Past`] | one receiver, across connections | what it wants of the past, and how far it has come |
//! | [`Plan`] | one client, across connections | which receivers and subscriptions there should be |
//! | [`Attachment`] | one client, across connections | which router it is at, and what it does to be |
//!
//! Rules that hold for all of them: time comes in as [`Time`](crate::time::Time); hostile bytes
//! give an error with a [`CloseCode`](millrace_proto::CloseCode) and never a panic; after an error
//! the session is only good for being dropped (a [`PublisherSession`] lives on: tell it that its
//! stream is lost); memory is bounded by the configuration. Nothing here reads a clock, draws
//! random numbers but from a seed that it was given, or iterates a hash map, so equal inputs give
//! equal outputs.

pub mod attachment;
pub mod connection;
mod cursor;
mod error;
mod forwarding;
pub mod liveness;
mod past;
pub mod plan;
mod progress;
pub mod publisher;
pub mod receiver;
mod side;

pub use attachment::{Attachment, AttachmentConfig};
pub use connection::{ConnectionConfig, ConnectionEvent, ConnectionSession};
pub use cursor::{Cursor, CursorError, Passed};
pub use error::SessionError;
pub use forwarding::Forwarding;
pub use past::{Past, PastRequest, Place, PlaceOf};
pub use plan::Plan;
pub use publisher::{
    ConfirmLevel, Ended, Outcome, PublishError, PublisherConfig, PublisherSession, SharedStream, Store,
    TagHandle, Tags,
};
pub use receiver::{
    Dedup, DeliveredRun, Deliveries, DeliverySink, DeliveryStream, PassedBy, ReceiverConfig, ReceiverSession,
    StreamFor,
};
pub use side::Side;
