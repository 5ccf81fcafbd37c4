//! Runs that carry a hop field for those who get them: what they ask, or the set that they were
//! published for. They go where their tags say, as other runs do, by a way of their own, so that
//! others pay one comparison.

use millrace_proto::data::hop_field;
use millrace_proto::field;

use super::addressed::{apart, reaches};
use super::deliver::Left;
use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::leg::{Carried, Leg};
use super::reader::KnownTags;
use super::state::Path;
use super::{grouped, joining, scan};
use crate::core::run::RunOut;
use crate::ledger::Tally;
use crate::matching::Location;

impl Path {
    /// Copies a run with a hop field to every location within `scope` whose selectors match its
    /// tags. Who selects by payload gets the run without the field.
    pub(super) fn deliver_carried(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        carried: &Carried<'_>,
        scope: Scope,
    ) {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        let Self {
            routes,
            directory,
            local,
            locations,
            receivers,
            scans,
            scratch,
            metrics,
            missed,
            ledger,
            pacing,
            groups,
            ..
        } = self;
        let Some(route) = routes.resolve(tag, directory, local) else { return };
        let mut fields = Vec::new();
        field::put_bytes(&mut fields, carried.field, carried.value);
        let place = entered.place;
        let run = RunOut { fields: &fields, tag, entry, flags, place, ..apart(tags, entered) };
        let mut fates = Fates { metrics, missed, ledger };
        let mut wanted = !route.local().is_empty();
        for takers in route.takers().chunk_by(|one, next| one.location() == next.location()) {
            let location = takers[0].location();
            // Members come last.
            if let Location::Member(_) = location {
                // What is of a set is fenced at its owner, who gives it to members.
                let fields = if carried.field == hop_field::SET { &[] } else { run.fields };
                let (now, run) = (pacing.crowd.now(), RunOut { fields, ..run });
                wanted |= grouped::offer(groups, now, scope, route.takers(), &run, tags.hash, &mut fates);
                break;
            }
            if reaches(scope, location) {
                wanted |= locations.copy(location, &run, &mut fates);
            }
        }
        let run = RunOut { fields: &[], ..run };
        let all = route.local();
        for group in all.chunk_by(|one, next| one.receiver == next.receiver) {
            let slot = group[0].receiver;
            let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { continue };
            let is_by_payload = receiver.selectors.is_by_payload(group);
            let is_joining = receiver.joins.is_some();
            let mut leg = Leg { slot, receiver, deliveries };
            let passing = is_joining.then(|| joining::passing(&mut leg, group, &run, pacing, &mut fates));
            let group = passing.as_deref().unwrap_or(group);
            if group.is_empty() {
                continue;
            }
            let is_kept = if is_by_payload {
                scan::deliver_by_payload(&mut leg, group, &run, &entered.run.body, scans, scratch, &mut fates)
            } else {
                let subscriptions = group.iter().map(|target| target.subscription);
                leg.put_carried(subscriptions, carried, run.flags, &mut scratch.fields);
                leg.push_carried(&scratch.fields, &run, &mut fates);
                true
            };
            let left = Left::at(leg.receiver, is_kept, pacing);
            left.note(slot, receivers, all, &run, pacing);
        }
        fates.end(&run, Tally::NONE);
        if !wanted && scope == Scope::All {
            fates.metrics.events_unmatched += run.events;
        }
        if self.is_over_budget() {
            self.shed();
        }
    }
}
