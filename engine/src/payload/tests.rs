//! Scans in pieces against each pattern by itself, and what waits.

use std::sync::Arc;

use millrace_proto::data::{Gap, GapReason};
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::selector::{Automaton, Pattern, PayloadMatcher};
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};
use proptest::prelude::*;

use super::{Cover, Desk, Held, HeldRun, NoRoom, Plan, Progress, ScanBudget, ScanLimits, combine};
use crate::matching::LocalTarget;
use crate::routes::TagId;

const PATTERNS: &[&str] = &["a", "b+c", "^ab", "c$", "a.*b", "(?s)c.*", "abc|cab", "[^b]", r"\bab\b"];

fn compile(patterns: &[&str]) -> Vec<Arc<Pattern>> {
    patterns.iter().map(|pattern| Arc::new(Pattern::compile(pattern).unwrap())).collect()
}

fn body(payloads: &[String]) -> Vec<u8> {
    let mut builder = RunBuilder::default();
    builder.start(7, 7, 1_000);
    payloads.iter().for_each(|payload| builder.push(1_000, payload.as_bytes()));
    let mut body = Vec::new();
    builder.finish(&mut body);
    body
}

fn run(payloads: &[String], plan: Plan) -> HeldRun {
    let tags = TagSet::from_texts(["a=1"]).unwrap();
    let publisher = PublisherKey { publisher: PublisherId(1), epoch: Epoch(2) };
    HeldRun {
        tag: TagId::default(),
        tags: tags.canonical().into(),
        publisher,
        flags: 0,
        body: body(payloads).into(),
        plan,
        progress: Box::default(),
        events: payloads.len() as u64,
        from: None,
        entry: None,
        place: None,
    }
}

fn place<'a>(pattern: &'a Arc<Pattern>, cover: &'a Cover) -> (&'a Arc<Automaton>, u32) {
    cover.place(pattern).unwrap_or((pattern.automaton(), 0))
}

/// What was emitted: for each event, its seq and the subscriptions that want it.
fn emitted(plan: &Plan, body: &[u8], work_per_call: usize) -> Vec<(u64, Vec<u16>)> {
    let (mut progress, mut events) = (Progress::default(), Vec::new());
    let body = RunBody::parse(body).unwrap();
    loop {
        let mut work = work_per_call;
        let is_done = progress.scan(plan, &body, &mut work, |piece| {
            let piece_body = RunBody::parse(piece.body).unwrap();
            assert_eq!(piece_body.count(), piece.events);
            events.extend(piece_body.events().map(|event| (event.seq, piece.subscriptions.to_vec())));
        });
        if is_done {
            return events;
        }
    }
}

proptest! {
    #[test]
    fn a_scan_in_pieces_finds_what_each_pattern_does(
        selectors in prop::collection::vec((0..4_u16, prop::collection::vec(0..PATTERNS.len(), 0..3)), 1..6),
        payloads in prop::collection::vec("[abc ]{0,12}", 1..8),
        work in 1..40_usize,
        with_cover: bool,
    ) {
        let patterns = compile(PATTERNS);
        let cover = if with_cover { combine(patterns.clone()) } else { Cover::default() };
        let mut selectors = selectors;
        selectors.sort();
        let mut plan = Plan::default();
        for (subscription, picks) in &selectors {
            plan.add(*subscription, picks.iter().map(|&pick| place(&patterns[pick], &cover)));
        }
        let mut expected = Vec::new();
        for (seq, payload) in (7..).zip(&payloads) {
            let wants = |picks: &[usize]| picks.iter().all(|&pick| {
                patterns[pick].automaton().is_match(payload.as_bytes())
            });
            let mut wanted: Vec<u16> =
                selectors.iter().filter(|(_, picks)| wants(picks)).map(|&(subscription, _)| subscription).collect();
            wanted.dedup();
            if !wanted.is_empty() {
                expected.push((seq, wanted));
            }
        }
        prop_assert_eq!(emitted(&plan, &body(&payloads), work), expected);
    }
}

