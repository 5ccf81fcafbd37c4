//! Sizes and times.

use std::time::Duration;

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct FailoverSettings {
    /// Receivers, each with a connection of its own, all on the router that is killed.
    pub connections: u32,
    /// Router processes, linked with each other.
    pub routers: u16,
    /// Beats per second; each goes to all receivers.
    pub rate: u32,
    /// How long routers alone and idle receivers are watched, and how long beats come before the
    /// kill.
    pub watch: Duration,
    /// The 99th percentile that is allowed from the kill until a receiver has a beat again.
    pub within: Duration,
}

impl Default for FailoverSettings {
    fn default() -> Self {
        Self {
            connections: 300,
            routers: 3,
            rate: 20,
            watch: Duration::from_secs(3),
            within: Duration::from_secs(2),
        }
    }
}
