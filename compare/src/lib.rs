//! Side by side: the same load on Millrace and on what a user would otherwise pick, in one run.
//!
//! ```text
//! rounds × workloads × systems ─► server (own process) ◄─ link (one thread) ─► load (publishes, checks) ─► rows ─► ratios
//! ```
//!
//! Rounds are interleaved, so that what disturbs the machine disturbs all systems alike; what
//! counts is the median. Each [`system`] is started for a round in a process of its own, whose CPU
//! and memory are measured. All are driven by one thread that verifies every payload ([`load`]),
//! over a link for the system's protocol ([`drive`]). Relays without routing ([`serve`]) show what
//! the transport alone would carry.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod comparison;
pub mod drive;
mod error;
pub mod load;
mod once;
mod options;
pub mod placement;
pub mod report;
mod round;
pub mod serve;
pub mod server;
pub mod system;
pub mod workload;
pub mod zenoh;

pub use comparison::{Watcher, compare};
pub use error::CompareError;
pub use options::Options;
