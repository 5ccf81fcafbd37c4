//! On which ways events have come from other clusters, and how many of them had come before.
//!
//! The owner of an event sees each copy of it that enters at this router, whatever the way. It
//! remembers which events of a publisher have come, in a window behind the newest, and counts each
//! further copy for the path on which that came. Receivers' libraries remove such copies.
//!
//! ```text
//! window of 4 behind the newest       had   4 . 6 7       comes 5: new      comes 6: a copy
//!                                           ▲ older than this nobody knows
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use millrace_proto::PublisherKey;

use crate::forward::{Arrived, ClusterPath};

/// Paths that are told apart, at most; those beyond are counted nowhere but as events.
const PATHS_MAX: usize = 256;
/// Publishers whose events are remembered, at most, half a KiB each: the oldest give way.
const PUBLISHERS_MAX: usize = 1024;
/// Events of each that are remembered, behind the newest.
const WINDOW: u64 = 4096;

/// What has come from other clusters.
#[derive(Debug, Default)]
pub(in crate::core) struct Arrivals {
    by_path: BTreeMap<ClusterPath, Arrived>,
    had: HashMap<PublisherKey, Had, ahash::RandomState>,
    /// The same publishers, in the order in which they came.
    order: VecDeque<PublisherKey>,
}

/// Which events of one publisher have come.
#[derive(Debug)]
struct Had {
    /// Behind the newest.
    end: u64,
    /// A bit for each seq of the window, by its remainder.
    bits: Box<[u64; (WINDOW / 64) as usize]>,
}

impl Arrivals {
    /// Events enter here, on this path.
    pub(super) fn count(&mut self, path: ClusterPath, events: u64) {
        if let Some(arrived) = self.path(path) {
            arrived.events += events;
        }
    }

    /// This core routes events that have come on this path.
    pub(super) fn route(&mut self, path: ClusterPath, publisher: PublisherKey, first: u64, events: u64) {
        let removed = self.copies(publisher, first, events);
        if removed > 0
            && let Some(arrived) = self.path(path)
        {
            arrived.removed += removed;
        }
    }

    /// Events, by the path on which they came.
    pub(in crate::core) const fn by_path(&self) -> &BTreeMap<ClusterPath, Arrived> {
        &self.by_path
    }

    fn path(&mut self, path: ClusterPath) -> Option<&mut Arrived> {
        let has_room = self.by_path.len() < PATHS_MAX || self.by_path.contains_key(&path);
        has_room.then(|| self.by_path.entry(path).or_default())
    }

    /// How many of these events had come before, as far as is remembered.
    fn copies(&mut self, publisher: PublisherKey, first: u64, events: u64) -> u64 {
        if !self.had.contains_key(&publisher) {
            if self.order.len() == PUBLISHERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.had.remove(&oldest);
            }
            self.order.push_back(publisher);
        }
        let had = self.had.entry(publisher).or_insert_with(|| Had::before(first));
        (first..first.saturating_add(events)).map(|seq| u64::from(had.take(seq))).sum()
    }
}

impl Had {
    fn before(end: u64) -> Self {
        Self { end, bits: Box::new([0; (WINDOW / 64) as usize]) }
    }

    /// Takes an event. Whether it had come before.
    fn take(&mut self, seq: u64) -> bool {
        if seq >= self.end {
            let from = self.end.max((seq + 1).saturating_sub(WINDOW));
            for passed in from..=seq {
                *self.word(passed) &= !bit(passed);
            }
            self.end = seq + 1;
        } else if self.end - seq > WINDOW {
            return false;
        }
        let word = self.word(seq);
        let had = *word & bit(seq) != 0;
        *word |= bit(seq);
        had
    }

    fn word(&mut self, seq: u64) -> &mut u64 {
        // A remainder of the window's size.
        let index = (seq % WINDOW / 64) as usize;
        &mut self.bits[index]
    }
}

const fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_proto::{Epoch, PublisherId};
    use proptest::prelude::*;

    use super::*;

    const fn key(id: u128) -> PublisherKey {
        PublisherKey { publisher: PublisherId(id), epoch: Epoch(1) }
    }

    #[test]
    fn copies_are_counted_as_far_as_is_remembered() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.copies(key(1), 10, 5), 0);
        assert_eq!(arrivals.copies(key(1), 12, 5), 3);
        assert_eq!(arrivals.copies(key(2), 12, 5), 0, "of another publisher");
        assert_eq!(arrivals.copies(key(1), 10 + WINDOW, 1), 0);
        assert_eq!(arrivals.copies(key(1), 10, 2), 1, "the first is older than the window");
        assert_eq!(arrivals.copies(key(1), u64::MAX - 1, 1), 0);
        for id in 3..=PUBLISHERS_MAX as u128 + 2 {
            arrivals.copies(key(id), 0, 1);
        }
        assert_eq!((arrivals.had.len(), arrivals.order.len()), (PUBLISHERS_MAX, PUBLISHERS_MAX));
    }

    proptest! {
        /// Against a set of all that came: within the window it is the same.
        #[test]
        fn the_window_knows_what_came(runs in prop::collection::vec((0..WINDOW - 64, 1_u64..64), 1..60)) {
            let (mut arrivals, mut all) = (Arrivals::default(), BTreeSet::new());
            for (first, events) in runs {
                let known = (first..first + events).filter(|&seq| !all.insert(seq)).count() as u64;
                prop_assert_eq!(arrivals.copies(key(1), first, events), known);
            }
        }
    }
}
