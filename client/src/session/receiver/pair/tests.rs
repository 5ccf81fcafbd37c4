//! Pairs against routers where everything may take its time, be dropped, or die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use millrace_proto::data::{Gap, GapReason, Mark};
use millrace_proto::{Epoch, PublisherId, PublisherKey, RouterId};
use proptest::prelude::*;

use super::Pair;
use super::ahead::{Ahead, RANGES_MAX};
use crate::session::Side;
use crate::time::{SECOND_NS, Time};

const SOURCES: usize = 3;
const PUBLISHERS: usize = 2;

fn key(publisher: u64) -> PublisherKey {
    PublisherKey { publisher: PublisherId(publisher.into()), epoch: Epoch(1) }
}

/// What stands in a stream, or travels towards it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    /// A run of a publisher, and the source that routed it.
    Run(usize, u64, Range<u64>),
    Mark(u64),
    Gap,
}

/// A router of the receiver: what is on its way from each source, in order, and its stream.
#[derive(Debug, Default)]
struct Router {
    is_open: bool,
    ways: [VecDeque<Thing>; SOURCES],
    /// Sources whose mark has not arrived, and the mark.
    barrier: Option<(Vec<usize>, u64)>,
    stream: VecDeque<Thing>,
    wants: [bool; SOURCES],
}

impl Router {
    /// One thing arrives from a source.
    fn arrive(&mut self, source: usize) {
        match self.ways[source].pop_front() {
            Some(Thing::Mark(number)) => {
                if let Some((waiting, asked)) = &mut self.barrier
                    && *asked == number
                {
                    waiting.retain(|other| *other != source);
                    if waiting.is_empty() {
                        self.stream.push_back(Thing::Mark(number));
                        self.barrier = None;
                    }
                }
            }
            Some(run) => self.stream.push_back(run),
            None => {}
        }
    }

    fn ask(&mut self, number: u64) {
        self.barrier = Some(((0..SOURCES).collect(), number));
        self.ways.iter_mut().for_each(|way| way.push_back(Thing::Mark(number)));
    }

    /// The receiver's queue is full: its oldest run gives way.
    fn overflow(&mut self) {
        if let Some(run) = self.stream.iter_mut().find(|thing| matches!(thing, Thing::Run(..))) {
            *run = Thing::Gap;
        }
    }

    fn has_more(&self) -> bool {
        !self.stream.is_empty() || self.ways.iter().any(|way| !way.is_empty())
    }
}

/// A receiver on two routers.
#[derive(Debug, Default)]
struct World {
    routers: [Router; 2],
    pair: Pair,
    marks: u64,
    /// The mark that was asked for of each router.
    asked: [Option<u64>; 2],
    next_seq: [u64; PUBLISHERS],
    routed: Vec<(usize, u64, u64)>,
    delivered: Vec<(usize, u64, u64)>,
    gaps: usize,
    now: Time,
}

impl World {
    fn begun() -> Self {
        let mut world = Self::default();
        world.open(Side::First);
        world.routers[0].wants = [true; SOURCES];
        world
    }

    fn open(&mut self, side: Side) {
        let router = &mut self.routers[side as usize];
        if !router.is_open {
            *router = Router { is_open: true, ..Router::default() };
            self.pair.opened(side, Some(RouterId(side as u64)));
        }
    }

    fn lose(&mut self, side: Side) {
        let (is_open, is_other) =
            (self.routers[side as usize].is_open, self.routers[side.other() as usize].is_open);
        if is_open {
            self.routers[side as usize] = Router::default();
            self.asked[side as usize] = None;
            // Without any session everything is missing, and the receiver says so by itself.
            self.gaps += usize::from(self.pair.lost(side, self.now) || !is_other);
        }
    }

