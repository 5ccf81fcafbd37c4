//! Which events a receiver has had, so that one which its publisher sends again comes once.
//!
//! A publisher with a confirm level sends again what has no outcome, and says with every run below
//! which seq nothing is sent again: its *floor*. So the seqs at or above the floor that a receiver
//! has had are remembered. Stretches below it are, too, because the first copy of an event
//! may have taken a slower way than the second. In doubt an event is delivered, marked as a
//! possible duplicate: it is never dropped.
//!
//! ```text
//! floor = 4, had = {4, 5, 8}       a run of 5–8, sent again: 6 and 7 are fresh
//! ```

use std::collections::VecDeque;
use std::ops::Range;

use hashbrown::HashMap;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::{PublisherId, PublisherKey};

use super::sets::{SetVerdict, Sets};
use crate::session::publisher::Finals;

/// Publishers that are remembered, at most: the oldest give way.
const PUBLISHERS_MAX: usize = 1024;
/// Ranges that are remembered of each, at most: the lowest give way. A receiver that gets every
/// second event has as many of a publisher whose window of 65,536 events is full, or of one that is
/// on two routers of which one is behind by as much.
const RANGES_MAX: usize = 32_768;
/// Ranges that are remembered of each, at most, while there are more of all publishers than
/// [`RANGES_OF_ALL_MAX`].
const RANGES_OWN_MAX: usize = 1024;
/// Ranges that are remembered of each, whatever its floor and how many there are of all publishers:
/// a copy that arrives behind the one that was sent again is seldom older than so many stretches.
const RANGES_KEPT: usize = 64;
/// Ranges that are remembered of all publishers, some 3 MiB, as long as there is one with more than
/// [`RANGES_KEPT`] below its floor, or more than [`RANGES_OWN_MAX`]: a router that stood still for seconds brings copies of all that it had read.
const RANGES_OF_ALL_MAX: usize = 65_536;

/// What one receiver has had, across connections.
#[derive(Debug, Default)]
pub struct Dedup {
    publishers: HashMap<PublisherKey, Had, ahash::RandomState>,
    /// The same publishers, in the order in which they came.
    order: VecDeque<PublisherKey>,
    /// Some publisher was forgotten.
    has_forgotten: bool,
    removed: u64,
    /// What is replayed may be for one subscription what another one has had.
    serves_several: bool,
    /// Ranges that are remembered of all publishers.
    ranges: usize,
    /// What it has had of standby sets.
    sets: Sets,
}

/// What it has had of one publisher.
#[derive(Debug)]
struct Had {
    /// Seqs below are not remembered.
    known_from: u64,
    /// Seqs below are not sent again.
    floor: u64,
    /// Seqs that it has had, and all below `known_from`.
    seqs: Finals,
}

/// What is fresh of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Seqs to deliver, ascending; `None`: all.
    pub parts: Option<Vec<Range<u64>>>,
    /// The receiver may have had some of them.
    pub maybe_duplicate: bool,
}

impl Fresh {
    /// What is fresh by two judges.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let parts = match (self.parts, other.parts) {
            (Some(these), Some(those)) => Some(common(&these, &those)),
            (these, those) => these.or(those),
        };
        Self { parts, maybe_duplicate: self.maybe_duplicate || other.maybe_duplicate }
    }

    /// Whether there is nothing to deliver.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether an event is to be delivered.
    #[inline]
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.iter().any(|part| part.contains(&seq)))
    }
}

/// What two ascending lists of ranges have in common.
fn common(these: &[Range<u64>], those: &[Range<u64>]) -> Vec<Range<u64>> {
    let both = |this: &Range<u64>, that: &Range<u64>| this.start.max(that.start)..this.end.min(that.end);
    let pairs = these.iter().flat_map(|this| those.iter().map(move |that| both(this, that)));
    pairs.filter(|part| !part.is_empty()).collect()
}

