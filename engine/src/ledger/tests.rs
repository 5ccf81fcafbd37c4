//! The ledger against a model that keeps every leg of every event by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::control::{OutcomeKind, OutcomeReason, SeqRanges};
use proptest::prelude::*;

use super::*;
use crate::time::Time;
use crate::transport::ConnKey;

const MISSED: Tally = Tally::missed(OutcomeReason::Overflow);

fn publisher(conn: u64) -> Origin {
    Origin::Publisher { conn: ConnKey(conn), number: 0, life: 0 }
}

fn span(first: u64, events: u32) -> Span {
    Span { first, events }
}

/// What was told: for each event, how.
fn told(ledger: &mut Ledger) -> Vec<(Origin, u64, Tally)> {
    let ended = ledger.take_ended();
    let each = |ended: &Ended| {
        let Ended { origin, span, tally, .. } = *ended;
        (span.first..span.end()).map(move |seq| (origin, seq, tally))
    };
    let told = ended.iter().flat_map(each).collect();
    ledger.give_back(ended);
    told
}

#[test]
fn an_event_is_told_when_its_last_leg_has_ended_and_waits_for_no_other_event() {
    let mut ledger = Ledger::new(LedgerLimits::default());
    let run = span(7, 3);
    let id = ledger.open(publisher(1), Level::Delivered, run).unwrap();
    ledger.add(id, run);
    ledger.add(id, span(8, 1));
    ledger.end(id, run, Tally::NONE);
    assert_eq!(told(&mut ledger), []);
    ledger.end(id, run, Tally { receivers: 2, ..Tally::NONE });
    let two = Tally { receivers: 2, ..Tally::NONE };
    assert_eq!(told(&mut ledger), [(publisher(1), 7, two), (publisher(1), 9, two)]);
    ledger.end(id, span(8, 1), Tally::TAKEN);
    assert_eq!(told(&mut ledger), [(publisher(1), 8, Tally { receivers: 3, ..two })]);
    assert!(ledger.is_empty() && !ledger.has(id));
}

#[test]
fn nobody_who_wants_it_is_a_confirm_and_a_leg_that_misses_is_partial() {
    let mut ledger = Ledger::new(LedgerLimits::default());
    let id = ledger.open(publisher(1), Level::Routed, span(0, 2)).unwrap();
    ledger.end(id, span(0, 2), Tally::NONE);
    let id = ledger.open(publisher(1), Level::Routed, span(2, 1)).unwrap();
    ledger.count(id, span(2, 1), MISSED);
    ledger.count(id, span(2, 1), Tally::TAKEN);
    ledger.end(id, span(2, 1), Tally::NONE);
    let ended = ledger.take_ended();
    let told = outcomes(&ended);
    let kinds: Vec<_> =
        told.iter().map(|told| (told.outcome.kind, told.outcome.receivers, told.outcome.missed)).collect();
    assert_eq!(kinds, [(OutcomeKind::Confirmed, 0, 0), (OutcomeKind::Partial, 1, 1)]);
    assert_eq!(told[1].outcome.reasons, [OutcomeReason::Overflow]);
}

#[test]
fn what_is_not_answered_in_time_is_partial_and_later_answers_change_nothing() {
    let mut ledger = Ledger::new(LedgerLimits { timeout: Duration::from_secs(3), ..LedgerLimits::default() });
    ledger.set_now(Time(1_000_000_000));
    let mut legs = Legs::default();
    let run = span(0, 4);
    let id = ledger.open(publisher(1), Level::Routed, run).unwrap();
    ledger.add(id, run);
    legs.insert(9, id, run);
    ledger.end(id, run, Tally::NONE);
    legs.answer_part(9, 1, 2, Tally::TAKEN, &mut ledger);
    assert_eq!(told(&mut ledger).len(), 2);
    assert_eq!(ledger.deadline(), Some(Time(4_000_000_000)));
    ledger.set_now(Time(4_000_000_000));
    ledger.expire();
    let late = Tally::missed(OutcomeReason::Timeout);
    assert_eq!(told(&mut ledger), [(publisher(1), 0, late), (publisher(1), 3, late)]);
    assert_eq!((ledger.deadline(), ledger.troubles(), ledger.take_orphans()), (None, (1, 0), true));
    legs.answer(0, u64::MAX, Tally::TAKEN, &mut ledger);
    assert_eq!(told(&mut ledger), []);
    assert!(legs.is_empty());
}

