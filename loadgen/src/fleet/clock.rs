//! The two clocks of a run, tied together.

use std::time::{Duration, Instant};

use millrace_client::time::Time;

/// Ties the monotonic clock to the time of day, once for the whole run, so that all threads agree.
#[derive(Debug, Clone, Copy)]
pub struct Epochs {
    base: Instant,
    base_ns: u64,
}

impl Epochs {
    /// Now, on both clocks.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { base: Instant::now(), base_ns: u64::try_from(since.as_nanos()).unwrap_or(0) }
    }

    /// Nanoseconds since 1970 at a moment.
    #[inline]
    #[must_use]
    pub fn ns(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_nanos();
        self.base_ns + u64::try_from(since).unwrap_or(0)
    }

    /// The moment of a time on the sessions' clock.
    #[must_use]
    pub fn instant(self, time: Time) -> Instant {
        self.base + Duration::from_nanos(time.since(Time::ZERO))
    }

    /// The sessions' clock at a moment.
    #[inline]
    #[must_use]
    pub fn time(self, at: Instant) -> Time {
        Time::from_nanos(u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(0))
    }
}
