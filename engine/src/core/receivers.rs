//! The receivers of one core, in slots that are used again.

use std::sync::Arc;

use millrace_proto::data::Gap;

use super::outlet::{Total, Wakes};
use super::receiver::Receiver;
use super::slot::ReceiverSlot;

/// The receivers of one core.
#[derive(Debug, Default)]
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
}

impl Receivers {
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn insert(&mut self, receiver: Receiver) -> ReceiverSlot {
        self.count += 1;
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
        Some(receiver)
    }

    #[inline]
    pub(super) fn get(&self, slot: ReceiverSlot) -> Option<&Receiver> {
        self.slots.get(slot as usize)?.as_ref()
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

    /// Marks a receiver as having something to write.
    #[inline]
    pub(super) fn mark(&mut self, slot: ReceiverSlot) {
        if let Some(Some(receiver)) = self.slots.get_mut(slot as usize)
            && !receiver.dirty
        {
            receiver.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Whether a receiver has something to write.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.wakes.any()
    }

    /// Where streams list the receivers that they have room for again.
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
    }

    /// The receivers that have something to write; the list begins anew.
    pub(super) fn take_dirty(&mut self) -> Vec<ReceiverSlot> {
        std::mem::take(&mut self.dirty)
    }

    /// What counts the bytes of all queues.
    #[inline]
    pub(super) const fn queued(&self) -> &Total {
        &self.queued
    }

    /// All receivers, with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ReceiverSlot, &mut Receiver)> {
        let slots = (0..).zip(&mut self.slots);
        slots.filter_map(|(slot, receiver)| Some((slot, receiver.as_mut()?)))
    }

    /// All receivers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Receiver> {
        self.slots.iter().flatten()
    }

    /// Puts a gap into the stream of every receiver that is not closed.
    pub(super) fn gap_to_all(&mut self, gap: &Gap) {
        for (index, place) in self.slots.iter_mut().enumerate() {
            let Some(receiver) = place.as_mut().filter(|receiver| !receiver.is_closing()) else { continue };
            match &mut receiver.selectors.desk {
                // Behind the runs that wait for their scan.
                Some(desk) if desk.is_waiting() => {
                    desk.hold_gap(gap.clone());
                    continue;
                }
                _ => receiver.queue.push_gap(gap.clone(), &mut receiver.outlet),
            }
            if !receiver.dirty {
                receiver.dirty = true;
                self.dirty.extend(u32::try_from(index));
            }
        }
    }
}