#[test]
fn a_leg_with_bounds_of_its_own_outlives_the_timeout_and_not_the_longest_life() {
    let mut ledger = Ledger::new(LedgerLimits { timeout: Duration::from_secs(3), ..LedgerLimits::default() });
    ledger.set_now(Time::from_nanos(1_000_000_000));
    let run = span(0, 1);
    let id = ledger.open(publisher(1), Level::Delivered, run).unwrap();
    ledger.prolong(id);
    let other = ledger.open(publisher(2), Level::Delivered, run).unwrap();
    for second in 2..181 {
        ledger.set_now(Time::from_nanos(second * 1_000_000_000));
        ledger.expire();
        assert_eq!((ledger.has(id), ledger.has(other)), (true, second < 4), "{second}");
    }
    ledger.set_now(Time::from_nanos(184_000_000_000));
    ledger.expire();
    assert!(ledger.is_empty() && ledger.deadline().is_none());
}

#[test]
fn a_leg_that_was_given_up_drops_the_event_unless_somebody_has_it() {
    let given_up = Tally::given_up(OutcomeReason::GroupUnavailable);
    assert_eq!(given_up.kind(), OutcomeKind::Dropped);
    assert_eq!(given_up.and(Tally::TAKEN).kind(), OutcomeKind::Partial);
}

#[test]
fn beyond_its_bounds_events_are_told_as_unknown() {
    let mut ledger = Ledger::new(LedgerLimits { entries: 1, cut_events: 5, timeout: Duration::from_secs(1) });
    let kept = ledger.open(publisher(1), Level::Delivered, span(0, 4)).unwrap();
    assert_eq!(ledger.open(publisher(1), Level::Delivered, span(4, 1)), None);
    let busy = Tally::unknown(OutcomeReason::Busy);
    assert_eq!(told(&mut ledger), [(publisher(1), 4, busy)]);
    assert_eq!(busy.kind(), OutcomeKind::Unknown);
    ledger.add(kept, span(0, 1));
    assert!(ledger.has(kept), "four events are within the bound");
    ledger.set_limits(LedgerLimits { entries: 2, cut_events: 5, timeout: Duration::from_secs(1) });
    let other = ledger.open(publisher(1), Level::Delivered, span(5, 2)).unwrap();
    ledger.add(other, span(5, 1));
    assert!(!ledger.has(other));
    assert_eq!(told(&mut ledger), [(publisher(1), 5, busy), (publisher(1), 6, busy)]);
}

#[test]
fn what_ended_alike_is_told_as_ranges_of_at_most_as_many_as_a_frame_has() {
    let mut ledger = Ledger::new(LedgerLimits::default());
    for seq in (0..3_000).rev().chain(10_000..10_010) {
        ledger.tell(publisher(1), Level::Routed, span(seq * 2, 1), Tally::TAKEN);
    }
    ledger.tell(publisher(1), Level::Routed, span(1, 1), Tally::TAKEN);
    ledger.tell(publisher(1), Level::Routed, span(3, 1), MISSED);
    let ended = ledger.take_ended();
    let told = outcomes(&ended);
    let counts: Vec<usize> = told.iter().map(|told| told.outcome.seqs.iter().count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 3_010 - 1 + 1);
    assert_eq!(told.iter().map(|told| told.events).sum::<u64>(), 3_012);
    assert!(counts.iter().all(|&count| count <= 1_024) && told.len() <= 4, "{counts:?}");
    assert_eq!(told[1].outcome.seqs.iter().next(), Some((0, 3)));
}

#[test]
fn runs_of_a_lane_that_ended_alike_are_told_together_and_parts_apart() {
    let lane = |seq| Origin::Lane { conn: ConnKey(4), seq };
    let mut ledger = Ledger::new(LedgerLimits::default());
    let first = ledger.open(lane(3), Level::Routed, span(100, 2)).unwrap();
    let second = ledger.open(lane(4), Level::Routed, span(7, 2)).unwrap();
    let third = ledger.open(lane(6), Level::Routed, span(9, 2)).unwrap();
    ledger.end(first, span(100, 2), Tally::TAKEN);
    ledger.end(third, span(9, 2), Tally::TAKEN);
    ledger.count(second, span(8, 1), Tally::TAKEN);
    ledger.end(second, span(7, 2), Tally::TAKEN);
    let acks = leg_acks(&ledger.take_ended());
    let ranges = |ranges: &SeqRanges| ranges.iter().collect::<Vec<_>>();
    let said: Vec<_> =
        acks.iter().map(|ack| (ranges(&ack.runs), ranges(&ack.events), ack.receivers)).collect();
    assert_eq!(
        said,
        [(vec![(3, 1), (6, 1)], vec![], 1), (vec![(4, 1)], vec![(0, 1)], 1), (vec![(4, 1)], vec![(1, 1)], 2),]
    );
}

