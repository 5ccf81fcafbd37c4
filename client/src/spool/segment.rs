//! A segment: one preallocated file of records with rising, gapless seqs.
//!
//! ```text
//!      0  header   first seq, bytes of the file, when it was made
//!    512  seal     one past the last seq, where the records end, time of the first and the last, and where
//!                  some are compressed, the bytes of all without that; once it is full
//!   4096  marks    places of records, one for each 64 KiB
//!  12288  records
//! ```
//!
//! The header's first word says whether records may be compressed: then an older version, which
//! knows no such records, takes the file for none of its own instead of for damage in each of them.
//!
//! Opening a spool reads header and seal. The marks lead to a seq without walking the whole file,
//! and past damage: what is lost to a bad record ends at the next mark. A segment without a seal is
//! the one that was written when the process ended; it is walked from its start.

use std::ops::Range;

use super::layout::{block, block_bytes, is_newer_block, read_block};
use super::record::{self, Body, Found, Stored};
use super::storage::StorageFile;

/// Largest segment: 16 MiB. Two are mapped at a time, which leaves a start within 64 MiB however
/// much is spooled.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// Smallest segment: 64 KiB. Events that do not fit one are refused.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Where the records start.
pub(super) const RECORDS_AT: usize = 12_288;
const SEAL_AT: usize = 512;
const MARKS_AT: usize = 4096;
const MARK_BYTES: usize = block_bytes(2);
const MARKS_MAX: usize = (RECORDS_AT - MARKS_AT) / MARK_BYTES;
/// Bytes of records between two marks.
const MARK_EVERY_BYTES: usize = 64 * 1024;

/// Of a segment whose payloads stand as they are.
const HEADER: [u8; 8] = *b"mr.seg.1";
/// Of one in which frames may stand for them.
const HEADER_PACKS: [u8; 8] = *b"mr.seg.2";
/// Where nothing is compressed.
const SEAL: [u8; 8] = *b"mr.seal1";
/// Where something is.
const SEAL_PACKED: [u8; 8] = *b"mr.seal2";
const MARK: [u8; 8] = *b"mr.mark1";

/// Name of the segment whose first seq this is.
pub(super) fn name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The first seq of the segment with this name; `None` when it is no segment's.
pub(super) fn first_seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// What a segment was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first_seq: u64,
    pub(super) bytes: u64,
    /// Records may be compressed.
    pub(super) packs: bool,
}

/// What is in a full segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) next_seq: u64,
    pub(super) end: usize,
    /// Bytes that the records would take without compression.
    pub(super) plain: u64,
    pub(super) first_time_ns: u64,
    pub(super) last_time_ns: u64,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) at: usize,
}

/// Writes the header of a new segment; its first word last.
pub(super) fn put_header<F: StorageFile>(file: &mut F, header: &Header) {
    let tag = if header.packs { HEADER_PACKS } else { HEADER };
    let header = block(tag, [header.first_seq, header.bytes]);
    file.write(4, &header[4..]);
    file.publish(0, u32::from_le_bytes([header[0], header[1], header[2], header[3]]));
}

/// The header, where it is whole and speaks of a file of `size` bytes.
pub(super) fn header(head: &[u8], size: u64) -> Option<Header> {
    let of =
        |tag, packs| read_block(head, 0, tag).map(|[first_seq, bytes]| Header { first_seq, bytes, packs });
    of(HEADER, false).or_else(|| of(HEADER_PACKS, true)).filter(|header| header.bytes == size)
}

/// Whether the file with this head is a segment of a version that this one does not know.
pub(super) fn is_newer(head: &[u8]) -> bool {
    is_newer_block(head, 0, &[HEADER, HEADER_PACKS])
}

/// Bytes at the start of a file that tell what is in it.
pub(super) const SEGMENT_HEAD_BYTES: usize = RECORDS_AT + record::HEAD_BYTES;

/// Whether nothing was ever finished in a file with this head: it was made, and the process or the
/// host ended before the header's first word was written. A file with records is none of these.
pub(super) fn is_blank(head: &[u8]) -> bool {
    let zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    zero(&head[..head.len().min(4)]) && zero(head.get(RECORDS_AT..).unwrap_or_default())
}

