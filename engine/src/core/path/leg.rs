//! The last step of a run: into one receiver's queue, or onto the stream that it shares with
//! others, as its only reader there ([`gathered`](super::gathered) writes for several).

use millrace_proto::data::optional::GroupTicket;
use millrace_proto::data::{self, Gap, Target, flag, hop_field, target_flag};
use millrace_proto::{ReceiverNumber, field, varint};

use super::fate::{Copied, Fates};
use crate::core::delivery::{Deliveries, Delivery};
use crate::core::metrics::DropReason;
use crate::core::receiver::{Outlet, Receiver};
use crate::core::run::{Fate, REPLAYED, RunOut};
use crate::core::slot::ReceiverSlot;

/// A hop field that goes with a run to everybody who reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried<'a> {
    /// Its number.
    pub(super) field: u64,
    /// Its value, encoded.
    pub(super) value: &'a [u8],
}

/// A receiver, and the streams to which it may write.
pub(super) struct Leg<'a> {
    pub(super) slot: ReceiverSlot,
    pub(super) receiver: &'a mut Receiver,
    pub(super) deliveries: &'a mut Deliveries,
}

impl Leg<'_> {
    /// Pushes a run to this receiver alone, for these subscriptions. `fields` is memory to use.
    pub(super) fn push(
        &mut self,
        subscriptions: impl Iterator<Item = u16> + Clone,
        fields: &mut Vec<u8>,
        run: &RunOut<'_>,
        fates: &mut Fates<'_>,
    ) {
        let copied = fates.begin(run, self.receiver.acknowledges);
        let entry = if copied == Copied::Open { run.entry } else { None };
        let fate = self.push_copy(subscriptions, fields, &RunOut { entry, ..*run }, fates);
        if let Copied::Counted(kept) = copied {
            fates.count(run, kept, fate);
        }
    }

    fn push_copy(
        &mut self,
        subscriptions: impl Iterator<Item = u16> + Clone,
        fields: &mut Vec<u8>,
        run: &RunOut<'_>,
        fates: &mut Fates<'_>,
    ) -> Fate {
        fields.clear();
        match self.receiver.outlet {
            Outlet::Own(_) => data::put_matched(fields, subscriptions),
            Outlet::Shared(_) => put_target(fields, self.receiver.number, run.flags, subscriptions),
        }
        self.push_encoded(fields, run, fates)
    }

    /// Pushes a run whose fields, or whose target on a shared stream, are encoded.
    fn push_encoded(&mut self, fields: &[u8], run: &RunOut<'_>, fates: &mut Fates<'_>) -> Fate {
        let Outlet::Shared(at) = self.receiver.outlet else {
            let flags = run.own_flags();
            return push_copy(self.receiver, &RunOut { fields, flags, ..*run }, fates);
        };
        let Some(delivery) = self.deliveries.get_mut(at) else { return Fate::Refused };
        if delivery.takes() && self.receiver.queue.may_pass() {
            self.receiver.queue.count(run, run.entry);
            delivery.write(run, fields, 1, self.receiver.linger);
            Fate::Kept
        } else {
            queue(self.receiver, self.slot, delivery, &RunOut { fields, ..*run }, fates)
        }
    }

    /// Encodes what goes with a run that carries a hop field for its receivers: what it asks or
    /// answers, or the set that it was published for. A client that does not read the field is
    /// given an event.
    #[cold]
    pub(super) fn put_carried(
        &self,
        subscriptions: impl Iterator<Item = u16> + Clone,
        carried: &Carried<'_>,
        flags: u64,
        fields: &mut Vec<u8>,
    ) {
        fields.clear();
        let is_set = carried.field == hop_field::SET;
        let address = &self.receiver.address;
        let is_read = if is_set { address.reads_sets } else { address.is_read };
        let value = if is_read { carried.value } else { &[] };
        if let Outlet::Own(_) = self.receiver.outlet {
            data::put_matched(fields, subscriptions);
            if !value.is_empty() {
                field::put_bytes(fields, carried.field, value);
            }
        } else {
            let (addressed, set): (&[u8], &[u8]) = if is_set { (&[], value) } else { (value, &[]) };
            let matched = matched(subscriptions);
            let flags = if flags & flag::RESENT == 0 { 0 } else { target_flag::MAYBE_DUPLICATE };
            let plain = Target::plain(self.receiver.number);
            Target { matched: &matched, flags, addressed, set, ..plain }.put(fields);
        }
    }

    /// Pushes a run with what [`put_carried`](Self::put_carried) has encoded.
    #[cold]
    pub(super) fn push_carried(&mut self, fields: &[u8], run: &RunOut<'_>, fates: &mut Fates<'_>) {
        let copied = fates.begin(run, self.receiver.acknowledges);
        let entry = if copied == Copied::Open { run.entry } else { None };
        let fate = self.push_encoded(fields, &RunOut { entry, ..*run }, fates);
        if let Copied::Counted(kept) = copied {
            fates.count(run, kept, fate);
        }
    }

    /// Pushes a run that a group gives to this receiver, with its ticket, and with what it asks, as
    /// hop field 7.
    #[cold]
    pub(super) fn push_ticketed(
        &mut self,
        ticket: &GroupTicket<'_>,
        asked: &[u8],
        fields: &mut Vec<u8>,
        run: &RunOut<'_>,
        fates: &mut Fates<'_>,
    ) {
        fields.clear();
        let asked = if self.receiver.address.is_read { asked } else { &[] };
        let subscriptions = self.receiver.selectors.matched_by(run.tags);
        if let Outlet::Own(_) = self.receiver.outlet {
            data::put_matched(fields, subscriptions);
            ticket.put(fields);
            if !asked.is_empty() {
                field::put_bytes(fields, hop_field::RECIPIENTS, asked);
            }
        } else {
            let matched = matched(subscriptions);
            let is_in_doubt = run.flags & (flag::RESENT | flag::MAYBE_DUPLICATE) != 0;
            let flags = if is_in_doubt { target_flag::MAYBE_DUPLICATE } else { 0 };
            let ticket = Some((ticket.ticket, ticket.generation));
            let plain = Target::plain(self.receiver.number);
            Target { matched: &matched, flags, ticket, addressed: asked, ..plain }.put(fields);
        }
        self.push_encoded(fields, run, fates);
    }

    /// Puts a gap behind everything that was pushed.
    pub(super) fn push_gap(&mut self, gap: Gap) {
        match &mut self.receiver.outlet {
            Outlet::Own(stream) => self.receiver.queue.push_gap(gap, stream),
            &mut Outlet::Shared(at) => {
                self.receiver.queue.keep_gap(gap);
                if let Some(delivery) = self.deliveries.get_mut(at) {
                    self.receiver.line_up(self.slot, delivery);
                }
            }
        }
    }
}

