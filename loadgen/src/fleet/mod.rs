//! The fleet: publishers and receivers of a scenario on a few threads, each with its own QUIC loop.
//!
//! A thread holds every `threads`-th connection of either kind and checks its own receivers. It
//! follows orders ([`order::Order`]) and shows its counters ([`tally::Tally`]); nothing else is
//! shared. With the client library in place of
//! our loop ([`Driver::Client`](crate::scenario::Driver::Client)) a thread is a tokio runtime that
//! follows the same orders.

mod app;
mod build;
mod clock;
mod connections;
pub(crate) mod dial;
mod judged;
pub mod latency;
mod library;
mod opening;
pub mod order;
mod plan;
mod publisher;
mod receiver;
mod schedule;
mod shared;
mod state;
pub mod tally;
mod thread;
mod watch;

pub use clock::Epochs;
pub use judged::{Gaps, Judged, SlowJudged};
pub use latency::Latency;
pub use plan::{FleetPlan, Target};
pub use thread::{Fleet, FleetError, ThreadTimes};