#[derive(Debug, Clone)]
enum Step {
    Open { conn: u64, events: u32 },
    Add { entry: usize, from: u32, events: u32 },
    End { leg: usize, offset: u32, events: u32, taken: bool },
    Again { leg: usize },
    Count { entry: usize, from: u32, events: u32 },
    Release { entry: usize },
    Forget { conn: u64 },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u64, 1..6_u32).prop_map(|(conn, events)| Step::Open { conn, events }),
        5 => (0..8_usize, 0..5_u32, 1..6_u32)
            .prop_map(|(entry, from, events)| Step::Add { entry, from, events }),
        8 => (0..8_usize, 0..5_u32, 1..6_u32, any::<bool>())
            .prop_map(|(leg, offset, events, taken)| Step::End { leg, offset, events, taken }),
        1 => (0..8_usize).prop_map(|leg| Step::Again { leg }),
        1 => (0..8_usize, 0..5_u32, 1..6_u32)
            .prop_map(|(entry, from, events)| Step::Count { entry, from, events }),
        4 => (0..8_usize).prop_map(|entry| Step::Release { entry }),
        1 => (0..3_u64).prop_map(|conn| Step::Forget { conn }),
        1 => (1..40_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

#[derive(Debug, Clone, Default)]
struct ModelEvent {
    /// Open legs; the guard is leg 0.
    open: Vec<u64>,
    receivers: u32,
    missed: u32,
    timed_out: bool,
    is_over: bool,
}

#[derive(Debug)]
struct ModelEntry {
    id: EntryId,
    conn: u64,
    opened: u64,
    first: u64,
    is_held: bool,
    events: Vec<ModelEvent>,
}

/// Entries, legs, and what is to be told: naive.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<ModelEntry>,
    told: BTreeMap<(u64, u64), (u32, u32, bool)>,
}

impl Model {
    fn settle(&mut self, entry: usize) {
        let ModelEntry { conn, first, events, .. } = &mut self.entries[entry];
        for (seq, event) in (*first..).zip(events) {
            if !event.is_over && event.open.is_empty() {
                event.is_over = true;
                self.told.insert((*conn, seq), (event.receivers, event.missed, event.timed_out));
            }
        }
    }
}

const TIMEOUT_MS: u64 = 100;

/// The ledger and its model, side by side.
struct Trial {
    ledger: Ledger,
    model: Model,
    legs: Legs,
    now: u64,
    next_seq: u64,
    /// Of each leg: its number, its entry, its events.
    written: Vec<(u64, usize, u64, u32)>,
    seen: BTreeMap<(u64, u64), (u32, u32, bool)>,
}

