//! What holds a publisher's events until they are final: the interface between the
//! [window](super::window) and memory or a disk.
//!
//! A store is a row of *runs*, consecutive events with one tag set, oldest first, and a place in
//! it:
//!
//! ```text
//!   handed out ───────────┐┌─ not handed out yet
//!  [run 40–42][run 43–43] │ [run 44–49][run 50–51] ◀─ append
//!  ▲                       ▲
//!  seqs().start            next_run()        advance() moves it right, rewind() to the left end
//!  release(below) cuts here
//! ```
//!
//! Events of a run that was handed out never change, because a router may have read it.

use std::fmt;
use std::io;
use std::ops::Range;

use millrace_proto::TagSet;

use super::tags::Tags;

/// An event on its way into a store.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// Its seq: one more than that of the event before.
    pub seq: u64,
    /// Its tags as the publisher named them. A handle means something in this process only.
    pub tags: Tags<'a>,
    /// Its tags by value.
    pub set: &'a TagSet,
    /// When it happened, nanoseconds since 1970.
    pub time_ns: u64,
    /// What it says.
    pub payload: &'a [u8],
}

/// A run of a store, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct StoredRun<'a> {
    /// The tag set of its events.
    pub tags: Tags<'a>,
    /// Seq of the first event; the others follow without gaps.
    pub first_seq: u64,
    /// What the events' times are relative to, nanoseconds since 1970.
    pub base_time_ns: u64,
    /// Number of events, at least one.
    pub count: u32,
    /// The events as a run body carries them ([`millrace_proto::run`]).
    pub events: &'a [u8],
}

impl StoredRun<'_> {
    /// First seq behind the run.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }
}

/// Why a store does not take an event. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It holds as much as it may: it takes events again when some were released.
    #[error("the store is full")]
    Full,
    /// What it writes to failed.
    #[error("the store failed: {}", io::Error::from(*.0))]
    Failed(io::ErrorKind),
}

/// Holds a publisher's events until they are final.
pub trait Store: fmt::Debug {
    /// The seqs of the events that it holds, and so the seq that it expects next. A store that
    /// outlives the process begins with what it held before.
    fn seqs(&self) -> Range<u64>;

    /// Takes an event, behind all others.
    ///
    /// # Errors
    /// [`StoreError`].
    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError>;

    /// The oldest run that was not handed out since the last [`Store::rewind`]. `None` when there
    /// is none, or when it may not be sent yet, for instance because the disk does not have it.
    fn next_run(&self) -> Option<StoredRun<'_>>;

    /// What [`Store::next_run`] gave was handed to a stream.
    fn advance(&mut self);

    /// The stream is lost: everything that is held is to be handed out again, oldest first.
    fn rewind(&mut self);

    /// All events below `below` are final, and all of them were handed out. A run goes when all of
    /// its events are final.
    fn release(&mut self, below: u64);

    /// These events are final, though earlier ones may not be. They were handed out; each event is
    /// released once, by this method or by [`Store::release`], and one publisher uses one of them.
    fn release_range(&mut self, seqs: Range<u64>);

    /// Events that a rewind would hand out again, and those that were not handed out yet.
    fn held(&self) -> u64;

    /// Bytes that [`Store::next_run`] has still to give, with what they cost in memory or on disk.
    fn unsent_bytes(&self) -> usize;
}
