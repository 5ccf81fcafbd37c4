//! To a client: a stream, and the queue of a receiver that drains into it.
//!
//! A [`DeliveryStream`] belongs to one stream: its encoder, bytes that the transport has not taken,
//! and how far the stream may run ahead of its reader's host ([`Ahead`]). A [`ReceiverQueue`]
//! belongs to one receiver: the runs that wait, its policy and its grant. A run is written while
//! its receiver has grant left and the stream has room. Otherwise it waits in the receiver's queue,
//! so that it holds up no other receiver. A large body that came in a buffer of its own becomes a
//! piece of its own in the stream, because all receivers of this core share the buffer.

mod aside;
mod crowd;
mod passed;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, ReceiverEnd, Replay};
use millrace_proto::table::Memo;
use millrace_proto::{PublisherKey, ReceiverNumber};

use self::passed::PassedOver;
use super::ahead::Ahead;
use super::backlogged::Backlogged;
use super::encoder::{Encoder, Written};
use super::piece::Piece;
use super::queue::{Popped, QueuePolicy, RunQueue};
use super::total::Total;
use crate::core::run::{Fate, RunOut};
use crate::core::slot::ReceiverSlot;
use crate::history::KnownSource;
use crate::ledger::{EntryId, Legs};
use crate::routes::TagId;

/// Bytes that a lingering receiver gathers before it writes at once.
pub(in crate::core) const LINGER_BYTES: usize = 16 * 1024;

/// One stream to a client. What writing a run touches comes first, so that it lies in few cache
/// lines.
#[derive(Debug)]
#[repr(C)]
pub(in crate::core) struct DeliveryStream {
    /// Encodes the newest bytes; older ones are in `pieces`.
    encoder: Encoder,
    /// A frame is begun only while fewer bytes than this wait for the transport.
    out_max: usize,
    /// Bytes in `pieces`.
    pieces_bytes: usize,
    /// Bytes that the transport was offered and has not taken.
    pending: Bytes,
    ahead: Ahead,
    pieces: VecDeque<Piece>,
}

impl DeliveryStream {
    /// A stream that begins with `preamble`, for a reader with tables of `capacity`.
    pub(in crate::core) fn new(capacity: TableCapacity, ahead: Ahead, preamble: &[u8]) -> Self {
        let mut encoder = Encoder::new(capacity);
        encoder.preamble(preamble);
        let out_max = ahead.room();
        Self { encoder, out_max, pieces_bytes: 0, pending: Bytes::new(), ahead, pieces: VecDeque::new() }
    }

    /// As it is, but the reader is told the places of runs.
    pub(in crate::core) fn telling_places(mut self) -> Self {
        self.encoder.tell_places();
        self
    }

    /// Sets how far the stream may run ahead of its reader's host.
    pub(in crate::core) const fn set_ahead(&mut self, bytes_max: usize) {
        self.ahead.set_max(bytes_max);
    }

    /// Bytes that the transport holds because the reader's host has not acknowledged them.
    pub(in crate::core) fn ahead_bytes(&self) -> usize {
        self.ahead.held()
    }

    /// Puts the receiver on the list of those with room when acknowledgements make room.
    pub(in crate::core) fn wait_for_room(&self, slot: ReceiverSlot) -> bool {
        self.ahead.wait(slot)
    }

    /// Whether there are bytes for the transport.
    pub(in crate::core) const fn has_output(&self) -> bool {
        self.encoder.len() > 0 || !self.pending.is_empty() || self.pieces_bytes > 0
    }

    /// Whether nothing is encoded and no memory is held for it.
    #[inline]
    pub(in crate::core) fn is_bare(&self) -> bool {
        self.encoder.is_bare() && self.pending.is_empty() && self.pieces.capacity() == 0
    }

    /// Encoded bytes that wait for the transport.
    #[inline]
    pub(in crate::core) const fn out_bytes(&self) -> usize {
        self.encoder.len() + self.pending.len() + self.pieces_bytes
    }

    /// Whether the transport left a part of the bytes that it was offered.
    pub(in crate::core) const fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a frame may be begun.
    #[inline]
    pub(in crate::core) const fn has_room(&self) -> bool {
        self.out_bytes() < self.out_max
    }