#[test]
fn many_small_patterns_are_one_automaton() {
    let texts: Vec<String> = (0..32).map(|number| format!("host-{number}: failed")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let cover = combine(compile(&texts));
    assert_eq!(cover.automata(), 1);
    let mut plan = Plan::default();
    plan.add(0, cover.patterns().iter().map(|pattern| place(pattern, &cover)));
    assert_eq!(plan.work(1000), 1000);
}

#[test]
fn patterns_that_do_not_go_together_keep_their_own() {
    let cover = combine(compile(&["a.{8}b", "c.{8}d", "e.{8}f", "g.{8}h", "i.{8}j", "k.{9}l"]));
    assert!(cover.automata() < 6);
    let mut plan = Plan::default();
    plan.add(0, cover.patterns().iter().map(|pattern| place(pattern, &cover)));
    assert_eq!(emitted(&plan, &body(&["a........b c........d".to_owned()]), 1 << 20), []);
}

fn desk(patterns: &[&str]) -> Desk {
    let mut desk = Desk::default();
    for (number, pattern) in (0..).zip(compile(patterns)) {
        desk.set(number, Some(Arc::new(PayloadMatcher::new(vec![pattern]))), None);
    }
    desk
}

#[test]
fn a_pattern_counts_once_however_many_selectors_have_it() {
    let pattern = &compile(&["a+b"])[0];
    let matcher = Arc::new(PayloadMatcher::new(vec![Arc::clone(pattern)]));
    let mut desk = Desk::default();
    let bytes = pattern.bytes().cast_signed();
    assert_eq!(desk.set(3, Some(Arc::clone(&matcher)), None), bytes);
    assert!(desk.has(pattern));
    assert_eq!(desk.set(4, Some(matcher), None), 0);
    assert_eq!((desk.set(3, None, None), desk.set(4, None, None), desk.set(9, None, None)), (0, -bytes, 0));
}

#[test]
fn patterns_that_were_read_together_are_scanned_together() {
    let patterns = compile(&["disk", "raid", "fan"]);
    let cover = Arc::new(combine(patterns.clone()));
    let mut desk = Desk::default();
    for (number, pattern) in (0..).zip(patterns) {
        desk.set(number, Some(Arc::new(PayloadMatcher::new(vec![pattern]))), Some(&cover));
    }
    let targets = [0, 1, 2].map(|selector| LocalTarget { receiver: 0, subscription: 5, selector });
    let mut plan = Plan::default();
    desk.plan(&targets, &mut plan);
    assert_eq!(plan.work(100), 100);
    let events = ["a fan", "nothing", "a raid"].map(str::to_owned);
    assert_eq!(emitted(&plan, &body(&events), 3), [(7, vec![5]), (9, vec![5])]);
}

#[test]
fn what_waits_is_bounded_and_keeps_its_order() {
    let limits = ScanLimits { wait_bytes_per_receiver: 6_000, wait_bytes: 8_000, ..ScanLimits::default() };
    let mut budget = ScanBudget::new(limits);
    let (mut one, mut other) = (desk(&["a"]), desk(&["a"]));
    let large = || run(&["x".repeat(2_000)], Plan::default());
    assert_eq!(one.hold(large(), &mut budget), Ok(()));
    assert_eq!(one.hold(large(), &mut budget), Ok(()));
    assert_eq!(one.hold(large(), &mut budget), Err(NoRoom));
    let gap = Gap { reason: GapReason::PatternBudget, events: 2, router: None };
    one.hold_gap(gap.clone());
    one.hold_gap(gap);
    assert_eq!(other.hold(large(), &mut budget), Ok(()));
    assert_eq!(other.hold(large(), &mut budget), Err(NoRoom));
    assert_eq!(other.drop_waiting(&mut budget, |_| {}), 1);
    assert!(matches!(one.take(&mut budget), Some(Held::Run(_))));
    assert!(matches!(one.take(&mut budget), Some(Held::Run(_))));
    assert!(matches!(one.take(&mut budget), Some(Held::Gap(gap)) if gap.events == 4));
    assert!(!one.is_waiting());
    assert_eq!(budget.wait_bytes(), 0);
}

#[test]
fn one_receiver_has_a_quarter_of_a_turn_at_once() {
    let mut budget = ScanBudget::new(ScanLimits { work_per_turn: 1_000, ..ScanLimits::default() });
    let mut desk = desk(&["a"]);
    let group = [LocalTarget { receiver: 0, subscription: 0, selector: 0 }];
    let mut plan = Plan::default();
    desk.plan(&group, &mut plan);
    assert!(desk.admits(plan.work(250), &budget));
    assert!(!desk.admits(plan.work(1), &budget));
    budget.next_turn();
    assert!(!desk.admits(plan.work(251), &budget));
    assert!(desk.admits(plan.work(100), &budget));
}

#[test]
fn a_full_desk_is_known_to_be_full_until_something_has_left() {
    let limits = ScanLimits { wait_bytes_per_receiver: 6_000, wait_bytes: 8_000, ..ScanLimits::default() };
    let mut budget = ScanBudget::new(limits);
    let mut desk = desk(&["a"]);
    let large = || run(&["x".repeat(2_000)], Plan::default());
    assert!(!desk.is_full(3_000, &budget));
    while desk.hold(large(), &mut budget).is_ok() {
        assert!(!desk.is_full(3_000, &budget), "nothing was refused");
    }
    assert!(desk.is_full(3_000, &budget) && !desk.is_full(1_000, &budget));
    desk.take(&mut budget);
    assert!(!desk.is_full(3_000, &budget));
    desk.drop_waiting(&mut budget, |_| {});
    assert!(!desk.is_full(3_000, &budget));
}

#[test]
fn a_plan_with_thousands_of_patterns_has_each_automaton_once() {
    let texts: Vec<String> = (0..40).map(|number| format!("a{number}b")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let patterns = compile(&texts);
    let mut plan = Plan::default();
    for subscription in 0..100 {
        plan.add(subscription, patterns.iter().map(|pattern| (pattern.automaton(), 0)));
    }
    assert_eq!(plan.work(1), 40);
    plan.close();
    assert_eq!(emitted(&plan, &body(&["a7b".to_owned()]), 1 << 20), []);
    plan.clear();
    plan.add(1, patterns[7..8].iter().map(|pattern| (pattern.automaton(), 0)));
    assert_eq!(emitted(&plan, &body(&["a7b".to_owned()]), 1 << 20), [(7, vec![1])]);
}
