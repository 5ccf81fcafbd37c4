//! The bytes of history files, version 1. Little-endian.
//!
//! A file is a *segment*: a head, and records one behind the other, each at a multiple of eight.
//!
//! ```text
//! head of a segment, 64 bytes              head of a record, 80 bytes
//!  0  "MLRHIST"  7 bytes                    0  "mrec"        4 bytes
//!  7  version    u8, 1                      4  checksum      u32  of what names the segment, and 8..80
//!  8  checksum   u32  of 0..8 and 16..64    8  length        u32  bytes of the body
//! 12  zero       u32                       12  checksum      u32  of the body
//! 16  number     u64  of the segment       16  kind          u8   1: runs, 2: the owner's end
//! 24  router     u64                       17  encoding      u8   0: as it is, 1: zstd
//! 32  incarnation u64                      18  owner         u16
//! 40  begun      u64  ns since 1970        20  runs          u32
//! 48  zero       16 bytes                  24  position      u64  of the first run
//!                                          32  position      u64  behind the last run
//! body of runs                             40  arrival       u64  of the first run, ns since 1970
//!  for each tag set:                       48  arrival       u64  of the last run
//!    length u32, its canonical form        56  events        u64
//!  for each run, 56 bytes:                 64  tag sets      u32
//!    position u64, arrival u64,            68  plain length  u32  of the body, with encoding 1
//!    publisher u128, epoch u64,            72  zero          8 bytes
//!    tag set u32, length of its body u32,
//!    flags u16, events u16, zero u32
//!  the bodies of the runs
//! ```
//!
//! Checksums are CRC32C. That of a record's head begins with the number, the router and the
//! incarnation of its segment, so that a record that stands in another segment's file is no record.
//! The heads alone say what is kept: bodies are read when somebody asks for them.

use millrace_proto::data::Source;
use millrace_proto::run::RunBody;
use millrace_proto::{Epoch, Incarnation, PublisherId, PublisherKey, RouterId, TagSetRef};

use crate::history::{Block, KeptRun};
use crate::packing::{Packer, unpack};
use crate::routes::TagId;
use crate::time::Time;

/// Version of the format.
pub(super) const VERSION: u8 = 1;
const SEGMENT_MAGIC: &[u8; 7] = b"MLRHIST";
const RECORD_MAGIC: &[u8; 4] = b"mrec";
/// Bytes of a segment's head.
pub(super) const SEGMENT_HEAD_BYTES: usize = 64;
/// Bytes of a record's head.
pub(super) const RECORD_HEAD_BYTES: usize = 80;
/// Bytes that records begin at multiples of.
pub(super) const ALIGNED: u64 = 8;
/// Bytes of a body, at most: a block has room for 256 KiB, or for one run.
pub(super) const BODY_BYTES_MAX: u32 = 64 << 20;
const KIND_RUNS: u8 = 1;
const KIND_END: u8 = 2;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// What a segment's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) number: u64,
    pub(super) router: RouterId,
    pub(super) incarnation: Incarnation,
    /// When it was begun, nanoseconds since 1970.
    pub(super) begun: u64,
}

/// Why a segment's head cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHead {
    /// A later version wrote it.
    Version(u8),
    /// It is damaged, or no segment.
    Damaged,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs of an owner.
    Runs,
    /// The owner has ended in order: nothing of it is missing behind what stands before.
    End,
    /// One that this version does not know.
    Other,
}