    /// Appends a run. Returns the bytes that it takes.
    #[inline(always)]
    fn write(&mut self, run: &RunOut<'_>) -> u64 {
        let before = self.out_bytes();
        if let Some(buffer) = run.buffer {
            self.encoder.head(run);
            let (head, body) = (self.encoder.take_head(), buffer.slice_ref(run.body));
            self.pieces_bytes += head.len() + body.len();
            self.pieces.push_back(Piece::Owned(head));
            self.pieces.push_back(Piece::Shared(body));
        } else {
            self.encoder.run(run, None);
        }
        (self.out_bytes() - before) as u64
    }

    /// Appends a run for the receivers that `targets` names; there are `receivers` of them.
    #[inline(always)]
    pub(in crate::core) fn deliver(&mut self, run: &RunOut<'_>, targets: &[u8], receivers: u64) {
        self.encoder.count(run.events * receivers);
        if let Some(buffer) = run.buffer {
            self.encoder.deliver_head(run, targets);
            let (head, body) = (self.encoder.take_head(), buffer.slice_ref(run.body));
            self.pieces_bytes += head.len() + body.len();
            self.pieces.push_back(Piece::Owned(head));
            self.pieces.push_back(Piece::Shared(body));
        } else {
            self.encoder.deliver(run, targets);
        }
    }

    /// Appends a gap for these receivers of the stream; for all of them when the list is empty.
    pub(in crate::core) fn deliver_gap(&mut self, gap: &Gap, receivers: Vec<ReceiverNumber>) {
        self.encoder.deliver_gap(gap, receivers);
    }

    /// Appends the begin of a replay, or its end, on a stream that receivers share.
    pub(in crate::core) fn replay(&mut self, replay: &Replay) {
        self.encoder.replay(replay);
    }

    /// Whether the reader is told the places of runs.
    pub(in crate::core) const fn tells_places(&self) -> bool {
        self.encoder.tells_places()
    }

    /// Says how far sources have come at these receivers; at all of the stream when none is named.
    pub(in crate::core) fn cursor(
        &mut self,
        positions: &[(Arc<KnownSource>, u64)],
        receivers: &[ReceiverNumber],
    ) {
        self.encoder.cursor(positions, receivers);
    }

    /// Appends the end of a receiver.
    pub(in crate::core) fn end_receiver(&mut self, end: &ReceiverEnd) {
        self.encoder.end_receiver(end);
    }

    /// Updates how many bytes may be encoded from what the host has acknowledged.
    pub(in crate::core) fn look_for_room(&mut self) {
        self.out_max = self.ahead.room();
    }

    /// Appends a gap. Returns the bytes that it takes.
    fn write_gap(&mut self, gap: &Gap) -> u64 {
        let before = self.encoder.len();
        self.encoder.gap(gap);
        (self.encoder.len() - before) as u64
    }

    /// Takes bytes for the transport, first those that it left. Empty when there are none.
    pub(in crate::core) fn take(&mut self) -> Bytes {
        if !self.pending.is_empty() {
            return std::mem::take(&mut self.pending);
        }
        let Some(piece) = self.take_piece() else { return Bytes::new() };
        let held = match piece {
            Piece::Owned(bytes) => self.ahead.hold(bytes),
            Piece::Shared(bytes) => self.ahead.hold(bytes),
        };
        self.out_max = self.ahead.room();
        held
    }

    fn take_piece(&mut self) -> Option<Piece> {
        if self.pieces_bytes > 0 {
            let piece = self.pieces.pop_front()?;
            self.pieces_bytes -= piece.len();
            return Some(piece);
        }
        let piece = self.encoder.take().map(Piece::Owned);
        if piece.is_none() && self.pieces.capacity() > 0 {
            self.pieces = VecDeque::new();
        }
        piece
    }

    /// Gives back bytes that the transport did not take.
    pub(in crate::core) fn put_back(&mut self, rest: Bytes) {
        self.pending = rest;
    }

    /// Counts of what was encoded since the last call.
    pub(in crate::core) fn take_written(&mut self) -> Written {
        self.encoder.take_written()
    }

    /// Reads a word of each cache line that writing a run touches.
    #[inline]
    pub(in crate::core) fn lines(&self) -> usize {
        self.encoder.lines() ^ self.out_max ^ self.pending.len()
    }

    /// Prefetches the names of a run's tag set and publisher.
    #[inline]
    pub(in crate::core) fn prefetch_names(&self, tag: &TagId, memo: Memo, publisher: &PublisherKey) {
        self.encoder.prefetch_names(tag, memo, publisher);
    }
}

