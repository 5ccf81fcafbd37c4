//! Fixed seeds of small clusters: clean, the same when replayed, and failing when a bug is put in.

use millrace_sim::clusters;
use millrace_sim::network::Bug;
use millrace_sim::report::Report;
use millrace_sim::scenario::Size;

const SMALL: Size = Size::SMALL;

fn run(seed: u64, size: Size, bug: Option<Bug>) -> Report {
    millrace_sim::run(seed, size, bug, false)
}

fn check_clean(seed: u64, size: Size) {
    let report = run(seed, size, None);
    assert!(report.is_clean(), "seed {seed}: {:#?}", report.findings);
    assert!(report.deliveries > 0 && report.verdict.published >= size.events);
}

/// The first seed in which a checker notices a bug; the same seed is clean without it.
fn check_caught(bug: Bug, by: &str) {
    let caught = (1..200).find(|&seed| run(seed, SMALL, Some(bug)).found_by().contains(&by));
    let seed = caught.expect("a bug is caught within 200 seeds");
    assert!(run(seed, SMALL, None).is_clean(), "seed {seed} fails without the bug, too");
}

#[test]
fn clusters_without_faults_deliver_everything() {
    for seed in 1..3 {
        check_clean(seed, Size { faults: 0, ..SMALL });
    }
}

#[test]
fn clusters_with_faults_deliver_or_say_what_is_missing() {
    for seed in 1..6 {
        check_clean(seed, SMALL);
    }
}

#[test]
fn a_seed_replays_identically() {
    let (first, second) = (run(4, SMALL, None), run(4, SMALL, None));
    assert_eq!((first.hash, first.steps, first.end), (second.hash, second.steps, second.end));
    assert_ne!(first.hash, run(5, SMALL, None).hash);
}

#[test]
fn a_standby_set_goes_on_through_takeovers() {
    let report = run(9, SMALL, None);
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert!(report.takeovers > 0);
}

#[test]
fn events_cross_links_between_clusters_once_by_each_path() {
    let mut copies = 0;
    for seed in 0..4 {
        let outcome = clusters::run(seed);
        assert!(outcome.findings.is_empty(), "seed {seed}: {:#?}", outcome.findings);
        copies += outcome.copies;
    }
    assert!(copies > 0);
}

#[test]
fn a_lost_interest_delta_is_caught_by_the_checker_of_the_mesh() {
    check_caught(Bug::LostInterestDelta, "mesh");
}

#[test]
fn a_reordered_lane_is_caught_by_the_checker_of_streams() {
    check_caught(Bug::ReorderedLane, "stream");
}

#[test]
fn a_reused_table_slot_is_caught_by_the_checker_of_payloads() {
    check_caught(Bug::ReusedTableSlot, "payload");
}
