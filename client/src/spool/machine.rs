//! The spool takes events, gives them out in the order of their seqs, and removes them once they
//! are final.
//!
//! Each call changes the files before it returns, so that the process can end at any moment and the
//! next one goes on from there. Syncing alone takes long, so that the owner does it on another
//! thread: [`Spool::begin_sync`].

use std::collections::VecDeque;
use std::ops::Range;

use millrace_proto::TagSetRef;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;

use super::config::{Compression, OnFull, SpoolConfig, SyncPolicy};
use super::error::AppendError;
use super::identity::Identity;
use super::index::Segment;
use super::journal::{Fate, Journal, Note, State};
use super::packing::Packer;
use super::reader::Reader;
use super::record::{self, Body};
use super::segment::{self, RECORDS_AT, Tail};
use super::storage::{Listed, Storage, StorageError, StorageFile, SyncFile};
use crate::session::publisher::Full;

/// Seqs that are reserved at a time. A power loss makes the next seq jump by at most this.
pub(super) const RESERVE: u64 = 131_072;
/// Bytes of a segment where there is no room for a larger one: every event fits.
const SEGMENT_BYTES_SMALL: u64 = 2 << 20;
/// Full segments that wait for their sync, at most; then the one who appends waits for it. Each
/// keeps a descriptor open.
const UNSYNCED_SEGMENTS_MAX: usize = 16;
/// Ranges that wait for [`Spool::poll_gone`], at most. Beyond, the oldest are only counted.
const GONE_MAX: usize = 4096;

/// Damaged segments that are kept for a look when they are done with, at most. More are removed.
const SET_ASIDE_MAX: usize = 8;

/// Where an event that was taken went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Into the spool, with this seq.
    Kept(u64),
    /// Nowhere: the spool is full and sheds what is new. The seq names it in what is told.
    Shed(u64),
}

/// Seqs that the spool has given up by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Why.
    pub fate: Fate,
    /// Which.
    pub seqs: Range<u64>,
}

/// What was written and is not synced.
#[derive(Debug)]
pub(super) struct Unsynced<Y> {
    pub(super) full: Vec<Y>,
    pub(super) tail: bool,
    pub(super) journal: bool,
    pub(super) names: bool,
}

/// A publisher's queue on disk.
#[derive(Debug)]
pub struct Spool<S: Storage> {
    pub(super) storage: S,
    pub(super) config: SpoolConfig,
    pub(super) identity: Identity,
    pub(super) journal: Journal<S::File>,
    pub(super) state: State,
    /// By seq; the last one is the tail's, where there is one.
    pub(super) segments: VecDeque<Segment>,
    pub(super) tail: Option<Tail<S::File>>,
    pub(super) next_seq: u64,
    /// Seqs below may be given: the reserve is on disk.
    pub(super) reserved: u64,
    /// Everything below is on disk.
    pub(super) synced: u64,
    pub(super) pending: u64,
    pub(super) unsynced: Unsynced<S::Syncer>,
    /// First seqs of full segments whose events are final, to be removed when that is on disk.
    pub(super) removable: Vec<u64>,
    pub(super) set_aside: Vec<Listed>,
    pub(super) reader: Reader<S::File>,
    pub(super) packer: Packer,
    pub(super) gone: VecDeque<Gone>,
}

impl<S: Storage> Spool<S> {
    /// Who publishes from it.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// The lowest seq that is not final, and the one that the next event gets. Between them, seqs
    /// may be final, too.
    pub const fn seqs(&self) -> Range<u64> {
        self.state.finals.floor()..self.next_seq
    }

    /// The parts of `seqs` that are not final, ascending.
    pub fn pending_in(&self, seqs: Range<u64>) -> Vec<Range<u64>> {
        self.state.finals.pending_in(seqs.start..seqs.end.min(self.next_seq))
    }

    /// Events that are in it and not final.
    pub const fn pending(&self) -> u64 {
        self.pending
    }

