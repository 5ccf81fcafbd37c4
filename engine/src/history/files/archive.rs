//! The archive: blocks are appended to the last segment, segments go when there are too many bytes,
//! when they are too old, or when the file system has too little left.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::data::Source;

use super::format::{RecordHead, SEGMENT_HEAD_BYTES, SegmentHead, end_record, runs_record};
use super::index::Index;
use super::recovery::{Recovered, name_of};
use super::storage::{Storage, is_no_space};
use super::trouble::Trouble;
use crate::history::{Block, PastLives};
use crate::packing::Packer;

/// Segments of a full archive, about: what goes at once is a sixteenth.
const SEGMENTS: u64 = 16;
/// Bytes of a segment, at least: a small archive has few blocks in each.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Bytes of a segment, at most.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Blocks that are known, some 150 bytes each: a day of a router with eight cores that hands over
/// once a second.
const BLOCKS_MAX: usize = 1 << 20;
/// Troubles that wait to be told; more are counted alone.
const TROUBLES_MAX: usize = 64;

/// How much is kept in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of all files, at least [`BYTES_MIN`](Self::BYTES_MIN).
    pub bytes: u64,
    /// Age, at most, by the time of day.
    pub age: Duration,
    /// Percent of the file system that stay free: history gives way before.
    pub free_percent: u64,
    /// Whether blocks are packed (zstd) where that makes them smaller.
    pub packs: bool,
}

impl FileLimits {
    /// The least that an archive can do with: a few segments.
    pub const BYTES_MIN: u64 = 1 << 20;
}

/// What an archive has counted since it was opened, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArchiveCounts {
    /// Bytes of all files, those that were set aside among them.
    pub bytes: u64,
    /// When the oldest run arrived, nanoseconds since 1970; 0 when there is none.
    pub oldest_at: u64,
    /// Lives of the router of which runs are kept.
    pub lives: u64,
    /// Blocks that were written.
    pub blocks: u64,
    /// Events that were let go, because of bytes or age.
    pub events_evicted: u64,
    /// Events that were not written for want of space, or because the disk failed.
    pub events_unwritten: u64,
    /// Places of files that could not be read, or that were no record.
    pub damaged: u64,
}

/// Runs of a router in files. All calls block as long as its storage does.
#[derive(Debug)]
pub struct Archive<S> {
    pub(super) storage: S,
    limits: FileLimits,
    /// The present life: number and time of begin are those of the last segment.
    present: SegmentHead,
    pub(super) index: Index,
    /// Files that cannot be read, the oldest first: they go before segments.
    aside: VecDeque<(String, u64)>,
    /// Number of the segment that grows, if one does.
    growing: Option<u64>,
    next: u64,
    /// The blocks that were read last.
    pub(super) read: VecDeque<((u64, u64), Arc<Block>)>,
    counts: ArchiveCounts,
    troubles: Vec<Trouble>,
    packer: Packer,
    /// What is kept of earlier lives has changed since it was asked for.
    has_changed: bool,
}

impl<S: Storage> Archive<S> {
    /// Opens a folder for a life of a router, whose sources have the router and the incarnation of
    /// `present`; `now` is the time of day, nanoseconds since 1970.
    ///
    /// # Errors
    /// The folder cannot be read. Files that cannot are told as [troubles](Self::take_troubles).
    pub fn open(mut storage: S, limits: FileLimits, present: Source, now: u64) -> io::Result<Self> {
        let Recovered { index, aside, troubles, next } = Recovered::read(&mut storage)?;
        let Source { router, incarnation, .. } = present;
        let counts = ArchiveCounts { damaged: troubles.len() as u64, ..ArchiveCounts::default() };
        let mut archive = Self {
            storage,
            limits,
            present: SegmentHead { number: 0, router, incarnation, begun: now },
            index,
            aside: aside.into(),
            growing: None,
            next,
            read: VecDeque::new(),
            counts,
            troubles,
            packer: Packer::default(),
            has_changed: true,
        };
        archive.troubles.truncate(TROUBLES_MAX);
        archive.expire(now);
        archive.make_room(0);
        // A life of which nothing is kept has its place among the others all the same: a receiver's
        // cursor may name it.
        archive.begin(0, now);
        Ok(archive)
    }

