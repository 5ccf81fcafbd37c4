//! What came of numbered events at one receiver: each once, and in order.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Holes that are kept one by one, so that what comes late fills its own. Beyond, what comes late
/// counts as a repeat.
const HOLES_MAX: usize = 1 << 20;

/// Streams of numbers by emitter, as one receiver sees them.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    next: BTreeMap<u32, u64>,
    holes: BTreeSet<(u32, u64)>,
    /// Holes that are not among those.
    more_holes: u64,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
}

/// What came of all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Came {
    pub delivered: u64,
    pub missing: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

impl Came {
    /// Whether everything came once and in order.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.missing == 0 && self.duplicated == 0 && self.reordered == 0
    }

    /// What several receivers have got.
    #[must_use]
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, more| Self {
            delivered: sum.delivered + more.delivered,
            missing: sum.missing + more.missing,
            duplicated: sum.duplicated + more.duplicated,
            reordered: sum.reordered + more.reordered,
        })
    }
}

impl Streams {
    /// A number came. The first number of an emitter may be any: see [`Streams::begin_at`].
    pub fn take(&mut self, emitter: u32, number: u64) {
        self.delivered += 1;
        let next = self.next.entry(emitter).or_insert(number);
        if number < *next {
            if self.holes.remove(&(emitter, number)) {
                self.reordered += 1;
            } else {
                self.duplicated += 1;
            }
            return;
        }
        for hole in *next..number {
            if self.holes.len() < HOLES_MAX {
                self.holes.insert((emitter, hole));
            } else {
                self.more_holes += number - hole;
                break;
            }
        }
        *next = number + 1;
    }

    /// The first number of an emitter will be this.
    pub fn begin_at(&mut self, emitter: u32, number: u64) {
        self.next.insert(emitter, number);
    }

    /// The number behind the last of an emitter, if anything came or was announced.
    #[must_use]
    pub fn next(&self, emitter: u32) -> Option<u64> {
        self.next.get(&emitter).copied()
    }

    /// The first stretches of numbers of an emitter that did not come between others: first and
    /// behind the last.
    #[must_use]
    pub fn holes(&self, emitter: u32, most: usize) -> Vec<[u64; 2]> {
        let mut stretches: Vec<[u64; 2]> = Vec::new();
        for &(_, number) in self.holes.range((emitter, 0)..=(emitter, u64::MAX)) {
            let is_full = stretches.len() == most;
            match stretches.last_mut() {
                Some([_, end]) if *end == number => *end += 1,
                _ if is_full => break,
                _ => stretches.push([number, number + 1]),
            }
        }
        stretches
    }

    /// Numbers that came.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What has come, when each emitter's numbers end before `end`.
    #[must_use]
    pub fn came(&self, ends: impl IntoIterator<Item = (u32, u64)>) -> Came {
        let tail = |(emitter, end): (u32, u64)| end.saturating_sub(self.next(emitter).unwrap_or(0));
        Came {
            delivered: self.delivered,
            missing: self.holes.len() as u64 + self.more_holes + ends.into_iter().map(tail).sum::<u64>(),
            duplicated: self.duplicated,
            reordered: self.reordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u64], end: u64, [missing, duplicated, reordered]: [u64; 3]) {
        let mut streams = Streams::default();
        streams.begin_at(7, 0);
        numbers.iter().for_each(|&number| streams.take(7, number));
        let delivered = numbers.len() as u64;
        assert_eq!(streams.came([(7, end)]), Came { delivered, missing, duplicated, reordered });
    }

    #[test]
    fn what_is_missing_comes_twice_or_late_is_told_apart() {
        check(&[0, 1, 2], 3, [0, 0, 0]);
        check(&[1, 2], 3, [1, 0, 0]);
        check(&[0, 1], 3, [1, 0, 0]);
        check(&[0, 2, 1], 3, [0, 0, 1]);
        check(&[0, 1, 1], 2, [0, 1, 0]);
        check(&[0, 2, 1, 1], 3, [0, 1, 1]);
        check(&[], 4, [4, 0, 0]);
    }

    #[test]
    fn holes_are_told_as_stretches() {
        let mut streams = Streams::default();
        [0, 3, 4, 6, 9].iter().for_each(|&number| streams.take(1, number));
        assert_eq!(streams.holes(1, 2), [[1, 3], [5, 6]]);
        assert_eq!(streams.holes(1, 9), [[1, 3], [5, 6], [7, 9]]);
        assert_eq!(streams.holes(2, 9), [[0; 2]; 0]);
    }
}
