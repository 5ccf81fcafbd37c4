//! A token bucket on the caller's clock.

use std::time::{Duration, Instant};

/// One token in the unit of `level`.
const TOKEN: u64 = 1_000_000_000;

/// Refills `rate` tokens per second up to `burst`; starts full.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Billionths of tokens: so many come in a nanosecond at one token per second.
    level: u64,
    rate: u64,
    capacity: u64,
    filled_at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let capacity = u64::from(burst) * TOKEN;
        Self { level: capacity, rate: u64::from(rate), capacity, filled_at: None }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has = self.has_token();
        if has {
            self.level -= TOKEN;
        }
        has
    }

    /// Whether a token was left when the bucket was last looked at.
    pub(super) fn has_token(&self) -> bool {
        self.level >= TOKEN
    }

    /// Whether half of the burst or more would be left without `tokens` tokens that are promised.
    pub(super) fn is_half_full_without(&mut self, now: Instant, tokens: usize) -> bool {
        self.fill(now);
        let taken = u64::try_from(tokens).unwrap_or(u64::MAX).saturating_mul(TOKEN);
        self.level >= (self.capacity / 2).saturating_add(taken)
    }

    /// The time at which there is a token, at the latest.
    pub(super) fn next(&self) -> Option<Instant> {
        let missing = TOKEN.saturating_sub(self.level);
        Some(self.filled_at? + Duration::from_nanos(missing.div_ceil(self.rate.max(1))))
    }

    fn fill(&mut self, now: Instant) {
        let since =
            self.filled_at.replace(now).map_or(0, |then| now.saturating_duration_since(then).as_nanos());
        let gained = u64::try_from(since).unwrap_or(u64::MAX).saturating_mul(self.rate);
        self.level = self.level.saturating_add(gained).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_burst_at_once_and_the_rate_after() {
        let (mut bucket, start) = (Bucket::new(100, 10), Instant::now());
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 10);
        assert!(!bucket.is_half_full_without(start, 0));
        assert_eq!(bucket.next(), Some(start + Duration::from_millis(10)));
        let second = start + Duration::from_millis(50);
        assert_eq!((0..50).filter(|_| bucket.take(second)).count(), 5);
        let later = second + Duration::from_secs(3600);
        assert!(bucket.is_half_full_without(later, 5) && !bucket.is_half_full_without(later, 6));
        assert_eq!((0..50).filter(|_| bucket.take(second + Duration::from_secs(3600))).count(), 10);
    }
}
