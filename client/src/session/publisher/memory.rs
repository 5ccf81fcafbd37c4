//! A store in memory.
//!
//! All events stand one behind the other in one buffer, in the form in which a run body carries
//! them; a run is a note about a stretch of it. Taking an event copies its payload once and
//! allocates nothing once the buffers have grown.

use std::collections::VecDeque;
use std::ops::Range;

use millrace_proto::limits::{EVENTS_PER_RUN_MAX, SET_BYTES_MAX};
use millrace_proto::{TagSet, varint};

use super::store::{GivenUp, NewEvent, Store, StoreError, StoredRun};
use super::tags::{TagHandle, Tags};

/// Bytes that an event takes besides its payload, at most: its time, and a length of four bytes.
const EVENT_HEAD_BYTES_MAX: usize = 8 + 4;
/// Bytes of a run's source seqs from which on no event joins it: half of what routers take.
const SOURCE_SEQS_BYTES: usize = SET_BYTES_MAX / 2;
/// Capacity that an empty store keeps in any case: enough for one flush, little enough for 100,000
/// sessions.
const KEPT_BYTES: usize = 64 * 1024;

/// Holds events in memory: what the process loses when it ends.
#[derive(Debug)]
pub struct MemoryStore {
    /// Most bytes held; one event fits an empty store, however large.
    bytes_max: usize,
    /// The size at which a run is cut.
    run_bytes: usize,
    next_seq: u64,
    events: Vec<u8>,
    /// Where the oldest run starts in `events`.
    head: usize,
    runs: VecDeque<Run>,
    /// Runs that were handed out, and the bytes of their events.
    sent: usize,
    sent_bytes: usize,
    /// Runs that were handed out, before a rewind, too: no event joins them any more.
    sealed: usize,
    /// Events of runs that are not final.
    held: u64,
    /// What runs take that are final and stand between others.
    dead_bytes: usize,
    /// Runs that expired and nobody was told of; each once, so that `bytes_max` bounds them.
    expired: VecDeque<Range<u64>>,
    /// It held more than [`KEPT_BYTES`] when it was emptied last.
    was_large: bool,
}

/// A stretch of events with one tag set.
#[derive(Debug)]
struct Run {
    tags: RunTags,
    /// Whom its events are for, and what they ask or answer.
    address: Box<[u8]>,
    /// The source seqs of its events, encoded; empty where they have none.
    source_seqs: Vec<u8>,
    last_source_seq: u64,
    first_seq: u64,
    base_time_ns: u64,
    last_time_ns: u64,
    count: u32,
    /// Events that [`Store::release_range`] has not named.
    pending: u32,
    bytes: usize,
}

impl Run {
    #[inline]
    const fn end_seq(&self) -> u64 {
        self.first_seq + self.count as u64
    }

    /// Whether an event with this source seq may join: both have one, or neither has.
    #[inline]
    fn is_followed_by(&self, source_seq: Option<u64>) -> bool {
        match source_seq {
            None => self.source_seqs.is_empty(),
            Some(seq) => {
                !self.source_seqs.is_empty()
                    && seq > self.last_source_seq
                    && self.source_seqs.len() < SOURCE_SEQS_BYTES
            }
        }
    }

    /// Adds the source seq of an event that joins.
    fn number(&mut self, source_seq: u64) {
        varint::put(&mut self.source_seqs, source_seq - self.last_source_seq);
        self.last_source_seq = source_seq;
    }
}

/// Whether two addresses are the same. Nearly all are empty, and those are not compared: where
/// `memcmp` reads with a mask (AVX-512), comparing no bytes at the place of an empty `Vec`, which
/// no page is behind, takes 150 ns.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    (one.is_empty() && other.is_empty()) || one == other
}

/// The source seqs of a run of one event.
fn encoded(source_seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, source_seq);
    bytes
}

#[derive(Debug)]
enum RunTags {
    Handle(TagHandle),
    Set(TagSet),
}

impl RunTags {
    #[inline]
    fn is(&self, tags: Tags<'_>) -> bool {
        match (self, tags) {
            (Self::Handle(mine), Tags::Handle(other)) => *mine == other,
            (Self::Set(mine), Tags::Set(other)) => mine == other,
            _ => false,
        }
    }

    #[inline]
    const fn borrow(&self) -> Tags<'_> {
        match self {
            Self::Handle(handle) => Tags::Handle(*handle),
            Self::Set(set) => Tags::Set(set),
        }
    }
}