impl Dedup {
    /// Takes a run with a confirm level: `floor` stands in its body, and `was_sent` says that it
    /// may have come before.
    pub fn take(&mut self, publisher: PublisherKey, seqs: Range<u64>, floor: u64, was_sent: bool) -> Fresh {
        if !self.publishers.contains_key(&publisher) {
            self.add(publisher, if was_sent { seqs.end } else { seqs.start });
        }
        let Some(had) = self.publishers.get_mut(&publisher) else {
            return Fresh { parts: None, maybe_duplicate: was_sent };
        };
        had.floor = had.floor.max(floor);
        let maybe_duplicate = seqs.start < had.known_from;
        let is_new = had.seqs.end() <= seqs.start;
        let parts = (!is_new).then(|| had.fresh(seqs.clone())).filter(|parts| *parts != [seqs.clone()]);
        if let Some(parts) = &parts {
            let fresh: u64 = parts.iter().map(|part| part.end - part.start).sum();
            self.removed += seqs.end - seqs.start - fresh;
        }
        let before = had.seqs.len();
        had.seqs.insert(seqs);
        let others = self.ranges - before;
        while had.has_too_many(others) {
            had.forget_lowest();
        }
        self.ranges = others + had.seqs.len();
        Fresh { parts, maybe_duplicate }
    }

    /// The receiver has several subscriptions. Each has a replay of its own, so that events that
    /// two of them match come with both.
    pub const fn serves_several(&mut self) {
        self.serves_several = true;
    }

    /// Takes a run that comes from history, as [`take`](Self::take) does. Where the receiver has
    /// several subscriptions, all of it is delivered, marked if some of it came before.
    pub fn take_replayed(
        &mut self,
        publisher: PublisherKey,
        seqs: Range<u64>,
        floor: u64,
        was_sent: bool,
    ) -> Fresh {
        let removed = self.removed;
        let fresh = self.take(publisher, seqs, floor, was_sent);
        if !self.serves_several {
            return fresh;
        }
        self.removed = removed;
        Fresh { maybe_duplicate: fresh.maybe_duplicate || fresh.parts.is_some(), parts: None }
    }

    /// Takes a run of a standby set, as its hop field says: `seqs` are those of its events. What is
    /// fresh may still have been sent before by the same publisher: [`take`](Self::take) knows.
    pub fn take_of_set(&mut self, set: &[u8], publisher: PublisherId, seqs: &Range<u64>) -> SetVerdict {
        match StandbySet::parse(set) {
            Ok(run) => self.sets.take(&run, publisher, seqs.start, seqs.end - seqs.start),
            // The reader of the stream has checked it.
            Err(_) => SetVerdict::Fresh { parts: None, is_takeover: false },
        }
    }

    /// Events that were removed because the receiver has had them.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.removed + self.sets.removed()
    }

    /// Events of standby sets that were dropped because their publisher had been replaced.
    #[must_use]
    pub const fn fenced(&self) -> u64 {
        self.sets.fenced()
    }

    /// Remembers a publisher; behind a forgotten one nobody knows what came before `from`.
    fn add(&mut self, publisher: PublisherKey, from: u64) {
        if self.order.len() == PUBLISHERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            let forgotten = self.publishers.remove(&oldest);
            self.ranges -= forgotten.map_or(0, |had| had.seqs.len());
            self.has_forgotten = true;
        }
        let known_from = if self.has_forgotten { from } else { 0 };
        self.publishers.insert(publisher, Had { known_from, floor: 0, seqs: Finals::below(known_from) });
        self.order.push_back(publisher);
    }
}

impl Had {
    /// Whether the lowest range is to be forgotten, beside so many ranges of other publishers.
    fn has_too_many(&self, others: usize) -> bool {
        let is_below = || self.seqs.ranges().next().is_some_and(|lowest| lowest.end <= self.floor);
        let ranges = self.seqs.len();
        let all_have_too_many = others + ranges > RANGES_OF_ALL_MAX;
        ranges > RANGES_MAX
            || (all_have_too_many && (ranges > RANGES_OWN_MAX || (ranges > RANGES_KEPT && is_below())))
    }

