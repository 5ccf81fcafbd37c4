//! The fleet: publishers and receivers of a scenario on a few threads, each with its own QUIC loop.
//!
//! A thread holds every `threads`-th connection of either kind and checks its own receivers. It follows orders
//! ([`order::Order`]) and shows its counters ([`tally::Tally`]); nothing else is shared.

mod app;
mod build;
pub(crate) mod control;
pub(crate) mod dial;
pub mod latency;
pub mod order;
mod publisher;
mod receiver;
pub mod tally;
mod thread;

pub use latency::Latency;
pub use thread::{Fleet, FleetError, FleetPlan, Gaps, Judged, SlowJudged, Target, ThreadTimes};

pub use publisher::Epochs;
