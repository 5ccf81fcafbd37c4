//! One client connection to a router, on any [`Transport`](millrace_sansio::Transport).
//!
//! A connection carries one control stream, one publish stream if it publishes, and delivery
//! streams if it has receivers. The client library has a session for each of them;
//! [`ClientConnection`] opens the streams, moves bytes between them and their sessions, and tells
//! its owner what the router said.
//!
//! ```text
//!               owner: a loop that has connections, time and a clock
//!    connected, stream_opened │ readable │ publish, flush       ▲ events, runs and gaps
//!  ┌──────────────────────────▼──────────▼──────────────────────┴────────────────────────┐
//!  │ ClientConnection   control stream ─ ConnectionSession                               │
//!  │                    publish stream ─ PublisherSession, lent by the owner             │
//!  │                    delivery streams ─ Deliveries, which knows whose each stream is   │
//!  └──────────────────────────┬───────────────────────────────────────────────────────────┘
//!                    Transport: the QUIC loop, the simulated network
//! ```
//!
//! What the owner does:
//!
//! | when | call | then |
//! |---|---|---|
//! | the handshake is complete | [`connected`](ClientConnection::connected) | flush |
//! | the router opened a stream | [`stream_opened`](ClientConnection::stream_opened) | |
//! | a stream has bytes | [`readable`](ClientConnection::readable), again while it says so | events, flush |
//! | a stream takes bytes again | [`publish`](ClientConnection::publish), flush | |
//! | [`poll_timeout`](ClientConnection::poll_timeout) says | [`handle_timeout`](ClientConnection::handle_timeout) | events, flush |
//! | there may be events | [`poll_event`](ClientConnection::poll_event) until there are none | flush |
//!
//! Rules:
//!
//! - The publisher's session belongs to the owner and is lent to each call, because it outlives the
//!   connection. Sessions of receivers belong to the connection and end with it.
//! - A [`Failure`] is returned by the call that meets it. The connection is closed by then, with
//!   the code that says why; the owner drops it, and tells the publisher that its stream is lost.
//! - Runs and gaps go to the owner's [`DeliverySink`](millrace_client::session::DeliverySink) while
//!   they stand in the chunk that was read. What was read counts as taken by the application, so
//!   the router may send more, but for receivers that are on [`hold`](ClientConnection::hold).
//! - Reading and writing allocate nothing per event, read no clock and take no lock.
//! - Where to connect, when again, and what the connections of a program share is not decided here.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod connection;
mod control;
mod deliveries;
mod event;
mod outgoing;
mod publishing;
#[cfg(test)]
mod tests;

pub use connection::ClientConnection;
pub use control::ControlStream;
pub use event::{Event, Failure};
pub use publishing::Publishing;
