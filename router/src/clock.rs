//! The one clock of a router: all its threads count from the same start.

use std::time::{Duration, Instant, SystemTime};

use millrace_engine::time::Time;

/// Turns moments into the engine's time and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    clock: millrace_sansio::Clock,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let start = Instant::now();
        Self { start, clock: millrace_sansio::Clock::starting_at(start) }
    }

    pub(crate) fn at(self, moment: Instant) -> Time {
        self.clock.at(moment)
    }

    pub(crate) fn now(self) -> Time {
        self.at(Instant::now())
    }

    pub(crate) fn instant(self, time: Time) -> Instant {
        self.clock.instant(time)
    }

    /// The time of day at the start, nanoseconds since 1970.
    pub(crate) fn unix_at_start_ns(self) -> u64 {
        let uptime = u64::try_from(self.uptime().as_nanos()).unwrap_or(u64::MAX);
        unix_now_ns().saturating_sub(uptime)
    }

    pub(crate) fn uptime(self) -> Duration {
        self.start.elapsed()
    }
}

/// The time of day, nanoseconds since 1970.
pub(crate) fn unix_now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
