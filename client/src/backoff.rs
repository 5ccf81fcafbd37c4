//! Pauses between attempts to reconnect: exponential, with full jitter, so that clients of a dead router do not come back
//! all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);

/// The pauses of one series of attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self { bound: FIRST.min(max), max }
    }

    /// A connection was good: the next series starts small.
    pub(crate) fn reset(&mut self) {
        self.bound = FIRST.min(self.max);
    }

    /// The next pause: anything up to the bound, which then doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.bound.mul_f64(rand::random_range(0.0..=1.0));
        self.bound = (self.bound * 2).min(self.max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound_and_start_anew() {
        let max = Duration::from_secs(2);
        let mut backoff = Backoff::new(max);
        assert!(backoff.next() <= FIRST);
        assert!((0..50).all(|_| backoff.next() <= max));
        assert_eq!(backoff.bound, max);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