impl Trial {
    fn new() -> Self {
        let limits = LedgerLimits { timeout: Duration::from_millis(TIMEOUT_MS), ..LedgerLimits::default() };
        Self {
            ledger: Ledger::new(limits),
            model: Model::default(),
            legs: Legs::default(),
            now: 0,
            next_seq: 0,
            written: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// The entry of this age that takes legs, if there is one, with some of its events.
    fn held(&self, age: usize, from: u32, events: u32) -> Option<(usize, u32, Span)> {
        let at = self.model.entries.len().checked_sub(age + 1)?;
        let entry = &self.model.entries[at];
        let count = u32::try_from(entry.events.len()).unwrap();
        let from = from.min(count - 1);
        let span = span(entry.first + u64::from(from), events.min(count - from));
        entry.is_held.then_some((at, from, span))
    }

    fn open(&mut self, conn: u64, events: u32) {
        let id = self.ledger.open(publisher(conn), Level::Delivered, span(self.next_seq, events)).unwrap();
        let event = ModelEvent { open: vec![0], ..ModelEvent::default() };
        let (opened, first) = (self.now, self.next_seq);
        let events = vec![event; events as usize];
        self.model.entries.push(ModelEntry { id, conn, opened, first, is_held: true, events });
        self.next_seq += 10;
    }

    fn add(&mut self, age: usize, from: u32, events: u32) {
        let Some((at, from, leg)) = self.held(age, from, events) else { return };
        let entry = &mut self.model.entries[at];
        let number = self.written.len() as u64 + 1;
        self.ledger.add(entry.id, leg);
        self.legs.insert(number, entry.id, leg);
        for event in entry.events.iter_mut().skip(from as usize).take(leg.events as usize) {
            event.open.push(number);
        }
        self.written.push((number, at, leg.first, leg.events));
    }

    fn count(&mut self, age: usize, from: u32, events: u32) {
        let Some((at, from, leg)) = self.held(age, from, events) else { return };
        let entry = &mut self.model.entries[at];
        self.ledger.count(entry.id, leg, Tally::TAKEN);
        for event in entry.events.iter_mut().skip(from as usize).take(leg.events as usize) {
            event.receivers += 1;
        }
    }

    fn end(&mut self, age: usize, offset: u32, events: u32, taken: bool) {
        let Some(leg) = self.written.len().checked_sub(age + 1) else { return };
        let (number, at, first, count) = self.written[leg];
        let tally = if taken { Tally::TAKEN } else { MISSED };
        let entry = &mut self.model.entries[at];
        let mut from = first - entry.first;
        let mut to = from + u64::from(count);
        if offset == 0 && events >= count {
            self.legs.answer(number, 1, tally, &mut self.ledger);
        } else {
            let events = u64::from(events);
            from += u64::from(offset);
            to = (from + events).min(to);
            self.legs.answer_part(number, offset.into(), events, tally, &mut self.ledger);
        }
        for (_, event) in (0..).zip(&mut entry.events).filter(|(place, _)| (from..to).contains(place)) {
            if let Some(place) = event.open.iter().position(|&open| open == number) {
                event.open.remove(place);
                event.receivers += u32::from(taken);
                event.missed += u32::from(!taken);
            }
        }
        self.model.settle(at);
    }

    /// What was answered already, or is over, changes nothing.
    fn answer_again(&mut self, age: usize) {
        let Some(leg) = self.written.len().checked_sub(age + 1) else { return };
        let (number, at, ..) = self.written[leg];
        let is_open = |event: &ModelEvent| !event.is_over && event.open.contains(&number);
        if !self.model.entries[at].events.iter().any(is_open) {
            self.legs.answer(number, 1, Tally::TAKEN, &mut self.ledger);
        }
    }

    fn release(&mut self, age: usize) {
        let Some((at, ..)) = self.held(age, 0, 1) else { return };
        let entry = &mut self.model.entries[at];
        entry.is_held = false;
        let events = u32::try_from(entry.events.len()).unwrap();
        self.ledger.end(entry.id, span(entry.first, events), Tally::NONE);
        for event in &mut entry.events {
            event.open.retain(|&open| open != 0);
        }
        self.model.settle(at);
    }

    fn forget(&mut self, conn: u64) {
        self.ledger.forget(ConnKey(conn));
        for entry in self.model.entries.iter_mut().filter(|entry| entry.conn == conn) {
            entry.is_held = false;
            entry.events.iter_mut().for_each(|event| event.is_over = true);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.ledger.set_now(Time(self.now * 1_000_000));
        self.ledger.expire();
        for at in 0..self.model.entries.len() {
            let entry = &mut self.model.entries[at];
            if entry.opened + TIMEOUT_MS > self.now {
                continue;
            }
            entry.is_held = false;
            for event in entry.events.iter_mut().filter(|event| !event.is_over) {
                event.timed_out = true;
                event.missed += u32::try_from(event.open.len()).unwrap();
                event.open.clear();
            }
            self.model.settle(at);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open { conn, events } => self.open(conn, events),
            Step::Add { entry, from, events } => self.add(entry, from, events),
            Step::End { leg, offset, events, taken } => self.end(leg, offset, events, taken),
            Step::Again { leg } => self.answer_again(leg),
            Step::Count { entry, from, events } => self.count(entry, from, events),
            Step::Release { entry } => self.release(entry),
            Step::Forget { conn } => self.forget(conn),
            Step::Pass { ms } => self.pass(ms),
        }
        for told in told(&mut self.ledger) {
            let (key, value) = line(told);
            assert_eq!(self.seen.insert(key, value), None, "an event is told once");
        }
        assert_eq!(self.seen, self.model.told);
        let is_open = |entry: &&ModelEntry| entry.events.iter().any(|event| !event.is_over);
        assert_eq!(self.ledger.len(), self.model.entries.iter().filter(is_open).count());
    }
}

fn run_model(steps: &[Step]) {
    let mut trial = Trial::new();
    steps.iter().for_each(|step| trial.take(step));
    trial.pass(TIMEOUT_MS);
    trial.legs.sweep(&trial.ledger);
    assert!(trial.ledger.is_empty() && trial.legs.is_empty());
}

fn line((origin, seq, tally): (Origin, u64, Tally)) -> ((u64, u64), (u32, u32, bool)) {
    let is_timeout = tally.reasons.iter().any(|reason| reason == OutcomeReason::Timeout);
    ((origin.conn().unwrap().0, seq), (tally.receivers, tally.missed, is_timeout))
}

proptest! {
    #[test]
    fn each_event_is_told_once_with_the_sum_of_its_legs(steps in prop::collection::vec(step(), 1..120)) {
        run_model(&steps);
    }
}
