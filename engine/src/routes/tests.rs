//! The cache against naive matching over random histories, and its bounds.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_proto::{Selector, TagSet};
use proptest::prelude::*;

use super::{RouteCache, RouteCacheLimits, TagId};
use crate::matching::{Index, LocalTarget, Location, Taker};

const SEED: u64 = 17;

fn small(entries: u32) -> RouteCacheLimits {
    RouteCacheLimits { entries, bytes: 1 << 20 }
}

fn set(number: usize) -> TagSet {
    let mut tags = vec![
        ("cluster".to_owned(), format!("c{}", number % 2)),
        ("host".to_owned(), format!("h{}", number % 10)),
        ("number".to_owned(), number.to_string()),
    ];
    // Some have more tags than an entry keeps regions for.
    if number.is_multiple_of(3) {
        tags.extend((0..12).map(|n| (format!("more-{n}"), "x".to_owned())));
    }
    TagSet::new(tags).unwrap()
}

fn pool() -> Vec<Arc<Selector>> {
    let texts = (0..10).flat_map(|n| {
        [format!("host=h{n}"), format!("cluster=c{},number>{n}", n % 2), format!("number<{n}")]
    });
    let texts = texts.chain([
        "*".to_owned(),
        "more-3".to_owned(),
        "more-3=x".to_owned(),
        "host=h1,cluster=c1".to_owned(),
    ]);
    texts.map(|text| Arc::new(Selector::parse(&text).unwrap())).collect()
}

fn intern(cache: &mut RouteCache, tags: &TagSet) -> TagId {
    cache.intern(tags.borrow(), tags.borrow().hash())
}

#[derive(Debug, Clone)]
enum Step {
    Remote { selector: usize, location: u16 },
    Local { selector: usize, receiver: u32 },
    Publish,
    Lookup { set: usize },
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..34usize, 0..7u16).prop_map(|(selector, location)| Step::Remote { selector, location }),
        2 => (0..34usize, 0..12u32).prop_map(|(selector, receiver)| Step::Local { selector, receiver }),
        1 => Just(Step::Publish),
        6 => (0..40usize).prop_map(|set| Step::Lookup { set }),
    ]
}

fn toggle<T: Ord + Copy>(model: &mut BTreeSet<(usize, T)>, selector: usize, target: T) -> bool {
    model.insert((selector, target)) || !model.remove(&(selector, target))
}

fn naive<T: Ord + Copy>(pool: &[Arc<Selector>], model: &BTreeSet<(usize, T)>, tags: &TagSet) -> BTreeSet<T> {
    let matching = model.iter().filter(|&&(selector, _)| pool[selector].matches_tags(tags.borrow()));
    matching.map(|&(_, target)| target).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn routes_agree_with_naive_matching_whatever_was_evicted_between(
        entries in 1..50u32,
        bytes in prop_oneof![Just(1usize << 20), 1_000..20_000usize],
        steps in prop::collection::vec(steps(), 1..250),
    ) {
        let pool = pool();
        let mut cache = RouteCache::new(RouteCacheLimits { entries, bytes });
        // The directory is written elsewhere; the core sees snapshots.
        let mut directory: Index<Taker> = Index::new(SEED);
        let mut seen = directory.clone();
        let mut local: Index<LocalTarget> = Index::new(SEED);
        let (mut remote_model, mut seen_model, mut local_model) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut ids = vec![TagId::default(); 40];
        for step in steps {
            match step {
                Step::Remote { selector, location } => {
                    let target = Taker::new(Location::Peer(location / 2), (location % 2 == 0).then_some(location));
                    if toggle(&mut remote_model, selector, target) {
                        prop_assert!(directory.insert(&pool[selector], target));
                    } else {
                        prop_assert!(directory.remove(&pool[selector], target));
                    }
                }
                Step::Local { selector, receiver } => {
                    let target = LocalTarget { receiver, subscription: 0, selector: u16::try_from(selector).unwrap() };
                    if toggle(&mut local_model, selector, target) {
                        prop_assert!(local.insert(&pool[selector], target));
                    } else {
                        prop_assert!(local.remove(&pool[selector], target));
                    }
                }
                Step::Publish => {
                    seen = directory.clone();
                    seen_model.clone_from(&remote_model);
                }
                Step::Lookup { set: number } => {
                    let tags = set(number);
                    let old = ids[number];
                    if cache.contains(old) {
                        prop_assert_eq!(cache.get(old), Some(tags.borrow()));
                        prop_assert_eq!(intern(&mut cache, &tags), old);
                    } else {
                        prop_assert!(cache.get(old).is_none() && cache.resolve(old, &seen, &local).is_none());
                        ids[number] = intern(&mut cache, &tags);
                    }
                    let resolved = cache.resolve(ids[number], &seen, &local).unwrap();
                    prop_assert_eq!(resolved.tags(), tags.borrow());
                    prop_assert!(resolved.takers().iter().copied().eq(naive(&pool, &seen_model, &tags)));
                    prop_assert!(resolved.local().iter().copied().eq(naive(&pool, &local_model, &tags)));
                    let metrics = cache.metrics();
                    prop_assert!(metrics.entries <= u64::from(entries));
                    prop_assert!(metrics.bytes <= bytes as u64 || metrics.entries == 1);
                }
            }
        }
        let live = ids.iter().filter(|&&id| cache.contains(id)).count();
        prop_assert_eq!(cache.metrics().entries, live as u64);
        prop_assert_eq!(cache.metrics().added - cache.metrics().evicted, live as u64);
    }
}

