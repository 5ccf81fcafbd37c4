//! Events that one session has brought before the other.
//!
//! An event leaves with its second copy, so that no more is remembered than what one session is
//! ahead of the other.

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashMap;
use millrace_proto::PublisherKey;

/// Ranges of seqs that are remembered, at most, some 16 MiB: events of 256 Ki publishers, or as
/// many of one that sends only a part of its events here. A session that is further behind joins
/// anew.
pub(super) const RANGES_MAX: usize = 262_144;

/// Events of one session that the other has not brought.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// First seq → one past the last, by publisher; none empty, none touching the next.
    publishers: HashMap<PublisherKey, BTreeMap<u64, u64>, ahash::RandomState>,
    ranges: usize,
}

impl Ahead {
    /// Adds events. False, and they are not added, when there are too many.
    pub(super) fn add(&mut self, publisher: PublisherKey, seqs: Range<u64>) -> bool {
        if self.ranges == RANGES_MAX && !self.publishers.contains_key(&publisher) {
            return false;
        }
        let ranges = self.publishers.entry(publisher).or_default();
        let (mut first, mut end) = (seqs.start, seqs.end);
        let touching = ranges.range(..=end).rev().take_while(|&(_, &other)| other >= first);
        let touching: Vec<_> = touching.map(|(&first, &end)| (first, end)).collect();
        if touching.is_empty() && self.ranges == RANGES_MAX {
            return false;
        }
        self.ranges -= touching.len();
        for (other_first, other_end) in touching {
            ranges.remove(&other_first);
            first = first.min(other_first);
            end = end.max(other_end);
        }
        ranges.insert(first, end);
        self.ranges += 1;
        true
    }

    /// Takes events out, because the other session has brought them. Returns those that were not
    /// there, ascending; `None`: all.
    pub(super) fn take(&mut self, publisher: PublisherKey, seqs: &Range<u64>) -> Option<Vec<Range<u64>>> {
        let ranges = self.publishers.get_mut(&publisher)?;
        let there = ranges.range(..seqs.end).rev().take_while(|&(_, &end)| end > seqs.start);
        let there: Vec<_> = there.map(|(&first, &end)| first..end).collect();
        if there.is_empty() {
            return None;
        }
        let (mut others, mut at) = (Vec::new(), seqs.start);
        for Range { start, end } in there.into_iter().rev() {
            ranges.remove(&start);
            self.ranges -= 1;
            if start < seqs.start {
                ranges.insert(start, seqs.start);
                self.ranges += 1;
            }
            if end > seqs.end {
                ranges.insert(seqs.end, end);
                self.ranges += 1;
            }
            if at < start {
                others.push(at..start);
            }
            at = end;
        }
        if at < seqs.end {
            others.push(at..seqs.end);
        }
        if ranges.is_empty() {
            self.publishers.remove(&publisher);
        }
        Some(others)
    }

    /// Moves all events of `other` here, as far as there is room.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.ranges == 0 {
            std::mem::swap(self, other);
            return;
        }
        for (publisher, ranges) in std::mem::take(other).publishers {
            for (first, end) in ranges {
                self.add(publisher, first..end);
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn ranges(&self) -> usize {
        self.ranges
    }
}
