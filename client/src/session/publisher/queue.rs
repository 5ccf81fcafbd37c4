//! Events that wait to be written, as runs.
//!
//! All events stand one behind the other in one buffer, in the form in which a run body carries them; a run is a note about
//! a stretch of it. Queueing an event copies its payload once and allocates nothing once the buffers have grown.

use std::collections::VecDeque;

use millrace_proto::limits::EVENTS_PER_RUN_MAX;
use millrace_proto::{TagSet, varint};

use super::{TagHandle, Tags};

/// A stretch of queued events with one tag set.
#[derive(Debug)]
pub(super) struct QueuedRun {
    pub(super) tags: RunTags,
    pub(super) first_seq: u64,
    pub(super) base_time_ns: u64,
    pub(super) count: u32,
    bytes: usize,
}

/// The tag set of a queued run.
#[derive(Debug)]
pub(super) enum RunTags {
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
}

/// Queued runs, oldest first.
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    events: Vec<u8>,
    /// Where the oldest run starts in `events`.
    head: usize,
    runs: VecDeque<QueuedRun>,
    /// It held more than [`KEPT_BYTES`] when it was emptied last.
    was_large: bool,
}

impl RunQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes that the queued events and their notes take.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.events.len() - self.head + self.runs.len() * size_of::<QueuedRun>()
    }

    /// Queues one event: in the newest run when that has the same tag set, is not later, and stays within `run_bytes`.
    #[inline]
    pub(super) fn push(&mut self, tags: Tags<'_>, seq: u64, time_ns: u64, payload: &[u8], run_bytes: usize) {
        self.make_room(payload.len() + EVENT_HEAD_BYTES_MAX);
        let before = self.events.len();
        if let Some(run) = self.runs.back_mut()
            && u64::from(run.count) < EVENTS_PER_RUN_MAX
            && run.bytes + payload.len() <= run_bytes
            && time_ns >= run.base_time_ns
            && run.tags.is(tags)
        {
            varint::put(&mut self.events, time_ns - run.base_time_ns);
            varint::put_prefixed(&mut self.events, payload);
            run.count += 1;
            run.bytes += self.events.len() - before;
            return;
        }
        varint::put(&mut self.events, 0);
        varint::put_prefixed(&mut self.events, payload);
        let tags = match tags {
            Tags::Handle(handle) => RunTags::Handle(handle),
            Tags::Set(set) => RunTags::Set(set.clone()),
        };
        let bytes = self.events.len() - before;
        self.runs.push_back(QueuedRun { tags, first_seq: seq, base_time_ns: time_ns, count: 1, bytes });
    }

    /// The oldest run and its events.
    #[inline]
    pub(super) fn front(&self) -> Option<(&QueuedRun, &[u8])> {
        let run = self.runs.front()?;
        Some((run, &self.events[self.head..self.head + run.bytes]))
    }

    /// Forgets the oldest run.
    #[inline]
    pub(super) fn pop(&mut self) {
        let Some(run) = self.runs.pop_front() else { return };
        self.head += run.bytes;
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

    /// Moves what is queued to the front where that saves from growing, and at least half of the buffer is free: each byte
    /// moves at most once for each that was popped.
    #[inline]
    fn make_room(&mut self, bytes: usize) {
        if self.events.capacity() - self.events.len() < bytes && self.head >= self.events.len().div_ceil(2) {
            self.events.drain(..self.head);
            self.head = 0;
        }
    }
}

/// Bytes that an event takes besides its payload, at most: its time, and a length of four bytes.
const EVENT_HEAD_BYTES_MAX: usize = 8 + 4;
/// Capacity that an empty queue keeps in any case: enough for one flush, little enough for 100,000 sessions.
const KEPT_BYTES: usize = 64 * 1024;
