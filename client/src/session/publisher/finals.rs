//! Which seqs are final: a floor below which all are, and ranges above it.
//!
//! Outcomes come as ranges in almost any order, as acknowledgements of packets do, so there are few
//! ranges at a time: one for each event that is late.
//!
//! ```text
//! floor = 5, ranges = {7..9, 12..13}      final: 0–4, 7, 8, 12      pending: 5, 6, 9–11, 13 …
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges above the floor, at most: a publisher has at most 65,536 events in flight and as many
/// that wait to be sent again, and each of them may stand alone.
const RANGES_MAX: usize = 131_072;

/// Final seqs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Finals {
    floor: u64,
    /// First seq → one past the last. None empty, none touching the next or the floor.
    ranges: BTreeMap<u64, u64>,
}

impl Finals {
    /// Everything below `floor`.
    pub(crate) const fn below(floor: u64) -> Self {
        Self { floor, ranges: BTreeMap::new() }
    }

    /// The lowest seq that is not final.
    pub(crate) const fn floor(&self) -> u64 {
        self.floor
    }

    /// One past the highest final seq.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(self.floor, |(_, &end)| end)
    }

    /// How many ranges there are above the floor.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Ranges above the floor, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&first, &end)| first..end)
    }

    /// The lowest seq from `from` on that is not final.
    pub(crate) fn next_pending(&self, from: u64) -> u64 {
        let from = from.max(self.floor);
        match self.ranges.range(..=from).next_back() {
            Some((_, &end)) if end > from => end,
            _ => from,
        }
    }

    /// The parts of `seqs` that are not final, ascending.
    pub(crate) fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut from = self.next_pending(seqs.start);
        while from < seqs.end {
            let end = self.ranges.range(from..).next().map_or(seqs.end, |(&first, _)| first.min(seqs.end));
            parts.push(from..end);
            from = self.next_pending(end);
        }
        parts
    }

    /// The parts of `seqs` that are final, ascending.
    pub(crate) fn final_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut from = seqs.start;
        for pending in self.pending_in(seqs.clone()) {
            if from < pending.start {
                parts.push(from..pending.start);
            }
            from = pending.end;
        }
        if from < seqs.end {
            parts.push(from..seqs.end);
        }
        parts
    }

    /// How many of `seqs` are not final.
    pub(crate) fn pending_count(&self, seqs: Range<u64>) -> u64 {
        self.pending_in(seqs).iter().map(|part| part.end - part.start).sum()
    }

    /// Adds `seqs`. False, and nothing changes, when they would be one range too many.
    pub(crate) fn insert(&mut self, seqs: Range<u64>) -> bool {
        let (mut first, mut end) = (seqs.start.max(self.floor), seqs.end);
        if first >= end {
            return true;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..first).next_back()
            && before_end >= first
        {
            first = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.ranges.range(first..=end).next() {
            self.ranges.remove(&next);
            end = end.max(next_end);
        }
        if first == self.floor {
            self.floor = end;
            return true;
        }
        // What was merged is gone by here, so the bound can only be met by a range that stands
        // alone.
        if self.ranges.len() >= RANGES_MAX {
            return false;
        }
        self.ranges.insert(first, end);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_agree_with_a_set_of_numbers(inserted in prop::collection::vec((0_u64..200, 0_u64..20), 0..60)) {
            let (mut finals, mut naive) = (Finals::default(), BTreeSet::new());
            for (first, count) in inserted {
                prop_assert!(finals.insert(first..first + count));
                naive.extend(first..first + count);
                let pending: Vec<u64> = finals.pending_in(3..150).into_iter().flatten().collect();
                prop_assert_eq!(pending, (3..150).filter(|seq| !naive.contains(seq)).collect::<Vec<_>>());
                let known: Vec<u64> = finals.final_in(3..150).into_iter().flatten().collect();
                prop_assert_eq!(known, (3..150).filter(|seq| naive.contains(seq)).collect::<Vec<_>>());
                prop_assert_eq!(finals.floor(), (0..).find(|seq| !naive.contains(seq)).unwrap());
                prop_assert_eq!(finals.end(), naive.last().map_or(0, |last| last + 1));
                let ranges: Vec<_> = finals.ranges().collect();
                prop_assert!(ranges.windows(2).all(|two| two[0].end < two[1].start));
            }
        }
    }

    #[test]
    fn too_many_ranges_are_refused() {
        let mut finals = Finals::default();
        for at in 0..RANGES_MAX as u64 {
            assert!(finals.insert(2 * at + 1..2 * at + 2));
        }
        let last = 2 * RANGES_MAX as u64 + 1;
        assert!(!finals.insert(last..last + 1));
        assert!(finals.insert(0..1), "what touches others takes no room");
        assert!(finals.insert(last..last + 1));
    }
}