    fn publish(&mut self, source: usize, publisher: u64, count: u64) {
        let next = &mut self.next_seq[usize::try_from(publisher).unwrap()];
        let seqs = *next..*next + count;
        *next = seqs.end;
        self.routed.extend(seqs.clone().map(|seq| (source, publisher, seq)));
        for router in self.routers.iter_mut().filter(|router| router.wants[source]) {
            router.ways[source].push_back(Thing::Run(source, publisher, seqs.clone()));
        }
    }

    fn read(&mut self, side: Side) {
        if !self.pair.reads(side) {
            return;
        }
        match self.routers[side as usize].stream.pop_front() {
            Some(Thing::Mark(number)) if self.asked[side as usize].is_some_and(|asked| number >= asked) => {
                self.pair.marked(side, &Mark { number, ..Mark::default() }, self.now);
            }
            Some(Thing::Gap) => {
                let gap = Gap { reason: GapReason::Overflow, ..Gap::default() };
                self.gaps += usize::from(self.pair.gap(side, &gap, self.now));
            }
            Some(Thing::Run(source, publisher, seqs)) => {
                let fresh = self.pair.run(side, key(publisher), seqs.clone());
                let seqs = seqs.filter(|&seq| fresh.contains(seq));
                self.delivered.extend(seqs.map(|seq| (source, publisher, seq)));
            }
            Some(Thing::Mark(_)) | None => {}
        }
    }

    fn step(&mut self, kind: u8, at: usize) {
        let side = Side::BOTH[at % 2];
        match kind {
            0..=3 => self.publish(at % SOURCES, (at % PUBLISHERS) as u64, 1 + at as u64 % 3),
            4..=7 => self.routers[side as usize].arrive(at / 2 % SOURCES),
            8..=10 => self.read(side),
            11..=13 if self.routers[side as usize].is_open => {
                self.routers[side as usize].wants[at / 2 % SOURCES] = true;
            }
            14 => self.open(side),
            15 if at < 12 => self.lose(side),
            16 if at < 20 => self.routers[side as usize].overflow(),
            17 if at < 6 => self.pair.subscribed(),
            _ => {}
        }
        self.join();
    }

    fn join(&mut self) {
        for side in Side::BOTH {
            if self.routers[side as usize].wants == [true; SOURCES] {
                self.pair.effective(side, self.now);
            }
        }
        if let Some(side) = self.pair.to_ask() {
            self.pair.asks();
            self.marks += 1;
            self.asked[side as usize] = Some(self.marks);
            self.routers[side as usize].ask(self.marks);
        }
    }

    /// Everything arrives and is read.
    fn finish(&mut self) {
        self.now = self.now.after(SECOND_NS);
        for _ in 0..5 {
            for side in Side::BOTH {
                if self.routers[side as usize].is_open {
                    self.routers[side as usize].wants = [true; SOURCES];
                }
            }
            self.join();
            while self.routers.iter().any(Router::has_more) {
                for side in Side::BOTH {
                    (0..SOURCES).for_each(|source| self.routers[side as usize].arrive(source));
                    self.read(side);
                }
                self.join();
            }
        }
    }
}

