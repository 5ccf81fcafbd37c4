//! Since when nobody wants the events of a tag set, in the four bytes that its entry has left.

use std::time::Duration;

use crate::time::Time;

/// Milliseconds after which the clock of [`Unwanted`] begins anew: 49 days.
const ROUND_MS: u64 = u32::MAX as u64 - 1;
/// The publisher was told that nobody wants them.
const QUENCHED: u32 = u32::MAX;

/// Whether somebody wants the events of a tag set, as far as the core that reads its publisher has
/// looked; the default is that somebody does. 0 is wanted, [`QUENCHED`] quenched, and the others
/// are the millisecond since which nobody wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::core) struct Unwanted(u32);

impl Unwanted {
    /// Whether somebody wants them.
    pub(in crate::core) const fn is_wanted(self) -> bool {
        self.0 == 0
    }

    /// Whether the publisher was told that nobody wants them.
    pub(in crate::core) const fn is_quenched(self) -> bool {
        self.0 == QUENCHED
    }

    /// Somebody wants them.
    pub(in crate::core) const fn clear(&mut self) {
        self.0 = 0;
    }

    /// The publisher is told that nobody wants them.
    pub(in crate::core) const fn quench(&mut self) {
        self.0 = QUENCHED;
    }

    /// Nobody wants them. Returns for how long that has been so; a time of more than 49 days
    /// appears shorter.
    pub(in crate::core) fn see(&mut self, now: Time) -> Duration {
        let now = now.as_nanos() / 1_000_000 % ROUND_MS;
        if self.is_wanted() {
            self.0 = u32::try_from(now + 1).unwrap_or(1);
        }
        let since = u64::from(self.0) - 1;
        Duration::from_millis((now + ROUND_MS - since) % ROUND_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_counts_from_when_nobody_wanted_them_and_through_the_clocks_end() {
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        for start in [0, 7, ROUND_MS - 1, ROUND_MS, 5 * ROUND_MS - 3] {
            let mut unwanted = Unwanted::default();
            assert_eq!(unwanted.see(at(start)), Duration::ZERO);
            assert_eq!(unwanted.see(at(start + 2500)), Duration::from_millis(2500));
            assert!(!unwanted.is_wanted() && !unwanted.is_quenched());
            unwanted.clear();
            assert_eq!(unwanted.see(at(start + 2501)), Duration::ZERO);
            unwanted.quench();
            assert!(unwanted.is_quenched());
        }
    }
}
