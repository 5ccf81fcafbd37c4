//! A spool as the [`Store`] behind a publisher's session: events that are queued or on their way
//! stand on disk. It takes as many as the disk may hold, and hands them out one run at a time.
//!
//! The spool knows events, the session sends *runs*: consecutive events with one tag set. One run
//! is kept in memory at a time, the next to be handed out; events join it while it waits, as in
//! memory, and later ones are read when their turn comes.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use millrace_proto::limits::EVENTS_PER_RUN_MAX;
use millrace_proto::{TagSet, TagSetRef, varint};

use super::error::AppendError;
use super::journal::Fate;
use super::machine::{Appended, Gone, Spool};
use super::record::{self, Record};
use super::storage::{Storage, StorageError};
use crate::session::publisher::{Full, GivenUp, NewEvent, Store, StoreError, StoredRun, Tags};

/// Ranges of expired events that one reading notes, at most; the next one goes on.
const EXPIRED_RANGES_MAX: usize = 1024;

/// The run that is handed out next.
#[derive(Debug)]
struct Run {
    tags: TagSet,
    first_seq: u64,
    base_time_ns: u64,
    count: u32,
    /// As a run body carries them.
    events: Vec<u8>,
    /// Bytes of their records.
    bytes: usize,
}

impl Run {
    fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    /// Adds an event, where it fits: the same tag set, the next seq, not earlier than the first,
    /// within `bytes_max`.
    fn push(&mut self, event: &Record<'_>, bytes_max: usize) -> bool {
        let fits = event.seq == self.end_seq()
            && event.tags == self.tags.canonical()
            && event.time_ns >= self.base_time_ns
            && u64::from(self.count) < EVENTS_PER_RUN_MAX
            && self.events.len() + event.payload.len() <= bytes_max;
        if fits {
            varint::put(&mut self.events, event.time_ns - self.base_time_ns);
            varint::put_prefixed(&mut self.events, event.payload);
            self.count += 1;
            self.bytes += record::size(event.tags.len(), event.payload.len());
        }
        fits
    }

    /// A run of one event. `None` when its tags are none.
    fn begin(event: &Record<'_>) -> Option<Self> {
        let mut run = Self {
            tags: TagSetRef::parse(event.tags).ok()?.to_owned(),
            first_seq: event.seq,
            base_time_ns: event.time_ns,
            count: 0,
            events: Vec::new(),
            bytes: 0,
        };
        run.push(event, usize::MAX);
        Some(run)
    }
}

/// A spool behind a [`PublisherSession`](crate::session::PublisherSession).
#[derive(Debug)]
pub struct SpoolStore<S: Storage> {
    spool: Spool<S>,
    /// The size at which a run is cut.
    run_bytes: usize,
    next: Option<Run>,
    /// The first seq behind `next`, or behind what was handed out.
    read_below: u64,
    /// Bytes of records from the next run on; an estimate behind a rewind.
    unsent_bytes: usize,
    /// What goes out once more, before everything else; at most as much as is tried again.
    again: VecDeque<Range<u64>>,
    /// Events that happened before are given up instead of handed out, nanoseconds since 1970.
    expired_before: u64,
    full: Option<Full>,
    /// What the storage did not do, until somebody was told.
    failed: Option<StorageError>,
}

impl<S: Storage> SpoolStore<S> {
    /// What `spool` holds goes out first. Runs are cut at `run_bytes`, as
    /// [`flush_bytes`](crate::session::PublisherConfig::flush_bytes) says.
    #[must_use]
    pub fn new(spool: Spool<S>, run_bytes: usize) -> Self {
        let mut store = Self {
            spool,
            run_bytes,
            next: None,
            read_below: 0,
            unsent_bytes: 0,
            again: VecDeque::new(),
            expired_before: 0,
            full: None,
            failed: None,
        };
        store.rewind();
        store
    }

