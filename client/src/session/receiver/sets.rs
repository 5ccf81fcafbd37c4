//! What a receiver has had of standby sets: runs of an old generation are fenced, and what two
//! members of a set have published alike comes once.
//!
//! Members number the events of their source alike. Whoever takes over sends again what may still
//! have been on its way, so the last [`RANGES_MAX`] stretches of numbers are remembered; what is
//! older counts as had, because numbers rise.

use std::collections::VecDeque;
use std::ops::Range;

use hashbrown::HashMap;
use millrace_proto::PublisherId;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::limits::SETS_MAX;

use crate::session::publisher::Finals;

/// Stretches of numbers that are remembered of each set. A source without holes is one stretch.
const RANGES_MAX: usize = 65_536;

/// What is to be done with a run of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetVerdict {
    /// Its set has a newer generation: it is dropped.
    Fenced,
    /// These events of it are fresh.
    Fresh {
        /// Their seqs, ascending; none: all.
        parts: Option<Vec<Range<u64>>>,
        /// Another publisher has taken over, and nobody can tell what lies between: there are no
        /// numbers, or the publisher does not know either.
        is_takeover: bool,
    },
}

/// What one receiver has had of sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// At most [`SETS_MAX`], as many as a cluster has; the oldest gives way.
    sets: HashMap<Box<str>, Seen, ahash::RandomState>,
    order: VecDeque<Box<str>>,
    fenced: u64,
    removed: u64,
}

#[derive(Debug)]
struct Seen {
    generation: u64,
    publisher: PublisherId,
    numbers: Finals,
}

