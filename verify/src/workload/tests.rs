//! The promises of the workloads, checked through the oracle.

use std::collections::BTreeSet;

use millrace_proto::Selector;
use millrace_proto::selector::Operation;

use super::*;
use crate::oracle::Expected;

/// Every event has a taker, 1.0 to 1.5 on average; every receiver gets some.
fn check_coverage(workload: &Workload) {
    let generator = workload.generator().unwrap();
    let expected = Expected::of(&generator).unwrap();
    let mut served = BTreeSet::new();
    let mut pairs = 0;
    for emitter in 0..workload.emitters {
        let receivers: Vec<u32> = expected.receivers(emitter).map(|(receiver, _)| receiver).collect();
        assert!(!receivers.is_empty(), "nobody takes events of {}", generator.tags(emitter));
        pairs += receivers.len();
        served.extend(receivers);
    }
    assert_eq!(served.len(), workload.receivers as usize, "receivers that get events");
    let average = pairs as f64 / f64::from(workload.emitters);
    assert!((1.1..=1.5).contains(&average), "{average} takers on average");
}

#[test]
fn million_covers_every_emitter_and_receiver_at_any_scale() {
    for (emitters, receivers) in [(100, 10), (1000, 100), (1013, 103)] {
        check_coverage(&Workload::million().scaled(emitters, receivers));
    }
    check_coverage(&Workload { seed: 77, ..Workload::million().scaled(10_000, 1000) });
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes ten seconds without optimisation")]
fn million_covers_every_emitter_and_receiver_in_full_size() {
    check_coverage(&Workload::million());
}

#[test]
fn million_mixes_selectors_as_it_says() {
    let workload = Workload::million().scaled(2000, 200);
    let generator = workload.generator().unwrap();
    let (mut by_fqdn, mut scanned, mut all) = (0, 0, 0);
    let mut kinds = BTreeSet::new();
    for receiver in 0..200 {
        let subscriptions = generator.subscriptions(receiver).unwrap();
        for selector in subscriptions.iter().flat_map(|subscription| &subscription.selectors) {
            all += 1;
            scanned += u32::from(selector.equalities().next().is_none());
            if selector.equalities().any(|(key, _)| key == "fqdn") {
                by_fqdn += 1;
            } else {
                kinds.extend(selector.requirements().map(|requirement| match requirement.operation {
                    Operation::In(_) => "in",
                    Operation::Glob(_) => "glob",
                    Operation::Compare(..) => "numeric",
                    Operation::NotEquals(_) | Operation::NotIn(_) | Operation::Absent => "negation",
                    _ => "other",
                }));
            }
        }
    }
    assert_eq!((all, by_fqdn), (2000, 1400));
    assert!((20..=30).contains(&scanned), "{scanned} selectors without an equality");
    assert!(kinds.is_superset(&["in", "glob", "numeric", "negation"].into()), "{kinds:?}");
}

#[test]
fn emitters_have_tags_of_their_own() {
    let generator = Workload::million().scaled(1000, 100).generator().unwrap();
    let tag_sets = generator.tag_sets();
    assert!(tag_sets.iter().all(|tags| tags.borrow().len() >= 6));
    let names: BTreeSet<_> = tag_sets.iter().map(|tags| tags.borrow().get("fqdn")).collect();
    assert_eq!(names.len(), 1000);
}

#[test]
fn pipes_deliver_the_promised_number_of_copies() {
    for (emitters, receivers) in [(1, 1), (1, 4), (8, 8), (8, 32), (8, 4)] {
        let generator = Workload::pipes(emitters, receivers).generator().unwrap();
        let expected = Expected::of(&generator).unwrap();
        let copies = receivers.div_ceil(emitters) as usize;
        assert!(
            (0..emitters).all(|emitter| expected.receivers(emitter).count() == copies),
            "{emitters}:{receivers}"
        );
    }
}

#[test]
fn blocks_share_out_all_emitters_with_one_selector_each() {
    for (emitters, receivers) in [(1, 1), (50, 5), (2000, 200), (1013, 103), (3, 8), (2600, 2)] {
        let generator = Workload::blocks(emitters, receivers).generator().unwrap();
        let expected = Expected::of(&generator).unwrap();
        let takers: Vec<Vec<u32>> = (0..emitters)
            .map(|emitter| expected.receivers(emitter).map(|(receiver, _)| receiver).collect())
            .collect();
        let served: BTreeSet<_> = takers.iter().flatten().copied().collect();
        assert_eq!(served.len(), receivers as usize, "{emitters}:{receivers}");
        let each = receivers.div_ceil(emitters) as usize;
        assert!(takers.iter().all(|takers| (1..=each).contains(&takers.len())), "{emitters}:{receivers}");
    }
}

#[test]
fn everything_goes_to_everyone_whatever_the_number_of_tag_sets() {
    for (emitters, receivers) in [(1, 1), (4, 4), (100, 3)] {
        let generator = Workload::everything(emitters, receivers).generator().unwrap();
        let expected = Expected::of(&generator).unwrap();
        assert!(
            (0..emitters).all(|emitter| expected.receivers(emitter).count() == receivers as usize),
            "{emitters}:{receivers}"
        );
    }
}

#[test]
fn tag_sets_grow_by_tags_of_a_chosen_number_of_values() {
    let workload = Workload { extra_tags: 3, extra_tag_values: 2, ..Workload::million().scaled(100, 10) };
    let tag_sets = workload.generator().unwrap().tag_sets();
    assert!(tag_sets.iter().all(|tags| tags.borrow().len() == 12));
    let values: BTreeSet<_> = tag_sets.iter().filter_map(|tags| tags.borrow().get("extra-01")).collect();
    assert_eq!(values.len(), 2);
}

#[test]
fn generators_of_one_workload_agree_and_seeds_differ() {
    for workload in [Workload::million().scaled(200, 20), Workload::random(5, 40, 20)] {
        let [one, other] = [workload.generator().unwrap(), workload.generator().unwrap()];
        assert_eq!(one.tag_sets(), other.tag_sets());
        assert_eq!(one.subscriptions(7), other.subscriptions(7));
        let seed = Workload { seed: 1234, ..workload }.generator().unwrap();
        assert_ne!(one.subscriptions(7), seed.subscriptions(7));
    }
}

#[test]
fn random_workloads_use_every_operator_and_most_emitters_have_takers() {
    let mut kinds = BTreeSet::new();
    let mut with_takers = 0;
    for seed in 0..10 {
        let generator = Workload::random(seed, 30, 20).generator().unwrap();
        for receiver in 0..20 {
            for subscription in generator.subscriptions(receiver).unwrap() {
                let of = |selector: &Selector| {
                    let operations = selector.requirements();
                    let kinds =
                        operations.map(|item| format!("{:?}", std::mem::discriminant(&item.operation)));
                    kinds.collect::<Vec<_>>()
                };
                kinds.extend(subscription.selectors.iter().flat_map(of));
                kinds.extend(
                    subscription
                        .selectors
                        .iter()
                        .flat_map(|item| item.patterns().iter().map(ToString::to_string)),
                );
            }
        }
        let expected = Expected::of(&generator).unwrap();
        with_takers += (0..30).filter(|&emitter| !expected.matches(emitter).is_empty()).count();
    }
    assert_eq!(kinds.len(), 9 + 5, "nine operators and five patterns: {kinds:?}");
    assert!(with_takers > 200, "{with_takers} of 300 emitters");
}

#[test]
fn numbers_that_do_not_fit_are_named() {
    let check = |workload: Workload| workload.generator().unwrap_err().to_string();
    assert_eq!(check(Workload::million().scaled(0, 5)), "emitters is 0: expected 1 to 10,000,000");
    assert!(
        check(Workload::million().scaled(101, 10)).starts_with("100 selectors cannot cover 101 emitters")
    );
}

#[test]
fn workloads_are_data() {
    let workload = Workload::random(9, 30, 20);
    let text = serde_json::to_string(&workload).unwrap();
    assert_eq!(serde_json::from_str::<Workload>(&text).unwrap(), workload);
}
