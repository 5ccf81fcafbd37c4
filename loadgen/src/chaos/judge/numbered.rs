//! What a receiver of the standby set's stream got: numbers, each once and in their order. What is
//! missing, or comes late, is behind a gap: a holder that moves, or another one, sends again what a
//! receiver may have been told to be lost.

use std::ops::Range;

use super::seqs::SeqSet;
use crate::chaos::note::Seen;

/// A gap that belongs to a hole comes so long behind the number that follows the hole, at most.
const TOLD_WITHIN_US: u64 = 2_000_000;
/// Holes that are remembered, and numbers that came late.
const HOLES_MAX: usize = 10_000;

/// Numbers that did not come where they belong.
#[derive(Debug)]
struct Hole {
    numbers: Range<u64>,
    /// When the number before it came, and the one behind it.
    from_us: u64,
    until_us: u64,
}

/// One receiver's side.
#[derive(Debug, Default)]
pub(super) struct NumberedSide {
    pub(super) is_effective: bool,
    got: SeqSet,
    /// The number that follows the highest, and when that came.
    next: Option<u64>,
    last_us: u64,
    holes: Vec<Hole>,
    late: Vec<u64>,
    gaps: Vec<u64>,
    pub(super) delivered: u64,
    pub(super) twice: u64,
}

/// What is not as it should be, by whether a gap told of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Astray {
    /// Numbers that never came.
    pub(super) missing_told: u64,
    pub(super) missing: u64,
    /// Numbers that came behind a later one.
    pub(super) late_told: u64,
    pub(super) late: u64,
    /// The first stretch of which nobody told.
    pub(super) first: Option<Range<u64>>,
}

impl NumberedSide {
    /// Takes what it saw.
    pub(super) fn saw(&mut self, at_us: u64, seen: &Seen) {
        match seen {
            Seen::Effective { .. } => self.is_effective = true,
            Seen::Gap { .. } => self.gap(at_us),
            Seen::Events(events) => events.iter().for_each(|got| self.got(at_us, got.label.number())),
            Seen::Attached { .. } | Seen::Lapsed | Seen::Corrupted | Seen::Removed(_) => {}
        }
    }

    /// A number came.
    fn got(&mut self, at_us: u64, number: u64) {
        self.delivered += 1;
        if !self.got.insert(number) {
            self.twice += 1;
            return;
        }
        let next = self.next.unwrap_or(number);
        if number < next {
            if self.late.len() < HOLES_MAX {
                self.late.push(number);
            }
            return;
        }
        if number > next && self.holes.len() < HOLES_MAX {
            self.holes.push(Hole { numbers: next..number, from_us: self.last_us, until_us: at_us });
        }
        (self.next, self.last_us) = (Some(number + 1), at_us);
    }

    /// It was told of a gap.
    fn gap(&mut self, at_us: u64) {
        self.gaps.push(at_us);
    }

    /// Whether it has had a number, or one behind it.
    pub(super) fn has(&self, number: u64) -> bool {
        self.next.is_some_and(|next| next > number)
    }

    /// What never came, and what came late.
    pub(super) fn astray(&self) -> Astray {
        let mut astray = Astray::default();
        for hole in &self.holes {
            let missing = hole.numbers.clone().filter(|&number| !self.got.contains(number)).count() as u64;
            let late = self.late.iter().filter(|number| hole.numbers.contains(number)).count() as u64;
            let until_us = hole.until_us + TOLD_WITHIN_US;
            if self.gaps.iter().any(|at_us| (hole.from_us..=until_us).contains(at_us)) {
                astray.missing_told += missing;
                astray.late_told += late;
            } else if missing + late > 0 {
                astray.missing += missing;
                astray.late += late;
                astray.first.get_or_insert_with(|| hole.numbers.clone());
            }
        }
        // What lies before the first number that came is in no hole.
        let first = self.holes.first().map_or(u64::MAX, |hole| hole.numbers.start);
        astray.late += self.late.iter().filter(|&&number| number < first).count() as u64;
        astray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_once_in_order_and_what_is_missing_behind_a_gap() {
        let mut side = NumberedSide::default();
        for (at_us, number) in [(10, 5), (20, 6), (30, 9), (40, 8), (50, 8), (5_000_000, 12)] {
            side.got(at_us, number);
        }
        assert_eq!((side.delivered, side.twice), (6, 1));
        let astray = |missing_told, missing, late_told, late, first| Astray {
            missing_told,
            missing,
            late_told,
            late,
            first,
        };
        assert_eq!(side.astray(), astray(0, 3, 0, 1, Some(7..9)));
        side.gap(6_000_000);
        assert_eq!(side.astray(), astray(2, 1, 0, 1, Some(7..9)));
        side.gap(25);
        assert_eq!(side.astray(), astray(3, 0, 1, 0, None));
        assert!(side.has(12) && !side.has(13));
    }
}
