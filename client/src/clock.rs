//! The shell's clocks: monotonic time for sessions, wall time for events.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::time::Time;

/// Monotonic time since the client was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_nanos(nanos(self.start.elapsed()))
    }

    /// The runtime's instant of a session's moment; moments beyond a century are as good as one.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        const CENTURY_NS: u64 = 3_155_760_000 * 1_000_000_000;
        self.start + Duration::from_nanos(time.as_nanos().min(CENTURY_NS))
    }
}

/// Nanoseconds since 1970; 0 before.
pub(crate) fn wall_time_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos)
}

/// Nanoseconds of a duration; as many as fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
