//! The index against a naive matcher: a list of (selector, target), each evaluated in full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_proto::{Selector, TagSet};
use proptest::prelude::*;

use super::log::CHANGES_KEPT;
use super::{Contribution, Index, LocalTarget, Location, Refresh, TagMark};

const VALUES: [&str; 8] = ["a", "b", "web-1", "web-12", "7", "-3.5", "12", ""];

/// Selectors of every form, most of which share `cluster=c0`, so that groups grow, are sieved and
/// rebalanced.
fn pool() -> Vec<Arc<Selector>> {
    let second = [
        "k0=a",
        "k0 in (a,web-1)",
        "k1=web-*",
        "k1=*-12",
        "k1=w*2",
        "k1=*eb-1*",
        "k1=*web-12*",
        "k2>7",
        "k2<=7",
        "k2>=-3.5",
        "k2<12",
        "k3",
        "!k3",
        "k0!=a",
        "k1 notin (b,web-12)",
        "k2!=web-*",
        "k3=?",
        "k3=*-?",
        "k1>0,k2<10",
        "k0=b,k1=b",
        "k0=\"\"",
        "k3 in (7,12,b)",
        "payload ~ /x/",
        "k0=web-12,k3",
    ];
    let first =
        ["", "cluster=c0,", "cluster=c0,host=h1,", "cluster=c0,host=h2,", "cluster=c1,host!=h1,", "host=h*,"];
    let alone = ["*", "cluster=c0", "cluster=c0,host=h1", "host=h1", "cluster=c0,cluster=c1"];
    let both = first.iter().flat_map(|first| second.iter().map(move |second| format!("{first}{second}")));
    let texts = both.chain(alone.iter().map(|&text| text.to_owned()));
    texts.map(|text| Arc::new(Selector::parse(&text).unwrap())).collect()
}

fn tag_sets() -> impl Strategy<Value = TagSet> {
    let keys = prop::collection::btree_map(0..4usize, 0..VALUES.len(), 0..4);
    (0..3usize, 0..3usize, keys).prop_map(|(cluster, host, keys)| {
        let mut tags =
            vec![("cluster".to_owned(), format!("c{cluster}")), ("host".to_owned(), format!("h{host}"))];
        tags.extend(keys.into_iter().map(|(key, value)| (format!("k{key}"), VALUES[value].to_owned())));
        TagSet::new(tags).unwrap()
    })
}

#[derive(Debug, Clone)]
enum Step {
    Insert { selector: usize, count: usize, target: u16 },
    Remove { selector: usize, count: usize, target: u16 },
    Refresh { tags: usize },
    Snapshot,
}

fn steps() -> impl Strategy<Value = Step> {
    let span = || (0..140usize, prop_oneof![4 => Just(1), 1 => 1..140usize], 0..4u16);
    prop_oneof![
        3 => span().prop_map(|(selector, count, target)| Step::Insert { selector, count, target }),
        2 => span().prop_map(|(selector, count, target)| Step::Remove { selector, count, target }),
        6 => (0..12usize).prop_map(|tags| Step::Refresh { tags }),
        1 => Just(Step::Snapshot),
    ]
}

type Model = BTreeSet<(usize, Location)>;

/// Targets with the number of their selectors that match.
fn naive(pool: &[Arc<Selector>], model: &Model, tags: &TagSet) -> BTreeMap<Location, u32> {
    let mut counts = BTreeMap::new();
    for &(selector, target) in model {
        if pool[selector].matches_tags(tags.borrow()) {
            *counts.entry(target).or_default() += 1;
        }
    }
    counts
}

fn check_lookup(index: &Index<Location>, pool: &[Arc<Selector>], model: &Model, tags: &TagSet) {
    let mut counts = BTreeMap::new();
    index.matches(tags.borrow(), |target| *counts.entry(target).or_default() += 1);
    assert_eq!(counts, naive(pool, model, tags), "{tags}");
}