/// Bytes of the records of a segment that end there.
pub(super) const fn record_bytes(end: usize) -> u64 {
    end.saturating_sub(RECORDS_AT) as u64
}

/// Writes the seal.
pub(super) fn put_seal<F: StorageFile>(file: &mut F, first_seq: u64, seal: &Seal) {
    let numbers = [first_seq, seal.next_seq, seal.end as u64, seal.first_time_ns, seal.last_time_ns];
    if seal.plain == record_bytes(seal.end) {
        file.write(SEAL_AT, &block(SEAL, numbers));
        return;
    }
    let [a, b, c, d, e] = numbers;
    file.write(SEAL_AT, &block(SEAL_PACKED, [a, b, c, d, e, seal.plain]));
}

/// The seal, where it is whole and can be true of a file of `size` bytes.
pub(super) fn seal(head: &[u8], first_seq: u64, size: u64) -> Option<Seal> {
    let plain = || read_block(head, SEAL_AT, SEAL).map(|[a, b, c, d, e]| ([a, b, c, d, e], None));
    let packed =
        || read_block(head, SEAL_AT, SEAL_PACKED).map(|[a, b, c, d, e, f]| ([a, b, c, d, e], Some(f)));
    let ([first, next_seq, end, first_time_ns, last_time_ns], plain) = plain().or_else(packed)?;
    let end = usize::try_from(end).ok().filter(|&end| end >= RECORDS_AT && end as u64 <= size)?;
    let plain = plain.unwrap_or(record_bytes(end));
    let count = next_seq.checked_sub(first_seq)?;
    let fits = first == first_seq
        && count <= ((end - RECORDS_AT) / record::HEAD_BYTES) as u64
        && plain <= count * record::SIZE_MAX as u64 + record_bytes(end);
    fits.then_some(Seal { next_seq, end, plain, first_time_ns, last_time_ns })
}

/// Notes where a record stands, as the `index`th mark. True when there was room for it.
fn put_mark<F: StorageFile>(file: &mut F, index: usize, place: Place) -> bool {
    if index >= MARKS_MAX {
        return false;
    }
    file.write(MARKS_AT + index * MARK_BYTES, &block(MARK, [place.seq, place.at as u64]));
    true
}

/// The marks that are whole, rising in both seq and place.
fn marks(bytes: &[u8], first_seq: u64) -> impl Iterator<Item = Place> + '_ {
    let mut last = Place { seq: first_seq, at: RECORDS_AT };
    let whole = (0..MARKS_MAX).filter_map(|index| {
        let [seq, at] = read_block(bytes, MARKS_AT + index * MARK_BYTES, MARK)?;
        Some(Place { seq, at: usize::try_from(at).ok()? })
    });
    whole.filter(move |place| {
        let rises = place.seq > last.seq
            && place.at > last.at
            && place.seq - last.seq <= ((place.at - last.at) / record::HEAD_BYTES) as u64;
        if rises {
            last = *place;
        }
        rises
    })
}

/// The nearest known place at or before `seq`.
pub(super) fn place_before(bytes: &[u8], first_seq: u64, seq: u64) -> Place {
    let start = Place { seq: first_seq, at: RECORDS_AT };
    marks(bytes, first_seq).take_while(|place| place.seq <= seq).last().unwrap_or(start)
}

/// The nearest known place behind `place` and before `end`.
pub(super) fn place_after(bytes: &[u8], first_seq: u64, place: Place, end: usize) -> Option<Place> {
    marks(bytes, first_seq).find(|mark| mark.seq > place.seq && mark.at > place.at && mark.at < end)
}

/// What a walk over a segment without a seal found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the next record goes.
    pub(super) next: Place,
    /// Bytes that the records would take without compression; those that cannot be read count as
    /// they stand.
    pub(super) plain: u64,
    /// Time of the first record that was read, and of the last.
    pub(super) times_ns: Option<(u64, u64)>,
    /// Seqs of records that cannot be read, ascending.
    pub(super) lost: Vec<Range<u64>>,
    /// Something stands at the end, or stood before, that is no record.
    pub(super) damaged: bool,
}

