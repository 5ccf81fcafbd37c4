//! Everything that decides in a Millrace router. Sans-IO: no tokio, no QUIC, no clock, no threads.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod matching;
pub mod routes;
