//! Sizes and times.

use std::time::Duration;

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct RebalanceSettings {
    /// Receivers, each with a connection of its own, all on the first router.
    pub connections: u32,
    /// Beats per second; each goes to all receivers.
    pub rate: u32,
    /// The time over which the router spreads the moves.
    pub within: Duration,
    /// How long beats come before the call, and how long is watched whether somebody moves again.
    pub watch: Duration,
}

impl Default for RebalanceSettings {
    fn default() -> Self {
        Self { connections: 1_000, rate: 2, within: Duration::from_secs(10), watch: Duration::from_secs(10) }
    }
}