/// Walks over all records. Each step goes forward, and there are at most as many stretches of loss
/// as marks.
pub(super) fn scan(bytes: &[u8], first_seq: u64) -> Scan {
    let mut scan = Scan {
        next: Place { seq: first_seq, at: RECORDS_AT },
        plain: 0,
        times_ns: None,
        lost: Vec::new(),
        damaged: false,
    };
    loop {
        let place = scan.next;
        let nothing = match record::read(bytes, first_seq, place.at, bytes.len()) {
            Found::Record(record, next) if record.seq == place.seq => {
                let first = scan.times_ns.map_or(record.time_ns, |(first, _)| first);
                scan.times_ns = Some((first, record.time_ns));
                scan.plain += record.plain_size() as u64;
                scan.next = Place { seq: place.seq + 1, at: next };
                continue;
            }
            Found::Nothing => true,
            Found::Record(..) | Found::Damage => false,
        };
        let Some(mark) = place_after(bytes, first_seq, place, bytes.len()) else {
            scan.damaged |= !nothing;
            return scan;
        };
        scan.lost.push(place.seq..mark.seq);
        scan.plain += (mark.at - place.at) as u64;
        scan.damaged = true;
        scan.next = mark;
    }
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Tail<F> {
    pub(super) file: F,
    pub(super) first_seq: u64,
    /// Where the next record goes.
    pub(super) next: Place,
    /// Records may be compressed.
    pub(super) packs: bool,
    /// Bytes that the records would take without compression.
    pub(super) plain: u64,
    pub(super) times_ns: Option<(u64, u64)>,
    marks: usize,
    marked_at: usize,
}

impl<F: StorageFile> Tail<F> {
    /// Begins a segment in a new file, whose records may be compressed if it `packs`.
    pub(super) fn begin(mut file: F, first_seq: u64, packs: bool) -> Self {
        let bytes = file.bytes().len() as u64;
        put_header(&mut file, &Header { first_seq, bytes, packs });
        let next = Place { seq: first_seq, at: RECORDS_AT };
        Self { file, first_seq, next, packs, plain: 0, times_ns: None, marks: 0, marked_at: RECORDS_AT }
    }

    /// Goes on where an undamaged scan ended.
    pub(super) fn resume(file: F, first_seq: u64, scan: &Scan) -> Self {
        let (marks, marked_at) =
            marks(file.bytes(), first_seq).fold((0, RECORDS_AT), |(count, _), mark| (count + 1, mark.at));
        let packs = header(file.bytes(), file.bytes().len() as u64).is_some_and(|header| header.packs);
        let (next, plain, times_ns) = (scan.next, scan.plain, scan.times_ns);
        Self { file, first_seq, next, packs, plain, times_ns, marks, marked_at }
    }

    /// Whether a record of this size has room.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.next.at + size <= self.file.bytes().len()
    }

    /// Writes a record with the next seq, where it [has room](Self::has_room).
    pub(super) fn append(&mut self, time_ns: u64, tags: &[u8], body: Body<'_>) {
        let Place { seq, at } = self.next;
        let record = Stored { seq, time_ns, tags, body };
        record::write(&mut self.file, self.first_seq, at, &record);
        if at - self.marked_at >= MARK_EVERY_BYTES && put_mark(&mut self.file, self.marks, self.next) {
            self.marks += 1;
            self.marked_at = at;
        }
        let first = self.times_ns.map_or(time_ns, |(first, _)| first);
        self.times_ns = Some((first, time_ns));
        self.next = Place { seq: seq + 1, at: at + record.size() };
        self.plain += record.plain_size() as u64;
    }

    /// What its seal says.
    pub(super) fn seal(&self) -> Seal {
        let (first_time_ns, last_time_ns) = self.times_ns.unwrap_or_default();
        let (next, plain) = (self.next, self.plain);
        Seal { next_seq: next.seq, end: next.at, plain, first_time_ns, last_time_ns }
    }
}
