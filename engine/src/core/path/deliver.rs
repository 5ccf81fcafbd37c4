//! Copies a run to every location that wants it, and to the receivers of this core among them.
//!
//! The route cache says which: sibling cores and peers from the directory, receivers from this core's own index. A receiver
//! that selects by payload gets those events of a run that it wants, as runs of their own.

use millrace_proto::data;
use millrace_proto::run::{RunBody, RunBuilder};

use super::fate::Fates;
use super::owner::FORWARDED;
use super::reader::KnownTags;
use super::state::{Entered, Path, Scope, Scratch};
use crate::core::metrics::DropReason;
use crate::core::receiver::Receiver;
use crate::core::receivers::Receivers;
use crate::core::run::RunOut;
use crate::matching::{LocalTarget, Location};

impl Path {
    /// Copies a run to every location within `scope` that wants it.
    #[inline]
    pub(in crate::core) fn deliver(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, scope: Scope) {
        let tag = self.intern(tags);
        let Self { routes, directory, local, locations, receivers, scratch, metrics, missed, .. } = self;
        let Some(route) = routes.resolve(tag, directory, local) else { return };
        let body = &entered.run.body;
        let run = RunOut {
            tag,
            tags: tags.tags(),
            publisher: entered.publisher,
            flags: entered.flags & FORWARDED,
            fields: &[],
            body: body.bytes(),
            buffer: entered.run.buffer,
            events: body.count(),
            from: entered.from,
        };
        let mut fates = Fates { metrics, missed };
        let mut wanted = !route.local().is_empty();
        if scope != Scope::Core {
            for location in route.locations() {
                if scope == Scope::Router && matches!(location, Location::Peer(_)) {
                    continue;
                }
                wanted |= locations.copy(location, &run, &mut fates);
            }
        }
        deliver_here(receivers, route.local(), &run, body, scratch, &mut fates);
        if !wanted && scope == Scope::All {
            fates.metrics.events_unmatched += run.events;
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
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) {
    while let Some(first) = targets.first() {
        let slot = first.receiver;
        let same = targets.iter().take_while(|target| target.receiver == slot).count();
        let (group, rest) = targets.split_at(same);
        targets = rest;
        let Some(receiver) = receivers.get_mut(slot) else { continue };
        let kept = if receiver.selectors.has_patterns()
            && group.iter().any(|target| receiver.selectors.pattern(target.selector).is_some())
        {
            deliver_by_payload(receiver, group, run, body, scratch, fates)
        } else {
            scratch.fields.clear();
            data::put_matched(&mut scratch.fields, group.iter().map(|target| target.subscription));
            push(receiver, &RunOut { fields: &scratch.fields, ..*run }, fates);
            true
        };
        if kept {
            receivers.mark(slot);
        }
    }
}

/// Pushes a run to a receiver, and counts what became of it and of those that gave way for it.
#[inline]
fn push(receiver: &mut Receiver, run: &RunOut<'_>, fates: &mut Fates<'_>) {
    let Receiver { queue, outlet, dropped, .. } = receiver;
    let overflow = DropReason::ReceiverOverflow;
    let fate = queue.push(run, outlet, |older| {
        *dropped += older.events;
        fates.lost(older, overflow);
    });
    *dropped += fates.tell(fate, run, overflow);
}

/// Delivers those events of a run whose payload, too, is wanted: consecutive events that the same subscriptions want
/// form a new run. Says whether there was any.
fn deliver_by_payload(
    receiver: &mut Receiver,
    group: &[LocalTarget],
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    scratch: &mut Scratch,
    fates: &mut Fates<'_>,
) -> bool {
    let Scratch { fields, builder, body: scratch } = scratch;
    let mut kept = false;
    let mut current: Vec<u16> = Vec::new();
    let mut wanted: Vec<u16> = Vec::new();
    let mut flush = |receiver: &mut Receiver, builder: &mut RunBuilder, current: &[u16]| {
        if builder.count() == 0 {
            return;
        }
        let events = builder.count();
        scratch.clear();
        builder.finish(scratch);
        fields.clear();
        data::put_matched(fields, current.iter().copied());
        push(receiver, &RunOut { fields, body: scratch, buffer: None, events, ..*run }, fates);
        kept = true;
    };
    for event in body.events() {
        wanted.clear();
        for target in group {
            let wants = receiver
                .selectors
                .pattern(target.selector)
                .is_none_or(|pattern| pattern.matches(event.payload));
            if wants && wanted.last() != Some(&target.subscription) {
                wanted.push(target.subscription);
            }
        }
        if wanted != current {
            flush(receiver, builder, &current);
            std::mem::swap(&mut current, &mut wanted);
        }
        if current.is_empty() {
            continue;
        }
        if builder.count() == 0 {
            builder.start(event.seq, body.floor(), body.base_time_ns());
        }
        builder.push(event.time_ns, event.payload);
    }
    flush(receiver, builder, &current);
    kept
}
