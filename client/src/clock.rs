//! The shell's clocks: monotonic time for sessions, wall time for events.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::time::Time;

/// Monotonic time since the client was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(millrace_sansio::Clock);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(millrace_sansio::Clock::starting_at(Instant::now().into_std()))
    }

    pub(crate) fn now(&self) -> Time {
        self.0.at(Instant::now().into_std())
    }

    /// The runtime's instant of a session's moment; moments beyond a century are as good as one.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.0.instant(time).into()
    }
}

/// Nanoseconds between 1970 and `time`; 0 before.
pub(crate) fn wall_time_ns(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos)
}

/// The time so many nanoseconds after 1970.
pub(crate) fn wall_time(ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)
}

/// Nanoseconds of a duration; as many as fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
