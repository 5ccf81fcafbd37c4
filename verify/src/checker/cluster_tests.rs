//! A clean run of two routers is accepted; each fault put into it is found by the checker that is
//! meant to.

use millrace_proto::data::GapReason;

use super::super::copies::Place;
use super::*;

const A: RouterId = RouterId(1);
const B: RouterId = RouterId(2);
const EVENTS: u64 = 10;

/// What one receiver sees, in order.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Event { emitter: u32, n: u64, damaged: bool, tags_of: u32 },
    Gap(Option<RouterId>),
}

fn event(emitter: u32, n: u64) -> Seen {
    Seen::Event { emitter, n, damaged: false, tags_of: emitter }
}

/// Two emitters of one tag set and one of another, entering at A; receiver 0 wants the first two,
/// receiver 1 all.
fn clean() -> [Vec<Seen>; 2] {
    let all = (0..EVENTS).flat_map(|n| (0..3).map(move |emitter| (emitter, n)));
    let of = |emitters: u32| all.clone().filter(move |&(emitter, _)| emitter < emitters);
    [of(2).map(|(e, n)| event(e, n)).collect(), of(3).map(|(e, n)| event(e, n)).collect()]
}

fn tag_sets() -> Vec<TagSet> {
    ["host=a", "host=a", "host=b"].map(|text| TagSet::from_texts([text]).unwrap()).to_vec()
}

/// The checker after a run in which everything is published and received, and subscribed before.
fn run(seen: &[Vec<Seen>; 2]) -> ClusterChecker {
    let mut checker = ClusterChecker::new(tag_sets(), Words::default(), 10);
    for (receiver, text) in [(0, "host=a"), (1, "*")] {
        checker.asked(receiver, 0, vec![Selector::parse(text).unwrap()], 1).unwrap();
        checker.effective(receiver, 0, 5, LeftOut::default());
    }
    for emitter in 0..3 {
        for _ in 0..EVENTS {
            let n = checker.published(emitter, 10, None);
            checker.received(emitter, n, A, 20);
        }
    }
    for (receiver, seen) in (0..).zip(seen) {
        for item in seen {
            take(&mut checker, receiver, item);
        }
    }
    checker
}

fn take(checker: &mut ClusterChecker, receiver: u32, seen: &Seen) {
    match *seen {
        Seen::Event { emitter, n, damaged, tags_of } => {
            let mut payload = [0; 32];
            Stamp { emitter, n, scheduled_ns: 0 }.encode(b"", &mut payload).unwrap();
            payload[30] ^= u8::from(damaged);
            let tags = &tag_sets()[tags_of as usize];
            checker.delivered(Delivery {
                receiver,
                tags: tags.borrow(),
                payload: &payload,
                matched: &[0],
                at: 30,
                vouched: Vouched::Once,
            });
        }
        Seen::Gap(router) => {
            checker.gap(receiver, &Gap { reason: GapReason::RouterLost, events: 0, router }, 30)
        }
    }
}

/// The report, after `change` was made to what receivers 0 and 1 see of a clean run.
fn check(change: impl FnOnce(&mut [Vec<Seen>; 2])) -> Report {
    let mut seen = clean();
    change(&mut seen);
    run(&seen).report(1_000, 1_000, false)
}

/// Which checkers have findings.
fn found_by(report: &Report) -> Vec<&'static str> {
    let mut names: Vec<_> = report.findings.first.iter().map(|finding| finding.checker).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn a_clean_run_is_clean() {
    let report = check(|_| ());
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.verdict.published, report.verdict.expected_deliveries), (30, 50));
    assert_eq!(report.verdict.delivered, 50);
}

#[test]
fn a_lost_event_is_found_wherever_it_stood() {
    for at in [0, 9, 19] {
        let report = check(|seen| {
            seen[0].remove(at);
        });
        assert_eq!((report.verdict.lost, found_by(&report)), (1, vec!["completeness"]));
    }
    let report = check(|seen| seen[1].clear());
    assert_eq!(report.verdict.lost, 30);
}

#[test]
fn a_gap_in_its_place_excuses_a_loss() {
    for router in [None, Some(A)] {
        let report = check(|seen| seen[0][8] = Seen::Gap(router));
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!((report.verdict.excused_by_gap, report.verdict.delivered), (1, 49));
    }
}

