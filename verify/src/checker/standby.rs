//! Standby publishers: several publish one stream, and one of them takes effect.
//!
//! Members of a set give the events of one source, which numbers them. Judged are receivers'
//! applications, across their connections, and the members:
//!
//! - **fenced**: no receiver is given an event of a lower generation than one that it has had,
//!   unless it is of the publisher of that higher one, which has only moved.
//! - **once**: with numbers, no number of a set comes twice to an application.
//! - **whole**: with numbers, a receiver that wants the set from before an event was born to the
//!   end gets it, unless its stream shows a gap between the event's neighbours, or in the time in
//!   which the event was on its way ([`ON_THE_WAY_NS`]). The gap of a holder that has begun behind
//!   a hole stands for what lies between all that came before it and that holder's first number.
//! - **shown**: without numbers, a gap *takeover* stands before the first event of another
//!   publisher.
//! - **one holder**: once all is healed, exactly one member holds the set, within
//!   [`HOLDER_WITHIN_NS`].
//! - **unknown**: what a member had not been told the end of when it lost its set never ends as
//!   confirmed.
//!
//! ```text
//! generation 1, A   0 1 2 3 ✕                       3 was read by a router, and fenced
//! generation 2, B           2 3 4 5                 2 comes once, 3 is not missing
//! a receiver        0 1 2     3 4 5
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use millrace_proto::{PublisherId, RouterId};

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "standby";
/// A set has one holder again so soon after all is healed.
pub const HOLDER_WITHIN_NS: u64 = 5_000_000_000;
/// A gap stands for an event that was born so long before it: a takeover takes as long.
pub const ON_THE_WAY_NS: u64 = 4_000_000_000;

/// When the events of a source are born, ns.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The first.
    pub from: u64,
    /// Time between two.
    pub every: u64,
    /// How many there are.
    pub total: u64,
    /// Whether their publishers tell their numbers.
    pub is_numbered: bool,
}

impl Source {
    const fn born(&self, n: u64) -> u64 {
        self.from + n * self.every
    }
}

/// An event of a set as an application took it.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// The receiver, whatever its connection.
    pub owner: u32,
    /// The set.
    pub set: u32,
    /// Its number in the source.
    pub n: u64,
    /// The generation in which it was published, and by whom; none where its way does not carry it.
    pub stamp: Option<(u64, PublisherId)>,
}

/// What the members and receivers of all sets have shown.
#[derive(Debug, Clone, Default)]
pub struct Standby {
    sources: Vec<Source>,
    seen: BTreeMap<(u32, u32), Seen>,
    watchers: BTreeMap<u32, Watcher>,
    /// Since when a set that could have one holder has none, or several.
    adrift: BTreeMap<u32, Adrift>,
    /// When the holder of a set has given something to a router last.
    given: BTreeMap<(u32, RouterId), u64>,
    /// Publishers that have come behind another one at a receiver.
    pub takeovers: u64,
}

/// What one receiver has had of a set.
#[derive(Debug, Clone, Default)]
struct Seen {
    highest: Option<(u64, PublisherId)>,
    last: Option<PublisherId>,
    numbers: BTreeSet<u64>,
    has_gap: bool,
}