fn check_refresh(
    index: &Index<Location>,
    pool: &[Arc<Selector>],
    model: &Model,
    tags: &TagSet,
    entry: &mut Contribution<Location>,
) -> Refresh {
    let marks: Vec<TagMark> = index.hasher().marks(tags.borrow()).collect();
    let refresh = index.refresh(tags.borrow(), &marks, entry);
    let expected: Vec<Location> = naive(pool, model, tags).into_keys().collect();
    assert_eq!(entry.targets().collect::<Vec<_>>(), expected, "{tags} {refresh:?}");
    assert_eq!(entry.validated_at(), index.version());
    refresh
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn lookups_refreshes_and_snapshots_agree_with_a_naive_matcher(
        sets in prop::collection::vec(tag_sets(), 12),
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        let pool = pool();
        let mut index = Index::new(11);
        let mut model = Model::new();
        let mut entries = vec![Contribution::default(); sets.len()];
        let mut snapshots = Vec::new();
        for step in steps {
            match step {
                Step::Insert { selector, count, target } => {
                    for selector in (selector..selector + count).filter(|&selector| selector < pool.len()) {
                        let (version, target) = (index.version(), Location::Peer(target));
                        let is_new = model.insert((selector, target));
                        prop_assert_eq!(index.insert(&pool[selector], target), is_new);
                        prop_assert_eq!(index.version(), version + u64::from(is_new));
                    }
                }
                Step::Remove { selector, count, target } => {
                    for selector in (selector..selector + count).filter(|&selector| selector < pool.len()) {
                        let target = Location::Peer(target);
                        prop_assert_eq!(index.remove(&pool[selector], target), model.remove(&(selector, target)));
                    }
                }
                Step::Refresh { tags } => {
                    check_refresh(&index, &pool, &model, &sets[tags], &mut entries[tags]);
                }
                Step::Snapshot => snapshots.push((index.clone(), model.clone())),
            }
        }
        let filed: BTreeSet<usize> = model.iter().map(|&(selector, _)| selector).collect();
        prop_assert_eq!(index.len(), filed.len());
        let scanned = filed.iter().filter(|&&selector| pool[selector].equalities().next().is_none()).count();
        prop_assert_eq!(index.scan_len(), scanned);
        snapshots.push((index, model));
        for (tags, entry) in sets.iter().zip(&mut entries) {
            for (index, model) in &snapshots {
                check_lookup(index, &pool, model, tags);
            }
            // Snapshots may also be met out of order.
            for (index, model) in snapshots.iter().rev() {
                check_refresh(index, &pool, model, tags, entry);
            }
        }
    }
}

fn selector(text: &str) -> Arc<Selector> {
    Arc::new(Selector::parse(text).unwrap())
}

fn tags(text: &str) -> TagSet {
    TagSet::from_texts(text.split(',')).unwrap()
}

fn found(index: &Index<Location>, tags: &TagSet) -> Vec<Location> {
    let mut found = Vec::new();
    index.matches(tags.borrow(), |target| found.push(target));
    found.sort();
    found
}

#[test]
fn a_change_elsewhere_is_a_hit_and_one_here_is_a_patch() {
    let pool = [selector("host=h1,x>1"), selector("host=h2"), selector("rack=r1"), selector("x>5")];
    let mut index = Index::new(3);
    let set = tags("host=h1,rack=r1,x=9");
    let mut entry = Contribution::default();
    let mut model = Model::new();
    let mut step = |selector: usize, add: bool, entry: &mut Contribution<Location>| {
        let target = Location::Core(1);
        if add {
            model.insert((selector, target));
            assert!(index.insert(&pool[selector], target));
        } else {
            model.remove(&(selector, target));
            assert!(index.remove(&pool[selector], target));
        }
        check_refresh(&index, &pool, &model, &set, entry)
    };
    assert!(matches!(step(0, true, &mut entry), Refresh::Rebuilt(_)));
    assert_eq!(step(1, true, &mut entry), Refresh::Hit);
    assert_eq!(step(2, true, &mut entry), Refresh::Patched);
    assert_eq!(step(3, true, &mut entry), Refresh::Patched);
    assert_eq!(step(0, false, &mut entry), Refresh::Patched);
    assert_eq!(step(1, false, &mut entry), Refresh::Hit);
    assert_eq!(step(2, false, &mut entry), Refresh::Patched);
    assert_eq!(step(3, false, &mut entry), Refresh::Patched);
    assert_eq!(entry.targets().len(), 0);
}

