//! Live runs at a receiver whose subscriptions ask for the past: the replay says which of them are
//! delivered, which wait, and which it brings itself.

use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{Gap, GapReason};

use super::fate::Fates;
use super::leg::Leg;
use crate::core::joins::SourceJoin;
use crate::core::run::RunOut;
use crate::history::Live;
use crate::ledger::Tally;
use crate::matching::LocalTarget;

/// Those targets of a receiver that get a live run now.
#[cold]
pub(super) fn passing(
    leg: &mut Leg<'_>,
    group: &[LocalTarget],
    run: &RunOut<'_>,
    fates: &mut Fates<'_>,
) -> Vec<LocalTarget> {
    let (Some(place), Some(mut joins)) = (run.place, leg.receiver.joins.take()) else {
        return group.to_vec();
    };
    let mut pass = Vec::with_capacity(group.len());
    for targets in group.chunk_by(|one, next| one.subscription == next.subscription) {
        let joining = joins.0.iter_mut().find(|join| join.subscription == targets[0].subscription);
        let source = joining.and_then(|join| join.source_mut(&place.source));
        let passes = source.is_none_or(|source| judge(source, leg, run, place.position, fates));
        if passes {
            pass.extend_from_slice(targets);
        }
    }
    leg.receiver.joins = Some(joins);
    pass
}

/// Whether a live run is delivered now; if it waits, it is kept.
fn judge(
    source: &mut SourceJoin,
    leg: &mut Leg<'_>,
    run: &RunOut<'_>,
    position: u64,
    fates: &mut Fates<'_>,
) -> bool {
    match source.join.live(position) {
        Live::Pass => return true,
        Live::Drop => return false,
        Live::Hold => {}
    }
    if source.held.hold(run, position) {
        fates.add(run);
        return false;
    }
    let overrun = Tally::missed(OutcomeReason::Overflow);
    source.held.clear(|run| fates.end(run, overrun));
    if !source.join.restart(position) {
        source.chunk = None;
        source.joined = Some(position + 1);
        leg.push_gap(Gap { reason: GapReason::Overrun, events: 0, router: Some(source.known.source.router) });
    }
    false
}