    /// Sets the limits from here on.
    pub fn set_limits(&mut self, limits: FileLimits, now: u64) {
        self.limits = limits;
        self.expire(now);
        self.make_room(0);
    }

    /// Writes a block of runs that an owner of the present life has routed, whose arrivals are
    /// times of day. What cannot be written is counted.
    pub fn keep(&mut self, owner: u16, block: &Block, now: u64) {
        let mut packer = std::mem::take(&mut self.packer);
        let packs = self.limits.packs;
        let written =
            self.write(now, |segment| runs_record(segment, owner, block, packs.then_some(&mut packer)));
        self.packer = packer;
        if written {
            self.counts.blocks += 1;
        } else {
            self.counts.events_unwritten += block.events();
        }
    }

    /// Writes that an owner of the present life has ended in order before a position.
    pub fn end(&mut self, owner: u16, next: u64, now: u64) {
        self.write(now, |segment| Some(end_record(segment, owner, next, now)));
    }

    /// The present life ends: nothing more is written.
    pub fn close(&mut self) {
        if let Some(number) = self.growing.take()
            && let Err(error) = self.storage.trim(&name_of(number))
        {
            self.trouble(number, 0, format!("cannot be cut: {error}"));
        }
    }

    fn write(
        &mut self,
        now: u64,
        mut record: impl FnMut(&SegmentHead) -> Option<(RecordHead, Vec<u8>)>,
    ) -> bool {
        let segment = self.growing.and_then(|number| self.index.segment(number));
        let Some((head, bytes)) = record(&segment.map_or(self.present, |segment| segment.head)) else {
            return false;
        };
        let size = bytes.len() as u64;
        let fits = segment.is_some_and(|segment| segment.bytes + size <= self.segment_bytes());
        if fits && self.make_room(size) && self.growing.is_some() {
            return self.append(&head, &bytes);
        }
        self.close();
        if !self.begin(size, now) {
            return false;
        }
        // The new segment's name is part of the record.
        record(&self.present).is_some_and(|(head, bytes)| self.append(&head, &bytes))
    }

    /// Appends a record to the segment that grows.
    fn append(&mut self, head: &RecordHead, bytes: &[u8]) -> bool {
        let Some(number) = self.growing else { return false };
        let at = self.index.segment(number).map_or(0, |segment| segment.bytes);
        if let Err(error) = self.storage.append(&name_of(number), bytes) {
            // What stands at its end now is torn.
            self.failed(number, &error);
            self.close();
            return false;
        }
        self.index.add(at, *head);
        true
    }

    /// Begins a segment that has room for a record of `size` bytes.
    fn begin(&mut self, size: u64, now: u64) -> bool {
        let head_bytes = SEGMENT_HEAD_BYTES as u64;
        let room = self.segment_bytes().max(head_bytes + size);
        if !self.make_room(head_bytes + size) || !self.leave_free(room) {
            self.failed(self.next, &io::ErrorKind::StorageFull.into());
            return false;
        }
        let head = SegmentHead { number: self.next, begun: now, ..self.present };
        let name = name_of(head.number);
        let made = self.storage.create(&name, room.min(self.limits.bytes));
        if let Err(error) = made.and_then(|()| self.storage.append(&name, &head.encode())) {
            self.failed(head.number, &error);
            // Without it, the next attempt has another name.
            drop(self.storage.remove(&name));
            self.next += 1;
            return false;
        }
        self.next += 1;
        self.present = head;
        self.growing = Some(head.number);
        self.index.begin(head, head_bytes);
        true
    }

