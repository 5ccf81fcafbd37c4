//! Takes out of a batch what is not to be delivered.

use std::ops::Range;

use millrace_proto::PublisherKey;
use millrace_proto::data::{Gap, Mark};

use super::batch::{Batch, Entry};
use crate::session::receiver::Fresh;

/// Judges what stands in a batch, in its order.
pub(super) trait Sieve {
    /// Events of one run with seqs that follow each other.
    fn run(&mut self, publisher: PublisherKey, seqs: Range<u64>) -> Fresh;

    /// Whether a gap is delivered.
    fn gap(&mut self, gap: &Gap) -> bool;

    /// Takes a mark. Returns whether what stands behind it is to be judged, too; otherwise that
    /// stays in the batch.
    fn mark(&mut self, mark: &Mark) -> bool;
}

/// How far a batch was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sifted {
    /// What it has is to be delivered.
    All,
    /// What it has is to be judged later.
    ToMark,
}

impl Batch {
    /// Keeps what a sieve lets through.
    pub(super) fn sift(&mut self, sieve: &mut impl Sieve) -> Sifted {
        let marks = std::mem::take(&mut self.marks);
        let mut next = marks.iter().peekable();
        let mut stays = Vec::with_capacity(self.entries.len());
        loop {
            while let Some((_, mark)) = next.next_if(|(place, _)| *place == stays.len()) {
                if !sieve.mark(mark) {
                    let judged = stays.len();
                    // Behind the mark stands what is yet to be judged.
                    self.marks = next.map(|(place, mark)| (place - judged, mark.clone())).collect();
                    stays.resize(self.entries.len(), true);
                    stays[..judged].fill(false);
                    self.places.retain(|place| place.0 > judged);
                    self.keep(&stays);
                    return Sifted::ToMark;
                }
            }
            let end = next.peek().map_or(self.entries.len(), |(place, _)| *place);
            if stays.len() >= end {
                break;
            }
            self.sift_some(end, sieve, &mut stays);
        }
        self.keep(&stays);
        Sifted::All
    }

    /// Judges the next gap, or the next events of one run, before `end`.
    fn sift_some(&self, end: usize, sieve: &mut impl Sieve, stays: &mut Vec<bool>) {
        let (run, first) = match &self.entries[stays.len()] {
            Entry::Gap(gap) => return stays.push(sieve.gap(gap)),
            Entry::Event { run, seq, .. } => (*run, *seq),
        };
        let follows = |(entry, at): (&Entry, u64)| matches!(entry, Entry::Event { run: of, seq, .. } if *of == run && *seq == at);
        let entries = self.entries[stays.len()..end].iter().zip(first..);
        let count = entries.take_while(|&each| follows(each)).count() as u64;
        let fresh = sieve.run(self.runs[run].publisher, first..first + count);
        stays.extend((first..first + count).map(|seq| fresh.contains(seq)));
    }

    /// Keeps the entries that stay.
    pub(super) fn keep(&mut self, stays: &[bool]) {
        if stays.iter().all(|stays| *stays) {
            return;
        }
        // How many of the first entries are left.
        let mut left = vec![0];
        let mut count = 0;
        for stays in stays {
            count += usize::from(*stays);
            left.push(count);
        }
        let mut stays = stays.iter();
        self.entries.retain(|_| stays.next().is_none_or(|stays| *stays));
        self.acks.iter_mut().for_each(|(entries, _)| *entries = left[*entries]);
        self.places.iter_mut().for_each(|(entries, _)| *entries = left[*entries]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drops gaps, notes how many events each says, and stops at a mark of this number.
    struct Dropping(Vec<u64>, u64);

    impl Sieve for Dropping {
        fn run(&mut self, _: PublisherKey, _: Range<u64>) -> Fresh {
            Fresh { parts: None, maybe_duplicate: false }
        }

        fn gap(&mut self, gap: &Gap) -> bool {
            self.0.push(gap.events);
            false
        }

        fn mark(&mut self, mark: &Mark) -> bool {
            mark.number != self.1
        }
    }

    #[test]
    fn what_stands_behind_the_mark_is_judged_later() {
        let gap = |events| Gap { events, ..Gap::default() };
        let mark = |place, number| (place, Mark { number, ..Mark::default() });
        let mut batch = Batch::of_gap(gap(1), 0);
        batch.entries.extend([Entry::Gap(gap(2)), Entry::Gap(gap(3))]);
        batch.marks.extend([mark(1, 7), mark(2, 8), mark(3, 9)]);
        let mut sieve = Dropping(Vec::new(), 8);
        assert_eq!(batch.sift(&mut sieve), Sifted::ToMark);
        assert_eq!((sieve.0, batch.len(), batch.marks[0].0), (vec![1, 2], 1, 1));
        let mut sieve = Dropping(Vec::new(), 8);
        assert_eq!(batch.sift(&mut sieve), Sifted::All);
        assert_eq!((sieve.0, batch.len()), (vec![3], 0));
    }
}