/// A receiver that wants one set and nothing else.
#[derive(Debug, Clone, Default)]
struct Watcher {
    set: u32,
    /// Since when it is owed everything; none while it is not.
    from: Option<u64>,
    /// Numbers and gaps, in their order.
    stream: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Event(u64),
    Gap {
        at: u64,
        router: Option<RouterId>,
    },
    /// A holder begins behind a hole, with this number.
    Hole {
        first: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Adrift {
    since: u64,
    is_told: bool,
}

impl Standby {
    /// A checker for sets with these sources.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources, ..Self::default() }
    }

    /// An application takes an event.
    pub fn taken(&mut self, taken: Taken, findings: &mut Findings) {
        let Taken { owner, set, n, stamp } = taken;
        let is_numbered = self.sources.get(set as usize).is_some_and(|source| source.is_numbered);
        if let Some(watcher) = self.watchers.get_mut(&owner).filter(|watcher| watcher.set == set) {
            watcher.stream.push(Item::Event(n));
        }
        let Some((generation, publisher)) = stamp else { return };
        let seen = self.seen.entry((owner, set)).or_default();
        match seen.highest {
            Some((highest, holder)) if generation < highest => {
                if holder != publisher {
                    findings.add(NAME, || {
                        format!(
                            "receiver {owner} got event {n} of set {set} in generation {generation} behind {highest}"
                        )
                    });
                }
            }
            _ => seen.highest = Some((generation, publisher)),
        }
        let is_takeover = seen.last.is_some_and(|last| last != publisher);
        self.takeovers += u64::from(is_takeover);
        if is_takeover && !is_numbered && !seen.has_gap {
            findings.add(NAME, || {
                format!("receiver {owner} got event {n} of set {set} of another publisher without a gap")
            });
        }
        (seen.last, seen.has_gap) = (Some(publisher), false);
        if !seen.numbers.insert(n) && is_numbered {
            findings.add(NAME, || format!("receiver {owner} got event {n} of set {set} again"));
        }
    }

    /// An application takes a gap that says that another publisher has taken over. With numbers it
    /// says that the new holder does not know either what came before `first`.
    pub fn takeover(&mut self, owner: u32, first: Option<u64>) {
        if let Some((watcher, first)) = self.watchers.get_mut(&owner).zip(first) {
            watcher.stream.push(Item::Hole { first });
        }
        let seen = self.seen.range_mut((owner, 0)..=(owner, u32::MAX));
        seen.for_each(|(_, seen)| seen.has_gap = true);
    }

    /// The holder of a set gives events to its router.
    pub fn given(&mut self, set: u32, router: RouterId, at: u64) {
        self.given.insert((set, router), at);
    }

    /// An application takes any gap, of a router where one is named.
    pub fn gap(&mut self, owner: u32, router: Option<RouterId>, at: u64) {
        if let Some(watcher) = self.watchers.get_mut(&owner) {
            watcher.stream.push(Item::Gap { at, router });
        }
    }

    /// A receiver's program has ended, and begins again with its cursor: what its library knew of
    /// sets is gone, so that numbers may come again by another member, of a router that the cursor
    /// does not name, and nothing shows who took over meanwhile.
    pub fn restarted(&mut self, owner: u32) {
        self.seen.retain(|&(receiver, _), _| receiver != owner);
    }

    /// A receiver that wants a set and nothing else begins to be owed it, or anew.
    pub fn watching(&mut self, owner: u32, set: u32, at: u64) {
        let watcher = self.watchers.entry(owner).or_default();
        (watcher.set, watcher.from) = (set, Some(at));
    }

    /// A receiver is owed nothing until it watches again.
    pub fn lapsed(&mut self, owner: u32) {
        if let Some(watcher) = self.watchers.get_mut(&owner) {
            watcher.from = None;
        }
    }

    /// So many members hold a set. `is_healed` says that nothing keeps one of them from it.
    pub fn holders(&mut self, set: u32, count: usize, is_healed: bool, at: u64, findings: &mut Findings) {
        if count == 1 || !is_healed {
            self.adrift.remove(&set);
            return;
        }
        let adrift = self.adrift.entry(set).or_insert(Adrift { since: at, is_told: false });
        if at - adrift.since > HOLDER_WITHIN_NS && !std::mem::replace(&mut adrift.is_told, true) {
            findings.add(NAME, || format!("set {set} has {count} holders 5 s after all was healed"));
        }
    }

    /// Whether every set has one holder, as far as was said.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.adrift.is_empty()
    }

    /// A member that has lost its set is told that an event of before is confirmed.
    pub fn confirmed_behind(publisher: PublisherId, seq: u64, findings: &mut Findings) {
        findings.add(NAME, || {
            format!("publisher {publisher} had lost its set, and event {seq} of before ended as confirmed")
        });
    }