    /// Bytes of a segment of common size.
    fn segment_bytes(&self) -> u64 {
        (self.limits.bytes / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }

    /// Lets the oldest go until `more` bytes have room. Says whether they have.
    fn make_room(&mut self, more: u64) -> bool {
        while self.bytes() + more > self.limits.bytes
            || self.index.blocks() >= BLOCKS_MAX
            || self.index.lives() > PastLives::LIVES_MAX
        {
            let is_many = self.index.lives() > PastLives::LIVES_MAX;
            let is_gone = (is_many && self.evict_empty()) || self.evict();
            if !is_gone {
                return more <= self.limits.bytes;
            }
        }
        true
    }

    /// Lets the oldest go until the file system has its share free behind `more` bytes. Says
    /// whether it has.
    fn leave_free(&mut self, more: u64) -> bool {
        loop {
            // Where the system does not say, it is asked for the space.
            let Ok(space) = self.storage.space() else { return true };
            let floor = space.total / 100 * self.limits.free_percent.min(100);
            if space.free.saturating_sub(more) >= floor {
                return true;
            }
            if !self.evict() {
                return false;
            }
        }
    }

    /// Lets segments go whose youngest run is older than the archive keeps.
    pub fn expire(&mut self, now: u64) {
        let age = u64::try_from(self.limits.age.as_nanos()).unwrap_or(u64::MAX);
        while self.index.segments.front().is_some_and(|oldest| now.saturating_sub(oldest.youngest_at) > age) {
            if !self.evict() {
                return;
            }
        }
    }

    /// Lets the oldest file go. Says whether there was one.
    fn evict(&mut self) -> bool {
        let name = if let Some((name, _)) = self.aside.pop_front() {
            name
        } else {
            let Some((number, events)) = self.index.evict() else { return false };
            if self.growing == Some(number) {
                self.growing = None;
            }
            self.read.retain(|((segment, _), _)| *segment != number);
            self.counts.events_evicted += events;
            self.has_changed = true;
            name_of(number)
        };
        self.remove(&name);
        true
    }

    /// Lets a life go of which nothing is kept. Says whether there was one.
    fn evict_empty(&mut self) -> bool {
        let Some(gone) = self.index.evict_empty() else { return false };
        self.has_changed = true;
        gone.into_iter().for_each(|number| self.remove(&name_of(number)));
        true
    }

    fn remove(&mut self, name: &str) {
        if let Err(error) = self.storage.remove(name) {
            self.told(Trouble::new(name, 0, format!("cannot be removed: {error}")));
        }
    }

    fn bytes(&self) -> u64 {
        self.index.bytes() + self.aside.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    fn failed(&mut self, number: u64, error: &io::Error) {
        let what = if is_no_space(error) {
            "has no space; runs are kept in memory alone".to_owned()
        } else {
            format!("cannot be written: {error}; runs are kept in memory alone")
        };
        self.told(Trouble::new(&name_of(number), 0, what));
    }

    /// A place of a segment cannot be read.
    pub(super) fn trouble(&mut self, segment: u64, at: u64, what: String) {
        self.counts.damaged += 1;
        self.told(Trouble::new(&name_of(segment), at, what));
    }

    fn told(&mut self, trouble: Trouble) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }

    /// What went wrong since this was asked last, for the log.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// What is kept of earlier lives, if that has changed since this was asked last.
    pub fn take_past(&mut self) -> Option<PastLives> {
        std::mem::take(&mut self.has_changed).then(|| self.index.past(&self.present))
    }

    /// What is there, and what was counted.
    #[must_use]
    pub fn counts(&self) -> ArchiveCounts {
        ArchiveCounts {
            bytes: self.bytes(),
            oldest_at: self.index.oldest_at().unwrap_or(0),
            lives: self.index.lives_kept() as u64,
            ..self.counts
        }
    }
}
