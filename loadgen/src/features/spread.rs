//! Percentiles of a few measured times.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Percentiles of times, microseconds. Exact: all of them are kept until it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Largest.
    pub max_us: u64,
}

impl Spread {
    /// Of these times; all zero when there are none.
    #[must_use]
    pub fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        let count = times_us.len();
        // The smallest that at least this part of them does not exceed.
        let at = |percent: usize| {
            let rank = (count * percent).div_ceil(100).max(1);
            times_us.get(rank - 1).copied().unwrap_or(0)
        };
        Self { count, p50_us: at(50), p99_us: at(99), max_us: times_us.last().copied().unwrap_or(0) }
    }

    /// The 99th percentile.
    #[must_use]
    pub const fn p99(&self) -> Duration {
        Duration::from_micros(self.p99_us)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1e3;
        let Self { count, p50_us, p99_us, max_us } = *self;
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {count}", ms(p50_us), ms(p99_us), ms(max_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_themselves() {
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        let one = Spread::of(vec![7]);
        assert_eq!((one.count, one.p50_us, one.p99_us, one.max_us), (1, 7, 7, 7));
        let hundred = Spread::of((1..=100).rev().collect());
        assert_eq!((hundred.p50_us, hundred.p99_us, hundred.max_us), (50, 99, 100));
        assert_eq!(hundred.to_string(), "p50 0.1 ms, p99 0.1 ms, max 0.1 ms of 100");
    }
}