#[test]
fn changes_are_evaluated_as_long_as_they_are_fewer_than_half_of_the_scan_list() {
    let held: Vec<_> = (0..1_000).map(|number| selector(&format!("host=*{number:03}*"))).collect();
    let changing = [selector("host=*y*"), selector("host=h*")];
    let mut index = Index::new(3);
    held.iter().for_each(|selector| assert!(index.insert(selector, Location::Core(0))));
    let (set, mut entry) = (tags("host=h1"), Contribution::default());
    let marks: Vec<TagMark> = index.hasher().marks(set.borrow()).collect();
    let mut changed = |changes: usize, selector: &Arc<Selector>| {
        for _ in 0..changes / 2 {
            assert!(index.insert(selector, Location::Core(1)));
            assert!(index.remove(selector, Location::Core(1)));
        }
        index.refresh(set.borrow(), &marks, &mut entry)
    };
    assert_eq!(changed(0, &changing[0]), Refresh::Rebuilt(1_000));
    assert_eq!(changed(400, &changing[0]), Refresh::Hit);
    assert_eq!(changed(400, &changing[1]), Refresh::Patched);
    assert_eq!(changed(600, &changing[0]), Refresh::Rebuilt(1_000));
}

#[test]
fn an_entry_older_than_the_log_is_rebuilt_if_its_tags_changed_and_valid_if_not() {
    let pool = [selector("host=h1"), selector("host=h2"), selector("host=h3")];
    let (here, elsewhere) = (tags("host=h1"), tags("host=h3"));
    let mut index = Index::new(3);
    let mut model = Model::from([(2, Location::Core(0))]);
    index.insert(&pool[2], Location::Core(0));
    let (mut changed, mut unchanged) = (Contribution::default(), Contribution::default());
    check_refresh(&index, &pool, &model, &here, &mut changed);
    check_refresh(&index, &pool, &model, &elsewhere, &mut unchanged);
    index.insert(&pool[0], Location::Core(0));
    model.insert((0, Location::Core(0)));
    for _ in 0..CHANGES_KEPT {
        index.insert(&pool[1], Location::Core(0));
        index.remove(&pool[1], Location::Core(0));
    }
    assert!(matches!(check_refresh(&index, &pool, &model, &here, &mut changed), Refresh::Rebuilt(_)));
    assert_eq!(check_refresh(&index, &pool, &model, &elsewhere, &mut unchanged), Refresh::Hit);
}

#[test]
fn selectors_leave_a_crowded_tag_for_one_of_their_own() {
    let mut index = Index::new(5);
    let all: Vec<_> = (0..500).map(|n| selector(&format!("cluster=c,host=h{n},x>0"))).collect();
    // While nothing is filed, the first equality is as good as any; hosts are crowded first, so the
    // cluster is taken.
    let crowd: Vec<_> = (0..500).flat_map(|n| (0..2).map(move |m| format!("host=h{n},y={m}"))).collect();
    for text in &crowd {
        index.insert(&selector(text), Location::Peer(0));
    }
    for selector in &all {
        index.insert(selector, Location::Peer(1));
    }
    let hash = index.hasher().tag("cluster", "c");
    let crowded = index.buckets.get(hash).map_or(0, super::bucket::Group::len);
    assert!(crowded < 64, "{crowded} selectors still share one tag");
    let set = tags("cluster=c,host=h77,x=1");
    let marks: Vec<TagMark> = index.hasher().marks(set.borrow()).collect();
    let mut entry = Contribution::default();
    index.refresh(set.borrow(), &marks, &mut entry);
    assert_eq!(entry.targets().collect::<Vec<_>>(), [Location::Peer(1)]);
    // Recorded under the tag that it moved to, and seen by who counted it under the other.
    index.remove(&all[77], Location::Peer(1));
    assert_eq!(index.refresh(set.borrow(), &marks, &mut entry), Refresh::Patched);
    assert_eq!(entry.targets().len(), 0);
}

