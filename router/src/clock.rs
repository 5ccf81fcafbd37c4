//! The one clock of a router: all its threads count from the same start.

use std::time::{Duration, Instant};

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

    pub(crate) fn uptime(self) -> Duration {
        self.start.elapsed()
    }
}
