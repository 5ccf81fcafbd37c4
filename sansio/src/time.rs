//! Time as state machines see it: an input, in nanoseconds since a start that the driver chose.
//!
//! A router counts from its own start, the client library from the client's, the simulator from
//! virtual time zero. The time of day (of events, nanoseconds since 1970) is a plain `u64`
//! elsewhere and never compared with these.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// One millisecond in nanoseconds.
pub const MILLISECOND_NS: u64 = 1_000_000;
/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A moment, in nanoseconds since the driver's start. Never goes back; says nothing about the time
/// of day. Sums stop at the end of time, which is 584 years after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// The start.
    pub const ZERO: Self = Self(0);

    /// The moment `ns` nanoseconds behind the start.
    #[inline]
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the start.
    #[inline]
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `ns` nanoseconds later; the end of time when there is none.
    #[inline]
    #[must_use]
    pub const fn after(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// Nanoseconds from `earlier` to this moment; 0 if it is before.
    #[inline]
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The first moment from this one on that is a multiple of `step`.
    #[must_use]
    pub fn rounded_up(self, step: Duration) -> Self {
        Self(self.0.checked_next_multiple_of(nanos(step)).unwrap_or(self.0))
    }

    /// The last moment up to this one that is a multiple of `step`.
    #[must_use]
    pub fn rounded_down(self, step: Duration) -> Self {
        Self(self.0 - self.0.checked_rem(nanos(step)).unwrap_or(0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        self.after(nanos(duration))
    }
}

impl Sub<Self> for Time {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", Duration::from_nanos(self.0).as_secs_f64())
    }
}

/// Nanoseconds of a duration; as many as fit.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_stop_at_both_ends() {
        let end = Time(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(end.after(1), end);
        assert_eq!(Time(3).since(Time(5)), Duration::ZERO);
        assert_eq!(Time(5) - Time(3), Duration::from_nanos(2));
    }

    #[test]
    fn rounding_goes_up_to_a_multiple_and_no_further() {
        let step = Duration::from_nanos(10);
        assert_eq!(Time(20).rounded_up(step), Time(20));
        assert_eq!(Time(21).rounded_up(step), Time(30));
        assert_eq!(Time(21).rounded_up(Duration::ZERO), Time(21), "no step, no change");
        assert_eq!(Time(u64::MAX).rounded_up(step), Time(u64::MAX));
    }

    #[test]
    fn rounding_down_ends_at_a_multiple() {
        let step = Duration::from_nanos(10);
        assert_eq!(Time(20).rounded_down(step), Time(20));
        assert_eq!(Time(29).rounded_down(step), Time(20));
        assert_eq!(Time(21).rounded_down(Duration::ZERO), Time(21), "no step, no change");
    }
}
