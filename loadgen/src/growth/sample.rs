//! How growth is measured, and the figures of one side in one round.

use std::time::Duration;

use serde::Serialize;

use super::case::What;

/// How to measure.
#[derive(Debug, Clone)]
pub struct GrowthOptions {
    /// What to measure.
    pub what: Vec<What>,
    /// Rounds of everything.
    pub rounds: u32,
    /// Length of each measured stretch.
    pub duration: Duration,
    /// Events per second on both sides.
    pub rate: u64,
}

/// One side in one round.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Sample {
    pub cpu_ns_per_event: f64,
    pub offered_events_per_s: f64,
    /// Batches are alike where this is.
    pub events_per_write: f64,
    pub datagrams_in_per_event: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub lost: u64,
    /// Whether all was delivered once and in order.
    pub clean: bool,
    pub generator_was_bottleneck: bool,
}
