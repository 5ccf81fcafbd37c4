//! Everything that decides in a Millrace router. Sans-IO: no tokio, no QUIC, no clock, no threads.
//!
//! A router is some [`core`]s and one [`control`]. A core owns the shards that fall to it and holds
//! the sessions of its connections; control is the one writer of the directory and of the mesh's
//! state. They share nothing and talk by [`message`]; time and connections are inputs ([`time`],
//! [`transport`]).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod control;
pub mod core;
pub mod forward;
pub mod groups;
pub mod history;
pub mod ledger;
pub mod matching;
pub mod message;
pub mod metrics;
pub mod names;
mod packing;
pub mod payload;
pub mod requests;
pub mod rights;
pub mod routes;
pub mod rules;
pub mod standby;
pub mod time;
pub mod transport;
