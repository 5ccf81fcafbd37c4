//! The receivers of one core, in slots that are used again.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::ReceiverNumber;
use millrace_proto::data::Gap;

use super::delivery::Deliveries;
use super::outlet::{DeliveryStream, HeldBudget, Total, Wakes};
use super::receiver::{Outlet, Receiver};
use super::slot::{DeliverySlot, ReceiverSlot};
use crate::time::Time;
use crate::transport::ConnKey;

/// The receivers of one core.
#[derive(Debug)]
pub(super) struct Receivers {
    slots: Vec<Option<Receiver>>,
    free: Vec<ReceiverSlot>,
    /// Receivers with something to write at the end of the turn, each once.
    dirty: Vec<ReceiverSlot>,
    /// Receivers with something queued whose streams have room again.
    wakes: Arc<Wakes>,
    count: u32,
    /// Bytes in their queues.
    queued: Total,
    /// Bytes that are set aside for the queues of receivers with policy `block`.
    set_aside: u64,
    /// What may wait for their replays.
    pub(super) held: HeldBudget,
    /// Streams that receivers of a connection share.
    pub(super) deliveries: Deliveries,
}

impl Default for Receivers {
    fn default() -> Self {
        let queued = Total::default();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            wakes: Arc::default(),
            count: 0,
            set_aside: 0,
            held: HeldBudget::new(queued.clone()),
            queued,
            deliveries: Deliveries::default(),
        }
    }
}

/// Bytes that are set aside for a receiver's queue.
const fn set_aside_for(receiver: &Receiver) -> u64 {
    if receiver.queue.blocks() { receiver.queue.bytes_max() } else { 0 }
}

impl Receivers {
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes that are set aside for the queues of receivers with policy `block`.
    pub(super) const fn set_aside(&self) -> u64 {
        self.set_aside
    }