    /// The spool, for what a session has no word for: totals, pending events.
    pub const fn spool(&self) -> &Spool<S> {
        &self.spool
    }

    /// As [`SpoolStore::spool`], to sync it.
    pub const fn spool_mut(&mut self) -> &mut Spool<S> {
        &mut self.spool
    }

    /// Gives the spool back, to be closed.
    pub fn into_spool(self) -> Spool<S> {
        self.spool
    }

    /// Something was synced: with [`EachBatch`](super::SyncPolicy::EachBatch), more may be sent.
    pub fn synced(&mut self) {
        self.fill();
    }

    /// The disk failed outside of a call of this store: whoever publishes next is told.
    pub fn set_failed(&mut self, error: StorageError) {
        self.failed = Some(error);
    }

    /// Gives up the oldest segment ([`Spool::make_room`]).
    ///
    /// # Errors
    /// The disk fails.
    pub fn make_room(&mut self) -> Result<bool, StorageError> {
        let made = self.spool.make_room()?;
        self.pass_over_shed();
        self.fill();
        Ok(made)
    }

    /// Drops what was to be handed out next, where the spool has given it up.
    fn pass_over_shed(&mut self) {
        let floor = self.spool.seqs().start;
        if self.next.as_ref().is_some_and(|run| run.first_seq < floor) {
            self.next = None;
            self.read_below = self.read_below.max(floor);
        }
    }

    /// What kept the last event out, while something does.
    pub const fn full(&self) -> Option<Full> {
        self.full
    }

    /// Reads the next run, where there is none.
    fn fill(&mut self) {
        while self.next.is_none()
            && let Some(seqs) = self.again.pop_front()
        {
            let behind = self.read(seqs.clone());
            if behind < seqs.end {
                self.again.push_front(behind..seqs.end);
            }
        }
        while self.next.is_none() {
            let behind = self.read(self.read_below..u64::MAX);
            if behind <= self.read_below {
                return;
            }
            self.read_below = behind;
        }
    }

    /// Reads the first run within `seqs`, and gives up events whose time is over on the way. The
    /// seq to go on from.
    fn read(&mut self, seqs: Range<u64>) -> u64 {
        let (run_bytes, expired_before) = (self.run_bytes, self.expired_before);
        let (mut next, mut is_stopped, mut behind) = (None, false, seqs.start);
        let mut expired: Vec<Range<u64>> = Vec::new();
        let read = self.spool.visit(seqs.start, |record| {
            let is_expired = record.time_ns < expired_before;
            let fits = record.seq < seqs.end
                && match &mut next {
                    _ if is_expired => expired.len() < EXPIRED_RANGES_MAX,
                    // A record whose tags are none, though its checksum is right, is nobody's: it
                    // is passed over.
                    None => {
                        next = Run::begin(record);
                        true
                    }
                    Some(run) => Run::push(run, record, run_bytes),
                };
            if !fits {
                is_stopped = true;
                return false;
            }
            behind = record.seq + 1;
            match expired.last_mut() {
                _ if !is_expired => {}
                Some(last) if last.end == record.seq => last.end += 1,
                _ => expired.push(record.seq..record.seq + 1),
            }
            true
        });
        for seqs in expired {
            let given_up = self.spool.give_up(Fate::Expired, seqs);
            self.failed = given_up.err().or(self.failed.take());
        }
        self.next = next;
        match read {
            // What lies between the last event and where the reading ended is final or gone.
            Ok(at) if !is_stopped || at >= seqs.end => at.clamp(seqs.start, seqs.end),
            Ok(_) => behind,
            Err(error) => {
                self.failed = Some(error);
                behind
            }
        }
    }
}

impl<S: Storage> Store for SpoolStore<S> {
    fn seqs(&self) -> Range<u64> {
        self.spool.seqs()
    }

    fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        self.spool.pending_in(seqs)
    }

    fn poll_given_up(&mut self) -> Option<(Range<u64>, GivenUp)> {
        loop {
            let Gone { fate, seqs } = self.spool.poll_gone()?;
            let why = match fate {
                Fate::Shed => GivenUp::Shed,
                Fate::Expired => GivenUp::Expired,
                Fate::Unreadable => GivenUp::Unreadable,
                Fate::Done | Fate::Dropped | Fate::Doubtful => continue,
            };
            return Some((seqs, why));
        }
    }

    fn again(&mut self, seqs: Range<u64>) -> bool {
        self.again.push_back(seqs);
        self.fill();
        true
    }

    fn expire_before(&mut self, time_ns: u64) {
        self.expired_before = time_ns;
        if let Some(run) = &self.next
            && run.base_time_ns < time_ns
        {
            self.again.push_front(run.first_seq..run.end_seq());
            self.next = None;
            self.fill();
        }
    }

    fn is_spacious(&self) -> bool {
        true
    }

    fn append(&mut self, event: NewEvent<'_>) -> Result<(), StoreError> {
        if !event.address.is_empty() {
            return Err(StoreError::Addressed);
        }
        if event.source_seq.is_some() {
            return Err(StoreError::Numbered);
        }
        if let Some(failed) = self.failed.take() {
            return Err(StoreError::Failed(failed.kind));
        }
        let appended = self.spool.append(event.time_ns, event.set.borrow(), event.payload);
        self.full = None;
        let seq = match appended {
            Ok(Appended::Kept(seq)) => seq,
            Ok(Appended::Shed(_)) => return Ok(()),
            Err(AppendError::WouldBlock(full)) => {
                self.full = Some(full);
                return Err(StoreError::Full);
            }
            Err(AppendError::Refused(full)) => return Err(StoreError::Refused(full)),
            Err(AppendError::TooLarge { .. }) => return Err(StoreError::Failed(io::ErrorKind::FileTooLarge)),
            Err(AppendError::Storage(error)) => return Err(StoreError::Failed(error.kind)),
        };
        let tags = event.set.canonical();
        self.unsent_bytes += record::size(tags.len(), event.payload.len());
        let record = Record { seq, time_ns: event.time_ns, tags, payload: event.payload };
        self.pass_over_shed();
        match &mut self.next {
            None => self.fill(),
            // Only what may be sent joins what is handed out next.
            Some(run) if self.read_below == seq && self.spool.sendable() > seq => {
                if run.push(&record, self.run_bytes) {
                    self.read_below = seq + 1;
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn next_run(&self) -> Option<StoredRun<'_>> {
        self.next.as_ref().map(|run| StoredRun {
            tags: Tags::Set(&run.tags),
            first_seq: run.first_seq,
            base_time_ns: run.base_time_ns,
            count: run.count,
            events: &run.events,
            address: &[],
            source_seqs: &[],
        })
    }

    fn advance(&mut self) {
        if let Some(run) = self.next.take() {
            self.unsent_bytes = self.unsent_bytes.saturating_sub(run.bytes);
            self.fill();
            if self.next.is_none() && self.read_below >= self.spool.seqs().end {
                self.unsent_bytes = 0;
            }
        }
    }

    fn rewind(&mut self) {
        self.next = None;
        self.again.clear();
        self.read_below = self.spool.seqs().start;
        self.unsent_bytes = self.spool.pending_bytes();
        self.fill();
    }

    fn release(&mut self, below: u64) {
        let from = self.spool.seqs().start;
        if below > from {
            self.failed = self.spool.finish(from..below).err().or(self.failed.take());
        }
    }

    fn release_range(&mut self, seqs: Range<u64>) {
        self.failed = self.spool.finish(seqs).err().or(self.failed.take());
    }

    fn forget_all(&mut self) {
        self.failed = self.spool.drop_pending().err().or(self.failed.take());
        self.rewind();
    }

    fn held(&self) -> u64 {
        let seqs = self.spool.seqs();
        seqs.end - seqs.start
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }
}