impl MemoryStore {
    /// A store whose first event gets `first_seq`, that holds up to `bytes_max` bytes, in runs of
    /// about `run_bytes`.
    #[must_use]
    pub const fn new(first_seq: u64, bytes_max: usize, run_bytes: usize) -> Self {
        Self {
            bytes_max,
            run_bytes,
            next_seq: first_seq,
            events: Vec::new(),
            head: 0,
            runs: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
            sealed: 0,
            held: 0,
            dead_bytes: 0,
            expired: VecDeque::new(),
            was_large: false,
        }
    }

    /// Bytes that the events and the notes about them take.
    #[inline]
    fn bytes(&self) -> usize {
        self.events.len() - self.head + self.runs.len() * size_of::<Run>()
    }

    /// Forgets the oldest run.
    #[inline]
    fn pop(&mut self) {
        let Some(run) = self.runs.pop_front() else { return };
        self.head += run.bytes;
        if run.pending == 0 {
            self.dead_bytes -= run.bytes;
        } else {
            self.held -= u64::from(run.count);
        }
        self.sent = self.sent.saturating_sub(1);
        self.sent_bytes = self.sent_bytes.saturating_sub(run.bytes);
        self.sealed = self.sealed.saturating_sub(1);
        if self.runs.is_empty() {
            let is_large = self.events.len() > KEPT_BYTES;
            self.head = 0;
            self.events.clear();
            // Who fills it again and again would have it grown, byte by byte copied, each time.
            if self.events.capacity() > KEPT_BYTES && !(is_large && self.was_large) {
                self.events = Vec::new();
            }
            self.was_large = is_large;
        }
    }

    /// Takes what is final out from between the rest.
    #[cold]
    fn compact(&mut self) {
        let Self { runs, events, head, sent, sent_bytes, sealed, next_seq, .. } = self;
        let mut kept = Vec::with_capacity(events.len() - *head - self.dead_bytes);
        let (mut at, mut index) = (*head, 0);
        let (sent_before, sealed_before) = (*sent, *sealed);
        runs.retain(|run| {
            let is_kept = run.pending > 0;
            if is_kept {
                kept.extend_from_slice(&events[at..at + run.bytes]);
            } else {
                if index < sent_before {
                    *sent -= 1;
                    *sent_bytes -= run.bytes;
                }
                *sealed -= usize::from(index < sealed_before);
            }
            at += run.bytes;
            index += 1;
            is_kept
        });
        (*events, *head) = (kept, 0);
        // The seqs of a run follow each other: no event joins one behind which some were taken out.
        if runs.back().is_some_and(|run| run.end_seq() != *next_seq) {
            *sealed = runs.len();
        }
        self.dead_bytes = 0;
    }

    /// Moves what is held to the front where that saves from growing, and at least half of the
    /// buffer is free: each byte moves at most once for each that was released.
    #[inline]
    fn make_room(&mut self, bytes: usize) {
        if self.events.capacity() - self.events.len() < bytes && self.head >= self.events.len().div_ceil(2) {
            self.events.drain(..self.head);
            self.head = 0;
        }
    }
}

impl Store for MemoryStore {
    fn poll_given_up(&mut self) -> Option<(Range<u64>, GivenUp)> {
        self.expired.pop_front().map(|seqs| (seqs, GivenUp::Expired))
    }

    /// A run expires with its youngest event.
    fn expire_before(&mut self, time_ns: u64) {
        let waiting = self.runs.range(self.sent..);
        let expired = waiting.take_while(|run| run.last_time_ns < time_ns);
        let expired: Vec<Range<u64>> = expired.map(|run| run.first_seq..run.end_seq()).collect();
        for seqs in expired {
            self.release_range(seqs.clone());
            self.expired.push_back(seqs);
        }
        if !self.expired.is_empty() && self.dead_bytes > 0 {
            self.compact();
        }
    }

    #[inline]
    fn seqs(&self) -> Range<u64> {
        self.runs.front().map_or(self.next_seq, |run| run.first_seq)..self.next_seq
    }

    #[inline]
    fn has_room(&self, payload_bytes: usize) -> bool {
        self.runs.is_empty() || self.bytes() + payload_bytes <= self.bytes_max
    }

