//! Copies a run to every location that wants it, and to the receivers of this core among them.
//!
//! The route cache names them: sibling cores and peers from the directory, receivers from this
//! core's own index. A receiver that selects by payload gets the events of a run that it wants as
//! runs of their own.

use millrace_proto::data::{self, flag};
use millrace_proto::run::RunBody;

use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::gathered::Gathered;
use super::leg::Leg;
use super::reader::KnownTags;
use super::sift::Sifted;
use super::state::{Pacing, Path, Scratch};
use super::{grouped, joining, leg, scan};
use crate::core::receiver::{Outlet, Receiver};
use crate::core::receivers::Receivers;
use crate::core::run::RunOut;
use crate::core::slot::ReceiverSlot;
use crate::ledger::Tally;
use crate::matching::{LocalTarget, Location};
use crate::payload::ScanBudget;

impl Path {
    /// Copies a run to every location within `scope` that wants it.
    #[inline]
    pub(in crate::core) fn deliver(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, scope: Scope) {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        let Self {
            routes,
            directory,
            local,
            locations,
            sift,
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
        // The route cache has just returned this name.
        let Some(route) = routes.resolve(tag, directory, local) else { return };
        let body = &entered.run.body;
        let mut run = RunOut {
            tag,
            number: None,
            tags: tags.tags(),
            publisher: entered.publisher,
            flags,
            fields: &[],
            body: body.bytes(),
            buffer: entered.run.buffer,
            events: body.count(),
            from: entered.from,
            entry,
            place: entered.place,
        };
        let mut fates = Fates { metrics, missed, ledger };
        let mut wanted = !route.local().is_empty();
        if scope != Scope::Core {
            let mut is_known = false;
            for takers in route.takers().chunk_by(|one, next| one.location() == next.location()) {
                let first = takers[0];
                let location = first.location();
                // Members come last.
                if let Location::Member(_) = location {
                    let (now, takers) = (pacing.crowd.now(), route.takers());
                    wanted |= grouped::offer(groups, now, scope, takers, &run, tags.hash, &mut fates);
                    break;
                }
                if scope == Scope::Router && matches!(location, Location::Peer(_) | Location::Forward(_)) {
                    continue;
                }
                let is_all = first.filter().is_none() || entered.flags & flag::ENCODED != 0;
                let sifted = match is_all {
                    true => Sifted::All,
                    false => sift.sift(takers, &run, body, &mut is_known, fates.metrics),
                };
                wanted |= match sifted {
                    Sifted::All => locations.copy(location, &run, &mut fates),
                    Sifted::Part(body, events) => {
                        locations.copy(location, &RunOut { body, buffer: None, events, ..run }, &mut fates)
                    }
                    Sifted::Nothing => false,
                };
            }
        }
        run.number = Some(route.number());
        deliver_here(receivers, route.local(), &run, body, (scans, scratch), pacing, &mut fates);
        fates.end(&run, Tally::NONE);
        if !wanted && scope == Scope::All {
            fates.metrics.events_unmatched += run.events;
        }
        if self.is_over_budget() {
            self.shed();
        }
    }
}

/// Copies a run to the receivers of this core that want it; `targets` are sorted by receiver.
#[inline]
fn deliver_here(
    receivers: &mut Receivers,
    mut targets: &[LocalTarget],
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    (scans, scratch): (&mut ScanBudget, &mut Scratch),
    pacing: &mut Pacing,
    fates: &mut Fates<'_>,
) {
    let all = targets;
    let mut gathered = Gathered::default();
    let (mut is_put_off, mut skipped) = (false, 0);
    while let Some(first) = targets.first() {
        let slot = first.receiver;
        // Most receivers have one target.
        let same = match targets.get(1) {
            Some(next) if next.receiver == slot => {
                targets.iter().take_while(|target| target.receiver == slot).count()
            }
            _ => 1,
        };
        let (group, rest) = targets.split_at(same);
        targets = rest;
        let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { continue };
        if receiver.queue.is_passed_over() && receiver.is_skipped(group) {
            receiver.queue.skip(run.events);
            skipped += 1;
            continue;
        }
        let is_by_payload = receiver.selectors.has_patterns() && receiver.selectors.is_by_payload(group);
        let is_shared = matches!(receiver.outlet, Outlet::Shared(_));
        if (is_by_payload && is_shared) || receiver.joins.is_some() {
            is_put_off = true;
            continue;
        }
        let kept = if let Outlet::Shared(at) = receiver.outlet {
            gathered.turn_to(at, deliveries, &mut scratch.targets, run);
            let mut leg = Leg { slot, receiver, deliveries };
            gathered.add(&mut leg, group, &mut scratch.targets, run, fates);
            false
        } else if is_by_payload {
            let mut leg = Leg { slot, receiver, deliveries };
            scan::deliver_by_payload(&mut leg, group, run, body, scans, scratch, fates)
        } else {
            scratch.fields.clear();
            data::put_matched(&mut scratch.fields, group.iter().map(|target| target.subscription));
            let flags = run.own_flags();
            leg::push(receiver, &RunOut { fields: &scratch.fields, flags, ..*run }, fates);
            true
        };
        let left = Left::at(receiver, kept, pacing);
        left.note(slot, receivers, all, run, pacing);
    }
    gathered.flush(&mut receivers.deliveries, &mut scratch.targets, run);
    if skipped > 0 {
        fates.pass_over(skipped, run);
    }
    if is_put_off {
        deliver_put_off(receivers, all, run, body, (scans, scratch), pacing, fates);
    }
}

/// Copies a run to the receivers that need more care: those that ask for the past, and those that
/// select by payload and share a stream. They come last, because whether the stream takes a frame
/// was decided once for all who are gathered: a frame written in between would cross the stream's
/// bound twice.
#[cold]
fn deliver_put_off(
    receivers: &mut Receivers,
    targets: &[LocalTarget],
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    (scans, scratch): (&mut ScanBudget, &mut Scratch),
    pacing: &mut Pacing,
    fates: &mut Fates<'_>,
) {
    for group in targets.chunk_by(|one, next| one.receiver == next.receiver) {
        let slot = group[0].receiver;
        let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { continue };
        let is_by_payload = receiver.selectors.is_by_payload(group);
        let is_shared = matches!(receiver.outlet, Outlet::Shared(_));
        let is_joining = receiver.joins.is_some();
        let is_put_off = is_joining || (is_by_payload && is_shared);
        if !is_put_off {
            continue;
        }
        let mut leg = Leg { slot, receiver, deliveries };
        let passing;
        let group = if is_joining {
            passing = joining::passing(&mut leg, group, run, pacing, fates);
            &passing[..]
        } else {
            group
        };
        let kept = if group.is_empty() {
            continue;
        } else if is_by_payload {
            scan::deliver_by_payload(&mut leg, group, run, body, scans, scratch, fates)
        } else {
            let subscriptions = group.iter().map(|target| target.subscription);
            leg.push(subscriptions, &mut scratch.fields, run, fates);
            true
        };
        let left = Left::at(receiver, kept, pacing);
        left.note(slot, receivers, targets, run, pacing);
    }
}

/// The state in which a run leaves a receiver.
pub(super) struct Left {
    /// The receiver has something to write.
    kept: bool,
    /// Its queue is more than half full.
    is_crowded: bool,
}

impl Left {
    #[inline]
    pub(super) fn at(receiver: &mut Receiver, kept: bool, pacing: &mut Pacing) -> Self {
        // A receiver of a shared stream is looked at nowhere else when its queue begins to fill.
        let is_crowded = receiver.queue.is_notable() && Self::look(receiver, pacing);
        Self { kept, is_crowded }
    }

    #[cold]
    fn look(receiver: &mut Receiver, pacing: &mut Pacing) -> bool {
        let now = pacing.crowd.now();
        let is_crowded = receiver.queue.note(now);
        if receiver.queue.is_stalled() {
            pacing.stalls.note(receiver, now);
        }
        is_crowded
    }

    /// Marks the receiver for writing, and has the publisher wait for it; `targets` are those of
    /// all receivers of the run.
    #[inline(always)]
    pub(super) fn note(
        &self,
        slot: ReceiverSlot,
        receivers: &mut Receivers,
        targets: &[LocalTarget],
        run: &RunOut<'_>,
        Pacing { crowd, holds, .. }: &mut Pacing,
    ) {
        if self.kept {
            receivers.mark(slot);
        }
        if self.is_crowded {
            let all = targets.iter().map(|target| target.receiver);
            crowd.note(receivers, slot, all, run, holds);
        }
    }
}
