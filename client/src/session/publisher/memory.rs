//! A store in memory.
//!
//! All events stand one behind the other in one buffer, in the form in which a run body carries
//! them; a run is a note about a stretch of it. Taking an event copies its payload once and
//! allocates nothing once the buffers have grown.

use std::collections::VecDeque;
use std::ops::Range;

use millrace_proto::limits::EVENTS_PER_RUN_MAX;
use millrace_proto::{TagSet, varint};

use super::store::{NewEvent, Store, StoreError, StoredRun};
use super::tags::{TagHandle, Tags};

/// Bytes that an event takes besides its payload, at most: its time, and a length of four bytes.
const EVENT_HEAD_BYTES_MAX: usize = 8 + 4;
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
    /// It held more than [`KEPT_BYTES`] when it was emptied last.
    was_large: bool,
}

/// A stretch of events with one tag set.
#[derive(Debug)]
struct Run {
    tags: RunTags,
    first_seq: u64,
    base_time_ns: u64,
    count: u32,
    bytes: usize,
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
    #[inline]
    fn seqs(&self) -> Range<u64> {
        self.runs.front().map_or(self.next_seq, |run| run.first_seq)..self.next_seq
    }

    /// The event joins the newest run when that has the same tag set, is not later, was not handed
    /// out, and stays within the size of a run.
    #[inline]
    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        let NewEvent { seq, tags, time_ns, payload, .. } = event;
        if !self.runs.is_empty() && self.bytes() + payload.len() > self.bytes_max {
            return Err(StoreError::Full);
        }
        self.make_room(payload.len() + EVENT_HEAD_BYTES_MAX);
        self.next_seq = seq + 1;
        let before = self.events.len();
        let is_open = self.runs.len() > self.sealed;
        if let Some(run) = self.runs.back_mut()
            && is_open
            && u64::from(run.count) < EVENTS_PER_RUN_MAX
            && run.bytes + payload.len() <= self.run_bytes
            && time_ns >= run.base_time_ns
            && run.tags.is(tags)
        {
            varint::put(&mut self.events, time_ns - run.base_time_ns);
            varint::put_prefixed(&mut self.events, payload);
            run.count += 1;
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
        self.runs.push_back(Run { tags, first_seq: seq, base_time_ns: time_ns, count: 1, bytes });
        Ok(())
    }

    #[inline]
    fn next_run(&self) -> Option<StoredRun<'_>> {
        let Run { tags, first_seq, base_time_ns, count, bytes } = self.runs.get(self.sent)?;
        let at = self.head + self.sent_bytes;
        Some(StoredRun {
            tags: tags.borrow(),
            first_seq: *first_seq,
            base_time_ns: *base_time_ns,
            count: *count,
            events: &self.events[at..at + bytes],
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
        self.sent = 0;
        self.sent_bytes = 0;
    }

    #[inline]
    fn release(&mut self, below: u64) {
        while self.runs.front().is_some_and(|run| run.first_seq + u64::from(run.count) <= below) {
            self.pop();
        }
    }

    #[inline]
    fn unsent_bytes(&self) -> usize {
        let runs = self.runs.len() - self.sent;
        self.events.len() - self.head - self.sent_bytes + runs * size_of::<Run>()
    }
}
