//! The Millrace client library: publish events, receive events.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod session;
pub mod time;