/// The runs that wait for one receiver, and its grant.
#[derive(Debug)]
#[repr(C)]
pub(in crate::core) struct ReceiverQueue {
    /// What was left of the grant when it was raised last.
    window: u64,
    /// Bytes written to the stream for this receiver, without the preamble. On a shared stream:
    /// bytes of run bodies.
    written: u64,
    /// Bytes that may be written in all: a frame is begun only below it.
    grant: u64,
    /// Runs that were written for this receiver.
    runs: u64,
    /// Whether somebody has to look at the queue: it begins to fill, is crowded, or stalls.
    is_notable: bool,
    /// Whether something waits and is not taken.
    is_stalled: bool,
    /// Runs that are counted instead of queued.
    passed: PassedOver,
    queue: RunQueue,
    /// Since when the queue fills, and what was taken since; none while nothing waits.
    backlogged: Option<Backlogged>,
    /// Runs that its application has not acknowledged, by their count.
    legs: Legs,
}

impl ReceiverQueue {
    /// An empty queue, with `grant` bytes to begin with.
    pub(in crate::core) fn new(policy: QueuePolicy, grant: u64, total: Total) -> Self {
        Self {
            window: grant,
            written: 0,
            grant,
            is_notable: false,
            is_stalled: false,
            passed: PassedOver::default(),
            queue: RunQueue::new(policy, total),
            backlogged: None,
            runs: 0,
            legs: Legs::default(),
        }
    }

    /// Bytes that wait.
    pub(in crate::core) const fn bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Memory that is reserved for what waits.
    pub(in crate::core) const fn room(&self) -> u64 {
        self.queue.room()
    }

    /// Bytes that may wait.
    pub(in crate::core) const fn bytes_max(&self) -> u64 {
        self.queue.bytes_max()
    }

    /// Whether a run can wait, too, and nothing gives way for it.
    pub(in crate::core) fn fits(&self, run: &RunOut<'_>) -> bool {
        self.bytes() + RunQueue::bytes_of(run) <= self.bytes_max()
    }

    /// Events that wait.
    pub(in crate::core) const fn events(&self) -> u64 {
        self.queue.events()
    }

    /// Whether nothing waits.
    #[inline]
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether it has refused a run, by a policy that ends the receiver.
    pub(in crate::core) const fn has_refused(&self) -> bool {
        self.queue.has_refused()
    }

    /// Raises the grant and writes what it allows; a grant never falls.
    pub(in crate::core) fn grant(&mut self, bytes: u64, stream: &mut DeliveryStream) {
        self.raise(bytes);
        self.drain_into(stream);
    }

    #[inline]
    const fn may_write(&self, stream: &DeliveryStream) -> bool {
        self.written < self.grant && stream.has_room()
    }

    /// Whether lingering is useless, because the stream takes no more before it is sent.
    pub(in crate::core) fn can_gather_no_more(&self, stream: &DeliveryStream) -> bool {
        !self.may_write(stream) || stream.is_blocked() || !self.queue.is_empty()
    }

