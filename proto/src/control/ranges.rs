//! Ranges of numbers that rise: which events ended, which runs were taken.
//!
//! On the wire, as acknowledgements of QUIC: for each range, how many numbers are left out since
//! the end of the range before (for the first: since 0), and how many follow. The ranges 3–5 and 10
//! are `03 03 04 01`.

use super::value::Value;
use crate::error::DecodeError;
use crate::field::{self, Field};
use crate::limits::RANGES_PER_FRAME_MAX;
use crate::varint;

/// Ranges of numbers, in rising order, none empty, none touching the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeqRanges {
    /// First number and count of each.
    ranges: Vec<(u64, u64)>,
}

impl SeqRanges {
    /// No numbers.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds the `count` numbers from `first` on, behind all that are in it. False when it cannot:
    /// they are not behind the others, exceed the integers of the wire, or would be more ranges
    /// than a frame has. An empty range changes nothing.
    pub fn push(&mut self, first: u64, count: u64) -> bool {
        let end = self.ranges.last().map_or(0, |&(first, count)| first + count);
        if count == 0 {
            return true;
        }
        if first < end || first > varint::MAX || count > varint::MAX - first {
            return false;
        }
        let full = self.ranges.len() == RANGES_PER_FRAME_MAX;
        match self.ranges.last_mut() {
            Some((_, before)) if first == end => *before += count,
            _ if full => return false,
            _ => self.ranges.push((first, count)),
        }
        true
    }

    /// First number and count of each range.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl Value for SeqRanges {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if self.ranges.is_empty() {
            return;
        }
        field::put_nested(out, number, |value| {
            let mut end = 0;
            for &(first, count) in &self.ranges {
                varint::put(value, first - end);
                varint::put(value, count);
                end = first + count;
            }
        });
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        let (mut rest, mut end) = (field.value, 0_u64);
        *self = Self::new();
        while !rest.is_empty() {
            let (skipped, count) = (varint::take(&mut rest)?, varint::take(&mut rest)?);
            // Each is below 2^62: their sum fits 64 bits.
            if count == 0 || !self.push(end + skipped, count) {
                return Err(DecodeError::Malformed { what });
            }
            end = end + skipped + count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_refuse_what_is_not_behind_them() {
        let mut ranges = SeqRanges::new();
        assert!(ranges.push(3, 2) && ranges.push(5, 1) && ranges.push(10, 1) && ranges.push(7, 0));
        assert!(!ranges.push(10, 1) && !ranges.push(varint::MAX, 1) && !ranges.push(u64::MAX, 1));
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(3, 3), (10, 1)]);
        let mut out = Vec::new();
        ranges.put(1, &mut out);
        assert_eq!(out, [1, 4, 3, 3, 4, 1]);
    }

    #[test]
    fn more_ranges_than_a_frame_has_are_refused() {
        let read = |count: usize| {
            let value = [1, 1].repeat(count);
            SeqRanges::new().merge(&Field { number: 1, value: &value }, "seqs")
        };
        assert!(read(RANGES_PER_FRAME_MAX).is_ok());
        assert!(read(RANGES_PER_FRAME_MAX + 1).is_err());
    }
}