    /// Judges what receivers were owed.
    pub fn finish(&self, findings: &mut Findings) {
        for (&owner, watcher) in &self.watchers {
            let (Some(from), Some(source)) = (watcher.from, self.sources.get(watcher.set as usize)) else {
                continue;
            };
            let had = self.seen.get(&(owner, watcher.set)).map(|seen| &seen.numbers);
            if !source.is_numbered {
                continue;
            }
            let (places, holes) = (watcher.places(), watcher.holes());
            for n in (0..source.total).filter(|&n| source.born(n) >= from) {
                let may_have = |router| {
                    let last = self.given.get(&(watcher.set, router));
                    last.is_some_and(|&last| last >= source.born(n))
                };
                if had.is_some_and(|had| had.contains(&n))
                    || holes.iter().any(|hole| hole.contains(&n))
                    || watcher.has_gap(n, source.born(n), &places, may_have)
                {
                    continue;
                }
                findings.add(NAME, || {
                    let (at, set) = (source.born(n), watcher.set);
                    format!("receiver {owner} misses event {n} of set {set}, born at {at} ns, without a gap")
                });
            }
        }
    }
}

impl Watcher {
    /// Where events stand in its stream, by number.
    fn places(&self) -> BTreeMap<u64, usize> {
        let events = self.stream.iter().enumerate().filter_map(|(place, item)| match item {
            Item::Event(n) => Some((*n, place)),
            Item::Gap { .. } | Item::Hole { .. } => None,
        });
        events.collect()
    }

    /// Numbers that lie behind all that had come when a holder began, and before its first one.
    fn holes(&self) -> Vec<Range<u64>> {
        let (mut holes, mut next) = (Vec::new(), 0);
        for item in &self.stream {
            match *item {
                Item::Event(n) => next = next.max(n + 1),
                Item::Hole { first } => holes.push(next..first),
                Item::Gap { .. } => {}
            }
        }
        holes
    }

