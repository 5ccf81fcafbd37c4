//! Numbers of what was given, oldest first, of which most are answered soon.
//!
//! What is answered stays in the line until it is the oldest, or until such ones are most of it: an
//! answer costs no search, and the line is never more than a few times as long as what is open.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// A line shorter than this is not looked through.
const SWEEP_MIN: usize = 64;
/// It is looked through when it has so many for each that is open.
const SWEEP_FACTOR: usize = 4;

/// Numbers in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Ages(VecDeque<(Time, u64)>);

impl Ages {
    /// Nothing was given.
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Something was given. Time does not run backwards.
    pub(super) fn push(&mut self, now: Time, number: u64) {
        self.0.push_back((now, number));
    }

    /// Something was answered, so that `open` are left. `is_open` says of what was given whether it
    /// is among them.
    pub(super) fn answered(&mut self, open: usize, is_open: impl Fn(Time, u64) -> bool) {
        while self.0.pop_front_if(|(given, number)| !is_open(*given, *number)).is_some() {}
        // An old one that is open keeps those behind it.
        if self.0.len() > SWEEP_MIN && self.0.len() > SWEEP_FACTOR * open {
            self.0.retain(|&(given, number)| is_open(given, number));
        }
    }

    /// Takes the oldest one out if it was given so long ago. It may be answered.
    pub(super) fn pop_due(&mut self, now: Time, wait: Duration) -> Option<(Time, u64)> {
        self.0.pop_front_if(|(given, _)| now.since(*given) >= wait)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn answered_ones_leave_the_line_and_an_old_one_keeps_few_of_them_there() {
        let (mut ages, mut open) = (Ages::new(), BTreeSet::from([0]));
        ages.push(Time::from_nanos(5), 0);
        for number in 1..10_000 {
            ages.push(Time::from_nanos(5 + number), number);
            open.insert(number);
            if number >= 100 {
                open.remove(&(number - 99));
                ages.answered(open.len(), |_, number| open.contains(&number));
            }
            assert!(ages.0.len() <= SWEEP_FACTOR * open.len() + 1, "{} of {}", ages.0.len(), open.len());
        }
        let wait = Duration::from_nanos(100_000);
        assert_eq!(ages.pop_due(Time::from_nanos(100_004), wait), None);
        assert_eq!(ages.pop_due(Time::from_nanos(100_005), wait), Some((Time::from_nanos(5), 0)));
        open.clear();
        ages.answered(0, |_, number| open.contains(&number));
        assert!(ages.0.is_empty());
    }
}
