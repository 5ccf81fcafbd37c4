//! What to compare.

use std::time::Duration;

use crate::placement::Placing;
use crate::system::{Places, System};
use crate::workload::Workload;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rounds of everything.
    pub rounds: u32,
    /// Length of each measured stretch.
    pub duration: Duration,
    /// Workloads, in their order.
    pub workloads: Vec<Workload>,
    /// Systems, in their order.
    pub systems: Vec<System>,
    /// Bytes of each payload, at least 28.
    pub payload_bytes: u32,
    /// Events under way at most in saturating workloads.
    pub window: u64,
    /// Who decides where servers with one busy thread and their generator run.
    pub placing: Placing,
    /// Where peers are.
    pub places: Places,
    /// Of the host, before anything was run.
    pub load_average: f64,
}

impl Options {
    /// What is left unsaid on the command line: everything, five rounds of five seconds.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self {
            rounds: 5,
            duration: Duration::from_secs(5),
            workloads: <Workload as clap::ValueEnum>::value_variants().to_vec(),
            systems: System::ALL.to_vec(),
            payload_bytes: 128,
            window: 16_384,
            placing: Placing::default(),
            places,
            load_average: millrace_measure::kernel::load_average(),
        }
    }
}
