//! One receiver's stream as its application saw it: duplicates, disorder, and where gaps stand.
//!
//! Order is promised for the events of one tag set that entered through one router, so disorder is
//! judged within (emitter, entry router): an event behind a later one of its kind is reordered,
//! once.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::RouterId;

use super::Findings;
use super::history::History;

/// The name of this checker in findings.
pub const NAME: &str = "stream";

/// What the application took from one receiver's stream, in order.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    events: Vec<Taken>,
    /// The same, by emitter and number.
    seen: BTreeSet<(u32, u64)>,
    /// How many events stood before each gap, and the router that it names.
    gaps: Vec<(usize, Option<RouterId>)>,
    /// Routers that were told to have joined, or to be another one than before, and when, ns: what
    /// entered there before may be missing.
    joined: Vec<(RouterId, u64)>,
}

/// One event that was taken from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its emitter.
    pub emitter: u32,
    /// Its number.
    pub n: u64,
    /// The subscriptions that it came for; empty when that was not told.
    pub matched: Box<[u32]>,
    /// When, ns.
    pub at: u64,
}

/// What [`Stream::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Copies beyond the first.
    pub duplicated: u64,
    /// First copies behind a later event of their emitter and entry router.
    pub reordered: u64,
    /// Where the first copy of each event (emitter, n) stands.
    pub places: BTreeMap<(u32, u64), usize>,
}

impl Stream {
    /// Adds an event at the end.
    pub fn event(&mut self, taken: Taken) {
        self.seen.insert((taken.emitter, taken.n));
        self.events.push(taken);
    }

    /// Adds a gap at the end; `router` is the one that the missing events entered through, none
    /// means any.
    pub fn gap(&mut self, router: Option<RouterId>) {
        self.gaps.push((self.events.len(), router));
    }

    /// A router joins, or is lost: it did not know what this receiver wants, or begins anew.
    pub fn joined(&mut self, router: RouterId, at: u64) {
        self.joined.push((router, at));
    }

    /// Whether a router has joined, or was lost, at a time between.
    #[must_use]
    pub fn has_joined(&self, router: RouterId, from: u64, until: u64) -> bool {
        self.joined.iter().any(|&(joined, at)| joined == router && (from..=until).contains(&at))
    }

    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> &[Taken] {
        &self.events
    }

    /// Whether an event stands in it.
    #[must_use]
    pub fn has(&self, emitter: u32, n: u64) -> bool {
        self.seen.contains(&(emitter, n))
    }

    /// Whether there is any gap.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Whether a gap stands behind the event at `after` (or the start) and before the one at
    /// `before` (or the end), and speaks of events that entered through `entry`.
    #[must_use]
    pub fn has_gap(&self, after: Option<usize>, before: Option<usize>, entry: RouterId) -> bool {
        let from = self.gaps.partition_point(|&(at, _)| after.is_some_and(|after| at <= after));
        let inside =
            self.gaps[from..].iter().take_while(|&&(at, _)| before.is_none_or(|before| at <= before));
        inside.into_iter().any(|&(_, router)| router.is_none_or(|router| router == entry))
    }

    /// Finds duplicates and disorder.
    pub fn check(&self, receiver: u32, history: &History, findings: &mut Findings) -> Checked {
        let mut checked = Checked::default();
        let mut latest: BTreeMap<(u32, RouterId), u64> = BTreeMap::new();
        for (at, Taken { emitter, n, .. }) in self.events.iter().enumerate() {
            let (emitter, n) = (*emitter, *n);
            if let Some(&first) = checked.places.get(&(emitter, n)) {
                // What is sent again is the business of another checker.
                if history.event(emitter, n).is_some_and(|event| event.is_resent) {
                    continue;
                }
                checked.duplicated += 1;
                findings.add(NAME, || {
                    format!(
                        "receiver {receiver} got event {n} of emitter {emitter} at {first} and again at {at}"
                    )
                });
                continue;
            }
            checked.places.insert((emitter, n), at);
            let Some(entry) = history.event(emitter, n).and_then(|event| event.entry) else {
                continue;
            };
            let latest = latest.entry((emitter, entry)).or_insert(n);
            if n < *latest {
                checked.reordered += 1;
                let latest = *latest;
                findings.add(NAME, || {
                    format!(
                        "receiver {receiver} got event {n} of emitter {emitter} behind its event {latest}"
                    )
                });
            }
            *latest = n.max(*latest);
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::*;
    use crate::workload::Words;

    const A: RouterId = RouterId(1);
    const B: RouterId = RouterId(2);

    /// Duplicates and disorder of a stream of event numbers; odd ones from 100 on entered through
    /// another router.
    fn check(numbers: &[u64]) -> (u64, u64) {
        let mut history = History::new(Words::default(), vec![TagSet::from_texts(["a=b"]).unwrap()]);
        for n in 0..200 {
            history.publish(0, 0, Some(if n >= 100 && n % 2 == 1 { B } else { A }));
        }
        let mut stream = Stream::default();
        for &n in numbers {
            stream.event(Taken { emitter: 0, n, matched: Box::default(), at: 0 });
        }
        let mut findings = Findings::default();
        let checked = stream.check(7, &history, &mut findings);
        assert_eq!(findings.count, checked.duplicated + checked.reordered);
        (checked.duplicated, checked.reordered)
    }

    #[test]
    fn order_with_losses_is_clean() {
        assert_eq!(check(&[0, 1, 2, 5, 9]), (0, 0));
    }

    #[test]
    fn duplicates_and_swaps_are_told_apart() {
        assert_eq!(check(&[0, 1, 1, 2]), (1, 0));
        assert_eq!(check(&[0, 1, 2, 0]), (1, 0));
        assert_eq!(check(&[0, 2, 1, 3]), (0, 1));
        assert_eq!(check(&[3, 0, 1, 2]), (0, 3));
    }

    #[test]
    fn events_through_different_routers_have_no_order() {
        assert_eq!(check(&[101, 103, 100, 102]), (0, 0));
        assert_eq!(check(&[103, 100, 101, 102]), (0, 1));
    }

    #[test]
    fn gaps_count_only_between_the_neighbours_and_for_their_router() {
        let mut stream = Stream::default();
        for n in 0..4 {
            stream.event(Taken { emitter: 0, n, matched: Box::default(), at: 0 });
            if n == 1 {
                stream.gap(Some(A));
            }
        }
        assert!(stream.has_gap(Some(1), Some(2), A));
        assert!(!stream.has_gap(Some(1), Some(2), B));
        assert!(!stream.has_gap(Some(0), Some(1), A));
        assert!(!stream.has_gap(Some(2), Some(3), A));
        assert!(stream.has_gap(None, None, A) && stream.has_gap(None, Some(2), A));
        stream.gap(None);
        assert!(stream.has_gap(Some(3), None, B));
        assert!(!stream.has_gap(None, Some(3), B));
    }
}
