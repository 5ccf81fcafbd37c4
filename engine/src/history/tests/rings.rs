//! A ring keeps the newest runs within its bounds, and reads them as a list would.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::{Epoch, PublisherId, PublisherKey, Selector, TagSet};

use crate::history::{Begin, Block, HistoryLimits, KeptRun, ReadBudget, Ring, Which};
use crate::routes::{RouteCache, RouteCacheLimits, TagId};
use crate::time::Time;

const KEY: PublisherKey = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
const PLENTY: ReadBudget = ReadBudget { steps: usize::MAX, bytes: usize::MAX };

/// Tag sets with names as a core gives them.
struct Names(Vec<(TagId, TagSet)>);

impl Names {
    fn new(count: usize) -> Self {
        let mut cache = RouteCache::new(RouteCacheLimits::default());
        let tags = (0..count).map(|number| TagSet::new([("host", format!("h{number}"))]).unwrap());
        Self(tags.map(|tags| (cache.intern(tags.borrow(), tags.borrow().hash()), tags)).collect())
    }

    fn run<'a>(&'a self, position: u64, arrived: Time, tags: usize, body: &'a [u8]) -> KeptRun<'a> {
        let (tag, tags) = &self.0[tags];
        let (tag, tags) = (*tag, tags.borrow());
        KeptRun { position, arrived, tag, tags, publisher: KEY, flags: 1, body, events: 2 }
    }
}

fn selectors(texts: &[&str]) -> Vec<Arc<Selector>> {
    texts.iter().map(|text| Arc::new(Selector::parse(text).unwrap())).collect()
}

fn positions(block: &Block) -> Vec<u64> {
    (0..block.len()).map(|index| block.get(index).unwrap().position).collect()
}

/// A small generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn size(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn a_ring_reads_as_a_list_that_forgot_the_same_runs() {
    let names = Names::new(9);
    let all = selectors(&["host=h1", "host in (h3,h4)"]);
    for seed in 0..10 {
        let mut random = Random(seed);
        let limits = HistoryLimits {
            bytes: (64 << 10) + 512 * usize::try_from(seed).unwrap(),
            age: Duration::from_secs(20 + seed),
        };
        let mut ring = Ring::new(limits, 5);
        let mut list: Vec<(u64, Time, usize, Vec<u8>)> = Vec::new();
        let mut now = Time::from_nanos(1_000_000_000);
        for position in 5..900_u64 {
            now = now.after(random.below(200_000_000));
            let tags = random.size(9);
            let body = vec![
                u8::try_from(position % 251).unwrap();
                random.size(if seed % 2 == 0 { 2_000 } else { 3 })
            ];
            ring.append(&names.run(position, now, tags, &body));
            list.push((position, now, tags, body));
            assert!(ring.memory() <= limits.bytes, "seed {seed}: {} bytes", ring.memory());
            assert_eq!(ring.next(), position + 1);
            let (runs, events) = ring.evicted();
            assert_eq!((runs, events), (ring.oldest() - 5, 2 * runs));
            // Whole blocks go, so that a run stays while a younger one of its block does.
            let is_young = |&(_, arrived, ..): &(u64, Time, usize, Vec<u8>)| {
                now.since(arrived) <= limits.age + Duration::from_secs(20)
            };
            assert!(list.iter().filter(|run| run.0 >= ring.oldest()).all(is_young));
            let (mut from, to) =
                (5 + random.below(position - 4), position + 1 - random.below(3).min(position - 5));
            let expected: Vec<_> = list
                .iter()
                .filter(|run| run.0 >= from.max(ring.oldest()) && run.0 < to && [1, 3, 4].contains(&run.2))
                .collect();
            let (mut read, mut reads) = (Vec::new(), 0);
            while from < to {
                let mut budget = ReadBudget { steps: 40, bytes: 4_000 };
                let chunk = ring.read((from, to), &all, Which::All, &mut budget);
                assert_eq!(chunk.is_cut, from < ring.oldest().min(to));
                assert!(chunk.next > from, "a read goes on");
                for run in (0..chunk.runs.len()).map(|index| chunk.runs.get(index).unwrap()) {
                    let tags = names.0.iter().position(|(_, tags)| tags.borrow() == run.tags).unwrap();
                    read.push((run.position, run.arrived, tags, run.body.to_vec()));
                }
                (from, reads) = (chunk.next, reads + 1);
            }
            assert!(reads < 40);
            let newest_of = |tags: usize| list.iter().rfind(|run| run.2 == tags).map(|run| run.0);
            let mut newest: Vec<u64> = [1, 3, 4].into_iter().filter_map(newest_of).collect();
            newest.retain(|&newest| newest >= ring.oldest());
            newest.sort_unstable();
            let chunk = ring.read((5, position + 1), &all, Which::Newest, &mut PLENTY.clone());
            assert_eq!(positions(&chunk.runs), newest, "seed {seed}, position {position}");
            assert_eq!(read.iter().collect::<Vec<_>>(), expected, "seed {seed}, position {position}");
        }
    }
}

#[test]
fn a_time_says_where_a_replay_begins_and_whether_something_is_gone() {
    let names = Names::new(1);
    let mut ring = Ring::new(HistoryLimits { bytes: 64 << 10, age: Duration::from_secs(60) }, 0);
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    assert_eq!(ring.span_of(Begin::Since(at(0))).from, 0);
    for position in 0..10 {
        ring.append(&names.run(position, at(100 + position), 0, b"x"));
    }
    let span = ring.span_of(Begin::Since(at(104)));
    assert_eq!((span.from, span.to, span.oldest, span.is_cut), (4, 10, 0, false));
    assert_eq!(ring.span_of(Begin::Since(at(1))).from, 0);
    assert!(!ring.span_of(Begin::Since(at(1))).is_cut, "nothing was before");
    assert_eq!(ring.span_of(Begin::Since(at(500))).from, 10);
    assert_eq!(ring.span_of(Begin::At(3)).from, 3);
    assert_eq!(ring.span_of(Begin::At(77)).from, 10, "not beyond what there is");
    assert_eq!(ring.span(at(130)), Duration::from_secs(30));
    ring.expire(at(1_000));
    assert_eq!((ring.oldest(), ring.next(), ring.span(at(1_000))), (10, 10, Duration::ZERO));
    assert!(ring.span_of(Begin::At(3)).is_cut);
    assert!(ring.span_of(Begin::Since(at(105))).is_cut);
    assert!(!ring.span_of(Begin::Since(at(110))).is_cut, "nothing arrived since");
}

#[test]
fn a_run_that_exceeds_the_ring_is_counted_as_gone() {
    let names = Names::new(1);
    let mut ring = Ring::new(HistoryLimits { bytes: 64 << 10, ..HistoryLimits::default() }, 0);
    ring.append(&names.run(0, Time::ZERO, 0, b"small"));
    ring.append(&names.run(1, Time::ZERO, 0, &[0; 70_000]));
    assert_eq!((ring.oldest(), ring.next(), ring.evicted()), (2, 2, (2, 4)));
    ring.append(&names.run(2, Time::ZERO, 0, b"small"));
    let chunk = ring.read((0, 3), &selectors(&["*"]), Which::All, &mut PLENTY.clone());
    assert_eq!((positions(&chunk.runs), chunk.is_cut), (vec![2], true));
    let chunk = ring.read((2, 3), &selectors(&["*"]), Which::All, &mut PLENTY.clone());
    assert!(!chunk.is_cut);
}