fn by_source(events: &[(usize, u64, u64)]) -> BTreeMap<usize, Vec<(u64, u64)>> {
    let mut sources = BTreeMap::<_, Vec<_>>::new();
    for &(source, publisher, seq) in events {
        sources.entry(source).or_default().push((publisher, seq));
    }
    sources
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever takes how long, is dropped or dies: nothing comes twice, and without a gap that is
    /// told the receiver has what each source has routed, in its order.
    #[test]
    fn what_is_missing_is_told_and_nothing_comes_twice(
        steps in prop::collection::vec((0_u8..18, 0_usize..60), 0..500)
    ) {
        let mut world = World::begun();
        steps.into_iter().for_each(|(kind, at)| world.step(kind, at));
        world.finish();
        let once: BTreeSet<_> = world.delivered.iter().collect();
        prop_assert_eq!(once.len(), world.delivered.len());
        if world.gaps == 0 {
            prop_assert_eq!(by_source(&world.delivered), by_source(&world.routed));
        }
    }

    /// Two sessions that stay are both whole in the end. What the first one delivered and the
    /// second one never brings, because it was routed before that joined, is forgotten when one
    /// joins again.
    #[test]
    fn sessions_become_whole_and_nothing_is_left_over(
        steps in prop::collection::vec((0_u8..14, 0_usize..60), 0..300)
    ) {
        let mut world = World::begun();
        world.open(Side::Second);
        steps.into_iter().for_each(|(kind, at)| world.step(kind, at));
        world.finish();
        prop_assert!(Side::BOTH.into_iter().all(|side| world.pair.is_whole(side)));
        prop_assert_eq!(world.gaps, 0);
        prop_assert_eq!(by_source(&world.delivered), by_source(&world.routed));
        world.pair.subscribed();
        world.finish();
        prop_assert_eq!(world.pair.remembered(), 0);
    }

    /// Against a set of seqs.
    #[test]
    fn what_is_ahead_is_taken_out_once(
        steps in prop::collection::vec((any::<bool>(), 0_u64..60, 1_u64..12), 1..80)
    ) {
        let (mut ahead, mut naive) = (Ahead::default(), BTreeSet::new());
        for (adds, first, count) in steps {
            let seqs = first..first + count;
            if adds {
                prop_assert!(ahead.add(key(1), seqs.clone()));
                naive.extend(seqs);
            } else {
                let others = ahead.take(key(1), &seqs).unwrap_or_else(|| vec![seqs.clone()]);
                let expected: Vec<_> = seqs.filter(|seq| !naive.remove(seq)).collect();
                prop_assert_eq!(others.into_iter().flatten().collect::<Vec<_>>(), expected);
            }
            let stretches = naive.iter().filter(|seq| **seq == 0 || !naive.contains(&(**seq - 1)));
            prop_assert_eq!(ahead.ranges(), stretches.count());
        }
    }
}

#[test]
fn a_session_that_is_too_far_behind_joins_anew() {
    let mut world = World::begun();
    world.open(Side::Second);
    world.finish();
    assert!(world.pair.is_whole(Side::Second));
    for at in 0..=RANGES_MAX as u64 {
        assert!(world.pair.run(Side::First, key(0), 2 * at..2 * at + 1).contains(2 * at));
    }
    assert!(!world.pair.is_whole(Side::Second) && world.pair.is_whole(Side::First));
    assert!(!world.pair.run(Side::Second, key(0), 0..1).contains(0));
}

#[test]
fn the_end_of_a_sessions_own_router_is_no_gap_and_that_of_another_is_one() {
    let lost =
        |router| Gap { reason: GapReason::RouterLost, router: Some(RouterId(router)), ..Gap::default() };
    let mut world = World::begun();
    world.open(Side::Second);
    world.finish();
    let (first, second, now) = (Side::First, Side::Second, world.now);
    assert!(!world.pair.gap(second, &lost(0), now) && world.pair.is_whole(second), "heard before its end");
    let session_lost = Gap { reason: GapReason::SessionLost, ..Gap::default() };
    assert!(!world.pair.gap(first, &session_lost, now) && !world.pair.lost(first, now));
    assert!(!world.pair.gap(second, &lost(0), now) && world.pair.is_whole(second), "heard behind its end");
    assert!(world.pair.gap(second, &lost(7), now));
    assert!(world.pair.gap(second, &lost(0), now.after(100 * SECOND_NS)), "another life of that router");
}

#[test]
fn marks_that_not_every_router_has_answered_are_asked_for_again() {
    let mut world = World::begun();
    world.open(Side::Second);
    world.routers[1].wants = [true; SOURCES];
    world.join();
    world.pair.marked(Side::Second, &Mark { partial: true, ..Mark::default() }, world.now);
    world.join();
    assert_eq!(world.pair.to_ask(), None);
    world.now = world.pair.poll_timeout().unwrap();
    world.pair.effective(Side::Second, world.now);
    assert_eq!(world.pair.to_ask(), Some(Side::Second));
}