#[test]
fn a_scan_does_not_push_out_what_is_met_often() {
    let mut cache = RouteCache::new(small(1_000));
    let (directory, local) = (Index::new(SEED), Index::new(SEED));
    let mut meet = |number: usize| {
        let id = intern(&mut cache, &set(number));
        cache.resolve(id, &directory, &local).unwrap();
        cache.metrics().added
    };
    for _ in 0..3 {
        (0..500).for_each(|number| {
            meet(number);
        });
    }
    let mut scanned = 10_000;
    for _ in 0..20 {
        for _ in 0..1_000 {
            meet(scanned);
            scanned += 1;
        }
        let before = meet(0);
        let after = (0..500).map(&mut meet).last().unwrap();
        assert_eq!(after - before, 0, "busy tag sets were met as new ones");
    }
}

#[test]
fn who_comes_back_soon_after_going_is_kept_the_second_time() {
    let mut cache = RouteCache::new(small(100));
    let first = intern(&mut cache, &set(0));
    let mut next = 1;
    while cache.contains(first) {
        intern(&mut cache, &set(next));
        next += 1;
    }
    let second = intern(&mut cache, &set(0));
    assert_ne!(first, second);
    for number in next..next + 50 {
        intern(&mut cache, &set(number));
    }
    assert!(cache.contains(second));
}

#[test]
fn tag_sets_whose_hashes_collide_are_told_apart_and_bounded() {
    let mut cache = RouteCache::new(small(1_000));
    let ids: Vec<TagId> = (0..500).map(|number| cache.intern(set(number).borrow(), 42)).collect();
    let live: Vec<usize> = (0..500).filter(|&number| cache.contains(ids[number])).collect();
    assert_eq!(live.len(), 64);
    for number in live {
        assert_eq!(cache.get(ids[number]), Some(set(number).borrow()));
        assert_eq!(cache.intern(set(number).borrow(), 42), ids[number]);
    }
    assert_eq!(cache.metrics().crowded_out, 436);
    for number in 0..5_000 {
        cache.intern(set(number).borrow(), 42);
    }
    assert!(cache.metrics().entries <= 64);
}

#[test]
fn a_change_far_from_all_tags_costs_no_evaluation() {
    let mut cache = RouteCache::new(small(10));
    let mut directory = Index::new(SEED);
    let local = Index::new(SEED);
    let tags = set(1);
    let id = intern(&mut cache, &tags);
    cache.resolve(id, &directory, &local).unwrap();
    cache.resolve(id, &directory, &local).unwrap();
    directory.insert(&Arc::new(Selector::parse("host=elsewhere").unwrap()), Location::Peer(1).into());
    cache.resolve(id, &directory, &local).unwrap();
    directory.insert(&Arc::new(Selector::parse("host=h1").unwrap()), Location::Peer(1).into());
    assert_eq!(cache.resolve(id, &directory, &local).unwrap().takers().len(), 1);
    let metrics = cache.metrics();
    assert_eq!((metrics.rebuilt, metrics.hits, metrics.confirmed, metrics.patched), (1, 1, 1, 1));
}