/// Pushes a run to a receiver with a stream of its own, and counts what became of it and of the
/// runs that gave way for it. Inlined, because a call costs a tenth of what a run does here.
#[inline(always)]
pub(super) fn push(receiver: &mut Receiver, run: &RunOut<'_>, fates: &mut Fates<'_>) {
    if run.entry.is_some() {
        push_told(receiver, run, fates);
    } else {
        push_copy(receiver, run, fates);
    }
}

/// Pushes a run whose publisher asks how it ends.
#[cold]
fn push_told(receiver: &mut Receiver, run: &RunOut<'_>, fates: &mut Fates<'_>) {
    let copied = fates.begin(run, receiver.acknowledges);
    let entry = if copied == Copied::Open { run.entry } else { None };
    let fate = push_copy(receiver, &RunOut { entry, ..*run }, fates);
    if let Copied::Counted(kept) = copied {
        fates.count(run, kept, fate);
    }
}

#[inline(always)]
fn push_copy(receiver: &mut Receiver, run: &RunOut<'_>, fates: &mut Fates<'_>) -> Fate {
    let Receiver { queue, outlet: Outlet::Own(stream), dropped, .. } = receiver else {
        return Fate::Refused;
    };
    let overflow = DropReason::ReceiverOverflow;
    let fate = queue.push(run, stream, |older| {
        *dropped += older.events;
        fates.lost(older, overflow);
    });
    *dropped += fates.tell(fate, run, overflow);
    fate
}

/// Queues a run for a receiver that shares its stream, and counts what became of it and of the runs
/// that gave way for it. The run's fields are its target.
#[cold]
pub(super) fn queue(
    receiver: &mut Receiver,
    slot: ReceiverSlot,
    delivery: &mut Delivery,
    run: &RunOut<'_>,
    fates: &mut Fates<'_>,
) -> Fate {
    let Receiver { queue, dropped, .. } = receiver;
    let overflow = DropReason::ReceiverOverflow;
    let fate = queue.keep(run, |older| {
        *dropped += older.events;
        fates.lost(older, overflow);
    });
    *dropped += fates.tell(fate, run, overflow);
    if fate == Fate::Refused && queue.has_refused() {
        delivery.refuse(slot);
    }
    receiver.line_up(slot, delivery);
    fate
}

/// Appends a receiver with the subscriptions that matched, ascending; a repeated one counts once. A
/// run that is sent again may be a duplicate.
#[inline]
pub(super) fn put_target(
    out: &mut Vec<u8>,
    number: ReceiverNumber,
    flags: u64,
    subscriptions: impl Iterator<Item = u16> + Clone,
) {
    let marks = flags & (flag::RESENT | REPLAYED);
    if marks == 0 && subscriptions.clone().all(|subscription| subscription == 0) {
        varint::put(out, u64::from(number.0) << 1);
        return;
    }
    let matched = matched(subscriptions);
    let mut flags = 0;
    if marks & flag::RESENT != 0 {
        flags |= target_flag::MAYBE_DUPLICATE;
    }
    if marks & REPLAYED != 0 {
        flags |= target_flag::REPLAYED;
    }
    Target { matched: &matched, flags, ..Target::plain(number) }.put(out);
}

/// The subscriptions that matched, as a target has them.
#[cold]
fn matched(subscriptions: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut matched = Vec::new();
    let mut previous = None;
    for subscription in subscriptions {
        if previous != Some(subscription) {
            varint::put(&mut matched, subscription.into());
            previous = Some(subscription);
        }
    }
    if matched == [0] {
        matched.clear();
    }
    matched
}
