//! The stream that all receivers of a connection share, for clients that ask for it.
//!
//! The core encodes a run that several of these receivers want once, with their numbers as targets.
//! Each receiver keeps its queue, policy, grant and gaps above the stream: one without grant waits
//! in its own queue and costs the others nothing. Receivers with queued runs and grant left stand
//! in a line, and each writes one run in its turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::ReceiverNumber;
use millrace_proto::data::{Gap, ReceiverEnd, Replay};

use super::outlet::{DeliveryStream, LINGER_BYTES, Wakes};
use super::run::RunOut;
use super::slot::{DeliverySlot, ReceiverSlot};
use super::timers::end_of_linger;
use crate::history::KnownSource;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

/// The stream of all receivers of a connection. What a delivery touches comes first, so that it
/// lies in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Delivery {
    pub(super) stream: DeliveryStream,
    /// Receivers with queued runs and grant left, each once: at most the connection's receivers.
    waiting: VecDeque<ReceiverSlot>,
    /// Ends of receivers that wait for room and are written before everything else: at most as many
    /// as the connection may have receivers.
    ends: VecDeque<ReceiverEnd>,
    /// Whether it stands in the list of streams with something to write.
    dirty: bool,
    /// Shortest linger of the receivers that runs were encoded for since `due` was set;
    /// `Duration::MAX` if there are none.
    linger: Duration,
    /// When gathered runs are due; none while nothing waits.
    pub(super) due: Option<Time>,
    pub(super) conn: ConnKey,
    /// None until QUIC allows the stream.
    pub(super) key: Option<StreamKey>,
    /// Receivers whose queue has refused a run, each once: their policy ends them.
    refused: Vec<ReceiverSlot>,
    /// Where a run's targets on this stream were set aside; none between runs.
    pub(super) set_aside: Option<usize>,
}

impl Delivery {
    pub(super) const fn new(conn: ConnKey, stream: DeliveryStream) -> Self {
        Self {
            stream,
            waiting: VecDeque::new(),
            ends: VecDeque::new(),
            dirty: false,
            linger: Duration::MAX,
            due: None,
            conn,
            key: None,
            refused: Vec::new(),
            set_aside: None,
        }
    }

    /// Whether a run may be encoded at once: the stream has room, and no receiver waits for it.
    #[inline]
    pub(super) fn takes(&self) -> bool {
        self.stream.has_room() && self.waiting.is_empty() && self.ends.is_empty()
    }

    /// Encodes a run once for the receivers that `targets` names; `linger` is the shortest among
    /// theirs.
    #[inline]
    pub(super) fn write(&mut self, run: &RunOut<'_>, targets: &[u8], receivers: u64, linger: Duration) {
        self.stream.deliver(run, targets, receivers);
        self.linger = self.linger.min(linger);
    }

    /// Encodes a gap for these receivers; for all open ones when the list is empty.
    pub(super) fn write_gap(&mut self, gap: &Gap, receivers: Vec<ReceiverNumber>) {
        self.stream.deliver_gap(gap, receivers);
        self.linger = Duration::ZERO;
    }

    /// Encodes how far sources have come at these receivers; at all when there are none.
    pub(super) fn write_cursor(
        &mut self,
        positions: &[(Arc<KnownSource>, u64)],
        receivers: &[ReceiverNumber],
    ) {
        self.stream.cursor(positions, receivers);
        self.linger = Duration::ZERO;
    }

    /// Encodes the begin of a replay, or its end.
    pub(super) fn write_replay(&mut self, replay: &Replay) {
        self.stream.replay(replay);
        self.linger = Duration::ZERO;
    }

    /// Encodes the oldest end that waits; `false` when there is none.
    pub(super) fn write_end(&mut self) -> bool {
        let Some(end) = self.ends.pop_front() else { return false };
        self.stream.end_receiver(&end);
        true
    }

    /// Gives the stream its key: QUIC has opened it.
    pub(super) const fn open(&mut self, key: StreamKey) {
        self.key = Some(key);
        self.linger = Duration::ZERO;
    }

    /// Puts the end of a receiver behind the other ends that wait.
    pub(super) fn end(&mut self, end: ReceiverEnd) {
        self.ends.push_back(end);
    }

