//! Sizes and times.

use std::time::Duration;

/// The tag of requests that the responder has.
pub(super) const SERVICE: &str = "service=desk";

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct RequestSettings {
    /// Requests that wait for their replies at once.
    pub outstanding: u32,
    /// Connections that ask.
    pub requesters: u32,
    /// Router processes, linked with each other; requesters are at the first, the responder at the
    /// last.
    pub routers: u16,
    /// Requests that are asked in turn, at a time.
    pub at_a_time: u32,
    /// For how long.
    pub duration: Duration,
    /// Times that somebody subscribes and is asked at once.
    pub fresh: u32,
    /// What an outstanding request may take at routers.
    pub bytes_max: u64,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            outstanding: 100_000,
            requesters: 4,
            routers: 2,
            at_a_time: 32,
            duration: Duration::from_secs(3),
            fresh: 100,
            bytes_max: 64,
        }
    }
}
