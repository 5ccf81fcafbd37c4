//! To a peer: numbers its runs, so that a jump after a drop is seen, and copies every body, because
//! a lane may have far more under way than a receiver.

use std::sync::Arc;

use bytes::Bytes;
use millrace_proto::PublisherKey;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, GapReason, Mark};
use millrace_proto::table::Memo;

use super::encoder::Encoder;
use super::queue::{Overflow, Popped, QueuePolicy, RunQueue};
use super::total::Total;
use crate::core::run::{Fate, RunOut};
use crate::history::KnownSource;
use crate::ledger::Legs;
use crate::routes::TagId;

/// The stream of runs to one peer.
#[derive(Debug)]
#[repr(C)]
pub(in crate::core) struct LaneOutlet {
    encoder: Encoder,
    /// Bytes that may wait for the transport: a frame is begun only below it.
    out_max: usize,
    /// Seq of the next run pushed.
    next_seq: u64,
    /// Seq that the reader expects next; it differs after a drop.
    expected_seq: u64,
    /// Handed to the transport, which has not taken all of it.
    pending: Bytes,
    queue: RunQueue,
    /// What was written and is not answered, by lane seq.
    legs: Legs,
    /// The position that the reader was told last without a run.
    cursor: u64,
}

impl LaneOutlet {
    /// A stream that begins with `preamble`, for a reader with tables of `capacity`.
    pub(in crate::core) fn new(
        capacity: TableCapacity,
        queue_bytes_max: u64,
        out_max: usize,
        preamble: &[u8],
    ) -> Self {
        let mut encoder = Encoder::new(capacity);
        encoder.preamble(preamble);
        let policy = QueuePolicy {
            bytes_max: queue_bytes_max,
            overflow: Overflow::DropOldest,
            reason: GapReason::LaneOverflow,
        };
        Self {
            encoder,
            out_max,
            next_seq: 0,
            expected_seq: 0,
            pending: Bytes::new(),
            queue: RunQueue::new(policy, Total::default()),
            legs: Legs::default(),
            cursor: 0,
        }
    }

    /// As it is, but the reader is told the places of runs.
    pub(in crate::core) fn telling_places(mut self) -> Self {
        self.encoder.tell_places();
        self
    }

    /// Whether there are bytes for the transport.
    pub(in crate::core) const fn has_output(&self) -> bool {
        self.encoder.len() > 0 || !self.pending.is_empty()
    }

    /// Whether everything was handed to the transport.
    pub(in crate::core) fn is_empty(&self) -> bool {
        !self.has_output() && self.queue.is_empty()
    }

    #[inline]
    const fn has_room(&self) -> bool {
        self.encoder.len() + self.pending.len() < self.out_max
    }

    /// Takes a run: writes it, queues it, or drops by policy. Returns what became of it, and calls
    /// `lost` for each older run that gave way for it.
    #[inline]
    pub(in crate::core) fn push(&mut self, run: &RunOut<'_>, lost: impl FnMut(&RunOut<'_>)) -> Fate {
        let seq = self.next_seq;
        self.next_seq += 1;
        let run = &RunOut { buffer: None, ..*run };
        if self.queue.is_empty() && self.has_room() {
            write(&mut self.encoder, &mut self.legs, &mut self.expected_seq, run, seq);
            return Fate::Kept;
        }
        let (fate, gap) = self.queue.offer(run, seq, lost);
        if let Some(gap) = gap {
            self.push_gap(gap);
        }
        fate
    }

    /// Puts a gap marker behind everything that was pushed.
    pub(in crate::core) fn push_gap(&mut self, gap: Gap) {
        if self.queue.push_gap(gap) {
            self.drain();
        }
    }

    /// Says how far this core has come, behind everything that was pushed, if that is new to the
    /// reader; nothing while something is queued, because what is queued says it, too.
    pub(in crate::core) fn cursor(&mut self, own: &Arc<KnownSource>, position: u64) {
        if self.queue.is_empty() && self.has_room() && self.cursor < position {
            self.cursor = position;
            self.encoder.cursor(&[(Arc::clone(own), position)], &[]);
        }
    }

    /// Puts a mark behind everything that was pushed.
    pub(in crate::core) fn push_mark(&mut self, mark: Mark) {
        self.queue.push_mark(mark);
        self.drain();
    }

    /// Writes queued runs as far as there is room.
    pub(in crate::core) fn drain(&mut self) {
        while !self.queue.is_empty() && self.has_room() {
            let Self { encoder, expected_seq, queue, legs, .. } = self;
            queue.pop(|item| match item {
                Popped::Run(run, seq) => write(encoder, legs, expected_seq, &run, seq),
                Popped::Gap(gap) => encoder.gap(&gap),
                Popped::Mark(mark) => encoder.mark(&mark),
            });
        }
    }

    /// Runs that the peer has not answered for, by lane seq.
    pub(in crate::core) const fn legs(&mut self) -> &mut Legs {
        &mut self.legs
    }

    /// Drops everything that waits, and calls `lost` for each run that is a leg of an entry.
    /// Returns the events dropped.
    pub(in crate::core) fn clear(&mut self, lost: impl FnMut(&RunOut<'_>)) -> u64 {
        self.queue.clear(lost)
    }

    /// Takes bytes for the transport, first those that it left. Empty when there are none.
    pub(in crate::core) fn take(&mut self) -> Bytes {
        if self.pending.is_empty() {
            self.encoder.take().map_or_else(Bytes::new, Bytes::from)
        } else {
            std::mem::take(&mut self.pending)
        }
    }

    /// Gives back bytes that the transport did not take.
    pub(in crate::core) fn put_back(&mut self, rest: Bytes) {
        self.pending = rest;
    }

    /// Prefetches the names of a run's tag set and publisher.
    #[inline]
    pub(in crate::core) fn prefetch_names(&self, tag: &TagId, publisher: &PublisherKey) {
        self.encoder.prefetch_names(tag, Memo::default(), publisher);
    }
}

#[inline]
fn write(encoder: &mut Encoder, legs: &mut Legs, expected_seq: &mut u64, run: &RunOut<'_>, seq: u64) {
    if let Some(entry) = run.entry {
        legs.insert(seq, entry, run.span());
    }
    let lane_seq = (seq != *expected_seq).then_some(seq);
    *expected_seq = seq + 1;
    encoder.run(run, lane_seq);
}
