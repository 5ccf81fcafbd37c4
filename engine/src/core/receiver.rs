//! Receivers: one queue and one stream each, and the subscriptions whose selectors fill them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::OverflowPolicy;
use millrace_proto::selector::PayloadMatcher;
use millrace_proto::{ReceiverNumber, Selector};

use super::outbound::RunWriter;
use crate::message::Token;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

/// A receiver's place on its core: the `receiver` of [`LocalTarget`](crate::matching::LocalTarget).
pub(super) type ReceiverSlot = u32;

/// One selector of a subscription, filed in the local index.
#[derive(Debug)]
pub(super) struct FiledSelector {
    /// What the local index knows: the selector without its payload patterns.
    pub(super) interest: Arc<Selector>,
    /// Its place among the receiver's selectors.
    pub(super) number: u16,
}

/// One receiver.
///
/// What a delivery touches comes first, so that it lies in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Receiver {
    pub(super) writer: RunWriter,
    /// Whether it stands in the list of receivers that have something to write.
    pub(super) dirty: bool,
    /// Its queue overflowed and its policy says to close the connection.
    pub(super) overflowed: bool,
    /// Its client has closed it: the stream is finished once it has taken what was written.
    pub(super) closing: bool,
    pub(super) policy: OverflowPolicy,
    pub(super) number: ReceiverNumber,
    pub(super) conn: ConnKey,
    /// Its stream, once QUIC allowed to open one.
    pub(super) stream: Option<StreamKey>,
    pub(super) linger: Duration,
    /// When what was gathered is due; none while nothing waits.
    pub(super) due: Option<Time>,
    /// Payload patterns by selector number; empty when no selector of this receiver has one.
    pub(super) patterns: Vec<Option<Arc<PayloadMatcher>>>,
    pub(super) subscriptions: BTreeMap<u16, Vec<FiledSelector>>,
    /// The newest request when a subscription was ended: what was asked for under its number up to then is void.
    pub(super) ended: BTreeMap<u16, Token>,
    /// Selector numbers that are free again.
    pub(super) free_selectors: Vec<u16>,
    pub(super) next_selector: u16,
    /// The newest request when it was opened: older ones were meant for another receiver of its number.
    pub(super) opened: Token,
    /// Selectors that control is still reading; they count against the receiver's bound.
    pub(super) pending_selectors: usize,
}

impl Receiver {
    /// Reads a word of each cache line that a delivery touches.
    #[inline]
    fn lines(&self) -> usize {
        self.writer.lines() ^ self.patterns.len() ^ usize::from(self.dirty)
    }

    /// Selectors of all subscriptions.
    pub(super) fn selectors(&self) -> usize {
        self.subscriptions.values().map(Vec::len).sum()
    }

    /// A number for a selector with this pattern.
    pub(super) fn number_selector(&mut self, payload: Option<Arc<PayloadMatcher>>) -> u16 {
        let number = self.free_selectors.pop().unwrap_or_else(|| {
            self.next_selector += 1;
            self.next_selector - 1
        });
        if payload.is_some() || !self.patterns.is_empty() {
            let index = usize::from(number);
            if self.patterns.len() <= index {
                self.patterns.resize(index + 1, None);
            }
            self.patterns[index] = payload;
        }
        number
    }

    /// The pattern of a selector, if it has one.
    pub(super) fn pattern(&self, selector: u16) -> Option<&PayloadMatcher> {
        self.patterns.get(usize::from(selector)).and_then(Option::as_deref)
    }
}

/// The receivers of one core, in slots that are used again.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    slots: Vec<Option<Receiver>>,
    free: Vec<ReceiverSlot>,
    /// Receivers with something to write at the end of the turn.
    pub(super) dirty: Vec<ReceiverSlot>,
    count: u32,
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

    /// Starts the way of what a delivery reads of a receiver to the core.
    #[inline]
    pub(super) fn fetch(&self, slot: ReceiverSlot) {
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

    /// All receivers with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ReceiverSlot, &mut Receiver)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, receiver)| Some((u32::try_from(slot).ok()?, receiver.as_mut()?)))
    }
}