    /// The event joins the newest run when that has the same tag set and address, is not later, was
    /// not handed out, and stays within the size of a run.
    #[inline]
    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        let NewEvent { seq, tags, time_ns, payload, address, source_seq, .. } = event;
        if !self.has_room(payload.len()) {
            return Err(StoreError::Full);
        }
        self.make_room(payload.len() + EVENT_HEAD_BYTES_MAX);
        self.next_seq = seq + 1;
        self.held += 1;
        let before = self.events.len();
        let is_open = self.runs.len() > self.sealed;
        if let Some(run) = self.runs.back_mut()
            && is_open
            && u64::from(run.count) < EVENTS_PER_RUN_MAX
            && run.bytes + payload.len() <= self.run_bytes
            && time_ns >= run.base_time_ns
            && run.tags.is(tags)
            && is_same(&run.address, address)
            && run.is_followed_by(source_seq)
        {
            if let Some(source_seq) = source_seq {
                run.number(source_seq);
            }
            varint::put(&mut self.events, time_ns - run.base_time_ns);
            varint::put_prefixed(&mut self.events, payload);
            run.last_time_ns = run.last_time_ns.max(time_ns);
            run.count += 1;
            run.pending += 1;
            run.bytes += self.events.len() - before;
            return Ok(());
        }
        varint::put(&mut self.events, 0);
        varint::put_prefixed(&mut self.events, payload);
        let tags = match tags {
            Tags::Handle(handle) => RunTags::Handle(handle),
            Tags::Set(set) => RunTags::Set(set.clone()),
        };
        let bytes = self.events.len() - before;
        self.runs.push_back(Run {
            tags,
            address: address.into(),
            source_seqs: source_seq.map(encoded).unwrap_or_default(),
            last_source_seq: source_seq.unwrap_or_default(),
            first_seq: seq,
            base_time_ns: time_ns,
            last_time_ns: time_ns,
            count: 1,
            pending: 1,
            bytes,
        });
        Ok(())
    }

    #[inline]
    fn next_run(&self) -> Option<StoredRun<'_>> {
        let Run { tags, address, source_seqs, first_seq, base_time_ns, count, bytes, .. } =
            self.runs.get(self.sent)?;
        let at = self.head + self.sent_bytes;
        Some(StoredRun {
            tags: tags.borrow(),
            first_seq: *first_seq,
            base_time_ns: *base_time_ns,
            count: *count,
            events: &self.events[at..at + bytes],
            address,
            source_seqs,
        })
    }

    #[inline]
    fn advance(&mut self) {
        let Some(run) = self.runs.get(self.sent) else { return };
        self.sent += 1;
        self.sent_bytes += run.bytes;
        self.sealed = self.sealed.max(self.sent);
    }

    fn rewind(&mut self) {
        if self.dead_bytes > 0 {
            self.compact();
        }
        self.sent = 0;
        self.sent_bytes = 0;
    }

    #[inline]
    fn release(&mut self, below: u64) {
        while self.runs.front().is_some_and(|run| run.end_seq() <= below) {
            self.pop();
        }
    }

    fn release_range(&mut self, seqs: Range<u64>) {
        let first = match self.runs.front() {
            Some(run) if seqs.start < run.end_seq() => 0,
            _ => self.runs.partition_point(|run| run.end_seq() <= seqs.start),
        };
        for run in self.runs.range_mut(first..) {
            if run.first_seq >= seqs.end {
                break;
            }
            let overlap = run.end_seq().min(seqs.end) - run.first_seq.max(seqs.start);
            run.pending = run.pending.saturating_sub(u32::try_from(overlap).unwrap_or(u32::MAX));
            if run.pending == 0 {
                self.held -= u64::from(run.count);
                self.dead_bytes += run.bytes;
            }
        }
        while self.runs.front().is_some_and(|run| run.pending == 0) {
            self.pop();
        }
        // Each byte moves at most once for each that was released.
        if self.dead_bytes > KEPT_BYTES.max((self.events.len() - self.head) / 2) {
            self.compact();
        }
    }

    fn leave_out(&mut self, seqs: Range<u64>) {
        self.release_range(seqs);
        if self.dead_bytes > 0 {
            self.compact();
        }
    }

    fn forget_all(&mut self) {
        while !self.runs.is_empty() {
            self.pop();
        }
    }

    #[inline]
    fn held(&self) -> u64 {
        self.held
    }

    #[inline]
    fn unsent_bytes(&self) -> usize {
        let runs = self.runs.len() - self.sent;
        self.events.len() - self.head - self.sent_bytes + runs * size_of::<Run>()
    }
}
