//! Scans payloads of runs for receivers that select by payload: at once within the turn's budget,
//! or in later turns. [`payload`](crate::payload) has the rules; this file applies them to queues.

use millrace_proto::TagSetRef;
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::run::RunBody;

use super::fate::Fates;
use super::leg::Leg;
use super::state::{Path, Scratch};
use crate::core::metrics::DropReason;
use crate::core::run::RunOut;
use crate::ledger::Tally;
use crate::matching::LocalTarget;
use crate::payload::{Held, HeldRun, Piece, Plan, ScanBudget};

/// Delivers the events of a run whose payloads the receiver wants: consecutive events that the same
/// subscriptions want form a new run. A run that cannot be scanned in this turn waits. Returns
/// whether the receiver has something to write.
pub(super) fn deliver_by_payload(
    leg: &mut Leg<'_>,
    group: &[LocalTarget],
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    scans: &mut ScanBudget,
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) -> bool {
    let (Some(desk), Some(first)) = (leg.receiver.selectors.desk.as_deref_mut(), group.first()) else {
        return false;
    };
    if desk.is_full(run.tags.canonical().len() + run.body.len(), scans) {
        return refuse(leg, run, fates);
    }
    let mut plan = std::mem::take(&mut scans.plan);
    desk.plan(group, &mut plan);
    if desk.admits(plan.work(body.bytes().len()), scans) {
        let kept = scan_now(leg, run, body, &plan, scans, scratch, fates);
        scans.plan = plan;
        return kept;
    }
    let was_waiting = desk.is_waiting();
    plan.close();
    let held = HeldRun {
        tag: run.tag,
        tags: run.tags.canonical().into(),
        publisher: run.publisher,
        flags: run.flags,
        body: run.body.into(),
        plan,
        progress: Box::default(),
        events: run.events,
        from: run.from,
        entry: run.entry,
        place: run.place.cloned(),
    };
    if let Some(entry) = run.entry {
        fates.ledger.add(entry, run.span());
    }
    if desk.hold(held, scans).is_ok() {
        fates.metrics.pattern_waits += 1;
        if !was_waiting {
            scans.put_last(first.receiver);
        }
        return false;
    }
    refuse(leg, run, fates)
}

/// Drops a run that can neither be scanned nor wait; a gap stands for it in the receiver's order.
fn refuse(leg: &mut Leg<'_>, run: &RunOut<'_>, fates: &mut Fates<'_>) -> bool {
    leg.receiver.dropped += run.events;
    fates.lost(run, DropReason::PatternBudget);
    let gap = Gap { reason: GapReason::PatternBudget, events: run.events, router: None };
    match leg.receiver.selectors.desk.as_deref_mut().filter(|desk| desk.is_waiting()) {
        Some(desk) => {
            desk.hold_gap(gap);
            false
        }
        None => {
            leg.push_gap(gap);
            true
        }
    }
}

/// Scans a run to its end.
fn scan_now(
    leg: &mut Leg<'_>,
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    plan: &Plan,
    scans: &mut ScanBudget,
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) -> bool {
    let mut progress = std::mem::take(&mut scans.progress);
    progress.restart();
    let (mut left, mut kept) = (usize::MAX, false);
    progress.scan(plan, body, &mut left, |piece| {
        kept = true;
        deliver_piece(leg, run, piece, scratch, fates);
    });
    scans.progress = progress;
    let steps = usize::MAX - left;
    scans.spend(steps);
    fates.metrics.pattern_steps += steps as u64;
    kept
}

fn deliver_piece(
    leg: &mut Leg<'_>,
    run: &RunOut<'_>,
    piece: Piece<'_>,
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) {
    let Piece { subscriptions, body, events } = piece;
    // Only the piece that ends the run has its place: a cursor must not pass what follows it.
    let place = run.place.filter(|_| ends_with(run, body));
    let run = RunOut { body, buffer: None, events, place, ..*run };
    leg.push(subscriptions.iter().copied(), &mut scratch.fields, &run, fates);
}

/// Whether a piece of a run ends with the run's last event.
fn ends_with(run: &RunOut<'_>, piece: &[u8]) -> bool {
    let last = |body| RunBody::parse_head(body).map(|body| body.last_seq());
    matches!((last(run.body), last(piece)), (Ok(whole), Ok(part)) if whole == part)
}

impl Path {
    /// Begins a turn: each receiver with runs that wait for their scan takes its slice of the
    /// budget.
    pub(in crate::core) fn scan_waiting(&mut self) {
        let Self { receivers, sift, scans, scratch, metrics, missed, ledger, .. } = self;
        sift.next_turn();
        scans.next_turn();
        while let Some((slot, slice)) = scans.take_turn() {
            let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { continue };
            let mut leg = Leg { slot, receiver, deliveries };
            let mut fates = Fates { metrics, missed, ledger };
            let mut work = slice;
            let kept = scan_slice(&mut leg, &mut work, scans, scratch, &mut fates);
            scans.spend((slice - work).max(1));
            fates.metrics.pattern_steps += (slice - work) as u64;
            if leg.receiver.selectors.desk.as_ref().is_some_and(|desk| desk.is_waiting()) {
                scans.put_last(slot);
            }
            if kept {
                receivers.mark(slot);
            }
        }
        if self.is_over_budget() {
            self.shed();
        }
    }
}

/// Scans runs that wait at one receiver while `work` is left.
fn scan_slice(
    leg: &mut Leg<'_>,
    work: &mut usize,
    scans: &mut ScanBudget,
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) -> bool {
    let mut kept = false;
    while *work > 0 {
        let held = leg.receiver.selectors.desk.as_deref_mut().and_then(|desk| desk.take(scans));
        let mut held = match held {
            None => break,
            Some(Held::Gap(gap)) => {
                leg.push_gap(gap);
                kept = true;
                continue;
            }
            Some(Held::Run(held)) => held,
        };
        let HeldRun { tag, tags, publisher, flags, body, plan, progress, events, from, entry, place } =
            &mut *held;
        // The body was parsed when it came.
        let Ok(parsed) = RunBody::parse_head(body) else { continue };
        let run = RunOut {
            tag: *tag,
            number: None,
            tags: TagSetRef::trusted(tags),
            publisher: *publisher,
            flags: *flags,
            fields: &[],
            body,
            buffer: None,
            events: *events,
            from: *from,
            entry: *entry,
            place: place.as_ref(),
        };
        let is_done = progress.scan(plan, &parsed, work, |piece| {
            kept = true;
            deliver_piece(leg, &run, piece, scratch, fates);
        });
        if is_done {
            fates.end(&run, Tally::NONE);
        } else if let Some(desk) = leg.receiver.selectors.desk.as_deref_mut() {
            desk.put_back(held, scans);
        }
    }
    kept
}
