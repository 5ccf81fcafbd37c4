//! The tag sets of a stream that nobody wants, as its router has told.
//!
//! The router names a set by its number on the stream, together with how many bytes of the stream
//! it had read: a number that was defined anew behind them stands for another set by then. A set
//! that loses its number counts as wanted, because the router forgets it, too. So the table of the
//! stream bounds both maps.

use std::collections::HashMap;

use millrace_proto::TagSet;

use crate::time::{SECOND_NS, Time};

/// Time between two events of a set that are sent although nobody wants them, so that operators see
/// who is there.
const SAMPLE_EVERY_NS: u64 = 10 * SECOND_NS;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    sets: HashMap<TagSet, Quenched, ahash::RandomState>,
    /// The sets by number.
    numbers: HashMap<u64, TagSet, ahash::RandomState>,
}

#[derive(Debug)]
struct Quenched {
    number: u64,
    /// From when on the next event is sent.
    sample_at: Time,
}

impl Unwanted {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub(super) fn contains(&self, set: &TagSet) -> bool {
        self.sets.contains_key(set)
    }

    /// Nobody wants a set. Returns whether that is news.
    pub(super) fn add(&mut self, now: Time, number: u64, set: &TagSet) -> bool {
        let quenched = Quenched { number, sample_at: now.after(SAMPLE_EVERY_NS) };
        self.numbers.insert(number, set.clone());
        self.sets.insert(set.clone(), quenched).is_none()
    }

    /// Somebody wants the set of a number, or the number stands for another set. Returns the set,
    /// if nobody wanted it.
    pub(super) fn remove(&mut self, number: u64) -> Option<TagSet> {
        let set = self.numbers.remove(&number)?;
        self.sets.remove(&set).filter(|quenched| quenched.number == number).map(|_| set)
    }

    /// Somebody may want any set. Returns those that nobody wanted.
    pub(super) fn take_all(&mut self) -> Vec<TagSet> {
        self.numbers.clear();
        let mut all: Vec<TagSet> = self.sets.drain().map(|(set, _)| set).collect();
        all.sort_unstable();
        all
    }

    /// Whether an event of the set is left out: nobody wants it, and it is no sample.
    pub(super) fn skips(&mut self, now: Time, set: &TagSet) -> bool {
        let Some(quenched) = self.sets.get_mut(set) else { return false };
        if now < quenched.sample_at {
            return true;
        }
        quenched.sample_at = now.after(SAMPLE_EVERY_NS);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_of_ten_seconds_is_sent() {
        let (mut unwanted, start) = (Unwanted::default(), Time::from_nanos(7));
        let set = TagSet::from_texts(["host=a"]).unwrap();
        assert!(!unwanted.skips(start, &set));
        assert!(unwanted.add(start, 3, &set) && !unwanted.add(start, 3, &set));
        let sent: Vec<u64> =
            (0..31).filter(|second| !unwanted.skips(start.after(second * SECOND_NS), &set)).collect();
        assert_eq!(sent, [10, 20, 30]);
        assert_eq!((unwanted.remove(4), unwanted.remove(3)), (None, Some(set.clone())));
        assert!(unwanted.is_empty() && !unwanted.skips(start, &set));
    }
}