    /// Takes a run: writes it, queues it, or drops by policy. Returns what became of it, and calls
    /// `lost` for each older run that gave way for it.
    #[inline(always)]
    pub(in crate::core) fn push(
        &mut self,
        run: &RunOut<'_>,
        stream: &mut DeliveryStream,
        lost: impl FnMut(&RunOut<'_>),
    ) -> Fate {
        if self.queue.is_empty() && self.may_write(stream) {
            self.written += stream.write(run);
            count_run(&mut self.runs, &mut self.legs, run, run.entry);
            return Fate::Kept;
        }
        self.push_waiting(run, stream, lost)
    }

    /// As [`push`](Self::push), where something waits or the stream takes nothing. Kept out of
    /// line, so that the fast path stays small.
    #[inline(never)]
    fn push_waiting(
        &mut self,
        run: &RunOut<'_>,
        stream: &mut DeliveryStream,
        lost: impl FnMut(&RunOut<'_>),
    ) -> Fate {
        if self.passed.is_on {
            return self.count_passed_over(run.events);
        }
        let (fate, gap) = self.queue.offer(run, 0, lost);
        self.count_crowd();
        if let Some(gap) = gap {
            self.push_gap(gap, stream);
        }
        fate
    }

    /// Puts a gap marker behind everything that was pushed.
    pub(in crate::core) fn push_gap(&mut self, gap: Gap, stream: &mut DeliveryStream) {
        self.tell_passed_over();
        if self.queue.push_gap(gap) {
            self.drain_into(stream);
        }
    }

    /// Writes queued runs as far as grant and stream allow.
    #[inline]
    pub(in crate::core) fn drain_into(&mut self, stream: &mut DeliveryStream) {
        stream.out_max = stream.ahead.room();
        if !self.queue.is_empty() {
            self.write_waiting(stream);
        }
    }

    /// Kept out of line, so that the fast path stays small.
    #[inline(never)]
    fn write_waiting(&mut self, stream: &mut DeliveryStream) {
        self.tell_passed_over();
        while !self.queue.is_empty() && self.may_write(stream) {
            self.passed.end();
            let Self { written, runs, legs, queue, .. } = self;
            queue.pop(|item| {
                *written += match item {
                    Popped::Run(run, _) => {
                        count_run(runs, legs, &run, run.entry);
                        stream.write(&run)
                    }
                    Popped::Gap(gap) => stream.write_gap(&gap),
                    Popped::Mark(mark) => stream.write_mark(&mark),
                };
            });
        }
        self.count_crowd();
    }

    /// Drops by policy until at most `bytes_max` wait, and calls `lost` for each run; a gap stands
    /// for them.
    pub(in crate::core) fn shed(&mut self, room: u64, lost: impl FnMut(&RunOut<'_>)) {
        self.tell_passed_over();
        self.queue.shed(room, lost);
        self.count_crowd();
    }

    /// Raises the grant of a receiver that shares its stream; a grant never falls.
    pub(in crate::core) fn raise(&mut self, bytes: u64) {
        self.grant = self.grant.max(bytes);
        self.window = self.grant.saturating_sub(self.written);
    }

    /// Whether any grant is left.
    #[inline]
    pub(in crate::core) const fn has_grant(&self) -> bool {
        self.written < self.grant
    }

    /// Whether this receiver lets a run be written at once: its queue is empty, and grant is left.
    #[inline]
    pub(in crate::core) fn may_pass(&self) -> bool {
        self.has_grant() && self.queue.is_empty()
    }

    /// Counts a run that was written to a shared stream. Bytes beyond the grant are owed.
    #[inline]
    pub(in crate::core) fn count(&mut self, run: &RunOut<'_>, entry: Option<EntryId>) {
        self.written += run.body.len() as u64;
        count_run(&mut self.runs, &mut self.legs, run, entry);
    }

    /// Queues a run, or drops by policy. Returns what became of it, and calls `lost` for each older
    /// run that gave way for it. Kept out of line, so that the fast path stays small.
    #[inline(never)]
    pub(in crate::core) fn keep(&mut self, run: &RunOut<'_>, lost: impl FnMut(&RunOut<'_>)) -> Fate {
        if self.passed.is_on {
            return self.count_passed_over(run.events);
        }
        let (fate, gap) = self.queue.offer(run, 0, lost);
        if let Some(gap) = gap {
            self.queue.push_gap(gap);
        }
        self.count_crowd();
        fate
    }

    /// Queues a gap.
    pub(in crate::core) fn keep_gap(&mut self, gap: Gap) {
        self.tell_passed_over();
        self.queue.push_gap(gap);
    }

    /// Writes the oldest queued run or gap to a shared stream, where a run's fields are its target.
    pub(in crate::core) fn pop_into(&mut self, number: ReceiverNumber, stream: &mut DeliveryStream) {
        self.tell_passed_over();
        self.passed.end();
        let Self { written, queue, runs, legs, .. } = self;
        queue.pop(|item| match item {
            Popped::Run(run, _) => {
                count_run(runs, legs, &run, run.entry);
                *written += run.body.len() as u64;
                stream.deliver(&RunOut { fields: &[], ..run }, run.fields, 1);
            }
            Popped::Gap(gap) => stream.deliver_gap(&gap, vec![number]),
            Popped::Mark(mark) => stream.deliver_mark(mark, number),
        });
        self.count_crowd();
    }

    /// Drops everything that waits, and calls `lost` for each run that is a leg of an entry;
    /// written runs stay. Returns the events dropped.
    pub(in crate::core) fn clear(&mut self, lost: impl FnMut(&RunOut<'_>)) -> u64 {
        self.passed.forget();
        self.queue.clear(lost)
    }

    /// Runs that its application has not acknowledged, by the count of runs written for it.
    pub(in crate::core) const fn legs(&mut self) -> &mut Legs {
        &mut self.legs
    }
}

/// Counts a run that is written for a receiver.
#[inline]
fn count_run(runs: &mut u64, legs: &mut Legs, run: &RunOut<'_>, entry: Option<EntryId>) {
    let number = *runs;
    *runs += 1;
    if let Some(entry) = entry {
        legs.insert(number, entry, run.span());
    }
}
