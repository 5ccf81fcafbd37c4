//! What became of the events of a spool, on disk.
//!
//! A file of two halves, each a row of entries of 48 bytes: first a checkpoint (everything that is
//! known), then notes as they come. When a half is full, a checkpoint of the next generation goes
//! to the other one, so the file never grows, and noting that an event is final takes no space. A
//! half whose checkpoint is not whole does not count; a bad entry behind the checkpoint is skipped
//! and counted, and what it said is forgotten: its events are sent once more.

use super::layout::{block, block_bytes, is_newer_block, read_block};
use super::storage::{StorageError, StorageFile, SyncFile};
use crate::session::publisher::Finals;
use std::ops::Range;

/// Name of the file.
pub(super) const NAME: &str = "finals";
pub(super) const BYTES: u64 = 1 << 20;

const TAG: [u8; 8] = *b"mr.fin.1";
const ENTRY_BYTES: usize = block_bytes(4);
const HALF_BYTES: usize = 512 * 1024;
const ENTRIES: usize = HALF_BYTES / ENTRY_BYTES;
/// Entries of a checkpoint, at most; half are left for notes. Final ranges beyond are left out:
/// they come back after a restart, as duplicates. 65,536 events in flight need 1,024.
const CHECKPOINT_ENTRIES_MAX: usize = ENTRIES / 2;

/// Why an event is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fate {
    /// Its outcome is known, or it is as its publisher's confirm level asks.
    Done,
    /// Given up, because the spool was full.
    Shed,
    /// Its record cannot be read.
    Unreadable,
    /// Removed by an operator.
    Dropped,
    /// Nobody knows whether there ever was an event with this seq: the host ended before it was
    /// synced.
    Doubtful,
    /// Its time to live was over before it was sent.
    Expired,
}

impl Fate {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Shed, Self::Unreadable, Self::Dropped, Self::Doubtful, Self::Expired];

    /// Its name in what people and programs read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Shed => "shed",
            Self::Unreadable => "unreadable",
            Self::Dropped => "dropped",
            Self::Doubtful => "doubtful",
            Self::Expired => "expired",
        }
    }
}

/// Everything that a journal knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) finals: Finals,
    /// Seqs below may have been given.
    pub(super) reserved: u64,
    /// The life of the host that wrote last.
    pub(super) host: Option<u128>,
    /// First seq of the segment that was begun last: its file has a header.
    pub(super) begun: Option<u64>,
    /// The next seq, where the spool was closed in order.
    pub(super) closed: Option<u64>,
    /// Events that are final, for each fate.
    pub(super) totals: [u64; Fate::ALL.len()],
}

/// One thing that is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Final(Fate, Range<u64>),
    Reserve(u64),
    /// A segment with this first seq has its header.
    Begun(u64),
    /// A process opened the spool in this life of the host.
    Opened(Option<u128>),
    Closed(u64),
}

const BEGIN: u64 = 1;
const RANGE: u64 = 2;
const BITS: u64 = 3;
const TOTAL: u64 = 4;
const RESERVE: u64 = 5;
const OPENED: u64 = 6;
const CLOSED: u64 = 7;
const BEGUN: u64 = 8;
/// Plus the number of the fate.
const FINAL: u64 = 16;

/// Kind and two numbers.
type Entry = [u64; 3];

impl State {
    /// Takes a note in.
    pub(super) fn apply(&mut self, note: &Note) {
        if let Some(entry) = entry_of(note) {
            self.apply_entry(entry);
        }
    }

    /// Takes an entry in; false when it is none.
    fn apply_entry(&mut self, [kind, a, b]: Entry) -> bool {
        match kind {
            RANGE => drop(self.finals.insert(a..a.saturating_add(b))),
            BITS => {
                for bit in (0..64).filter(|bit| b >> bit & 1 == 1) {
                    self.finals.insert(a.saturating_add(bit)..a.saturating_add(bit + 1));
                }
            }
            TOTAL => match usize::try_from(a).ok().and_then(|fate| self.totals.get_mut(fate)) {
                Some(total) => *total = b,
                None => return false,
            },
            RESERVE => self.reserved = self.reserved.max(a),
            OPENED => {
                let life = u128::from(a) << 64 | u128::from(b);
                self.host = (life != 0).then_some(life);
                self.closed = None;
            }
            CLOSED => self.closed = Some(a),
            BEGUN => self.begun = Some(a),
            _ => {
                let fate = kind.checked_sub(FINAL).and_then(|fate| usize::try_from(fate).ok());
                let Some(total) = fate.and_then(|fate| self.totals.get_mut(fate)) else { return false };
                let seqs = a..a.saturating_add(b);
                *total = total.saturating_add(self.finals.pending_count(seqs.clone()));
                self.finals.insert(seqs);
            }
        }
        true
    }

    /// The entries of a checkpoint behind its first.
    fn checkpoint(&self) -> Vec<Entry> {
        let mut entries = vec![[RESERVE, self.reserved, 0]];
        entries.extend(entry_of(&Note::Opened(self.host)));
        entries.extend(self.closed.map(|next| [CLOSED, next, 0]));
        entries.extend(self.begun.map(|first_seq| [BEGUN, first_seq, 0]));
        entries.extend(self.totals.iter().zip(0..).map(|(&total, fate)| [TOTAL, fate, total]));
        // Ranges that lie close together share an entry of bits.
        let mut bits: Option<(u64, u64)> = None;
        for range in self.finals.ranges() {
            if entries.len() + 2 > CHECKPOINT_ENTRIES_MAX {
                break;
            }
            if let Some((first, mask)) = &mut bits
                && range.end - *first <= 64
            {
                *mask |= mask_of(range.start - *first..range.end - *first);
                continue;
            }
            entries.extend(bits.take().map(|(first, mask)| [BITS, first, mask]));
            if range.end - range.start <= 64 {
                bits = Some((range.start, mask_of(0..range.end - range.start)));
            } else {
                entries.push([RANGE, range.start, range.end - range.start]);
            }
        }
        entries.extend(bits.map(|(first, mask)| [BITS, first, mask]));
        entries
    }
}

