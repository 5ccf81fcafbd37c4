//! What the two threads of the preset tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// A time that has not come.
pub(super) const NEVER: u64 = u64::MAX;

/// What the two threads tell each other.
#[derive(Debug)]
pub(super) struct Signs {
    /// All clients are there, and the load has begun.
    pub(super) has_begun: AtomicBool,
    /// The load is to end.
    pub(super) is_over: AtomicBool,
    /// When the first router was asked to end, and when the last was back, by the run's clock.
    pub(super) restarts_from_us: AtomicU64,
    pub(super) restarts_until_us: AtomicU64,
}
