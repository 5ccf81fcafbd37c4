//! The one clock of a router: all its threads count from the same start.

use std::time::{Duration, Instant};

use millrace_engine::time::Time;

/// Turns moments into the engine's time and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn at(self, moment: Instant) -> Time {
        let elapsed = moment.saturating_duration_since(self.start);
        Time(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn now(self) -> Time {
        self.at(Instant::now())
    }

    pub(crate) fn instant(self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0)
    }

    pub(crate) fn uptime(self) -> Duration {
        self.start.elapsed()
    }
}