/// The bits of a range within 64.
const fn mask_of(range: Range<u64>) -> u64 {
    let ones = range.end - range.start;
    let mask = if ones >= 64 { u64::MAX } else { (1 << ones) - 1 };
    mask << range.start
}

fn entry_of(note: &Note) -> Option<Entry> {
    Some(match note {
        Note::Final(fate, seqs) => {
            let number = Fate::ALL.iter().position(|one| one == fate)? as u64;
            [FINAL + number, seqs.start, seqs.end.saturating_sub(seqs.start)]
        }
        Note::Reserve(below) => [RESERVE, *below, 0],
        Note::Begun(first_seq) => [BEGUN, *first_seq, 0],
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
        Note::Opened(life) => [OPENED, (life.unwrap_or(0) >> 64) as u64, life.unwrap_or(0) as u64],
        Note::Closed(next) => [CLOSED, *next, 0],
    })
}

/// What was read from a journal, and where to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) state: State,
    /// Entries behind the checkpoint that cannot be read.
    pub(super) unreadable: u64,
    half: usize,
    next: usize,
    generation: u64,
}

/// Whether the file is of a version that this one does not know.
pub(super) fn is_newer(bytes: &[u8]) -> bool {
    [0, 1].iter().any(|half| is_newer_block(bytes, half * HALF_BYTES, &[TAG]))
}

/// What the file says; `None` when no half has a whole checkpoint.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let halves = [0, 1].map(|half| read_half(bytes, half));
    halves.into_iter().flatten().max_by_key(|read| read.generation)
}

fn entry(bytes: &[u8], half: usize, index: usize) -> Option<[u64; 4]> {
    read_block(bytes, half * HALF_BYTES + index * ENTRY_BYTES, TAG)
}

fn read_half(bytes: &[u8], half: usize) -> Option<Read> {
    let [BEGIN, generation, floor, count] = entry(bytes, half, 0)? else { return None };
    let notes = usize::try_from(count).ok().filter(|&count| count < CHECKPOINT_ENTRIES_MAX + 8)? + 1;
    let mut state = State { finals: Finals::below(floor), ..State::default() };
    let mut of_index = |index| match entry(bytes, half, index) {
        Some([kind, of, a, b]) if of == generation => state.apply_entry([kind, a, b]),
        _ => false,
    };
    for index in 1..notes {
        if !of_index(index) {
            return None;
        }
    }
    // Behind the last note stand entries of older generations, zeroes, or one that was torn; before
    // it, only damage is unreadable.
    let (mut next, mut unreadable) = (notes, 0);
    for index in notes..ENTRIES {
        if of_index(index) {
            unreadable += (index - next) as u64;
            next = index + 1;
        }
    }
    Some(Read { state, unreadable, half, next, generation })
}

/// The journal of an open spool.
#[derive(Debug)]
pub(super) struct Journal<F> {
    pub(super) file: F,
    half: usize,
    next: usize,
    generation: u64,
}

impl<F: StorageFile> Journal<F> {
    /// Begins a journal that knows `state`, in a file of [`BYTES`].
    pub(super) fn begin(file: F, state: &State) -> Self {
        let mut journal = Self { file, half: 1, next: 0, generation: 0 };
        journal.write_checkpoint(state);
        journal
    }

    /// Goes on with a journal that was read. Where notes cannot be read, behind a checkpoint
    /// without them, so that they are told once.
    ///
    /// # Errors
    /// What was read cannot be synced before the other half is overwritten.
    pub(super) fn resume(file: F, read: &Read) -> Result<Self, StorageError> {
        let mut journal = Self { file, half: read.half, next: read.next, generation: read.generation };
        if read.unreadable > 0 {
            journal.file.syncer()?.sync()?;
            journal.write_checkpoint(&read.state);
        }
        Ok(journal)
    }

    /// Writes a note that `state` already has in it.
    ///
    /// # Errors
    /// A half was full, and could not be synced before the other one is overwritten. The note is
    /// not on disk.
    pub(super) fn append(&mut self, note: &Note, state: &State) -> Result<(), StorageError> {
        let Some([kind, a, b]) = entry_of(note) else { return Ok(()) };
        if self.next >= ENTRIES {
            self.file.syncer()?.sync()?;
            self.write_checkpoint(state);
            return Ok(());
        }
        self.put(self.half, self.next, [kind, self.generation, a, b]);
        self.next += 1;
        Ok(())
    }

    /// Writes everything that is known to the other half; what makes it count, last.
    fn write_checkpoint(&mut self, state: &State) {
        let (half, generation) = (1 - self.half, self.generation + 1);
        let entries = state.checkpoint();
        for (&[kind, a, b], index) in entries.iter().zip(1..) {
            self.put(half, index, [kind, generation, a, b]);
        }
        self.put(half, 0, [BEGIN, generation, state.finals.floor(), entries.len() as u64]);
        (self.half, self.next, self.generation) = (half, entries.len() + 1, generation);
    }

    fn put(&mut self, half: usize, index: usize, entry: [u64; 4]) {
        self.file.write(half * HALF_BYTES + index * ENTRY_BYTES, &block(TAG, entry));
    }
}