    fn forget_lowest(&mut self) {
        let lowest = self.seqs.ranges().next();
        if let Some(Range { end, .. }) = lowest {
            self.known_from = end;
            self.seqs.insert(0..end);
        }
    }

    /// What of a run was not had, as far as is remembered.
    fn fresh(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        let forgotten = seqs.start..self.known_from.clamp(seqs.start, seqs.end);
        let mut parts = self.seqs.pending_in(forgotten.end..seqs.end);
        match parts.first_mut() {
            Some(first) if first.start == forgotten.end => first.start = forgotten.start,
            _ if forgotten.is_empty() => {}
            _ => parts.insert(0, forgotten),
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_proto::{Epoch, PublisherId};
    use proptest::prelude::*;

    use super::*;

    const fn key(id: u128) -> PublisherKey {
        PublisherKey { publisher: PublisherId(id), epoch: Epoch(2) }
    }

    fn all() -> Fresh {
        Fresh { parts: None, maybe_duplicate: false }
    }

    fn parts(parts: &[(u64, u64)]) -> Fresh {
        let parts = parts.iter().map(|&(first, end)| first..end).collect();
        Fresh { parts: Some(parts), maybe_duplicate: false }
    }

    #[test]
    fn what_comes_again_is_removed_and_the_rest_delivered() {
        let mut dedup = Dedup::default();
        assert_eq!(dedup.take(key(1), 4..6, 4, false), all());
        assert_eq!(dedup.take(key(1), 8..9, 4, false), all());
        assert_eq!(dedup.take(key(1), 5..9, 4, true), parts(&[(6, 8)]));
        assert_eq!(dedup.take(key(1), 4..9, 4, true), parts(&[]));
        assert_eq!(dedup.take(key(2), 4..9, 4, true), all(), "another publisher's seqs are others");
        let epoch = PublisherKey { epoch: Epoch(3), ..key(1) };
        assert_eq!(dedup.take(epoch, 4..9, 4, true), all(), "so are those of another life");
        assert_eq!(dedup.removed(), 7);
    }

    #[test]
    fn what_two_judges_take_for_fresh_is_what_both_do() {
        assert_eq!(all().and(parts(&[(4, 6)])), parts(&[(4, 6)]));
        assert_eq!(parts(&[(0, 5), (7, 9)]).and(parts(&[(3, 8)])), parts(&[(3, 5), (7, 8)]));
        assert_eq!(parts(&[(0, 3)]).and(parts(&[(3, 8)])), parts(&[]));
        let doubted = Fresh { maybe_duplicate: true, ..all() };
        assert_eq!(all().and(doubted.clone()), doubted);
    }

    #[test]
    fn a_first_copy_that_was_overtaken_is_removed_or_marked() {
        let mut dedup = Dedup::default();
        dedup.take(key(1), 3..5, 3, true);
        dedup.take(key(1), 10..11, 10, false);
        assert_eq!(dedup.take(key(1), 3..5, 3, false), parts(&[]), "it came before");
        for at in 6..=6 + 4 * RANGES_KEPT as u64 {
            dedup.take(key(1), 2 * at..2 * at + 1, 2 * at, false);
        }
        assert_eq!(dedup.take(key(1), 3..5, 3, false), parts(&[]), "it came before, many stretches ago");
        for at in 6..=6 + RANGES_MAX as u64 {
            dedup.take(key(1), 2 * at..2 * at + 1, 2 * at, false);
        }
        let late = dedup.take(key(1), 3..5, 3, false);
        assert!(late.maybe_duplicate && late.contains(3) && late.contains(4), "{late:?}");
    }

    #[test]
    fn what_is_replayed_is_known_and_comes_once_for_each_of_several_subscriptions() {
        let mut dedup = Dedup::default();
        assert_eq!(dedup.take_replayed(key(1), 4..6, 4, false), all());
        assert_eq!(dedup.take(key(1), 4..7, 4, true), parts(&[(6, 7)]), "its publisher sends it again");
        assert_eq!(dedup.take_replayed(key(1), 4..6, 4, false), parts(&[]));
        dedup.serves_several();
        let marked = Fresh { maybe_duplicate: true, ..all() };
        assert_eq!(dedup.take_replayed(key(1), 4..6, 4, false), marked);
        assert_eq!(dedup.take_replayed(key(1), 8..9, 4, false), all());
        assert_eq!(dedup.removed(), 4);
    }

    #[test]
    fn ranges_of_many_publishers_below_their_floors_give_way() {
        let mut dedup = Dedup::default();
        for id in 0..PUBLISHERS_MAX as u128 {
            for at in 0..4 * RANGES_KEPT as u64 {
                dedup.take(key(id), 2 * at..2 * at + 1, 2 * at, false);
            }
        }
        assert!(dedup.ranges <= RANGES_OF_ALL_MAX + PUBLISHERS_MAX * RANGES_KEPT, "{}", dedup.ranges);
        let all: usize = dedup.publishers.values().map(|had| had.seqs.len()).sum();
        assert_eq!(dedup.ranges, all);
        dedup.take(key(PUBLISHERS_MAX as u128), 5..6, 5, false);
        assert_eq!(dedup.ranges, dedup.publishers.values().map(|had| had.seqs.len()).sum::<usize>());
    }

    #[test]
    fn copies_of_a_router_that_is_behind_by_a_window_are_removed() {
        let mut dedup = Dedup::default();
        for at in 0..RANGES_MAX as u64 {
            assert_eq!(dedup.take(key(0), 2 * at..2 * at + 1, at, false), all());
        }
        for at in 0..RANGES_MAX as u64 {
            assert_eq!(dedup.take(key(0), 2 * at..2 * at + 1, at, false), parts(&[]));
        }
    }

    #[test]
    fn publishers_with_many_ranges_share_what_is_remembered() {
        let mut dedup = Dedup::default();
        for at in 0..RANGES_MAX as u64 {
            for id in 0..4 {
                dedup.take(key(id), 2 * at..2 * at + 1, 0, false);
            }
        }
        assert!(dedup.ranges <= RANGES_OF_ALL_MAX + 4 * RANGES_OWN_MAX, "{}", dedup.ranges);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_in_doubt() {
        let mut dedup = Dedup::default();
        for at in 0..2 * RANGES_MAX as u64 {
            assert_eq!(dedup.take(key(0), 2 * at..2 * at + 1, 0, false), all());
        }
        let old = dedup.take(key(0), 0..1, 0, true);
        assert!(old.maybe_duplicate && old.contains(0), "{old:?}");
        let recent = 2 * (2 * RANGES_MAX as u64 - 1);
        assert_eq!(dedup.take(key(0), recent..recent + 1, 0, true), parts(&[]));
        for id in 1..=PUBLISHERS_MAX as u128 {
            assert_eq!(dedup.take(key(id), 0..1, 0, false), all());
        }
        let old = dedup.take(key(0), recent..recent + 1, 0, true);
        assert!(old.maybe_duplicate && old.contains(recent), "{old:?}");
    }

    proptest! {
        /// Against a set of all that came, with floors that only rise: nothing is dropped that did
        /// not come, and what is at or above the floor comes once.
        #[test]
        fn nothing_fresh_is_dropped(
            runs in prop::collection::vec((0_u64..100, 1_u64..20, 0_u64..3), 1..80)
        ) {
            let (mut dedup, mut had, mut floor) = (Dedup::default(), BTreeSet::new(), 0);
            for (above, count, rise) in runs {
                floor += rise;
                let first = floor + above;
                let fresh = dedup.take(key(1), first..first + count, floor, true);
                for seq in first..first + count {
                    prop_assert_eq!(fresh.contains(seq), had.insert(seq));
                }
                prop_assert!(!fresh.maybe_duplicate);
            }
        }
    }
}