#[test]
fn a_gap_elsewhere_or_of_another_router_excuses_nothing() {
    assert_eq!(check(|seen| seen[0][8] = Seen::Gap(Some(B))).verdict.lost, 1);
    let misplaced = check(|seen| {
        seen[0].remove(8);
        seen[0].push(Seen::Gap(None));
    });
    assert_eq!((misplaced.verdict.lost, misplaced.verdict.excused_by_gap), (1, 0));
}

#[test]
fn a_duplicate_is_found() {
    let report = check(|seen| seen[1].push(event(0, 3)));
    assert_eq!((report.verdict.duplicated, found_by(&report)), (1, vec!["stream"]));
}

#[test]
fn a_swap_within_an_emitter_is_found() {
    let report = check(|seen| seen[1].swap(2, 5));
    assert_eq!((report.verdict.reordered, found_by(&report)), (1, vec!["stream"]));
}

#[test]
fn a_swap_between_emitters_of_one_tag_set_is_found() {
    let report = check(|seen| seen[0].swap(0, 1));
    assert_eq!((report.verdict.reordered > 0, found_by(&report)), (true, vec!["order"]));
}

#[test]
fn an_event_for_somebody_else_is_found() {
    let report = check(|seen| seen[0].push(event(2, 0)));
    assert_eq!((report.verdict.unexpected, found_by(&report)), (1, vec!["completeness"]));
    assert_eq!(check(|seen| seen[1].push(event(1, EVENTS))).verdict.unexpected, 1, "never published");
    assert_eq!(
        check(|seen| seen[1].push(Seen::Event { emitter: 9, n: 0, damaged: false, tags_of: 0 }))
            .verdict
            .unexpected,
        1
    );
}

#[test]
fn damaged_payloads_and_wrong_tags_are_found() {
    for (damaged, tags_of) in [(true, 0), (false, 2)] {
        let report = check(|seen| seen[1][0] = Seen::Event { emitter: 0, n: 0, damaged, tags_of });
        assert_eq!((report.verdict.corrupted, report.verdict.lost), (1, 1));
        assert_eq!(found_by(&report), ["completeness", "payload"]);
    }
}

#[test]
fn an_event_that_its_router_never_confirmed_is_not_owed_but_welcome() {
    let mut checker = run(&clean());
    checker.published(0, 30, Some(A));
    assert!(checker.report(1_000, 1_000, false).is_clean());
    take(&mut checker, 0, &event(0, EVENTS));
    let report = checker.report(1_000, 1_000, false);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.verdict.delivered, 51);
}

#[test]
fn a_subscription_that_does_not_take_the_event_is_found() {
    let mut checker = run(&clean());
    checker.asked(1, 1, vec![Selector::parse("host=b").unwrap()], 1).unwrap();
    let n = checker.published(0, 30, Some(A));
    let mut payload = [0; 32];
    Stamp { emitter: 0, n, scheduled_ns: 0 }.encode(b"", &mut payload).unwrap();
    let tags = &tag_sets()[0];
    checker.delivered(Delivery {
        receiver: 1,
        tags: tags.borrow(),
        payload: &payload,
        matched: &[0, 1],
        at: 30,
        vouched: Vouched::Once,
    });
    assert_eq!(checker.report(1_000, 1_000, false).verdict.unexpected, 1);
}

#[test]
fn copies_bounds_and_directories_are_findings_too() {
    let mut checker = run(&clean());
    let (from, to) = (Place { router: A, core: 0 }, Place { router: B, core: 0 });
    let hop = Hop { emitter: 0, n: 0, entry: A, from, to };
    checker.copied(hop);
    checker.observed("queue_bytes", 5, 10);
    checker.converged(&BTreeMap::from([(A, Directory::default())]), &BTreeMap::new(), false);
    assert!(checker.report(1_000, 1_000, false).is_clean());
    checker.copied(hop);
    checker.observed("queue_bytes", 15, 10);
    checker.converged(
        &BTreeMap::from([(A, Directory::default())]),
        &BTreeMap::from([(A, ["*".to_owned()].into())]),
        false,
    );
    let report = checker.report(1_000, 1_000, false);
    assert_eq!(found_by(&report), ["bounds", "convergence", "copies"]);
    assert_eq!(report.bounds["queue_bytes"], Mark { highest: 15, bound: 10 });
}
