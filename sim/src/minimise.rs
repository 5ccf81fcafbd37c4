//! Finds the faults that the failure of a seed needs: those without which it does not fail so.
//!
//! Delta debugging (Zeller, Hildebrandt 2002) over the faults of the seed's schedule: parts of the
//! list are left out, halves first, and stay out while a checker that found something before still
//! does. The rest of the seed stays as it is, but chance goes another way when faults are missing,
//! so that what is left is a list that fails, not the only one.

use crate::network::Bug;
use crate::report::Report;
use crate::scenario::Size;
use crate::seed::run_with;

/// What is left of a seed's faults.
#[derive(Debug)]
pub struct Minimised {
    /// Numbers of the faults that are left, in the seed's schedule.
    pub faults: Vec<usize>,
    /// What a run with them alone finds.
    pub report: Report,
    /// Runs that it took.
    pub runs: u32,
}

/// Shrinks the faults of a seed that fails; `None` when it does not fail.
#[must_use]
pub fn minimise(seed: u64, size: Size, bug: Option<Bug>) -> Option<Minimised> {
    let first = run_with(seed, size, bug, false, None);
    if first.is_clean() {
        return None;
    }
    let wanted = first.found_by();
    let fails = |faults: &[usize]| {
        let report = run_with(seed, size, bug, false, Some(faults));
        report.found_by().iter().any(|name| wanted.contains(name)).then_some(report)
    };
    let count = usize::try_from(first.faults.values().sum::<u64>()).unwrap_or(0);
    let mut left = Minimised { faults: (0..count).collect(), report: first, runs: 1 };
    let mut part = left.faults.len();
    while part > 0 {
        let mut from = 0;
        while from < left.faults.len() {
            let mut fewer = left.faults.clone();
            fewer.drain(from..fewer.len().min(from + part));
            left.runs += 1;
            match fails(&fewer) {
                Some(report) => (left.faults, left.report) = (fewer, report),
                None => from += part,
            }
        }
        part /= 2;
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Keeping;

    const SMALL: Size = Size {
        events: 300,
        publishers: 3,
        receiving_clients: 4,
        faults: 4,
        history: Keeping::None,
        standby: false,
        blocking: false,
    };

    #[test]
    fn a_failure_that_needs_no_fault_is_left_without_any() {
        let bug = Some(Bug::ReusedTableSlot);
        let found = |seed, faults| run_with(seed, SMALL, bug, false, faults).found_by();
        let fails_alike = |&seed: &u64| {
            let with_all = found(seed, None);
            found(seed, Some(&[])).iter().any(|name| with_all.contains(name))
        };
        let seed = (1..60).find(fails_alike).unwrap();
        let left = minimise(seed, SMALL, bug).unwrap();
        assert!(left.faults.is_empty() && !left.report.is_clean(), "{left:?}");
    }

    #[test]
    fn a_seed_that_is_clean_has_nothing_to_shrink() {
        assert!(minimise(1, SMALL, None).is_none());
    }
}
