//! Sizes and times.

use std::time::Duration;

/// The standby set.
pub(super) const SET: &str = "loadgen";
/// The tag that members publish with, and receivers select by.
pub(crate) const TAG: &str = "stream=standby";

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct StandbySettings {
    /// Times that the holder is killed.
    pub kills: u32,
    /// Member processes; their ranks are 1, 2, …
    pub members: u8,
    /// Router processes, linked with each other; members and receivers are dealt out to them.
    pub routers: u16,
    /// Receivers of everything.
    pub receivers: u16,
    /// Numbers per second.
    pub rate: u64,
    /// How long a holder publishes before it is killed.
    pub run_on: Duration,
    /// The 99th percentile of the pauses that receivers may see.
    pub pause_max: Duration,
}

impl Default for StandbySettings {
    fn default() -> Self {
        Self {
            kills: 6,
            members: 3,
            routers: 3,
            receivers: 2,
            rate: 20_000,
            run_on: Duration::from_secs(1),
            pause_max: Duration::from_millis(2_500),
        }
    }
}