    /// Bytes of the records that are pending, without compression, about: final ones of the same
    /// segments count with their share.
    pub fn pending_bytes(&self) -> usize {
        let of = |segment: &Segment| {
            let events = segment.next_seq.saturating_sub(segment.first_seq).max(1);
            segment.plain.saturating_mul(segment.pending) / events
        };
        usize::try_from(self.segments.iter().map(of).sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let set_aside: u64 = self.set_aside.iter().map(|file| file.bytes).sum();
        segments + set_aside + super::journal::BYTES + super::identity::BYTES
    }

    /// Everything below is on disk.
    pub const fn synced(&self) -> u64 {
        self.synced
    }

    /// How many events ended with this fate since the spool was made.
    pub fn total(&self, fate: Fate) -> u64 {
        Fate::ALL.iter().zip(self.state.totals).find(|(one, _)| **one == fate).map_or(0, |(_, total)| total)
    }

    /// Seqs that the spool gave up by itself since it was asked last: shed, or unreadable. Their
    /// events are never sent (again). At most 4,096 ranges wait; [`total`](Self::total) counts all.
    pub fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Puts an event in. It is safe from the end of the process when this returns.
    ///
    /// # Errors
    /// [`AppendError`]; the event is not in the spool.
    pub fn append(
        &mut self,
        time_ns: u64,
        tags: TagSetRef<'_>,
        payload: &[u8],
    ) -> Result<Appended, AppendError> {
        let tags = tags.canonical();
        let plain = record::size(tags.len(), payload.len());
        let room = usize::try_from(self.config.segment_bytes()).unwrap_or(usize::MAX) - RECORDS_AT;
        // Whether an event is taken does not hang on how well it shrinks.
        if plain > room || payload.len() > PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: plain, most: room.min(PAYLOAD_BYTES_MAX) });
        }
        if self.next_seq >= self.reserved {
            self.reserve()?;
        }
        self.pack(payload);
        let size = record::size(tags.len(), body(&self.packer, payload).bytes());
        if !self.tail.as_ref().is_some_and(|tail| tail.has_room(size)) {
            match (self.next_tail()?, self.config.on_full) {
                (None, _) => {}
                (Some(full), OnFull::Block) => return Err(AppendError::WouldBlock(full)),
                (Some(full), OnFull::Refuse | OnFull::ShedOldest) => return Err(AppendError::Refused(full)),
                (Some(_), OnFull::ShedNewest) => {
                    let seq = self.next_seq;
                    self.next_seq += 1;
                    self.give_up(Fate::Shed, seq..seq + 1)?;
                    return Ok(Appended::Shed(seq));
                }
            }
            self.pack(payload);
        }
        let body = body(&self.packer, payload);
        let (Some(tail), Some(segment)) = (&mut self.tail, self.segments.back_mut()) else {
            return Err(AppendError::Refused(Full::Bound { max_bytes: self.config.max_bytes }));
        };
        tail.append(time_ns, tags, body);
        (segment.next_seq, segment.end, segment.plain) = (tail.next.seq, tail.next.at, tail.plain);
        segment.pending += 1;
        self.pending += 1;
        self.unsynced.tail = true;
        self.next_seq += 1;
        Ok(Appended::Kept(self.next_seq - 1))
    }

    /// Compresses a payload, where the setting says so and the segment that is written takes it.
    fn pack(&mut self, payload: &[u8]) {
        let wanted = self.config.compression == Compression::Zstd;
        self.packer.pack(payload, wanted && self.tail.as_ref().is_some_and(|tail| tail.packs));
    }

    /// Notes that these events are final, so that they are not sent again. Takes no space.
    ///
    /// # Errors
    /// The disk fails. The events stay away while this process lasts, and may come back after a
    /// restart.
    pub fn finish(&mut self, seqs: Range<u64>) -> Result<(), StorageError> {
        self.end(Fate::Done, seqs)
    }

    /// Gives up everything that is pending, because an operator asks for it. The publisher and its
    /// next seq stay.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn drop_pending(&mut self) -> Result<u64, StorageError> {
        let pending = self.pending;
        self.seal_tail()?;
        self.end(Fate::Dropped, self.seqs())?;
        self.sync()?;
        while let Some(file) = self.set_aside.pop() {
            self.storage.remove(&file.name)?;
        }
        Ok(pending)
    }

    /// Notes that `seqs` ended so, as far as they are pending.
    pub(super) fn end(&mut self, fate: Fate, seqs: Range<u64>) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        for part in self.state.finals.pending_in(seqs.start..seqs.end.min(self.next_seq)) {
            let note = Note::Final(fate, part.clone());
            self.state.apply(&note);
            outcome = outcome.and(self.journal.append(&note, &self.state));
            self.unsynced.journal = true;
            self.settle(part);
        }
        if self.config.sync == SyncPolicy::Never {
            outcome = outcome.and(self.remove_finished(&self.removable.clone()));
        }
        outcome
    }

    /// Ends seqs as [`end`](Self::end) does, and tells the owner ([`Spool::poll_gone`]).
    pub(super) fn give_up(&mut self, fate: Fate, seqs: Range<u64>) -> Result<(), StorageError> {
        for seqs in self.state.finals.pending_in(seqs.clone()) {
            match self.gone.back_mut() {
                Some(last) if last.fate == fate && last.seqs.end == seqs.start => last.seqs.end = seqs.end,
                _ => self.gone.push_back(Gone { fate, seqs }),
            }
        }
        while self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
        self.end(fate, seqs)
    }

    /// Takes events that became final off the counts of their segments, and notes the segments that
    /// are done with.
    fn settle(&mut self, seqs: Range<u64>) {
        let first = self.segments.partition_point(|segment| segment.next_seq <= seqs.start);
        for segment in self.segments.range_mut(first..) {
            if segment.first_seq >= seqs.end {
                break;
            }
            let ended = segment.next_seq.min(seqs.end) - segment.first_seq.max(seqs.start);
            segment.pending = segment.pending.saturating_sub(ended);
            self.pending = self.pending.saturating_sub(ended);
            if segment.pending == 0 && segment.sealed && ended > 0 {
                self.removable.push(segment.first_seq);
            }
        }
    }

    /// Removes segments that are done with; damaged ones are set aside.
    pub(super) fn remove_finished(&mut self, first_seqs: &[u64]) -> Result<(), StorageError> {
        self.removable.retain(|first_seq| !first_seqs.contains(first_seq));
        for &first_seq in first_seqs {
            let Ok(index) = self.segments.binary_search_by_key(&first_seq, |segment| segment.first_seq)
            else {
                continue;
            };
            let Some(segment) = self.segments.remove(index) else { continue };
            self.reader.forget(first_seq);
            let name = segment::name(first_seq);
            if segment.damaged && self.set_aside.len() < SET_ASIDE_MAX {
                let bad = format!("{name}.bad");
                self.storage.rename(&name, &bad)?;
                self.set_aside.push(Listed { name: bad, bytes: segment.bytes });
            } else {
                self.storage.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Reserves seqs on disk before they are given.
    fn reserve(&mut self) -> Result<(), StorageError> {
        self.note_reserve()?;
        self.journal.file.syncer()?.sync()?;
        self.reserved = self.state.reserved;
        Ok(())
    }

    /// Notes that a segment has its header: a file without one is damaged from here on, not
    /// unfinished.
    fn note_begun(&mut self, first_seq: u64) -> Result<(), StorageError> {
        let note = Note::Begun(first_seq);
        self.state.apply(&note);
        self.unsynced.journal = true;
        self.journal.append(&note, &self.state)
    }

    pub(super) fn note_reserve(&mut self) -> Result<(), StorageError> {
        let note = Note::Reserve(self.next_seq + RESERVE);
        self.state.apply(&note);
        self.unsynced.journal = true;
        self.journal.append(&note, &self.state)
    }

    /// Ends the segment that is written.
    pub(super) fn seal_tail(&mut self) -> Result<(), StorageError> {
        let Some(mut tail) = self.tail.take() else { return Ok(()) };
        let seal = tail.seal();
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        segment::put_seal(&mut tail.file, tail.first_seq, &seal);
        segment.sealed = true;
        if segment.pending == 0 {
            self.removable.push(segment.first_seq);
        }
        if self.config.sync != SyncPolicy::Never {
            self.unsynced.full.push(tail.file.syncer()?);
        }
        self.unsynced.tail = false;
        if self.unsynced.full.len() > UNSYNCED_SEGMENTS_MAX {
            self.sync()?;
        }
        Ok(())
    }

    /// Begins the next segment, or says why the spool may not grow. Each turn of the loop but the
    /// last frees a segment or a file, so that the loop ends.
    fn next_tail(&mut self) -> Result<Option<Full>, StorageError> {
        self.seal_tail()?;
        loop {
            let Some(full) = self.begin_tail()? else { return Ok(None) };
            let reclaimed = !self.removable.is_empty();
            if reclaimed {
                self.sync()?;
                self.remove_finished(&self.removable.clone())?;
            }
            if !reclaimed && (self.config.on_full != OnFull::ShedOldest || !self.shed_oldest()?) {
                return Ok(Some(full));
            }
        }
    }

    /// Makes a segment, or says why the spool may not grow. Where there is no room for a segment of
    /// the usual size, it makes a smaller one.
    fn begin_tail(&mut self) -> Result<Option<Full>, StorageError> {
        let usual = self.config.segment_bytes();
        let mut full = None;
        for bytes in [usual, usual.min(SEGMENT_BYTES_SMALL)] {
            full = self.room_for(bytes)?;
            if full.is_some() {
                continue;
            }
            match self.storage.create(&segment::name(self.next_seq), bytes) {
                Ok(file) => {
                    self.segments.push_back(Segment::begin(self.next_seq, bytes));
                    let packs = self.config.compression == Compression::Zstd;
                    self.tail = Some(Tail::begin(file, self.next_seq, packs));
                    self.unsynced.names = true;
                    self.note_begun(self.next_seq)?;
                    return Ok(None);
                }
                Err(error) if error.is_no_space() => full = Some(Full::Disk),
                Err(error) => return Err(error),
            }
        }
        Ok(full)
    }

    /// Why the spool may not grow by `bytes`; `None` if it may.
    fn room_for(&self, bytes: u64) -> Result<Option<Full>, StorageError> {
        if self.bytes() + bytes > self.config.max_bytes {
            return Ok(Some(Full::Bound { max_bytes: self.config.max_bytes }));
        }
        if let Some(quota) = self.storage.quota()
            && quota.left() < bytes
        {
            return Ok(Some(Full::Bound { max_bytes: quota.max() }));
        }
        let space = self.storage.space()?;
        if space.free < bytes {
            return Ok(Some(Full::Disk));
        }
        let floor = space.total / 100 * u64::from(self.config.free_percent.min(100));
        let is_low = space.free < floor.saturating_add(bytes);
        Ok(is_low.then_some(Full::Floor { free: space.free, floor }))
    }

    /// Takes the space of a segment before the first event needs it; says why there is none. For a
    /// spool that is to have room when its disk is full.
    ///
    /// # Errors
    /// The disk fails.
    pub fn reserve_segment(&mut self) -> Result<Option<Full>, StorageError> {
        if self.tail.is_some() { Ok(None) } else { self.begin_tail() }
    }

    /// Gives up the oldest segment, or a file that was set aside, for what shares its
    /// [`Quota`](super::Quota) or its file system. False when there is neither. Blocks for a sync.
    ///
    /// # Errors
    /// The disk fails.
    pub fn make_room(&mut self) -> Result<bool, StorageError> {
        if self.segments.len() == 1 {
            self.seal_tail()?;
        }
        let made = self.shed_oldest()?;
        self.sync()?;
        self.remove_finished(&self.removable.clone())?;
        Ok(made)
    }

    /// Frees a file that was set aside, or else gives up the oldest segment. False when there is
    /// neither.
    fn shed_oldest(&mut self) -> Result<bool, StorageError> {
        if let Some(file) = self.set_aside.pop() {
            self.storage.remove(&file.name)?;
            return Ok(true);
        }
        let Some(oldest) = self.segments.front() else { return Ok(false) };
        self.give_up(Fate::Shed, oldest.first_seq..oldest.next_seq)?;
        Ok(true)
    }
}

/// What stands for the payload that was packed last.
#[expect(
    clippy::cast_possible_truncation,
    reason = "payloads are bounded by the wire's limits, far below 2^32"
)]
fn body<'a>(packer: &'a Packer, payload: &'a [u8]) -> Body<'a> {
    match packer.frame() {
        Some(frame) => Body::Packed { frame, payload_bytes: payload.len() as u32 },
        None => Body::Plain(payload),
    }
}