/// What a record's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) kind: Kind,
    pub(super) encoding: u8,
    pub(super) owner: u16,
    pub(super) runs: u32,
    /// Position of the first run.
    pub(super) first: u64,
    /// Position behind the last run.
    pub(super) next: u64,
    /// Arrival of the first and of the last run, nanoseconds since 1970.
    pub(super) arrived: (u64, u64),
    pub(super) events: u64,
    pub(super) tag_sets: u32,
    pub(super) body_bytes: u32,
    pub(super) body_sum: u32,
    /// Bytes of the body before it was encoded; 0 when it was not.
    pub(super) plain_bytes: u32,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut out = [0; SEGMENT_HEAD_BYTES];
        out[..7].copy_from_slice(SEGMENT_MAGIC);
        out[7] = VERSION;
        for (at, value) in
            [(16, self.number), (24, self.router.0), (32, self.incarnation.0), (40, self.begun)]
        {
            out[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let sum = Self::sum(&out);
        out[8..12].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn sum(bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[16..SEGMENT_HEAD_BYTES])
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHead> {
        let bytes = bytes.get(..SEGMENT_HEAD_BYTES).ok_or(BadHead::Damaged)?;
        if bytes[..7] != *SEGMENT_MAGIC {
            return Err(BadHead::Damaged);
        }
        if bytes[7] > VERSION {
            return Err(BadHead::Version(bytes[7]));
        }
        let mut rest = Bytes(&bytes[8..]);
        let mut head = || {
            let sum = rest.u32()?;
            rest.u32()?;
            let (number, router) = (rest.u64()?, RouterId(rest.u64()?));
            let (incarnation, begun) = (Incarnation(rest.u64()?), rest.u64()?);
            (sum == Self::sum(bytes)).then_some(Self { number, router, incarnation, begun })
        };
        head().ok_or(BadHead::Damaged)
    }

    /// What the checksums of its records begin with.
    fn seed(&self) -> u32 {
        let sum = crc32c::crc32c(&self.number.to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &self.router.0.to_le_bytes());
        crc32c::crc32c_append(sum, &self.incarnation.0.to_le_bytes())
    }
}

impl RecordHead {
    /// Bytes of the whole record, up to the next one.
    pub(super) fn record_bytes(&self) -> u64 {
        (RECORD_HEAD_BYTES as u64 + u64::from(self.body_bytes)).next_multiple_of(ALIGNED)
    }

    fn encode(&self, segment: &SegmentHead) -> [u8; RECORD_HEAD_BYTES] {
        let mut out = [0; RECORD_HEAD_BYTES];
        out[..4].copy_from_slice(RECORD_MAGIC);
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_sum.to_le_bytes());
        out[16] = if self.kind == Kind::End { KIND_END } else { KIND_RUNS };
        out[17] = self.encoding;
        out[18..20].copy_from_slice(&self.owner.to_le_bytes());
        out[20..24].copy_from_slice(&self.runs.to_le_bytes());
        let (from, until) = self.arrived;
        for (at, value) in [(24, self.first), (32, self.next), (40, from), (48, until), (56, self.events)] {
            out[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        out[64..68].copy_from_slice(&self.tag_sets.to_le_bytes());
        out[68..72].copy_from_slice(&self.plain_bytes.to_le_bytes());
        let sum = crc32c::crc32c_append(segment.seed(), &out[8..]);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The head that stands at the begin of `bytes`, if one does.
    pub(super) fn decode(segment: &SegmentHead, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEAD_BYTES)?;
        if bytes[..4] != *RECORD_MAGIC {
            return None;
        }
        let mut rest = Bytes(&bytes[4..]);
        if rest.u32()? != crc32c::crc32c_append(segment.seed(), &bytes[8..]) {
            return None;
        }
        let (body_bytes, body_sum) = (rest.u32()?, rest.u32()?);
        let [kind, encoding] = rest.take(2)?.try_into().ok()?;
        let kind = match kind {
            KIND_RUNS => Kind::Runs,
            KIND_END => Kind::End,
            _ => Kind::Other,
        };
        let (owner, runs, first, next) = (rest.u16()?, rest.u32()?, rest.u64()?, rest.u64()?);
        let (arrived, events, tag_sets) = ((rest.u64()?, rest.u64()?), rest.u64()?, rest.u32()?);
        let plain_bytes = rest.u32()?;
        let is_possible = body_bytes.max(plain_bytes) <= BODY_BYTES_MAX && first <= next;
        is_possible.then_some(Self {
            kind,
            encoding,
            owner,
            runs,
            first,
            next,
            arrived,
            events,
            tag_sets,
            body_bytes,
            body_sum,
            plain_bytes,
        })
    }

    /// Whether `body` is the body that was written.
    pub(super) fn has_body(&self, body: &[u8]) -> bool {
        body.len() as u64 == u64::from(self.body_bytes) && crc32c::crc32c(body) == self.body_sum
    }
}

/// A record of an owner's runs, packed where there is a packer and it pays. `None`: there are none,
/// or more than a record has room for.
pub(super) fn runs_record(
    segment: &SegmentHead,
    owner: u16,
    block: &Block,
    packer: Option<&mut Packer>,
) -> Option<(RecordHead, Vec<u8>)> {
    let (first, (from, until)) = (block.first_position()?, block.arrivals()?);
    let last = block.get(block.len() - 1)?;
    let mut out = vec![0; RECORD_HEAD_BYTES];
    for tags in (0..block.tag_sets()).map(|index| block.tag_set(index).canonical()) {
        put_u32(&mut out, tags.len())?;
        out.extend_from_slice(tags);
    }
    for (index, run) in (0..block.len()).filter_map(|index| Some((index, block.get(index)?))) {
        out.extend_from_slice(&run.position.to_le_bytes());
        out.extend_from_slice(&run.arrived.as_nanos().to_le_bytes());
        out.extend_from_slice(&run.publisher.publisher.0.to_le_bytes());
        out.extend_from_slice(&run.publisher.epoch.0.to_le_bytes());
        put_u32(&mut out, block.tag_of(index))?;
        put_u32(&mut out, run.body.len())?;
        out.extend_from_slice(&u16::try_from(run.flags).ok()?.to_le_bytes());
        out.extend_from_slice(&u16::try_from(run.events).ok()?.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
    (0..block.len()).filter_map(|index| block.get(index)).for_each(|run| out.extend_from_slice(run.body));
    let plain_bytes = u32::try_from(out.len() - RECORD_HEAD_BYTES).ok();
    let plain_bytes = plain_bytes.filter(|&bytes| bytes <= BODY_BYTES_MAX)?;
    let packed = packer.and_then(|packer| packer.pack(&out[RECORD_HEAD_BYTES..]));
    let (encoding, plain_bytes) = if packed.is_some() { (ZSTD, plain_bytes) } else { (PLAIN, 0) };
    if let Some(packed) = packed {
        out.truncate(RECORD_HEAD_BYTES);
        out.extend_from_slice(&packed);
    }
    let body = &out[RECORD_HEAD_BYTES..];
    let head = RecordHead {
        kind: Kind::Runs,
        encoding,
        owner,
        runs: u32::try_from(block.len()).ok()?,
        first,
        next: last.position + 1,
        arrived: (from.as_nanos(), until.as_nanos()),
        events: block.events(),
        tag_sets: u32::try_from(block.tag_sets()).ok()?,
        body_bytes: u32::try_from(body.len()).ok()?,
        body_sum: crc32c::crc32c(body),
        plain_bytes,
    };
    Some((head, finished(segment, &head, out)))
}

/// A record that says that an owner has ended in order before `next`.
pub(super) fn end_record(segment: &SegmentHead, owner: u16, next: u64, now: u64) -> (RecordHead, Vec<u8>) {
    let head = RecordHead {
        kind: Kind::End,
        encoding: PLAIN,
        owner,
        runs: 0,
        first: next,
        next,
        arrived: (now, now),
        events: 0,
        tag_sets: 0,
        body_bytes: 0,
        body_sum: 0,
        plain_bytes: 0,
    };
    (head, finished(segment, &head, vec![0; RECORD_HEAD_BYTES]))
}

fn finished(segment: &SegmentHead, head: &RecordHead, mut out: Vec<u8>) -> Vec<u8> {
    out[..RECORD_HEAD_BYTES].copy_from_slice(&head.encode(segment));
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn put_u32(out: &mut Vec<u8>, value: usize) -> Option<()> {
    out.extend_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    Some(())
}

/// The runs of a record whose checksum was right; `None` when they are none that this version
/// reads. Tag sets are named by their places in the record.
pub(super) fn runs_of(head: &RecordHead, body: &[u8]) -> Option<Block> {
    let unpacked;
    let body = match (head.kind, head.encoding) {
        (Kind::Runs, PLAIN) => body,
        (Kind::Runs, ZSTD) => {
            unpacked = unpack(body, head.plain_bytes as usize)?;
            &unpacked
        }
        _ => return None,
    };
    let mut rest = Bytes(body);
    let mut tags = Vec::new();
    for _ in 0..head.tag_sets {
        let bytes = rest.u32()? as usize;
        tags.push(TagSetRef::parse(rest.take(bytes)?).ok()?);
    }
    let mut runs = Bytes(rest.take((head.runs as usize).checked_mul(56)?)?);
    let mut block = Block::with_room(body.len());
    let mut next = head.first;
    for _ in 0..head.runs {
        let (position, arrived) = (runs.u64()?, Time::from_nanos(runs.u64()?));
        let publisher = PublisherId(u128::from_le_bytes(runs.take(16)?.try_into().ok()?));
        let publisher = PublisherKey { publisher, epoch: Epoch(runs.u64()?) };
        let (tag, bytes) = (runs.u32()?, runs.u32()? as usize);
        let (flags, events) = (runs.u16()?.into(), runs.u16()?.into());
        runs.take(4)?;
        let body = rest.take(bytes)?;
        RunBody::parse(body).ok()?;
        // Positions rise, and stay within what the head says.
        if position < next || position >= head.next {
            return None;
        }
        next = position + 1;
        let tags = *tags.get(tag as usize)?;
        let tag = TagId::numbered(tag);
        block.push(&KeptRun { position, arrived, tag, tags, publisher, flags, body, events });
    }
    block.close();
    Some(block)
}

/// The source whose runs a record has.
pub(super) const fn source_of(segment: &SegmentHead, owner: u16) -> Source {
    Source { router: segment.router, incarnation: segment.incarnation, owner }
}

/// Bytes that are left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}
