//! Workloads: who emits, who subscribes to what, how much of it, as data.
//!
//! A [`Workload`] is a few numbers and a seed; its [`Generator`] gives any emitter's tag set and
//! any receiver's subscriptions, the same on every machine, so that several load processes share
//! one workload without talking.
//!
//! | shape | what it is like |
//! |---|---|
//! | [`Shape::Fleet`] | hosts in racks, clusters and regions; every event has at least one taker (`million`, pipes, fan-out) |
//! | [`Shape::Blocks`] | the same hosts; each receiver has one selector, which takes a block of neighbours (connections by the thousand) |
//! | [`Shape::Everything`] | the same hosts; every receiver takes everything (pipes with many tag sets) |
//! | [`Shape::Random`] | tags and selectors drawn from a small universe, with every operator of the grammar (simulator) |

mod draw;
mod error;
mod fleet;
mod generator;
mod random;
mod spec;
#[cfg(test)]
mod tests;
mod words;

pub use error::WorkloadError;
pub use generator::{Generator, Subscription};
pub use spec::{Shape, Workload};
pub use words::{WORDS_MAX, WordMask, Words};
