//! What a lookup costs: uncached in three mixes of 100,000 selectors, cached, and while the
//! directory changes.
//!
//! Mixes: `own`, each selector its own equality; `groups_1k`, groups of 1,000 share one;
//! `groups_10k`, groups of 10,000 do. In all, 100 selectors are on the scan list; a tag set has ten
//! tags, exactly one of which selectors are filed under; the second requirement of a selector is a
//! list, a glob, a comparison or a negation; at most ten selectors match. Allocations are counted;
//! those that must not allocate end the run with an error if they do.
//!
//! `cargo bench -p millrace-engine --bench matching`

#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod allocations;
mod mixes;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use millrace_engine::matching::{Contribution, Index, LocalTarget, TagMark, Taker};
use millrace_engine::routes::{RouteCache, RouteCacheLimits, TagId};
use millrace_proto::TagSet;

use allocations::allocations;
use mixes::{MIXES, Mix, SEED};

const TAG_SETS: usize = 100_000;
/// Runs in one received batch.
const BATCH: usize = 100;

fn uncached(c: &mut Criterion) {
    let mut group = c.benchmark_group("uncached");
    for mix in MIXES {
        let (index, sets) = (mix.index(), mix.tag_sets(TAG_SETS));
        report_matches(mix, &index, &sets);
        let mut next = shuffled(TAG_SETS);
        group.bench_function(mix.name, |b| {
            b.iter(|| {
                let mut found = 0;
                index.matches(sets[next()].borrow(), |_| found += 1);
                black_box(found)
            });
        });
        let before = allocations();
        for set in &sets[..1_000] {
            index.matches(set.borrow(), |target| {
                black_box(target);
            });
        }
        assert_eq!(allocations(), before, "an uncached lookup allocates");
    }
}

/// One core's cache, filled with tag sets, and what it looks up in.
struct Filled {
    cache: RouteCache,
    ids: Vec<TagId>,
    sets: Vec<(TagSet, u64)>,
    directory: Index<Taker>,
    local: Index<LocalTarget>,
}

impl Filled {
    fn new(mix: Mix) -> Self {
        let sets = mix
            .tag_sets(TAG_SETS)
            .into_iter()
            .map(|set| (set.clone(), set.borrow().hash()))
            .collect::<Vec<_>>();
        let (directory, local) = (mix.index(), Index::new(SEED));
        let mut cache = RouteCache::new(RouteCacheLimits::default());
        let ids = sets.iter().map(|(set, hash)| cache.intern(set.borrow(), *hash)).collect::<Vec<_>>();
        for &id in &ids {
            cache.resolve(id, &directory, &local);
        }
        Self { cache, ids, sets, directory, local }
    }

    #[inline]
    fn by_id(&mut self, id: TagId) -> usize {
        let resolved = self.cache.resolve(id, &self.directory, &self.local);
        resolved.map_or(0, |resolved| resolved.takers().len() + resolved.local().len())
    }

    /// As if a batch of runs had just arrived: their tags and hashes are at hand.
    fn by_tags_in_batches(&mut self, iterations: u64, mut next: impl FnMut() -> usize) -> Duration {
        let mut batch: Vec<(TagSet, u64)> = Vec::with_capacity(BATCH);
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations.div_ceil(BATCH as u64) {
            batch.clear();
            batch.extend((0..BATCH).map(|_| {
                let (set, hash) = &self.sets[next()];
                (set.borrow().to_owned(), *hash)
            }));
            let start = Instant::now();
            for (set, hash) in &batch {
                black_box(self.by_tags(set, *hash));
            }
            elapsed += start.elapsed();
        }
        elapsed.mul_f64(iterations as f64 / (iterations.div_ceil(BATCH as u64) * BATCH as u64) as f64)
    }

    #[inline]
    fn by_tags(&mut self, set: &TagSet, hash: u64) -> usize {
        let id = self.cache.intern(set.borrow(), hash);
        let resolved = self.cache.resolve(id, &self.directory, &self.local);
        resolved.map_or(0, |resolved| resolved.takers().len() + resolved.local().len())
    }
}

fn cached(c: &mut Criterion) {
    let mut group = c.benchmark_group("cached");
    let mut filled = Filled::new(MIXES[0]);
    let mut next = shuffled(TAG_SETS);
    let mut next_id = shuffled_of(filled.ids.clone());
    let hot = filled.ids[7];
    group.bench_function("random_by_id", |b| b.iter(|| black_box(filled.by_id(next_id()))));
    group.bench_function("random_by_tags", |b| {
        b.iter_custom(|count| filled.by_tags_in_batches(count, &mut next))
    });
    group.bench_function("hot_by_id", |b| b.iter(|| black_box(filled.by_id(black_box(hot)))));
    let (set, hash) = filled.sets[7].clone();
    group.bench_function("hot_by_tags", |b| b.iter(|| black_box(filled.by_tags(black_box(&set), hash))));
    let before = allocations();
    for _ in 0..TAG_SETS {
        let found = filled.by_id(next_id()) + filled.by_tags(&set, hash);
        black_box(found);
    }
    assert_eq!(allocations(), before, "a cached lookup allocates");
}

