//! The fleet: publishers and receivers of a scenario on a few threads, each with its own QUIC loop.
//!
//! A thread holds every `threads`-th connection of either kind and checks its own receivers. It follows orders
//! ([`order::Order`]) and shows its counters ([`tally::Tally`]); nothing else is shared. With the client library in place of
//! our loop ([`Driver::Client`](crate::scenario::Driver::Client)) a thread is a tokio runtime that follows the same orders.

mod app;
mod build;
mod clock;
pub(crate) mod control;
pub(crate) mod dial;
pub mod latency;
mod library;
pub mod order;
mod publisher;
mod receiver;
mod schedule;
pub mod tally;
mod thread;

pub use latency::Latency;
pub use thread::{Fleet, FleetError, FleetPlan, Gaps, Judged, SlowJudged, Target, ThreadTimes};

pub use clock::Epochs;
