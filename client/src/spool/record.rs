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
//! 28  payload   u32   bytes of the payload; with the highest bit, those of its zstd frame (`packing`)
//! 32  size      u32   bytes of the payload, only where a frame stands for it
//!     the canonical tag set, then the payload or its frame
//! ```
//!
//! The segment's first seq is part of the checksum so that a record that stands in another
//! segment's file is no record. Where the length is zero, there is nothing, unless the rest is a
//! whole record: then the process ended before the length was written, or the length rotted.

use millrace_proto::limits::{PAYLOAD_BYTES_MAX, TAG_SET_BYTES_MAX};

use super::storage::StorageFile;

/// Bytes before the tag set, without the size of a payload that is compressed.
pub(super) const HEAD_BYTES: usize = 32;
/// Bytes of that size.
const SIZE_BYTES: usize = 4;
/// In the word of the payload's bytes: a frame stands for it. Frames are far smaller than that.
const PACKED: u32 = 1 << 31;
/// Bytes before what the length counts.
const UNCOUNTED_BYTES: usize = 8;
/// The largest length that is no damage.
const LENGTH_MAX: usize = HEAD_BYTES + SIZE_BYTES - UNCOUNTED_BYTES + TAG_SET_BYTES_MAX + PAYLOAD_BYTES_MAX;

/// The largest record, without compression.
pub(super) const SIZE_MAX: usize = size(TAG_SET_BYTES_MAX, PAYLOAD_BYTES_MAX);

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

/// What stands in a file for a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// The payload.
    Plain(&'a [u8]),
    /// A frame, and the bytes of the payload that it stands for.
    Packed {
        /// As `packing` makes it.
        frame: &'a [u8],
        /// At most [`PAYLOAD_BYTES_MAX`].
        payload_bytes: u32,
    },
}

impl<'a> Body<'a> {
    /// Bytes of the payload.
    pub(super) const fn payload_bytes(&self) -> usize {
        match self {
            Self::Plain(payload) => payload.len(),
            Self::Packed { payload_bytes, .. } => *payload_bytes as usize,
        }
    }

    /// Bytes that it takes in a record.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Plain(payload) => payload.len(),
            Self::Packed { frame, .. } => SIZE_BYTES + frame.len(),
        }
    }

    /// What stands behind the tag set, and the size before it, if there is one.
    const fn parts(&self) -> (&'a [u8], Option<u32>) {
        match *self {
            Self::Plain(payload) => (payload, None),
            Self::Packed { frame, payload_bytes } => (frame, Some(payload_bytes)),
        }
    }
}

/// An event as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) seq: u64,
    pub(super) time_ns: u64,
    pub(super) tags: &'a [u8],
    pub(super) body: Body<'a>,
}

impl Stored<'_> {
    /// Bytes that its record takes.
    pub(super) const fn size(&self) -> usize {
        size(self.tags.len(), self.body.bytes())
    }

    /// Bytes that its record would take without compression.
    pub(super) const fn plain_size(&self) -> usize {
        size(self.tags.len(), self.body.payload_bytes())
    }
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A record, and where the next one starts.
    Record(Stored<'a>, usize),
    /// No length: nothing was finished here.
    Nothing,
    /// Something that is no record.
    Damage,
}

/// Bytes that a record takes, up to the next one: with the payload itself, or with the
/// [`Body::bytes`] of what stands for it.
pub(super) const fn size(tags: usize, body: usize) -> usize {
    (HEAD_BYTES + tags + body).next_multiple_of(8)
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
pub(super) fn write<F: StorageFile>(file: &mut F, segment: u64, at: usize, record: &Stored<'_>) {
    let (body, payload_bytes) = record.body.parts();
    let flag = if payload_bytes.is_some() { PACKED } else { 0 };
    let head_bytes = HEAD_BYTES + if payload_bytes.is_some() { SIZE_BYTES } else { 0 };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are bounded by the wire's limits, far below 2^31"
    )]
    let (length, tags, stored) = (
        (head_bytes - UNCOUNTED_BYTES + record.tags.len() + body.len()) as u32,
        record.tags.len() as u32,
        body.len() as u32,
    );
    let mut head = [0; HEAD_BYTES + SIZE_BYTES];
    head[8..16].copy_from_slice(&record.seq.to_le_bytes());
    head[16..24].copy_from_slice(&record.time_ns.to_le_bytes());
    head[24..28].copy_from_slice(&tags.to_le_bytes());
    head[28..32].copy_from_slice(&(stored | flag).to_le_bytes());
    head[32..].copy_from_slice(&payload_bytes.unwrap_or(0).to_le_bytes());
    let sum = checksum(segment, length, [&head[8..head_bytes], record.tags, body]);
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    let next = at + record.size();
    if next + 4 <= file.bytes().len() {
        file.write(next, &[0; 4]);
    }
    file.write(at + 4, &head[4..head_bytes]);
    file.write(at + head_bytes, record.tags);
    file.write(at + head_bytes + record.tags.len(), body);
    file.publish(at, length);
}

/// What stands at `at` of the segment whose first seq is `segment`, whose records end before `end`.
pub(super) fn read(bytes: &[u8], segment: u64, at: usize, end: usize) -> Found<'_> {
    let Some(bytes) = bytes.get(..end.min(bytes.len())) else { return Found::Nothing };
    if at + HEAD_BYTES > bytes.len() {
        return Found::Nothing;
    }
    let length = word(bytes, at);
    let (tags, payload) = (word(bytes, at + 24) as usize, word(bytes, at + 28));
    let is_packed = payload & PACKED != 0;
    let (stored, size_bytes) = ((payload & !PACKED) as usize, if is_packed { SIZE_BYTES } else { 0 });
    let none = if length == 0 { Found::Nothing } else { Found::Damage };
    let whole = HEAD_BYTES + size_bytes + tags + stored;
    let counted = u32::try_from(whole - UNCOUNTED_BYTES).unwrap_or(0);
    let is_possible = whole - UNCOUNTED_BYTES <= LENGTH_MAX && at + whole <= bytes.len();
    if !is_possible || (length != 0 && length != counted) {
        return none;
    }
    if checksum(segment, counted, [&bytes[at + 8..at + whole], &[], &[]]) != word(bytes, at + 4) {
        return none;
    }
    let (tags, stored) = bytes[at + HEAD_BYTES + size_bytes..at + whole].split_at(tags);
    let body = if is_packed {
        let payload_bytes = word(bytes, at + HEAD_BYTES);
        if payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return none;
        }
        Body::Packed { frame: stored, payload_bytes }
    } else {
        Body::Plain(stored)
    };
    let record = Stored { seq: long(bytes, at + 8), time_ns: long(bytes, at + 16), tags, body };
    Found::Record(record, at + whole.next_multiple_of(8))
}
