//! Where a program's times count from.

use std::time::{Duration, Instant};

use crate::Time;
use crate::time::nanos;

/// The farthest moment that [`Clock::instant`] tells apart: platforms represent an `Instant` of
/// this distance, and nothing waits longer than a century.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Turns a program's moments into [`Time`] and back. One per program, or per part of it whose times
/// are compared. Reads no clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose [`Time::ZERO`] is at `start`.
    #[must_use]
    pub const fn starting_at(start: Instant) -> Self {
        Self { start }
    }

    /// The time at a moment; [`Time::ZERO`] for moments before the start.
    #[inline]
    #[must_use]
    pub fn at(self, moment: Instant) -> Time {
        Time(nanos(moment.saturating_duration_since(self.start)))
    }

    /// The moment of a time. Times beyond a century are as good as a century.
    #[must_use]
    pub fn instant(self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0).min(CENTURY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_way_through_times() {
        let start = Instant::now();
        let clock = Clock::starting_at(start);
        let later = start + Duration::from_millis(7);
        assert_eq!(clock.at(later), Time(7_000_000));
        assert_eq!(clock.instant(Time(7_000_000)), later);
        assert_eq!(clock.instant(Time(u64::MAX)), start + CENTURY);
    }
}
