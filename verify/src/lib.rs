//! What is sent, what must arrive, and who says whether it did: one library for simulator, load
//! generator and multi-host tests.
//!
//! | module | what it holds |
//! |---|---|
//! | [`payload`] | payloads that name their event and carry a checksum |
//! | [`workload`] | who emits and who subscribes to what: data, from which tag sets and selectors are generated |
//! | [`oracle`] | who must get what, by a naive matcher that shares nothing with the router's |
//! | [`checker`] | what was delivered, compared with what had to be |
//! | [`fault`] | fault schedules of the simulator: data, and a seeded generator |
//!
//! Nothing here does I/O or reads a clock: times are nanoseconds that the caller passes in, and
//! equal inputs give equal outputs on every machine. Nothing here knows how the router decides: of
//! the project, only the wire crate is used.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod checker;
pub mod fault;
pub mod oracle;
pub mod payload;
pub mod workload;
