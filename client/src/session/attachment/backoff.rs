//! Pauses between rounds. The bound of a pause doubles up to a maximum, and each pause is drawn
//! between zero and its bound, because the clients of a dead router should not come back all at
//! once.

/// A small generator (SplitMix64, Steele et al. 2014): equal seeds give equal sequences on every
/// machine.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from 0 to `max`, both possible.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        let wide = u128::from(self.next()) * (u128::from(max) + 1);
        // The upper half of a product of two 64-bit numbers fits 64 bits.
        u64::try_from(wide >> 64).unwrap_or(max)
    }

    /// Puts the items in a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = usize::try_from(self.up_to(end as u64)).unwrap_or(end);
            items.swap(end, other);
        }
    }
}

/// The pauses of one search.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    bound_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Backoff {
    pub(super) fn new(min_ns: u64, max_ns: u64) -> Self {
        let min_ns = min_ns.min(max_ns);
        Self { bound_ns: min_ns, min_ns, max_ns }
    }

    /// Starts with small pauses again, because the last connection was steady.
    pub(super) fn reset(&mut self) {
        self.bound_ns = self.min_ns;
    }

    /// Gives the next pause the largest bound, because trying soon is useless.
    pub(super) fn saturate(&mut self) {
        self.bound_ns = self.max_ns;
    }

    /// The next pause, nanoseconds; its bound doubles.
    pub(super) fn next(&mut self, chance: &mut Chance) -> u64 {
        let pause = chance.up_to(self.bound_ns);
        self.bound_ns = self.bound_ns.saturating_mul(2).min(self.max_ns);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound_and_start_anew() {
        let mut chance = Chance::new(7);
        let mut backoff = Backoff::new(50, 2_000);
        assert!(backoff.next(&mut chance) <= 50);
        assert!((0..50).all(|_| backoff.next(&mut chance) <= 2_000));
        assert_eq!(backoff.bound_ns, 2_000);
        backoff.reset();
        assert!(backoff.next(&mut chance) <= 50);
        backoff.saturate();
        assert_eq!(backoff.bound_ns, 2_000);
        assert_eq!(Backoff::new(50, 10).bound_ns, 10, "the longest pause wins");
    }

    #[test]
    fn chance_covers_its_range_and_repeats_from_its_seed() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.up_to(3)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..=3).all(|value| draw(1).contains(&value)));
        assert_eq!(Chance::new(1).up_to(0), 0);
    }
}
