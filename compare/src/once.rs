//! Which numbers of an emitter have come, each once, in any order.

use std::collections::VecDeque;

/// Numbers that have come: all below `floor`, and some above it. As many are kept above it as were
/// published since the oldest that is missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Once {
    floor: u64,
    /// From `floor` on: whether each has come. The first has not.
    above: VecDeque<bool>,
}

impl Once {
    /// Takes a number that was published; whether it comes for the first time.
    #[inline]
    pub(crate) fn take(&mut self, number: u64) -> bool {
        if number == self.floor && self.above.is_empty() {
            self.floor += 1;
            return true;
        }
        let Some(at) = number.checked_sub(self.floor) else { return false };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if self.above.len() <= at {
            self.above.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.above[at], true) {
            return false;
        }
        while self.above.front() == Some(&true) {
            self.above.pop_front();
            self.floor += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Once;

    #[test]
    fn each_number_comes_once_in_any_order() {
        let mut once = Once::default();
        for number in [0, 3, 1, 2, 5, 4, 6] {
            assert!(once.take(number), "{number}");
        }
        for number in 0..7 {
            assert!(!once.take(number), "{number}");
        }
        assert!(once.above.is_empty() && once.take(7), "nothing is kept of what has come");
    }
}