/// A million lookups and a thousand changes in each second of traffic: one change per thousand
/// lookups, a new snapshot per ten changes. Only the lookups are timed: changes are the control
/// thread's work.
fn changing(c: &mut Criterion) {
    const LOOKUPS_PER_SNAPSHOT: usize = 10_000;
    const CHANGES_PER_SNAPSHOT: usize = 10;
    const LOOKUPS_PER_SAMPLE: usize = 500;
    let mut group = c.benchmark_group("changing");
    group.sample_size(20);
    for mix in &MIXES[..2] {
        let mut filled = Filled::new(*mix);
        let mut writer = filled.directory.clone();
        let selectors = mix.selectors();
        let mut next_id = shuffled_of(filled.ids.clone());
        let mut change = shuffled(selectors.len());
        let mut samples = Vec::new();
        let mut turn = |filled: &mut Filled| {
            for _ in 0..CHANGES_PER_SNAPSHOT {
                let (selector, target) = &selectors[change()];
                if !writer.remove(selector, *target) {
                    writer.insert(selector, *target);
                }
            }
            filled.directory = writer.clone();
            let mut elapsed = Duration::ZERO;
            for _ in 0..LOOKUPS_PER_SNAPSHOT / LOOKUPS_PER_SAMPLE {
                let start = Instant::now();
                for _ in 0..LOOKUPS_PER_SAMPLE {
                    black_box(filled.by_id(next_id()));
                }
                let sample = start.elapsed();
                samples.push(sample.as_nanos() / LOOKUPS_PER_SAMPLE as u128);
                elapsed += sample;
            }
            elapsed
        };
        for _ in 0..2 * TAG_SETS / LOOKUPS_PER_SNAPSHOT {
            turn(&mut filled);
        }
        group.bench_function(format!("{}_10k_lookups", mix.name), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| turn(&mut filled)).sum::<Duration>());
        });
        // On a shared machine the mean counts what others took; the median of short samples does
        // not.
        samples.sort_unstable();
        let at = |part: usize| samples[samples.len() * part / 100];
        eprintln!("{}: ns per lookup: p10 {}, median {}, p90 {}", mix.name, at(10), at(50), at(90));
        let metrics = filled.cache.metrics();
        let start = Instant::now();
        for _ in 0..1_000 {
            let (selector, target) = &selectors[change()];
            if !writer.remove(selector, *target) {
                writer.insert(selector, *target);
            }
        }
        let changes = start.elapsed();
        let start = Instant::now();
        for _ in 0..100 {
            black_box(writer.clone());
        }
        eprintln!(
            "{} {metrics:?}\n  1,000 changes in place {changes:?}, a snapshot {:?}",
            mix.name,
            start.elapsed() / 100
        );
    }
}

/// The first meeting of a tag set, and the patch of one, without a route cache.
fn refresh(c: &mut Criterion) {
    let mut group = c.benchmark_group("refresh");
    for mix in MIXES {
        let (index, sets) = (mix.index(), mix.tag_sets(1_000));
        let marks: Vec<Vec<TagMark>> =
            sets.iter().map(|set| index.hasher().marks(set.borrow()).collect()).collect();
        let mut next = shuffled(sets.len());
        let mut entry = Contribution::default();
        group.bench_function(format!("rebuild_{}", mix.name), |b| {
            b.iter(|| {
                entry = Contribution::default();
                let number = next();
                black_box(index.refresh(sets[number].borrow(), &marks[number], &mut entry))
            });
        });
    }
}

fn report_matches(mix: Mix, index: &Index<Taker>, sets: &[TagSet]) {
    let mut most = 0;
    let mut sum = 0;
    for set in sets {
        let mut found = 0;
        index.matches(set.borrow(), |_| found += 1);
        most = most.max(found);
        sum += found;
    }
    let bytes = index.bytes() / 1_000;
    eprintln!(
        "{}: {} selectors, {} on the scan list, {bytes} kB; matches: {sum} over {} tag sets, at most {most}",
        mix.name,
        index.len(),
        index.scan_len(),
        sets.len()
    );
    assert!((1..=10).contains(&most) && sum > sets.len() / 2, "the mix is not what it says");
}

/// Numbers below `count` in an order that no prefetcher foresees; each comes once per round.
fn shuffled(count: usize) -> impl FnMut() -> usize {
    shuffled_of((0..count).collect())
}

fn shuffled_of<T: Copy>(mut order: Vec<T>) -> impl FnMut() -> T {
    let mut random = mixes::random(9);
    for place in (1..order.len()).rev() {
        order.swap(place, random(place + 1));
    }
    let mut at = 0;
    move || {
        at = if at + 1 == order.len() { 0 } else { at + 1 };
        order[at]
    }
}

criterion_group!(benches, uncached, cached, changing, refresh);
criterion_main!(benches);
