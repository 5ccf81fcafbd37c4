//! One event on disk.
//!
//! Little-endian; the next record starts at the next multiple of eight:
//!
//! ```text
//!  0  length    u32   bytes from offset 8 to the end of the payload. Written last.
//!  4  checksum  u32   CRC32C of the segment's first seq, the length, and everything from offset 8 on
//!  8  seq       u64
//! 16  time      u64   nanoseconds since 1970
//! 24  tags      u32   bytes of the tag set
//! 28  payload   u32   bytes of the payload
//! 32  the canonical tag set, then the payload
//! ```
//!
//! The segment's first seq is part of the checksum so that a record that stands in another
//! segment's file is no record. Where the length is zero, there is nothing, unless the rest is a
//! whole record: then the process ended before the length was written, or the length rotted.

use millrace_proto::limits::{PAYLOAD_BYTES_MAX, TAG_SET_BYTES_MAX};

use super::storage::StorageFile;

/// Bytes before the tag set.
pub(super) const HEAD_BYTES: usize = 32;
/// Bytes before what the length counts.
const UNCOUNTED_BYTES: usize = 8;
/// The largest length that is no damage.
const LENGTH_MAX: usize = HEAD_BYTES - UNCOUNTED_BYTES + TAG_SET_BYTES_MAX + PAYLOAD_BYTES_MAX;

/// An event of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its seq: with the spool's publisher and epoch, its id.
    pub seq: u64,
    /// When it happened, nanoseconds since 1970.
    pub time_ns: u64,
    /// Its tag set in canonical form.
    pub tags: &'a [u8],
    /// What it says.
    pub payload: &'a [u8],
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A record, and where the next one starts.
    Record(Record<'a>, usize),
    /// No length: nothing was finished here.
    Nothing,
    /// Something that is no record.
    Damage,
}

/// Bytes that a record takes, up to the next one.
pub(super) const fn size(tags: usize, payload: usize) -> usize {
    (HEAD_BYTES + tags + payload).next_multiple_of(8)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|long| long.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn checksum(segment: u64, length: u32, parts: [&[u8]; 3]) -> u32 {
    let mut sum = crc32c::crc32c(&segment.to_le_bytes());
    sum = crc32c::crc32c_append(sum, &length.to_le_bytes());
    parts.iter().fold(sum, |sum, part| crc32c::crc32c_append(sum, part))
}

/// Writes a record at `at` of the segment whose first seq is `segment`, where there is room for it.
/// The length of the place behind it becomes zero first, and its own length is written last:
/// whoever reads meanwhile, or after the end of this process, finds the whole record or none, and
/// nothing behind it.
pub(super) fn write<F: StorageFile>(file: &mut F, segment: u64, at: usize, record: &Record<'_>) {
    let (tags, payload) = (record.tags.len(), record.payload.len());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are bounded by the wire's limits, far below 2^32"
    )]
    let (length, tags, payload) =
        ((HEAD_BYTES - UNCOUNTED_BYTES + tags + payload) as u32, tags as u32, payload as u32);
    let mut head = [0; HEAD_BYTES];
    head[8..16].copy_from_slice(&record.seq.to_le_bytes());
    head[16..24].copy_from_slice(&record.time_ns.to_le_bytes());
    head[24..28].copy_from_slice(&tags.to_le_bytes());
    head[28..32].copy_from_slice(&payload.to_le_bytes());
    let sum = checksum(segment, length, [&head[8..], record.tags, record.payload]);
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    let next = at + size(record.tags.len(), record.payload.len());
    if next + 4 <= file.bytes().len() {
        file.write(next, &[0; 4]);
    }
    file.write(at + 4, &head[4..]);
    file.write(at + HEAD_BYTES, record.tags);
    file.write(at + HEAD_BYTES + record.tags.len(), record.payload);
    file.publish(at, length);
}

/// What stands at `at` of the segment whose first seq is `segment`, whose records end before `end`.
pub(super) fn read(bytes: &[u8], segment: u64, at: usize, end: usize) -> Found<'_> {
    let Some(bytes) = bytes.get(..end.min(bytes.len())) else { return Found::Nothing };
    if at + HEAD_BYTES > bytes.len() {
        return Found::Nothing;
    }
    let length = word(bytes, at);
    let (tags, payload) = (word(bytes, at + 24) as usize, word(bytes, at + 28) as usize);
    let none = if length == 0 { Found::Nothing } else { Found::Damage };
    let whole = HEAD_BYTES + tags + payload;
    let counted = u32::try_from(whole - UNCOUNTED_BYTES).unwrap_or(0);
    let is_possible = whole - UNCOUNTED_BYTES <= LENGTH_MAX && at + whole <= bytes.len();
    if !is_possible || (length != 0 && length != counted) {
        return none;
    }
    let body = &bytes[at + HEAD_BYTES..at + whole];
    if checksum(segment, counted, [&bytes[at + 8..at + HEAD_BYTES], body, &[]]) != word(bytes, at + 4) {
        return none;
    }
    let (tags, payload) = body.split_at(tags);
    let record = Record { seq: long(bytes, at + 8), time_ns: long(bytes, at + 16), tags, payload };
    Found::Record(record, at + whole.next_multiple_of(8))
}
