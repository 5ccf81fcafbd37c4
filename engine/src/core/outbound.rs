//! Writing runs to a stream: a receiver's, a lane's, or a sibling core's mailbox.
//!
//! A run is either *written* (encoded behind what was written before; never dropped after that) or *queued* (kept apart
//! from the stream's tables, so that it can still be dropped). It is written at once while nothing is queued, the grant is
//! not used up and the encoded bytes that wait are below their bound; for a receiver, those that its host has not
//! acknowledged count, too ([`Ahead`]). Numbers are assigned when a run is written, so a
//! drop never leaves a number that the reader does not know.
//!
//! Bodies are copied behind their heads, so that the transport gets few pieces. For a receiver, a large one that came in a
//! buffer of its own is a piece of its own instead: all receivers of this core hold the same buffer. Lanes, which may have far
//! more under way, and mailboxes, whose batches are one piece, get copies.
//!
//! ```text
//! push → [ queue: runs and gaps, bounded, drops by policy ] → encode → [ pieces, out ] → transport
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, Gap, GapReason, HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::table::{Naming, TableWriter};
use millrace_proto::{PublisherKey, TagSetRef};

use super::ahead::Ahead;
use super::queue::{Popped, RunQueue};
use super::receiver::ReceiverSlot;
use crate::routes::TagId;

/// A run on its way to one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOut<'a> {
    pub(super) tag: TagId,
    pub(super) tags: TagSetRef<'a>,
    pub(super) publisher: PublisherKey,
    pub(super) flags: u64,
    /// Optional fields of the hop header that do not depend on the stream, encoded.
    pub(super) fields: &'a [u8],
    pub(super) body: &'a [u8],
    /// The buffer that the body lies in, if it may be kept instead of copied.
    pub(super) buffer: Option<&'a Bytes>,
    pub(super) events: u64,
}

/// Which events give way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    DropOldest,
    DropNewest,
    /// The queue refuses; its owner disconnects.
    Refuse,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is written or queued; this many other events were dropped for it.
    Kept { dropped: u64 },
    /// It is not kept; with [`Overflow::Refuse`] nothing stands for it.
    Refused,
    /// It is larger than the whole queue; a gap stands for it.
    TooLarge,
}

/// A part of what was encoded.
#[derive(Debug)]
enum Piece {
    /// Heads, and bodies that were copied.
    Owned(Vec<u8>),
    /// A body, shared with other streams.
    Shared(Bytes),
}

/// Room for the head of a run frame.
const HEAD_BYTES: usize = 64;

/// What was encoded: never dropped after that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) events: u64,
    pub(super) gaps: u64,
}

/// Writes runs to one stream. What writing a run touches comes first, so that it lies in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(super) struct RunWriter {
    /// What was encoded last; what was encoded before it is in `pieces`.
    out: Vec<u8>,
    out_max: usize,
    /// Length of the last buffer that was taken: the next one starts with as much, and no idle stream holds memory.
    out_hint: usize,
    /// Bytes encoded since the stream began, without its preamble.
    encoded: u64,
    /// Bytes that may be encoded: a frame is begun only below it.
    grant: u64,
    /// Seq of the next run pushed, and the one that the reader expects next; they differ after a drop. Lanes only.
    next_seq: u64,
    expected_seq: u64,
    written: Written,
    /// Handed to the transport, which has not taken all of it.
    pending: Bytes,
    /// Bytes in `pieces`.
    pieces_bytes: usize,
    queue: RunQueue,
    tags: TableWriter<TagId>,
    publishers: TableWriter<PublisherKey>,
    /// Bounds what is encoded by what the reader's host has acknowledged. Receivers only.
    ahead: Option<Ahead>,
    /// Encoded before `out`, in order.
    pieces: VecDeque<Piece>,
    queue_bytes_max: u64,
    numbered: bool,
    overflow: Overflow,
    overflow_reason: GapReason,
}

impl RunWriter {
    /// A writer for a reader with tables of `capacity`. Writes up to `grant` bytes until told otherwise.
    pub(super) fn new(
        capacity: TableCapacity,
        queue_bytes_max: u64,
        out_max: usize,
        grant: u64,
        overflow: Overflow,
        overflow_reason: GapReason,
    ) -> Self {
        Self {
            tags: TableWriter::new(capacity.tag_sets, capacity.tag_bytes),
            publishers: TableWriter::new(capacity.publishers, u64::MAX),
            out: Vec::new(),
            out_max,
            out_hint: 0,
            pending: Bytes::new(),
            pieces: VecDeque::new(),
            pieces_bytes: 0,
            queue: RunQueue::default(),
            queue_bytes_max,
            overflow,
            overflow_reason,
            encoded: 0,
            grant,
            next_seq: 0,
            expected_seq: 0,
            numbered: false,
            written: Written::default(),
            ahead: None,
        }
    }