    /// Whether a gap stands for an event that it has not got: where the event would stand, around
    /// the time of a takeover, or of a router that was given it (`may_have`) and has ended with it.
    /// When that is noticed depends on the network, and what other routers bring comes meanwhile.
    fn has_gap(
        &self,
        n: u64,
        born: u64,
        places: &BTreeMap<u64, usize>,
        may_have: impl Fn(RouterId) -> bool,
    ) -> bool {
        let before = places.range(..n).next_back().map_or(0, |(_, &place)| place);
        let behind = places.range(n..).next().map_or(self.stream.len(), |(_, &place)| place);
        let between = before.min(behind)..before.max(behind);
        self.stream.iter().enumerate().any(|(place, item)| match item {
            Item::Gap { at, router } => {
                between.contains(&place)
                    || (born..=born.saturating_add(ON_THE_WAY_NS)).contains(at)
                    || *at >= born && router.is_some_and(&may_have)
            }
            Item::Event(_) | Item::Hole { .. } => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PublisherId = PublisherId(1);
    const B: PublisherId = PublisherId(2);
    const NUMBERED: Source = Source { from: 0, every: 1_000_000_000, total: 9, is_numbered: true };

    /// Findings of a watcher that takes these events (generation, publisher, number) and gaps
    /// (when).
    fn findings(source: Source, stream: &[Result<(u64, PublisherId, u64), u64>]) -> u64 {
        let (mut standby, mut findings) = (Standby::new(vec![source]), Findings::default());
        standby.watching(7, 0, 0);
        for item in stream {
            match *item {
                Ok((generation, publisher, n)) => {
                    let taken = Taken { owner: 7, set: 0, n, stamp: Some((generation, publisher)) };
                    standby.taken(taken, &mut findings);
                }
                Err(at) => {
                    standby.gap(7, None, at);
                    standby.takeover(7, None);
                }
            }
        }
        standby.finish(&mut findings);
        findings.count
    }

    #[test]
    fn generations_do_not_fall_but_for_a_holder_that_moves() {
        let source = Source { is_numbered: false, ..NUMBERED };
        assert_eq!(findings(source, &[Ok((1, A, 0)), Err(1), Ok((2, B, 1)), Err(2), Ok((1, A, 2))]), 1);
        assert_eq!(findings(source, &[Ok((1, A, 0)), Ok((2, A, 1)), Ok((1, A, 2))]), 0);
        assert_eq!(findings(source, &[Ok((1, A, 0)), Ok((2, B, 1))]), 1, "a takeover that nothing shows");
    }

    #[test]
    fn a_number_comes_once_and_none_is_missing_without_a_gap() {
        let all = |from: u64| (from..9).map(|n| Ok((2, B, n)));
        let stream = |from| [Ok((1, A, 0)), Ok((1, A, 1))].into_iter().chain(all(from)).collect::<Vec<_>>();
        assert_eq!(findings(NUMBERED, &stream(2)), 0);
        assert_eq!(findings(NUMBERED, &stream(1)), 1, "1 came twice");
        assert_eq!(findings(NUMBERED, &stream(4)), 2, "2 and 3 are missing");
        let mut with_gap = stream(4);
        with_gap.insert(2, Err(100_000_000_000));
        assert_eq!(findings(NUMBERED, &with_gap), 0);
    }

    #[test]
    fn a_holder_that_begins_behind_a_hole_has_told_of_what_lies_in_it_and_of_no_more() {
        // 1 is missing before, 4 and 5 lie in the hole, and 7 is missing behind it.
        for (first, missing) in [(Some(6), 2), (Some(5), 3), (None, 4)] {
            let (mut standby, mut findings) = (Standby::new(vec![NUMBERED]), Findings::default());
            standby.watching(7, 0, 0);
            for (generation, publisher, n) in [(1, A, 0), (1, A, 2), (1, A, 3), (3, A, 6), (4, B, 8)] {
                if n == 6 {
                    standby.takeover(7, first);
                }
                let taken = Taken { owner: 7, set: 0, n, stamp: Some((generation, publisher)) };
                standby.taken(taken, &mut findings);
            }
            standby.finish(&mut findings);
            assert_eq!(findings.count, missing, "the hole ends at {first:?}");
        }
    }

    #[test]
    fn what_ends_with_a_router_is_told_when_the_router_is_given_up() {
        let (own, other) = (RouterId(1), RouterId(2));
        for (given_at, router, missing) in [(2, own, 0), (1, own, 1), (2, other, 2)] {
            let (mut standby, mut findings) = (Standby::new(vec![NUMBERED]), Findings::default());
            standby.watching(7, 0, 0);
            for n in [0, 3, 4, 5, 6, 7, 8] {
                let taken = Taken { owner: 7, set: 0, n, stamp: Some((1, A)) };
                standby.taken(taken, &mut findings);
            }
            // 1 and 2 went there, as far as it was given them.
            standby.given(0, own, given_at * 1_000_000_000);
            standby.gap(7, Some(router), 9_000_000_000);
            standby.finish(&mut findings);
            assert_eq!(findings.count, missing, "given at {given_at} s, the gap is of {router}");
        }
    }

    #[test]
    fn a_program_that_begins_again_knows_nothing_of_sets() {
        let stream = [(0, true), (0, false), (2, true), (3, false)];
        for (set, restarts) in stream {
            let source = Source { is_numbered: set == 0, ..NUMBERED };
            let (mut standby, mut findings) = (Standby::new(vec![source; 4]), Findings::default());
            for (generation, publisher) in [(2, B), (1, A)] {
                let taken = Taken { owner: 7, set, n: 1, stamp: Some((generation, publisher)) };
                standby.taken(taken, &mut findings);
                if restarts {
                    standby.restarted(7);
                }
            }
            assert_eq!(findings.count == 0, restarts, "set {set}");
        }
    }

    #[test]
    fn a_set_has_one_holder_within_five_seconds() {
        let (mut standby, mut findings) = (Standby::new(vec![NUMBERED]), Findings::default());
        for (second, count, is_healed) in [(0, 2, false), (1, 2, true), (6, 2, true)] {
            standby.holders(0, count, is_healed, second * 1_000_000_000, &mut findings);
        }
        assert_eq!((findings.count, standby.is_settled()), (0, false));
        standby.holders(0, 0, true, 6_100_000_000, &mut findings);
        standby.holders(0, 1, true, 6_200_000_000, &mut findings);
        assert_eq!((findings.count, standby.is_settled()), (1, true));
    }
}
