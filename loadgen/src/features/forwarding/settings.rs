//! Sizes and times.

use std::time::Duration;

/// Clusters of the ring.
pub(super) const CLUSTERS: u32 = 3;
/// The tag of all events, and the selector of all receivers.
pub(super) const TAG: &str = "stream=forwarding";

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct ForwardSettings {
    /// Events per second of all publishers.
    pub rate: u64,
    /// How long all clusters publish; and again while one is away.
    pub duration: Duration,
    /// For how long nothing may cross when nobody publishes.
    pub still: Duration,
    /// Cores of each router.
    pub cores: u16,
    /// Links from each cluster to each other one.
    pub links: u16,
}

impl Default for ForwardSettings {
    fn default() -> Self {
        Self {
            rate: 6_000,
            duration: Duration::from_secs(4),
            still: Duration::from_secs(2),
            cores: 1,
            links: 1,
        }
    }
}
