//! Live runs at a receiver whose subscriptions ask for the past: the replay says which of them are
//! delivered, which wait, and which it brings itself.

use std::borrow::Cow;

use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{Gap, GapReason};

use super::fate::Fates;
use super::leg::Leg;
use super::state::Pacing;
use crate::core::joins::{JoinPlace, Joins};
use crate::core::outlet::HeldRuns;
use crate::core::run::RunOut;
use crate::history::Live;
use crate::ledger::Tally;
use crate::matching::LocalTarget;

/// Those targets of a receiver that get a live run now.
#[cold]
pub(super) fn passing<'a>(
    leg: &mut Leg<'_>,
    group: &'a [LocalTarget],
    run: &RunOut<'_>,
    pacing: &mut Pacing,
    fates: &mut Fates<'_>,
) -> Cow<'a, [LocalTarget]> {
    let (Some(place), Some(mut joins)) = (run.place, leg.receiver.joins.take()) else {
        return Cow::Borrowed(group);
    };
    // All targets before `at`, as long as none of them waits.
    let (mut pass, mut at) = (Cow::Borrowed(group), 0);
    for targets in group.chunk_by(|one, next| one.subscription == next.subscription) {
        let source = joins.place_of(targets[0].subscription, &place.source);
        let passes = source.is_none_or(|source| {
            judge(&mut joins, source, leg, run, place.position, (&mut *pacing, &mut *fates))
        });
        match &mut pass {
            Cow::Borrowed(_) if passes => {}
            Cow::Borrowed(_) => pass = Cow::Owned(group[..at].to_vec()),
            Cow::Owned(pass) if passes => pass.extend_from_slice(targets),
            Cow::Owned(_) => {}
        }
        at += targets.len();
    }
    leg.receiver.joins = Some(joins);
    pass
}

/// Whether a live run is delivered now; if it waits, it is kept.
fn judge(
    joins: &mut Joins,
    place: JoinPlace,
    leg: &mut Leg<'_>,
    run: &RunOut<'_>,
    position: u64,
    (pacing, fates): (&mut Pacing, &mut Fates<'_>),
) -> bool {
    match joins.at(place).join.live(position) {
        Live::Pass => {
            joins.at(place).passed = position + 1;
            return true;
        }
        Live::Drop => {
            fates.leave_to_replay(run);
            return false;
        }
        Live::Hold => {}
    }
    if joins.at(place).life.waits {
        joins.at(place).join.reach(position);
        fates.leave_to_replay(run);
        return false;
    }
    let mut may_wait = || pacing.stalls.may_copy(leg.receiver.conn, pacing.crowd.now());
    if !joins.at(place).held.is_left() && may_wait() {
        if joins.hold(place, run, position) {
            fates.add(run);
            return false;
        }
        // The source for which most waits has its replay reach further.
        let other = joins.fullest().filter(|&(fullest, _)| fullest != place);
        if let Some((fullest, last)) = other {
            leave(joins, fullest, (last, 0), leg, fates);
            if joins.hold(place, run, position) {
                fates.add(run);
                return false;
            }
        }
    }
    fates.metrics.events_left_to_replay += run.events;
    fates.leave_to_replay(run);
    leave(joins, place, (position, HeldRuns::bytes_of(run)), leg, fates);
    false
}

/// Leaves live runs of a source up to `last`, with so many bytes that do not wait, to the replay:
/// what waits is dropped, and it reaches behind that. A replay that is overtaken by too much ends
/// with a gap.
fn leave(
    joins: &mut Joins,
    place: JoinPlace,
    (last, bytes): (u64, u64),
    leg: &mut Leg<'_>,
    fates: &mut Fates<'_>,
) {
    let overrun = Tally::missed(OutcomeReason::Overflow);
    let dropped = joins.drop_held(place, |run| fates.end(run, overrun));
    let source = joins.at(place);
    if source.leave(last, dropped + bytes) && !source.join.restart(last) {
        source.held.wait();
        source.chunk = None;
        source.joined = Some(last + 1);
        leg.push_gap(Gap { reason: GapReason::Overrun, events: 0, router: Some(source.known.source.router) });
    }
}
