//! Whether a core polls before it sleeps.
//!
//! A wake-up costs tens of microseconds: the kernel wakes the thread, and a processor that went to
//! sleep has to come back. A core that polls for as long as its rests usually last saves that, and
//! takes the whole processor. So it polls only while most of its last rests were short; an idle
//! core sleeps.

use std::time::Duration;

/// Rests that are remembered.
const REMEMBERED: u32 = u8::BITS;
/// So many of them must have been short.
const SHORT_MIN: u32 = REMEMBERED / 2;
/// A rest counts as short up to this many times the limit, because a rest that ended with a wake-up
/// contains that, too.
const SHORT_LIMITS: u32 = 2;

/// Remembers how long a core's last rests were.
#[derive(Debug)]
pub(crate) struct Spin {
    limit: Duration,
    /// A bit for each remembered rest, the last one lowest: 1 when it was short.
    short: u8,
}

impl Spin {
    /// Polls for at most `limit`; 0: never.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, short: 0 }
    }

    /// How long to poll of a rest that may last for `wait`.
    pub(crate) fn budget(&self, wait: Duration) -> Duration {
        if self.short.count_ones() < SHORT_MIN { Duration::ZERO } else { self.limit.min(wait) }
    }

    /// Notes how long a rest was, polling included.
    pub(crate) fn rested(&mut self, rest: Duration) {
        let is_short = rest <= self.limit * SHORT_LIMITS;
        self.short = self.short << 1 | u8::from(is_short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);
    const SECOND: Duration = Duration::from_secs(1);

    fn after(rests: &[u64]) -> Spin {
        let mut spin = Spin::new(LIMIT);
        rests.iter().for_each(|&rest| spin.rested(Duration::from_micros(rest)));
        spin
    }

    #[test]
    fn idle_core_sleeps_at_once() {
        assert_eq!(after(&[]).budget(SECOND), Duration::ZERO);
        assert_eq!(after(&[10, 10, 10]).budget(SECOND), Duration::ZERO);
        assert_eq!(after(&[5_000; 8]).budget(SECOND), Duration::ZERO);
    }

    #[test]
    fn core_with_short_rests_polls_no_longer_than_it_may_rest() {
        let spin = after(&[100; 4]);
        assert_eq!(spin.budget(SECOND), LIMIT);
        assert_eq!(spin.budget(Duration::from_micros(7)), Duration::from_micros(7));
    }

    #[test]
    fn a_long_rest_now_and_then_changes_nothing_and_a_quiet_time_ends_the_polling() {
        assert_eq!(after(&[10, 101, 10, 10, 101, 10, 10, 101]).budget(SECOND), LIMIT);
        assert_eq!(after(&[10, 10, 10, 10, 10, 10, 101, 101, 101, 101, 101]).budget(SECOND), Duration::ZERO);
    }

    #[test]
    fn without_a_limit_it_never_polls() {
        let mut spin = Spin::new(Duration::ZERO);
        (0..8).for_each(|_| spin.rested(Duration::ZERO));
        assert_eq!(spin.budget(SECOND), Duration::ZERO);
    }
}
