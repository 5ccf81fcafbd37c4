//! The fleet: publishers and receivers of a scenario on a few threads, each with its own QUIC loop.
//!
//! A thread holds every `threads`-th connection of either kind and checks its own receivers. It follows orders
//! ([`order::Order`]) and shows its counters ([`tally::Tally`]); nothing else is shared.

mod app;
mod build;
mod dial;
pub mod order;
mod publisher;
mod receiver;
pub mod tally;
mod thread;

pub use receiver::Latency;
pub use thread::{Fleet, FleetError, FleetPlan, Gaps, Judged, Target};

pub use publisher::Epochs;
