//! To a sibling core: batches, each of which is one piece, so that bodies are copied.

use std::sync::Arc;

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

/// The runs for one sibling core, as one stream that is cut into batches.
#[derive(Debug)]
#[repr(C)]
pub(in crate::core) struct MailboxOutlet {
    encoder: Encoder,
    /// A frame is begun only while a batch has fewer bytes than this.
    out_max: usize,
    queue: RunQueue,
    /// Number of the next run whose end is to be told.
    next: u64,
    /// Runs that the sibling has not answered for, by these numbers.
    legs: Legs,
}

impl MailboxOutlet {
    /// An empty outlet for a reader with tables of `capacity`.
    pub(in crate::core) fn new(capacity: TableCapacity, queue_bytes_max: u64, out_max: usize) -> Self {
        let policy = QueuePolicy {
            bytes_max: queue_bytes_max,
            overflow: Overflow::DropOldest,
            reason: GapReason::MailboxOverflow,
        };
        let mut encoder = Encoder::new(capacity);
        encoder.tell_places();
        Self {
            encoder,
            out_max,
            queue: RunQueue::new(policy, Total::default()),
            next: 0,
            legs: Legs::default(),
        }
    }

    /// Bytes that wait in the queue.
    pub(in crate::core) const fn queued_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Whether nothing waits for the mailbox.
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.encoder.len() == 0 && self.queue.is_empty()
    }

    #[inline]
    const fn has_room(&self) -> bool {
        self.encoder.len() < self.out_max
    }

    /// Takes a run: writes it, queues it, or drops by policy. Returns what became of it, and calls
    /// `lost` for each older run that gave way for it.
    #[inline]
    pub(in crate::core) fn push(&mut self, run: &RunOut<'_>, lost: impl FnMut(&RunOut<'_>)) -> Fate {
        let run = &RunOut { buffer: None, ..*run };
        if self.queue.is_empty() && self.has_room() {
            write(&mut self.encoder, &mut self.legs, &mut self.next, run);
            return Fate::Kept;
        }
        let (fate, gap) = self.queue.offer(run, 0, lost);
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

    /// Puts a mark behind everything that was pushed.
    pub(in crate::core) fn push_mark(&mut self, mark: Mark) {
        self.queue.push_mark(mark);
        self.drain();
    }

    fn drain(&mut self) {
        while !self.queue.is_empty() && self.has_room() {
            let Self { encoder, queue, legs, next, .. } = self;
            queue.pop(|item| match item {
                Popped::Run(run, _) => write(encoder, legs, next, &run),
                Popped::Gap(gap) => encoder.gap(&gap),
                Popped::Mark(mark) => encoder.mark(&mark),
            });
        }
    }

    /// Says how far sources have come, behind everything that was pushed; nothing while something
    /// is queued, because what is queued says it, too.
    pub(in crate::core) fn cursor(&mut self, positions: &[(Arc<KnownSource>, u64)]) {
        if self.queue.is_empty() {
            self.encoder.cursor(positions, &[]);
        }
    }

    /// Runs that the sibling has not answered for, by the numbers that the batches carry.
    pub(in crate::core) const fn legs(&mut self) -> &mut Legs {
        &mut self.legs
    }

    /// Takes all encoded bytes as a batch.
    pub(in crate::core) fn take_batch(&mut self) -> Option<Vec<u8>> {
        let batch = self.encoder.take()?;
        self.drain();
        Some(batch)
    }

    /// Prefetches the names of a run's tag set and publisher.
    #[inline]
    pub(in crate::core) fn prefetch_names(&self, tag: &TagId, publisher: &PublisherKey) {
        self.encoder.prefetch_names(tag, Memo::default(), publisher);
    }
}

/// Writes a run; one whose end is to be told carries a number.
#[inline]
fn write(encoder: &mut Encoder, legs: &mut Legs, next: &mut u64, run: &RunOut<'_>) {
    let number = run.entry.map(|entry| {
        let number = *next;
        *next += 1;
        legs.insert(number, entry, run.span());
        number
    });
    encoder.run(run, number);
}
