//! Sizes and times.

use std::time::Duration;

use crate::chaos::Confirm;

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct RollingSettings {
    /// Router processes, linked with each other; each is restarted once.
    pub routers: u16,
    /// Cores of each router.
    pub cores: u16,
    /// Publishers, each with a connection.
    pub publishers: u16,
    /// Receivers, each with a connection; each event is for one of them.
    pub receivers: u16,
    /// Events per second of all publishers.
    pub rate: u64,
    /// What publishers ask for.
    pub confirm: Confirm,
    /// How long the load is watched before the first restart and behind the last.
    pub watch: Duration,
    /// Between a router that is back and the next one that ends.
    pub pause: Duration,
    /// Time that a router leaves its clients when it is asked to end.
    pub grace: Duration,
    /// The 99th percentile of latency while routers restart, as a multiple of that before, that is
    /// allowed.
    pub slower_max: f64,
}

impl Default for RollingSettings {
    fn default() -> Self {
        Self {
            routers: 3,
            cores: 1,
            publishers: 4,
            receivers: 4,
            rate: 50_000,
            confirm: Confirm::Delivered,
            watch: Duration::from_secs(10),
            pause: Duration::from_secs(3),
            grace: Duration::from_secs(2),
            slower_max: 3.0,
        }
    }
}
