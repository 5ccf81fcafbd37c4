//! One core's QUIC: a run-to-completion loop over quinn-proto, the sans-IO state machine of quinn.
//!
//! A [`Core`] owns UDP sockets, one endpoint, all of its connections and an [`App`]. Each
//! [`Core::turn`] receives a batch of datagrams, hands them to their connections, tells the app
//! what happened, fires timers, and transmits across connections in batches; it sleeps only when
//! nothing is left to do. The app never blocks and does all I/O through [`Io`]. There are no
//! wakers, channels, locks or tasks per connection.
//!
//! ```text
//!             +--------------------------- Core ----------------------------+
//!  epoll ---> |  udp::Sockets --datagrams--> Driver --events--> App          |
//!             |       ^                        |  ^               |          |
//!             |       +------- Outbox ---------+  +----- Io ------+          |
//!             +-------------------------------------------------------------+
//! ```
//!
//! [`Driver`] is the middle part alone: no sockets, no clock, no threads. Whoever owns a
//! [`Network`] can run it, so tests drive it over simulated networks in virtual time.
//!
//! Invariants:
//! - quinn's connection handle, a slab index that is reused, never leaves this crate: a [`ConnId`]
//!   is generational, and calls with an outdated one do nothing.
//! - Every queue has a bound; every datagram that is given up is counted in [`Metrics`] with its
//!   reason.
//! - A packet that quinn-proto has produced is sent or counted: what the kernel did not take is
//!   kept and goes first.
//!
//! Deliberately absent: routing, frames, queues of messages, async. This crate knows no event.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod app;
mod cid;
mod core;
mod driver;
mod ids;
mod io;
mod keys;
mod metrics;
mod network;
mod outcome;
mod resumption;
mod sealing;
mod session;
mod settings;
mod spin;
pub mod steer;
mod sys;
pub mod tls;
mod transport;
mod udp;
mod waker;

pub use app::{App, CloseReason, ConnectedInfo, Side};
pub use cid::CidShape;
pub use core::{Core, TurnStats};
pub use driver::{Driver, DriverSettings};
pub use ids::{ConnId, SocketId, StreamId};
pub use io::Io;
pub use keys::Keys;
pub use metrics::{Drops, Metrics};
pub use network::{Arrival, Ecn, ForeignSegment, Network, Outgoing, SocketBuffers};
pub use outcome::{ConnStats, ConnectError, ReadOutcome, ReadState, WriteError};
pub use resumption::{Authorities, Resumption};
pub use settings::{
    AddressBlock, AddressBlockError, Admission, ClientSettings, CoreSettings, Dial, NewcomerLimits,
    ServerSettings, SettingsError, TransportSettings, WideProtocol,
};
pub use waker::Waker;
