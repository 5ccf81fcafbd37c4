//! One clock for all processes of a run: microseconds since it began.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time since a run began. Processes of one host that are given the same
/// [`epoch`](Clock::epoch_us) agree to within microseconds, as long as nobody sets the host's
/// clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch_us: u64,
    /// Microseconds since 1970 when the process began, and the same instant.
    began_us: u64,
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        let began_us = unix_us();
        Self { epoch_us: began_us, began_us, began: Instant::now() }
    }

    /// The clock of a run that began at `epoch_us`, microseconds since 1970.
    pub(crate) fn since(epoch_us: u64) -> Self {
        Self { epoch_us, began_us: unix_us(), began: Instant::now() }
    }

    /// When the run began, microseconds since 1970.
    pub(crate) const fn epoch_us(self) -> u64 {
        self.epoch_us
    }

    /// Microseconds since the run began.
    pub(crate) fn now_us(self) -> u64 {
        (self.began_us + micros(self.began.elapsed())).saturating_sub(self.epoch_us)
    }
}

/// A span of time in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn unix_us() -> u64 {
    micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
