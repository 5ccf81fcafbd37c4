//! The two clocks of a run, tied together.

use std::time::Instant;

use millrace_sansio::{Clock, Time};

/// Ties the monotonic clock to the time of day, once for the whole run, so that all threads agree.
#[derive(Debug, Clone, Copy)]
pub struct Epochs {
    base: Instant,
    clock: Clock,
    base_ns: u64,
}

impl Epochs {
    /// Now, on both clocks.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let base = Instant::now();
        let clock = Clock::starting_at(base);
        Self { base, clock, base_ns: u64::try_from(since.as_nanos()).unwrap_or(0) }
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
        self.clock.instant(time)
    }

    /// The time on the sessions' clock of nanoseconds since 1970.
    #[inline]
    #[must_use]
    pub fn time_of(self, ns: u64) -> Time {
        Time::from_nanos(ns.saturating_sub(self.base_ns))
    }

    /// The sessions' clock at a moment.
    #[inline]
    #[must_use]
    pub fn time(self, at: Instant) -> Time {
        self.clock.at(at)
    }
}
