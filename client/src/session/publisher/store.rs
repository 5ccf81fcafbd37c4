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
    /// Whom it is for in place of those whose selectors match, and what it asks or answers: hop
    /// field 7, encoded; empty: nothing of the kind.
    pub address: &'a [u8],
    /// Its number in its source, where that gives one: above that of the event before.
    pub source_seq: Option<u64>,
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
    /// As in [`NewEvent::address`]: all of them have the same.
    pub address: &'a [u8],
    /// The source seqs of its events, encoded as in
    /// [`StandbySet`](millrace_proto::data::optional::StandbySet); empty where they have none.
    pub source_seqs: &'a [u8],
}

impl StoredRun<'_> {
    /// First seq behind the run.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }
}

/// What keeps a store on disk from growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Full {
    /// Its byte bound.
    #[error("the spool holds what max_bytes = {max_bytes} allows")]
    Bound {
        /// The bound.
        max_bytes: u64,
    },
    /// The part of the file system that stays free.
    #[error("{free} bytes of the file system are free, and {floor} are to stay so (free_percent)")]
    Floor {
        /// What is free.
        free: u64,
        /// What is to stay free.
        floor: u64,
    },
    /// The file system, or a quota.
    #[error("no space is left on the file system")]
    Disk,
}

/// Why a store does not take an event. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It holds as much as it may: it takes events again when some were released.
    #[error("the store is full")]
    Full,
    /// It holds as much as it may, and is to refuse what is more.
    #[error("{0}; the event is refused")]
    Refused(Full),
    /// It keeps no addresses, and the event has one.
    #[error("a spool holds no events for recipients, requests or replies")]
    Addressed,
    /// It keeps no source seqs, and the event has one.
    #[error("a spool holds no events with source seqs")]
    Numbered,
    /// What it writes to failed.
    #[error("the store failed: {}", io::Error::from(*.0))]
    Failed(io::ErrorKind),
}

/// Why a store gave events up by itself. No router gets them from it (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GivenUp {
    /// It was full.
    Shed,
    /// Their time to live was over.
    Expired,
    /// What is on disk cannot be read.
    Unreadable,
    /// Another member of the publisher's set holds it.
    Fenced,
}

impl GivenUp {
    /// Its name in what people and programs read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Expired => "expired",
            Self::Unreadable => "unreadable",
            Self::Fenced => "fenced",
        }
    }
}

/// Holds a publisher's events until they are final.
///
/// A store in memory holds what is in flight and what waits, and needs the methods without a
/// default only. One that outlives the process has more to say: which seqs were final before it
/// began, and which events it gave up by itself.
pub trait Store: fmt::Debug {
    /// The seqs of the events that it holds, and so the seq that it expects next. A store that
    /// outlives the process begins with what it held before.
    fn seqs(&self) -> Range<u64>;

    /// The parts of `seqs` that are not final, ascending.
    fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        vec![seqs]
    }

    /// Events that it gave up by itself since it was asked last. To be called until `None` after
    /// every call that changes the store.
    fn poll_given_up(&mut self) -> Option<(Range<u64>, GivenUp)> {
        None
    }

    /// Hands these events out once more, before all others; they are pending and were handed out.
    /// False for a store that cannot.
    fn again(&mut self, seqs: Range<u64>) -> bool {
        let _ = seqs;
        false
    }

    /// Gives up what happened before `time_ns`, nanoseconds since 1970, instead of handing it out,
    /// from here on.
    fn expire_before(&mut self, time_ns: u64) {
        let _ = time_ns;
    }

    /// Whether it takes events beyond those that a publisher may have in flight: a store on disk
    /// does, within bounds of its own.
    fn is_spacious(&self) -> bool {
        false
    }

    /// Takes an event, behind all others.
    ///
    /// # Errors
    /// [`StoreError`].
    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError>;

    /// Whether it takes an event of so many bytes.
    fn has_room(&self, payload_bytes: usize) -> bool {
        let _ = payload_bytes;
        true
    }

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

    /// As [`Store::release_range`], for events that may not have been handed out: a run of which
    /// all are final is not handed out from here on. Only for a store in memory.
    fn leave_out(&mut self, seqs: Range<u64>) {
        let _ = seqs;
    }

    /// Forgets all events that it holds: none of them goes out (again).
    fn forget_all(&mut self);

    /// Events that a rewind would hand out again, and those that were not handed out yet.
    fn held(&self) -> u64;

    /// Bytes that [`Store::next_run`] has still to give, with what they cost in memory or on disk.
    fn unsent_bytes(&self) -> usize;
}
