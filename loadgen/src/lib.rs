//! Capacity testing for Millrace: a fleet of emitters and receivers, open loop, verified end to
//! end.
//!
//! ```text
//! scenario ─► cluster (embedded routers, processes, or addresses) ─► fleet threads ─► checkers ─► report
//! ```
//!
//! A [`scenario`] is data. The [`fleet`] runs the client library's sessions on our own QUIC loop,
//! so that the generator is cheap beside the routers that it measures. Emitters follow a schedule
//! that does not wait for the system (open loop), and latency counts from the scheduled time (no
//! coordinated omission). Every payload says which event it is and carries a checksum; who must get
//! it is known from an independent, naive matcher. The [`run`](mod@run) module drives attempts
//! until a rate holds.

// A line that cannot be written must not end a run, as `eprintln!` does: see `tell`.
#![warn(clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod chaos;
mod child;
mod clock;
pub mod cluster;
pub mod command_line;
pub mod disturb;
pub mod features;
pub mod fleet;
pub mod growth;
pub mod progress;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod tell;
