//! Monotonic time as the sessions see it: nanoseconds since a moment that whoever drives them chose.
//!
//! Sessions read no clock. The async shell counts from its start, the load generator from its loop's clock, the simulator
//! from virtual time zero. Event times (wall clock, nanoseconds since 1970) are plain `u64` and never compared with these.

/// One millisecond in nanoseconds.
pub const MILLISECOND_NS: u64 = 1_000_000;
/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A moment, in nanoseconds since the driver's own zero. Never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The driver's zero.
    pub const ZERO: Self = Self(0);

    /// The moment `ns` nanoseconds behind the driver's zero.
    #[inline]
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the driver's zero.
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

    /// Nanoseconds from `earlier` to this moment; 0 when it is not earlier.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