impl Sets {
    /// Takes a run of `events` events, the first of which has this seq.
    pub(super) fn take(
        &mut self,
        run: &StandbySet<'_>,
        publisher: PublisherId,
        first_seq: u64,
        events: u64,
    ) -> SetVerdict {
        let is_known = self.sets.contains_key(run.set);
        if !is_known {
            self.add(run, publisher);
        }
        let Some(seen) = self.sets.get_mut(run.set) else {
            return SetVerdict::Fresh { parts: None, is_takeover: false };
        };
        let is_older = run.generation < seen.generation;
        if is_older && publisher != seen.publisher {
            self.fenced += events;
            return SetVerdict::Fenced;
        }
        let is_other = publisher != seen.publisher;
        let is_behind_hole = is_known && run.is_behind_hole && run.generation > seen.generation;
        if !is_older {
            (seen.generation, seen.publisher) = (run.generation, publisher);
        }
        if run.encoded_seqs().is_empty() {
            return SetVerdict::Fresh { parts: None, is_takeover: is_known && is_other };
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        for (seq, number) in (first_seq..).zip(run.source_seqs()) {
            if seen.numbers.next_pending(number) != number {
                self.removed += 1;
                continue;
            }
            seen.numbers.insert(number..number + 1);
            match parts.last_mut() {
                Some(last) if last.end == seq => last.end += 1,
                _ => parts.push(seq..seq + 1),
            }
        }
        while seen.numbers.len() > RANGES_MAX {
            let lowest = seen.numbers.ranges().next().map_or(0, |lowest| lowest.end);
            seen.numbers.insert(0..lowest);
        }
        let is_all = matches!(&parts[..], [part] if part.end - part.start == events);
        SetVerdict::Fresh { parts: (!is_all).then_some(parts), is_takeover: is_behind_hole }
    }

    /// Events that were dropped because their set has a newer generation.
    pub(super) const fn fenced(&self) -> u64 {
        self.fenced
    }

    /// Events that were removed because another member had published them.
    pub(super) const fn removed(&self) -> u64 {
        self.removed
    }

    fn add(&mut self, run: &StandbySet<'_>, publisher: PublisherId) {
        if self.order.len() == SETS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.sets.remove(&oldest);
        }
        let numbers = Finals::below(0);
        self.sets.insert(run.set.into(), Seen { generation: run.generation, publisher, numbers });
        self.order.push_back(run.set.into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use millrace_proto::data::{HopHeader, hop_field};
    use proptest::prelude::*;

    use super::*;

    fn take(sets: &mut Sets, generation: u64, publisher: u128, numbers: &[u64], events: u64) -> SetVerdict {
        let mut fields = Vec::new();
        StandbySet::put(&mut fields, "feed", generation, numbers.iter().copied());
        let hop = HopHeader { fields: &fields, ..HopHeader::numbered(0, 0) };
        let run = StandbySet::parse(hop.field(hop_field::SET).unwrap()).unwrap();
        sets.take(&run, PublisherId(publisher), 10, events)
    }

    const ALL: SetVerdict = SetVerdict::Fresh { parts: None, is_takeover: false };

    #[test]
    fn what_the_next_holder_sends_again_comes_once() {
        let mut sets = Sets::default();
        assert_eq!(take(&mut sets, 1, 1, &[5, 6, 9], 3), ALL);
        let again = SetVerdict::Fresh { parts: Some(vec![11..12, 13..14]), is_takeover: false };
        assert_eq!(take(&mut sets, 2, 2, &[5, 7, 9, 11], 4), again);
        assert_eq!(take(&mut sets, 1, 1, &[8], 1), SetVerdict::Fenced);
        assert_eq!(take(&mut sets, 2, 2, &[8], 1), ALL, "what was fenced was not had");
        assert_eq!((sets.fenced(), sets.removed()), (1, 2));
    }

    #[test]
    fn without_numbers_a_takeover_shows() {
        let mut sets = Sets::default();
        assert_eq!(take(&mut sets, 1, 1, &[], 2), ALL, "the first that is seen");
        assert_eq!(take(&mut sets, 2, 1, &[], 2), ALL, "the holder itself has moved");
        assert_eq!(take(&mut sets, 1, 1, &[], 2), ALL, "in its own way only");
        let takeover = SetVerdict::Fresh { parts: None, is_takeover: true };
        assert_eq!(take(&mut sets, 3, 2, &[], 2), takeover);
        assert_eq!(take(&mut sets, 3, 2, &[], 2), ALL);
    }

    #[test]
    fn a_holder_that_began_behind_a_hole_shows_once_to_who_had_something_before() {
        let take = |sets: &mut Sets, generation, publisher, number: u8| {
            let run = StandbySet::with_encoded("feed", generation, true, std::slice::from_ref(&number));
            let mut value = Vec::new();
            run.put_again(&mut value);
            let hop = HopHeader { fields: &value, ..HopHeader::numbered(0, 0) };
            let read = hop.standby_set().unwrap().unwrap();
            assert_eq!(read, run);
            sets.take(&read, PublisherId(publisher), 10, 1)
        };
        let shown = SetVerdict::Fresh { parts: None, is_takeover: true };
        let mut sets = Sets::default();
        assert_eq!(take(&mut sets, 1, 1, 5), ALL, "it misses nothing of what it has had nothing of");
        assert_eq!(take(&mut sets, 2, 2, 9), shown);
        assert_eq!(take(&mut sets, 2, 2, 10), ALL);
        assert_eq!(take(&mut sets, 3, 2, 12), shown, "its own next life, too");
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_counts_as_had() {
        let mut sets = Sets::default();
        for number in 0..RANGES_MAX as u64 + 10 {
            take(&mut sets, 1, 1, &[2 * number], 1);
        }
        assert!(sets.sets["feed"].numbers.len() <= RANGES_MAX);
        let had = SetVerdict::Fresh { parts: Some(vec![]), is_takeover: false };
        assert_eq!(take(&mut sets, 1, 1, &[1], 1), had);
        for number in 0..SETS_MAX as u64 + 10 {
            let mut value = Vec::new();
            StandbySet::put(&mut value, &format!("set {number}"), 1, std::iter::empty());
            let hop = HopHeader { fields: &value, ..HopHeader::numbered(0, 0) };
            sets.take(&hop.standby_set().unwrap().unwrap(), PublisherId(1), 0, 1);
        }
        assert_eq!((sets.sets.len(), sets.order.len()), (SETS_MAX, SETS_MAX));
    }

    proptest! {
        /// Against a list of all that was delivered: each number once, and no generation below one
        /// that was delivered before, but its own publisher's.
        #[test]
        fn each_number_comes_once_and_generations_never_fall(
            runs in prop::collection::vec((1_u64..5, 0_u64..40, 1_u64..8), 1..80)
        ) {
            let mut sets = Sets::default();
            let (mut had, mut highest) = (BTreeSet::new(), 0);
            // The publisher of each generation.
            let holders: BTreeMap<u64, u128> = (1..5).map(|generation| (generation, generation.into())).collect();
            for (generation, from, count) in runs {
                let numbers: Vec<u64> = (from..from + count).collect();
                match take(&mut sets, generation, holders[&generation], &numbers, count) {
                    SetVerdict::Fenced => prop_assert!(generation < highest),
                    SetVerdict::Fresh { parts, .. } => {
                        prop_assert!(generation >= highest);
                        highest = generation;
                        for (seq, number) in (10..).zip(numbers) {
                            let fresh = parts.as_ref().is_none_or(|parts| parts.iter().any(|part| part.contains(&seq)));
                            prop_assert_eq!(fresh, had.insert(number));
                        }
                    }
                }
            }
        }
    }
}