    /// How many ends wait for room.
    pub(super) fn ends(&self) -> usize {
        self.ends.len()
    }

    /// Puts a receiver behind those that write in turns.
    pub(super) fn line_up(&mut self, slot: ReceiverSlot) {
        self.waiting.push_back(slot);
    }

    /// Takes the receiver whose turn it is out of the line.
    pub(super) fn next_in_line(&mut self) -> Option<ReceiverSlot> {
        self.waiting.pop_front()
    }

    /// Whether a receiver stands in line.
    pub(super) fn has_line(&self) -> bool {
        !self.waiting.is_empty() || !self.ends.is_empty()
    }

    /// Notes that a receiver's queue has refused a run.
    #[cold]
    pub(super) fn refuse(&mut self, slot: ReceiverSlot) {
        if !self.refused.contains(&slot) {
            self.refused.push(slot);
        }
    }

    /// Forgets a receiver that is gone.
    pub(super) fn forget(&mut self, slot: ReceiverSlot) {
        self.waiting.retain(|&waiting| waiting != slot);
        self.refused.retain(|&refused| refused != slot);
    }

    /// Whether the stream should be written now, because lingering cannot gather more.
    pub(super) fn has_gathered(&self) -> bool {
        self.linger.is_zero()
            || self.stream.out_bytes() >= LINGER_BYTES
            || self.stream.is_blocked()
            || !self.takes()
    }

    /// When encoded runs are due, if that is earlier than the time that was set before.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Time> {
        let linger = std::mem::replace(&mut self.linger, Duration::MAX);
        if linger == Duration::MAX {
            return None;
        }
        let due = end_of_linger(now, linger);
        self.due.is_none_or(|before| due < before).then_some(due)
    }

    /// Resets the linger, because everything that was encoded is being written.
    pub(super) const fn begin_anew(&mut self) {
        self.linger = Duration::MAX;
    }

    /// Marks it as taken from the list of streams with something to write.
    pub(super) const fn clean(&mut self) {
        self.dirty = false;
    }
}

/// The shared streams of one core, in slots that are used again.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    slots: Vec<Option<Delivery>>,
    free: Vec<DeliverySlot>,
    /// Streams with something to write at the end of the turn, each once.
    dirty: Vec<DeliverySlot>,
    /// Streams that have room again.
    wakes: Arc<Wakes>,
}

impl Deliveries {
    pub(super) fn insert(&mut self, delivery: Delivery) -> DeliverySlot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(delivery);
            return slot;
        }
        self.slots.push(Some(delivery));
        u32::try_from(self.slots.len() - 1).expect("connections are fewer than 2^32")
    }

    pub(super) fn remove(&mut self, slot: DeliverySlot) -> Option<Delivery> {
        let delivery = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(delivery)
    }

    #[inline]
    pub(super) fn get(&self, slot: DeliverySlot) -> Option<&Delivery> {
        self.slots.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: DeliverySlot) -> Option<&mut Delivery> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Marks a stream as having something to write.
    #[inline]
    pub(super) fn mark(&mut self, slot: DeliverySlot) {
        if let Some(Some(delivery)) = self.slots.get_mut(slot as usize)
            && !delivery.dirty
        {
            delivery.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Whether a stream has something to write.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.wakes.any()
    }

    /// The list in which streams that wait stand when they have room again.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.wakes)
    }

    /// Marks streams that have room again.
    pub(super) fn mark_woken(&mut self) {
        if self.wakes.any() {
            for slot in self.wakes.take() {
                self.mark(slot);
            }
        }
    }

    /// Takes the streams with something to write, and leaves the list empty.
    pub(super) fn take_dirty(&mut self) -> Vec<DeliverySlot> {
        std::mem::take(&mut self.dirty)
    }

    /// The receivers of a connection whose queues have refused a run.
    pub(super) fn take_refused(&mut self, slot: DeliverySlot) -> Option<(ConnKey, Vec<ReceiverSlot>)> {
        let delivery = self.get_mut(slot).filter(|delivery| !delivery.refused.is_empty())?;
        Some((delivery.conn, std::mem::take(&mut delivery.refused)))
    }

    /// All shared streams.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.slots.iter().flatten()
    }
}