    pub(super) fn insert(&mut self, receiver: Receiver) -> ReceiverSlot {
        self.count += 1;
        self.set_aside += set_aside_for(&receiver);
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(receiver);
            return slot;
        }
        self.slots.push(Some(receiver));
        u32::try_from(self.slots.len() - 1).expect("receivers_max is below 2^32")
    }

    pub(super) fn remove(&mut self, slot: ReceiverSlot) -> Option<Receiver> {
        let receiver = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.count -= 1;
        self.set_aside -= set_aside_for(&receiver);
        if let Outlet::Shared(at) = receiver.outlet
            && let Some(delivery) = self.deliveries.get_mut(at)
        {
            delivery.forget(slot);
        }
        Some(receiver)
    }

    #[inline]
    pub(super) fn get(&self, slot: ReceiverSlot) -> Option<&Receiver> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The stream that a receiver is written to.
    #[inline]
    pub(super) fn stream_of<'a>(&'a self, receiver: &'a Receiver) -> Option<&'a DeliveryStream> {
        match &receiver.outlet {
            Outlet::Own(stream) => Some(stream),
            &Outlet::Shared(at) => self.deliveries.get(at).map(|delivery| &delivery.stream),
        }
    }

    /// Prefetches what a delivery reads of a receiver.
    #[inline]
    pub(super) fn prefetch(&self, slot: ReceiverSlot) {
        std::hint::black_box(self.get(slot).map_or(0, Receiver::lines));
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: ReceiverSlot) -> Option<&mut Receiver> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// A receiver, and the streams that receivers share.
    #[inline]
    pub(super) fn parts_mut(&mut self, slot: ReceiverSlot) -> Option<(&mut Receiver, &mut Deliveries)> {
        Some((self.slots.get_mut(slot as usize)?.as_mut()?, &mut self.deliveries))
    }

    /// Marks a receiver, or the stream that it shares, as having something to write.
    #[inline(always)]
    pub(super) fn mark(&mut self, slot: ReceiverSlot) {
        let Some(Some(receiver)) = self.slots.get_mut(slot as usize) else { return };
        if let Outlet::Shared(at) = receiver.outlet {
            if let Some(delivery) = self.deliveries.get_mut(at).filter(|_| receiver.queue.has_refused()) {
                delivery.refuse(slot);
            }
            self.deliveries.mark(at);
        } else if !receiver.dirty {
            receiver.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Whether a receiver has something to write.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.wakes.any() || self.deliveries.has_dirty()
    }

    /// The list in which streams name receivers that they have room for again.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.wakes)
    }

    /// Marks receivers whose streams have room again.
    pub(super) fn mark_woken(&mut self) {
        if self.wakes.any() {
            for slot in self.wakes.take() {
                self.mark(slot);
            }
        }
        self.deliveries.mark_woken();
    }

    /// Takes the receivers that have something to write, and leaves the list empty.
    pub(super) fn take_dirty(&mut self) -> Vec<ReceiverSlot> {
        std::mem::take(&mut self.dirty)
    }

    /// The sum of the bytes of all queues.
    #[inline]
    pub(super) const fn queued(&self) -> &Total {
        &self.queued
    }

    /// All receivers, with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ReceiverSlot, &mut Receiver)> {
        let slots = (0..).zip(&mut self.slots);
        slots.filter_map(|(slot, receiver)| Some((slot, receiver.as_mut()?)))
    }

    /// The receiver of a connection with the lowest number. Visits all receivers of the core.
    pub(super) fn lowest_of(&self, conn: ConnKey) -> Option<ReceiverSlot> {
        let all = (0..).zip(&self.slots).filter_map(|(slot, receiver)| Some((slot, receiver.as_ref()?)));
        let own = all.filter(|(_, receiver)| receiver.conn == conn && !receiver.is_closing());
        own.min_by_key(|(_, receiver)| receiver.number).map(|(slot, _)| slot)
    }

    /// All receivers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Receiver> {
        self.slots.iter().flatten()
    }

    /// Puts a receiver with grant into the line for its shared stream.
    pub(super) fn line_up(&mut self, slot: ReceiverSlot) {
        let Some((receiver, deliveries)) = self.parts_mut(slot) else { return };
        let Outlet::Shared(at) = receiver.outlet else { return };
        if let Some(delivery) = deliveries.get_mut(at) {
            receiver.line_up(slot, delivery);
            deliveries.mark(at);
        }
    }

    /// Writes to a shared stream as long as it has room: ends of receivers first, then a queued run
    /// of each receiver in turns.
    pub(super) fn drain_into(&mut self, at: DeliverySlot, now: Time) {
        let Self { slots, deliveries, .. } = self;
        let Some(delivery) = deliveries.get_mut(at) else { return };
        delivery.stream.look_for_room();
        while delivery.stream.has_room() {
            if delivery.write_end() {
                continue;
            }
            let Some(slot) = delivery.next_in_line() else { return };
            let Some(Some(receiver)) = slots.get_mut(slot as usize) else { continue };
            receiver.in_line = false;
            receiver.queue.pop_into(receiver.number, &mut delivery.stream);
            receiver.queue.keep_time(now);
            receiver.line_up(slot, delivery);
        }
    }

    /// Puts a gap into the stream of every receiver that is not closed.
    pub(super) fn gap_to_all(&mut self, gap: &Gap) {
        self.gap_to_those(gap, |_| true);
    }

    /// Puts a gap into the streams of some of the receivers that are not closed.
    pub(super) fn gap_to_those(&mut self, gap: &Gap, is_told: impl Fn(&Receiver) -> bool) {
        let Self { slots, dirty, deliveries, .. } = self;
        // By shared stream: the receivers that read the gap at once, and whether they are all.
        let mut told: BTreeMap<DeliverySlot, (Vec<ReceiverNumber>, bool)> = BTreeMap::new();
        for (slot, place) in (0..).zip(slots.iter_mut()) {
            let Some(receiver) = place.as_mut().filter(|receiver| !receiver.is_closing()) else { continue };
            if !is_told(receiver) {
                if let &Outlet::Shared(at) = &receiver.outlet {
                    told.entry(at).or_insert_with(|| (Vec::new(), true)).1 = false;
                }
                continue;
            }
            match &mut receiver.outlet {
                Outlet::Own(stream) => {
                    receiver.queue.push_gap(gap.clone(), stream);
                    if !receiver.dirty {
                        receiver.dirty = true;
                        dirty.push(slot);
                    }
                }
                &mut Outlet::Shared(at) => {
                    let Some(delivery) = deliveries.get_mut(at) else { continue };
                    let (numbers, are_all) = told.entry(at).or_insert_with(|| (Vec::new(), true));
                    if delivery.takes() && receiver.queue.is_empty() {
                        numbers.push(receiver.number);
                    } else {
                        *are_all = false;
                        receiver.queue.keep_gap(gap.clone());
                    }
                }
            }
        }
        for (at, (numbers, are_all)) in told {
            if let Some(delivery) = deliveries.get_mut(at).filter(|_| !numbers.is_empty()) {
                delivery.write_gap(gap, if are_all { Vec::new() } else { numbers });
                deliveries.mark(at);
            }
        }
        self.line_up_all();
    }

    /// Puts all receivers with grant into the lines for their shared streams.
    fn line_up_all(&mut self) {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        (0..count).for_each(|slot| self.line_up(slot));
    }
}