    /// Numbers runs as a lane does: a jump after a drop is written out.
    pub(super) fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// Encodes only as far as `ahead` allows.
    pub(super) fn within(mut self, ahead: Ahead) -> Self {
        self.out_max = ahead.room();
        self.ahead = Some(ahead);
        self
    }

    /// Sets how far the stream may run ahead of its reader's host, and encodes as far as that allows.
    pub(super) fn set_ahead(&mut self, bytes_max: usize) {
        if let Some(ahead) = &mut self.ahead {
            ahead.set_max(bytes_max);
            self.pump();
        }
    }

    /// Bytes that the reader's host has not acknowledged, of what was handed to the transport.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.ahead.as_ref().map_or(0, Ahead::held)
    }

    /// While something is queued: lists the receiver when acknowledgements make room for it.
    pub(super) fn wait_for_room(&self, slot: ReceiverSlot) {
        if let Some(ahead) = self.ahead.as_ref().filter(|_| !self.queue.is_empty()) {
            ahead.wait(slot);
        }
    }

    /// Reads a word of each cache line that writing a run touches.
    #[inline]
    pub(super) fn lines(&self) -> usize {
        self.out.len()
            ^ usize::from(self.written.gaps > 0)
            ^ usize::from(self.queue.is_empty())
            ^ self.tags.len()
            ^ self.publishers.len()
            ^ usize::from(self.numbered)
    }

    /// Starts the way of the names of a run's tag set and publisher to the core.
    #[inline]
    pub(super) fn fetch_names(&self, tag: &TagId, publisher: &PublisherKey) {
        self.tags.fetch(tag);
        self.publishers.fetch(publisher);
    }

    /// The stream's first frame, before everything else; does not count against the grant.
    pub(super) fn preamble(&mut self, frame: &[u8]) {
        self.out.splice(0..0, frame.iter().copied());
    }

    pub(super) const fn queued_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Events that are queued and not written.
    pub(super) const fn queued_events(&self) -> u64 {
        self.queue.events()
    }

    /// What was encoded since this was asked last.
    pub(super) fn take_written(&mut self) -> Written {
        std::mem::take(&mut self.written)
    }

    /// Whether there is something that the transport could take.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty() || !self.pending.is_empty() || self.pieces_bytes > 0
    }

    /// Whether everything was handed to the transport.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_output() && self.queue.is_empty()
    }

    /// Bytes encoded that wait for the transport.
    pub(super) fn out_bytes(&self) -> usize {
        self.out.len() + self.pending.len() + self.pieces_bytes
    }

    /// Raises the grant; grants never fall.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.grant = self.grant.max(bytes);
        self.pump();
    }

    fn may_encode(&self) -> bool {
        self.encoded < self.grant && self.out_bytes() < self.out_max
    }

    /// Whether what waits has gathered already, or nothing can be encoded behind it before it is written: to wait for more
    /// is in vain.
    pub(super) fn can_gather_no_more(&self) -> bool {
        !self.may_encode() || !self.pending.is_empty() || !self.queue.is_empty()
    }

    /// Takes a run: writes it, or queues it, or drops by policy.
    #[inline]
    pub(super) fn push(&mut self, run: &RunOut<'_>) -> Pushed {
        let seq = self.next_seq;
        self.next_seq += 1;
        let run = &RunOut { buffer: run.buffer.filter(|_| self.ahead.is_some()), ..*run };
        if self.queue.is_empty() && self.may_encode() {
            self.encode(run, seq);
            return Pushed::Kept { dropped: 0 };
        }
        self.enqueue(run, seq)
    }

    fn enqueue(&mut self, run: &RunOut<'_>, seq: u64) -> Pushed {
        let bytes = RunQueue::bytes_of(run);
        let mut dropped = 0;
        if bytes > self.queue_bytes_max {
            self.push_gap(Gap { reason: GapReason::TooLarge, events: run.events, router: None });
            return Pushed::TooLarge;
        }
        if self.queue.bytes() + bytes > self.queue_bytes_max {
            match self.overflow {
                Overflow::Refuse => return Pushed::Refused,
                Overflow::DropNewest => {
                    self.push_gap(Gap { reason: self.overflow_reason, events: run.events, router: None });
                    return Pushed::Refused;
                }
                Overflow::DropOldest => {
                    dropped = self.queue.drop_oldest(bytes, self.queue_bytes_max, self.overflow_reason);
                }
            }
        }
        self.queue.push(run, seq);
        Pushed::Kept { dropped }
    }

    /// Drops everything that is queued; what was encoded stays. Returns the events dropped.
    pub(super) fn drop_queue(&mut self) -> u64 {
        std::mem::take(&mut self.queue).events()
    }

    /// Puts a gap marker behind everything that was pushed.
    pub(super) fn push_gap(&mut self, gap: Gap) {
        if self.queue.push_gap(gap) {
            self.pump();
        }
    }

    /// Writes what the queue holds, as far as grant and bound allow.
    pub(super) fn pump(&mut self) {
        if let Some(ahead) = &self.ahead {
            self.out_max = ahead.room();
        }
        if self.queue.is_empty() {
            return;
        }
        let mut queue = std::mem::take(&mut self.queue);
        while self.may_encode()
            && queue.pop(|item| match item {
                Popped::Run(run, seq) => self.encode(&run, seq),
                Popped::Gap(gap) => {
                    self.written.gaps += 1;
                    let before = self.out.len();
                    gap.encode(&mut self.out);
                    self.encoded += (self.out.len() - before) as u64;
                }
            })
        {}
        self.queue = queue;
    }

    #[inline]
    fn encode(&mut self, run: &RunOut<'_>, seq: u64) {
        if self.out.capacity() == 0 {
            let bytes = match run.buffer {
                Some(_) => HEAD_BYTES,
                None => self.out_hint.max(run.body.len() + HEAD_BYTES),
            };
            self.out.reserve(bytes);
        }
        let before = self.out_bytes();
        let tags = match self.tags.name(&run.tag, run.tags.canonical().len() as u64) {
            Naming::Known(number) => TagsOnStream::Number(number),
            Naming::Define(number) => {
                data::put_define_tags(&mut self.out, number, run.tags);
                TagsOnStream::Number(number)
            }
            Naming::Inline => TagsOnStream::Inline(run.tags),
        };
        let publisher = match self.publishers.name(&run.publisher, 0) {
            Naming::Known(number) => PublisherOnStream::Number(number),
            Naming::Define(number) => {
                data::put_define_publisher(&mut self.out, number, run.publisher);
                PublisherOnStream::Number(number)
            }
            Naming::Inline => PublisherOnStream::Inline(run.publisher),
        };
        let lane_seq = (self.numbered && seq != self.expected_seq).then_some(seq);
        self.expected_seq = seq + 1;
        self.written.events += run.events;
        let header = HopHeader { tags, publisher, flags: run.flags, lane_seq, fields: run.fields };
        if let Some(buffer) = run.buffer {
            data::put_run_head(&mut self.out, &header, run.body.len());
            self.keep(buffer.slice_ref(run.body));
        } else {
            data::put_run(&mut self.out, &header, run.body);
        }
        self.encoded += (self.out_bytes() - before) as u64;
    }

    /// Puts a body behind what was encoded, as it is.
    fn keep(&mut self, body: Bytes) {
        // What was reserved for more than the head stays with the writer: only bytes written count.
        let head = if self.out.capacity() > 2 * self.out.len() + HEAD_BYTES {
            let head = self.out.clone();
            self.out.clear();
            head
        } else {
            std::mem::take(&mut self.out)
        };
        self.pieces_bytes += head.len() + body.len();
        self.pieces.push_back(Piece::Owned(head));
        self.pieces.push_back(Piece::Shared(body));
    }

    /// Bytes for the transport: what it did not take last time first. Empty when there is nothing.
    pub(super) fn take(&mut self) -> Bytes {
        if !self.pending.is_empty() {
            return std::mem::take(&mut self.pending);
        }
        let Some(piece) = self.take_piece() else { return Bytes::new() };
        let Some(ahead) = &self.ahead else { return piece.into_bytes() };
        let held = match piece {
            Piece::Owned(bytes) => ahead.hold(bytes),
            Piece::Shared(bytes) => ahead.hold(bytes),
        };
        self.out_max = ahead.room();
        held
    }

    fn take_piece(&mut self) -> Option<Piece> {
        if self.pieces_bytes > 0 {
            let piece = self.pieces.pop_front()?;
            self.pieces_bytes -= piece.len();
            return Some(piece);
        }
        if self.pieces.capacity() > 0 && self.queue.is_empty() {
            self.pieces = VecDeque::new();
        }
        if self.out.is_empty() {
            // What `keep` has left: an idle stream holds nothing.
            self.out = Vec::new();
            return None;
        }
        self.out_hint = self.out.len();
        Some(Piece::Owned(std::mem::take(&mut self.out)))
    }

    /// Gives back what the transport did not take.
    pub(super) fn put_back(&mut self, rest: Bytes) {
        self.pending = rest;
    }

    /// All encoded bytes as a batch for a sibling core.
    pub(super) fn take_batch(&mut self) -> Option<Vec<u8>> {
        if self.out.is_empty() {
            return None;
        }
        debug_assert!(self.pieces.is_empty(), "only receivers keep bodies");
        self.out_hint = self.out.len();
        let batch = std::mem::take(&mut self.out);
        self.pump();
        Some(batch)
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Owned(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Owned(bytes) => bytes.into(),
            Self::Shared(bytes) => bytes,
        }
    }
}
