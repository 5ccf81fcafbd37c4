//! Each fault put into a clean history is counted as what it is; any history is counted as a naive
//! model counts it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::workload::Workload;

/// What each receiver of a small workload gets when nothing goes wrong, in order: (receiver,
/// emitter, n).
fn clean(expected: &Expected, each: u64) -> Vec<(u32, u32, u64)> {
    let mut deliveries = Vec::new();
    for n in 0..each {
        for emitter in 0..expected.emitters() {
            let receivers = expected.receivers(emitter);
            let taking = receivers.filter(|&(_, words)| expected.words().takes(words, emitter, n));
            deliveries.extend(taking.map(|(receiver, _)| (receiver, emitter, n)));
        }
    }
    deliveries
}

fn payload((_, emitter, n): (u32, u32, u64)) -> Vec<u8> {
    let mut payload = vec![0; 64];
    Stamp { emitter, n, scheduled_ns: 5 }.encode(b"", &mut payload).unwrap();
    payload
}

/// The verdict after `change` was made to a clean history of ten events per emitter.
fn check(change: impl FnOnce(&mut Vec<(u32, u32, u64)>)) -> Verdict {
    let generator = Workload::million().scaled(100, 10).generator().unwrap();
    let expected = Expected::of(&generator).unwrap();
    let mut deliveries = clean(&expected, 10);
    change(&mut deliveries);
    let mut checker = FleetChecker::new(&expected, |_| true);
    for delivery in deliveries {
        checker.deliver(delivery.0, &payload(delivery)).unwrap();
    }
    checker.verdict(&[10; 100])
}

#[test]
fn a_clean_history_is_clean() {
    let verdict = check(|_| ());
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.published, 1000);
    assert_eq!(verdict.delivered, verdict.expected_deliveries);
    assert!(verdict.delivered >= 1000);
}

#[test]
fn a_lost_event_is_noticed_in_the_middle_and_at_the_end() {
    for at in [0, 500] {
        let verdict = check(|deliveries| {
            deliveries.remove(at);
        });
        assert_eq!((verdict.lost, verdict.is_clean()), (1, false));
    }
    let verdict = check(|deliveries| {
        deliveries.pop();
    });
    assert_eq!(verdict.lost, 1);
    let verdict = check(Vec::clear);
    assert_eq!(verdict.lost, verdict.expected_deliveries);
}

#[test]
fn a_duplicate_is_noticed() {
    let verdict = check(|deliveries| deliveries.insert(700, deliveries[300]));
    assert_eq!((verdict.duplicated, verdict.lost, verdict.is_clean()), (1, 0, false));
}

#[test]
fn a_swap_is_noticed_and_loses_nothing() {
    let verdict = check(|deliveries| {
        let first = deliveries[0];
        let second = deliveries.iter().position(|&(r, e, n)| (r, e, n) == (first.0, first.1, 3)).unwrap();
        deliveries.swap(0, second);
    });
    assert_eq!((verdict.reordered, verdict.lost, verdict.duplicated), (3, 0, 0), "0, 1 and 2 come behind 3");
}

#[test]
fn a_wrong_receiver_is_noticed() {
    let verdict = check(|deliveries| {
        let (_, emitter, n) = deliveries[400];
        let wrong = (0..10).find(|&r| !deliveries.contains(&(r, emitter, n))).unwrap();
        deliveries[400].0 = wrong;
    });
    assert_eq!((verdict.unexpected, verdict.lost), (1, 1));
    assert_eq!(check(|deliveries| deliveries.push((0, 4_000_000, 0))).unexpected, 1);
}

#[test]
fn an_event_that_was_never_published_is_noticed() {
    let verdict = check(|deliveries| {
        let (receiver, emitter, _) = deliveries[0];
        deliveries.push((receiver, emitter, 10));
    });
    assert_eq!(verdict.unexpected, 1);
}

#[test]
fn a_damaged_payload_is_noticed() {
    let generator = Workload::pipes(1, 1).generator().unwrap();
    let mut checker = FleetChecker::new(&Expected::of(&generator).unwrap(), |_| true);
    let mut damaged = payload((0, 0, 0));
    damaged[40] ^= 4;
    assert_eq!(checker.deliver(0, &damaged), None);
    let verdict = checker.verdict(&[1]);
    assert_eq!((verdict.corrupted, verdict.lost), (1, 1));
}

#[test]
fn patterns_take_only_their_words() {
    let generator = Workload::random(3, 30, 12).generator().unwrap();
    let expected = Expected::of(&generator).unwrap();
    let partial =
        (0..30).flat_map(|emitter| expected.receivers(emitter)).filter(|&(_, words)| words != Words::ALL);
    assert!(partial.count() > 0, "the workload has patterns that match");
    let mut halves = [
        FleetChecker::new(&expected, |receiver| receiver % 2 == 0),
        FleetChecker::new(&expected, |receiver| receiver % 2 == 1),
    ];
    let deliveries = clean(&expected, 20);
    for &delivery in &deliveries {
        halves[delivery.0 as usize % 2].deliver(delivery.0, &payload(delivery)).unwrap();
    }
    let mut verdict = halves[0].verdict(&[20; 30]);
    verdict += halves[1].verdict(&[20; 30]);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(verdict.delivered, deliveries.len() as u64);
    assert_eq!(verdict.expected_deliveries, expected.deliveries(&[20; 30]));
}

proptest! {
    #[test]
    fn any_history_is_counted_as_a_naive_model_counts_it(
        numbers in proptest::collection::vec(0_u64..14, 0..40),
        published in 0_u64..14,
    ) {
        let generator = Workload::pipes(1, 1).generator().unwrap();
        let mut checker = FleetChecker::new(&Expected::of(&generator).unwrap(), |_| true);
        let (mut seen, mut model) = (BTreeSet::new(), Verdict { published, expected_deliveries: published, ..Verdict::default() });
        for &n in &numbers {
            checker.deliver(0, &payload((0, 0, n))).unwrap();
            let behind = seen.last().is_some_and(|&last| n < last);
            if seen.insert(n) {
                model.reordered += u64::from(behind);
            } else {
                model.duplicated += 1;
            }
        }
        model.delivered = seen.range(..published).count() as u64;
        model.unexpected = seen.range(published..).count() as u64;
        model.lost = published - model.delivered;
        prop_assert_eq!(checker.verdict(&[published]), model);
    }
}