#[test]
fn an_index_that_was_emptied_finds_nothing_and_takes_no_more_memory() {
    let pool = pool();
    let mut index = Index::new(5);
    let fill = |index: &mut Index<Location>| {
        for selector in &pool {
            index.insert(selector, Location::Core(1));
        }
        for selector in &pool {
            index.remove(selector, Location::Core(1));
        }
    };
    fill(&mut index);
    let bytes = index.bytes();
    assert!(index.is_empty() && index.scan_len() == 0);
    assert_eq!(found(&index, &tags("cluster=c0,host=h1,k0=a")), []);
    for _ in 0..3 {
        fill(&mut index);
    }
    // The log alone may grow, to its bound.
    assert!(index.bytes() < bytes + (64 << 10) * 3, "{} after {bytes}", index.bytes());
}

#[test]
fn one_selector_may_have_thousands_of_targets() {
    let mut index = Index::new(1);
    let everything = selector("*");
    let target = |receiver| LocalTarget { receiver, subscription: 0, selector: 0 };
    for receiver in (0..5_000).rev() {
        assert!(index.insert(&everything, target(receiver)));
    }
    assert!(!index.insert(&everything, target(77)));
    let set = tags("host=h1");
    let marks: Vec<TagMark> = index.hasher().marks(set.borrow()).collect();
    let mut entry = Contribution::default();
    index.refresh(set.borrow(), &marks, &mut entry);
    assert!(entry.targets().eq((0..5_000).map(target)));
    assert!(index.remove(&everything, target(77)));
    assert_eq!(index.refresh(set.borrow(), &marks, &mut entry), Refresh::Patched);
    assert_eq!(entry.targets().len(), 4_999);
    assert_eq!(index.len(), 1);
}

#[test]
fn zero_and_minus_zero_are_one_number() {
    let mut index = Index::new(1);
    for n in 0..20 {
        index.insert(&selector(&format!("a=1,x>=0,y!={n}")), Location::Peer(n));
        index.insert(&selector(&format!("a=1,x<=0,y!={n}")), Location::Core(n));
    }
    assert_eq!(found(&index, &tags("a=1,x=-0")).len(), 40);
    assert_eq!(found(&index, &tags("a=1,x=0.0")).len(), 40);
    assert_eq!(
        found(&index, &tags("a=1,x=0.00000000000000000000000000000000000000000000000000000001")).len(),
        20
    );
}

#[test]
fn globs_are_sieved_by_the_literal_inside_them() {
    let mut index = Index::new(1);
    let literal = "a".repeat(400);
    for number in 0..4_096 {
        index.insert(&selector(&format!("k=*{literal}{number}_x*")), Location::Core(1));
    }
    // Each counts as what a part of so many bytes costs.
    let evaluated = |value: &str| index.matches(tags(&format!("k={value}")).borrow(), |_| {}) / 51;
    assert!((1..20).contains(&evaluated(&format!("{}{literal}77_x1", "a".repeat(500)))));
    assert!(evaluated(&"a".repeat(1_000)) < 10);
    assert!(evaluated("web-17.example") < 10);
    let other = index.matches(tags("other=1").borrow(), |_| {});
    assert_eq!(other, 0);
}
