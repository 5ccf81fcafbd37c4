//! Frames of data streams: definitions of numbers, runs, gaps.
//!
//! A run frame is `hop header length, hop header, run body`. The hop header is written anew for each stream that the run
//! crosses: `flags, [tag set number], [publisher number], optional fields`. A number is absent when its flag says that the
//! thing itself stands in a field. The body is never touched.

use crate::error::DecodeError;
use crate::field::{self, Fields};
use crate::frame;
use crate::id::{Epoch, PublisherId, PublisherKey, RouterId};
use crate::limits::{DATA_FRAME_BYTES_MAX, HOP_HEADER_BYTES_MAX, SUBSCRIPTIONS_PER_RECEIVER_MAX};
use crate::run::RunBody;
use crate::tag::TagSetRef;
use crate::varint;

/// Frame types of data streams.
pub mod kind {
    /// `number, canonical tag set`: from here on the number stands for this tag set on this stream.
    pub const DEFINE_TAGS: u64 = 0x10;
    /// `number, publisher id (16 bytes), epoch`: from here on the number stands for this publisher on this stream.
    pub const DEFINE_PUBLISHER: u64 = 0x12;
    /// A run.
    pub const RUN: u64 = 0x14;
    /// Something is missing here, and why.
    pub const GAP: u64 = 0x16;
    /// Where a quiet receiver stands (history cursors). Reserved: written and read by later versions.
    pub const CURSOR: u64 = 0x19;
    /// On publish streams: the publisher wants to be told at once what was received. Who does not know it skips it.
    pub const REPORT: u64 = 0x1b;
}

/// Bits of a hop header's flags. Unknown bits are ignored and not forwarded.
pub mod flag {
    /// Bits 0–1: confirm level that the publisher asked for (0 none, 1 routed, 2 delivered).
    pub const LEVEL_MASK: u64 = 0b11;
    /// The tag set stands in [`super::hop_field::TAGS`] instead of a number.
    pub const INLINE_TAGS: u64 = 1 << 2;
    /// The publisher stands in [`super::hop_field::PUBLISHER`] instead of a number.
    pub const INLINE_PUBLISHER: u64 = 1 << 3;
    /// This run was sent before; the receiver may know it.
    pub const RESENT: u64 = 1 << 4;
    /// The router could not decide whether this receiver had the run before.
    pub const MAYBE_DUPLICATE: u64 = 1 << 5;
    /// Between the cores of one router: its owner has not routed this run. Routers ignore it in what comes from anybody else.
    pub const UNROUTED: u64 = 1 << 7;
    /// All bits that this version knows, besides the inline ones.
    pub(super) const KNOWN: u64 = LEVEL_MASK | RESENT | MAYBE_DUPLICATE | UNROUTED;
}

/// Numbers of a hop header's optional fields. Readers skip those they do not know.
pub mod hop_field {
    /// Inline tag set, canonical bytes.
    pub const TAGS: u64 = 1;
    /// Inline publisher: id (16 bytes), epoch.
    pub const PUBLISHER: u64 = 2;
    /// Entry router (8 bytes), owner, position. Reserved for history and cursors.
    pub const ORIGIN: u64 = 3;
    /// Lane seq, when it is not one more than that of the run before.
    pub const LANE_SEQ: u64 = 4;
    /// Subscriptions that matched, varints in ascending order. Absent: subscription 0 alone.
    pub const MATCHED: u64 = 5;
    /// Ticket of a group's copy. Reserved.
    pub const TICKET: u64 = 6;
    /// Recipients that the publisher named. Reserved.
    pub const RECIPIENTS: u64 = 7;
    /// Clusters that the run has crossed. Reserved.
    pub const CLUSTER_PATH: u64 = 8;
    /// Tags that routers added to the published ones. Reserved.
    pub const ADDED_TAGS: u64 = 9;
}

/// How a run names its tag set on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagsOnStream<'a> {
    /// By a number that was defined.
    Number(u64),
    /// In full.
    Inline(TagSetRef<'a>),
}

/// How a run names its publisher on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublisherOnStream {
    /// By a number that was defined.
    Number(u64),
    /// In full.
    Inline(PublisherKey),
}

/// The part of a run frame that is written anew for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HopHeader<'a> {
    /// Its tag set.
    pub tags: TagsOnStream<'a>,
    /// Its publisher.
    pub publisher: PublisherOnStream,
    /// [`flag`] bits besides the inline ones.
    pub flags: u64,
    /// Lane seq, where it does not follow from the run before.
    pub lane_seq: Option<u64>,
    /// Optional fields that do not depend on the stream, as they stand on the wire: [`hop_field`] numbers besides `TAGS`,
    /// `PUBLISHER` and `LANE_SEQ`, which are members of their own. Who hands a run on copies them without knowing them.
    pub fields: &'a [u8],
}

impl<'a> HopHeader<'a> {
    /// A header with numbers and nothing else.
    #[must_use]
    pub const fn numbered(tags: u64, publisher: u64) -> Self {
        Self {
            tags: TagsOnStream::Number(tags),
            publisher: PublisherOnStream::Number(publisher),
            flags: 0,
            lane_seq: None,
            fields: &[],
        }
    }

    /// The subscriptions that matched, as encoded varints; empty means subscription 0 alone.
    #[inline]
    #[must_use]
    pub fn matched_bytes(&self) -> &'a [u8] {
        let mut matched: &[u8] = &[];
        for item in Fields::new(self.fields).flatten() {
            if item.number == hop_field::MATCHED {
                matched = item.value;
            }
        }
        matched
    }

    /// The subscriptions that matched.
    pub fn matched(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut rest = self.matched_bytes();
        let mut implied = rest.is_empty().then_some(0);
        std::iter::from_fn(move || {
            implied
                .take()
                .or_else(|| varint::take(&mut rest).ok().and_then(|number| u32::try_from(number).ok()))
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = self.flags & flag::KNOWN;
        if matches!(self.tags, TagsOnStream::Inline(_)) {
            flags |= flag::INLINE_TAGS;
        }
        if matches!(self.publisher, PublisherOnStream::Inline(_)) {
            flags |= flag::INLINE_PUBLISHER;
        }
        varint::put(out, flags);
        if let TagsOnStream::Number(number) = self.tags {
            varint::put(out, number);
        }
        if let PublisherOnStream::Number(number) = self.publisher {
            varint::put(out, number);
        }
        if let TagsOnStream::Inline(tags) = self.tags {
            field::put_bytes(out, hop_field::TAGS, tags.canonical());
        }
        if let PublisherOnStream::Inline(key) = self.publisher {
            field::put_nested(out, hop_field::PUBLISHER, |value| put_publisher(value, key));
        }
        if let Some(seq) = self.lane_seq {
            field::put_u64(out, hop_field::LANE_SEQ, seq);
        }
        out.extend_from_slice(self.fields);
    }

    #[inline]
    fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let flags = varint::take(&mut bytes)?;
        let mut tags = match flags & flag::INLINE_TAGS {
            0 => Some(TagsOnStream::Number(varint::take(&mut bytes)?)),
            _ => None,
        };
        let mut publisher = match flags & flag::INLINE_PUBLISHER {
            0 => Some(PublisherOnStream::Number(varint::take(&mut bytes)?)),
            _ => None,
        };
        let mut lane_seq = None;
        // Fields that depend on the stream are written first. One behind the others counts, too, and stays among them.
        let mut optional: &[u8] = &[];
        let mut items = Fields::new(bytes);
        loop {
            let here = items.rest();
            let Some(item) = items.next() else { break };
            let item = item?;
            match item.number {
                hop_field::TAGS if flags & flag::INLINE_TAGS != 0 => {
                    tags = Some(TagsOnStream::Inline(TagSetRef::parse(item.value)?));
                }
                hop_field::PUBLISHER if flags & flag::INLINE_PUBLISHER != 0 => {
                    let mut value = item.value;
                    publisher = Some(PublisherOnStream::Inline(take_publisher(&mut value)?));
                }
                hop_field::LANE_SEQ => lane_seq = Some(item.u64("lane seq")?),
                hop_field::TAGS | hop_field::PUBLISHER => {}
                number => {
                    if number == hop_field::MATCHED {
                        check_matched(item.value)?;
                    }
                    if optional.is_empty() {
                        optional = here;
                    }
                }
            }
        }
        Ok(Self {
            tags: tags.ok_or(DecodeError::Missing { what: "inline tag set" })?,
            publisher: publisher.ok_or(DecodeError::Missing { what: "inline publisher" })?,
            flags: flags & flag::KNOWN,
            lane_seq,
            fields: optional,
        })
    }
}

/// Appends the field [`hop_field::MATCHED`]: subscription numbers in ascending order, of which repeated ones count once.
/// Nothing for subscription 0 alone.
#[inline]
pub fn put_matched(out: &mut Vec<u8>, mut subscriptions: impl Iterator<Item = u16>) {
    let Some(mut previous) = subscriptions.next() else { return };
    let mut next = subscriptions.find(|&other| other != previous);
    if previous == 0 && next.is_none() {
        return;
    }
    varint::put(out, hop_field::MATCHED);
    // The length takes one byte, unless it shows in the end that it needs two.
    let length = out.len();
    out.push(0);
    varint::put(out, previous.into());
    while let Some(subscription) = next {
        if subscription != previous {
            varint::put(out, subscription.into());
            previous = subscription;
        }
        next = subscriptions.next();
    }
    let (encoded, size) = varint::encoded((out.len() - length - 1) as u64);
    if size == 1 {
        out[length] = encoded[0];
    } else {
        out.splice(length..=length, encoded[..size].iter().copied());
    }
}

/// The numbers of a run's tag set and publisher, from its frame's body; nothing else of it is looked at. `None` when not
/// both have one.
#[inline]
#[must_use]
pub fn peek_numbers(body: &[u8]) -> Option<(u64, u64)> {
    let (_, mut at) = varint::peek(body)?;
    let mut next = || {
        let (value, size) = varint::peek(body.get(at..)?)?;
        at += size;
        Some(value)
    };
    let flags = next()?;
    let both = flags & (flag::INLINE_TAGS | flag::INLINE_PUBLISHER) == 0;
    Some((next()?, next()?)).filter(|_| both)
}

fn check_matched(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut rest = bytes;
    let mut previous = None;
    while !rest.is_empty() {
        let number = varint::take(&mut rest)?;
        if number >= u64::from(SUBSCRIPTIONS_PER_RECEIVER_MAX) || previous >= Some(number) {
            return Err(DecodeError::Malformed { what: "matched subscriptions" });
        }
        previous = Some(number);
    }
    Ok(())
}

fn put_publisher(out: &mut Vec<u8>, key: PublisherKey) {
    out.extend_from_slice(&key.publisher.0.to_be_bytes());
    varint::put(out, key.epoch.0);
}

fn take_publisher(bytes: &mut &[u8]) -> Result<PublisherKey, DecodeError> {
    let raw: [u8; 16] = varint::take_bytes(bytes, 16)?.try_into().map_err(|_| DecodeError::Truncated)?;
    let epoch = Epoch(varint::take(bytes)?);
    if !bytes.is_empty() {
        return Err(DecodeError::Malformed { what: "publisher" });
    }
    Ok(PublisherKey { publisher: PublisherId(u128::from_be_bytes(raw)), epoch })
}

crate::control::wire_enum! {
    /// Why events are missing at this place of a stream.
    pub enum GapReason {
        /// The receiver's own queue overflowed.
        1 Overflow = "overflow",
        /// The link to the router that the events entered through was lost.
        2 RouterLost = "router_lost",
        /// A link between routers could not take more.
        3 LaneOverflow = "lane_overflow",
        /// A core could not take more.
        4 MailboxOverflow = "mailbox_overflow",
        /// The subscription began while events were already flowing at a router that did not know it yet.
        5 Joined = "joined",
        /// The session that carried the stream was lost and could not be resumed.
        6 SessionLost = "session_lost",
        /// The event does not fit this stream's bounds.
        7 TooLarge = "too_large",
    }
}

crate::control::message! {
    /// A gap marker: stands where events are missing.
    pub struct Gap = kind::GAP {
        /// Why.
        1 reason: GapReason,
        /// How many events are missing, where that is known; 0 otherwise.
        2 events: u64,
        /// The router that the missing events entered through; absent: any.
        3 router: Option<RouterId>,
    }
}

/// One frame of a data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataFrame<'a> {
    /// A number for a tag set.
    DefineTags {
        /// The number, below the reader's announced capacity.
        number: u64,
        /// The tag set.
        tags: TagSetRef<'a>,
    },
    /// A number for a publisher.
    DefinePublisher {
        /// The number, below the reader's announced capacity.
        number: u64,
        /// The publisher.
        publisher: PublisherKey,
    },
    /// A run.
    Run {
        /// Its header on this stream.
        hop: HopHeader<'a>,
        /// Its body.
        body: RunBody<'a>,
    },
    /// A gap.
    Gap(Gap),
    /// The publisher wants to be told what was received.
    Report,
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

/// Decodes one frame that was split off a data stream.
///
/// # Errors
/// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
#[inline]
pub fn decode(kind: u64, mut body: &[u8]) -> Result<DataFrame<'_>, DecodeError> {
    match kind {
        kind::RUN => {
            let hop = varint::take_prefixed(&mut body, HOP_HEADER_BYTES_MAX, "hop header")?;
            Ok(DataFrame::Run { hop: HopHeader::decode(hop)?, body: RunBody::parse(body)? })
        }
        kind::DEFINE_TAGS => {
            let number = varint::take(&mut body)?;
            Ok(DataFrame::DefineTags { number, tags: TagSetRef::parse(body)? })
        }
        kind::DEFINE_PUBLISHER => {
            let number = varint::take(&mut body)?;
            Ok(DataFrame::DefinePublisher { number, publisher: take_publisher(&mut body)? })
        }
        kind::GAP => Ok(DataFrame::Gap(Gap::decode(body)?)),
        kind::REPORT => Ok(DataFrame::Report),
        _ => frame::skip_unknown(kind).map(|()| DataFrame::Skipped { kind }),
    }
}

/// Appends a definition of a tag set number.
pub fn put_define_tags(out: &mut Vec<u8>, number: u64, tags: TagSetRef<'_>) {
    let canonical = tags.canonical();
    varint::put(out, kind::DEFINE_TAGS);
    varint::put(out, (varint::size(number) + canonical.len()) as u64);
    varint::put(out, number);
    out.extend_from_slice(canonical);
}

/// Appends a definition of a publisher number.
pub fn put_define_publisher(out: &mut Vec<u8>, number: u64, publisher: PublisherKey) {
    varint::put(out, kind::DEFINE_PUBLISHER);
    varint::put(out, (varint::size(number) + 16 + varint::size(publisher.epoch.0)) as u64);
    varint::put(out, number);
    put_publisher(out, publisher);
}

/// Appends a wish to be told what was received. Its body is kept for fields of later versions.
pub fn put_report(out: &mut Vec<u8>) {
    frame::put(out, kind::REPORT, |_| {});
}

/// Appends a run frame: `header` for this stream, `body` as it came.
#[inline]
pub fn put_run(out: &mut Vec<u8>, header: &HopHeader<'_>, body: &[u8]) {
    put_head(out, header, body.len(), body.len());
    out.extend_from_slice(body);
}

/// Appends a run frame up to its body, which has `body_bytes` and comes from elsewhere.
#[inline]
pub fn put_run_head(out: &mut Vec<u8>, header: &HopHeader<'_>, body_bytes: usize) {
    put_head(out, header, body_bytes, 0);
}

/// Appends the head of a run frame, and makes room for `reserve` bytes behind it.
#[inline]
fn put_head(out: &mut Vec<u8>, header: &HopHeader<'_>, body_bytes: usize, reserve: usize) {
    if let (TagsOnStream::Number(tags), PublisherOnStream::Number(publisher), None, true) =
        (header.tags, header.publisher, header.lane_seq, header.fields.is_empty())
    {
        // The common case, gathered first: room is made once, not for each integer.
        let flags = header.flags & flag::KNOWN;
        let hop = varint::size(flags) + varint::size(tags) + varint::size(publisher);
        let mut head = Head { bytes: [0; 6 * 8], len: 0 };
        head.put(kind::RUN);
        head.put((1 + hop + body_bytes) as u64);
        head.put(hop as u64);
        head.put(flags);
        head.put(tags);
        head.put(publisher);
        out.reserve(head.len + reserve);
        out.extend_from_slice(&head.bytes[..head.len]);
    } else {
        let mut hop = Vec::with_capacity(64);
        header.encode(&mut hop);
        varint::put(out, kind::RUN);
        varint::put(out, (varint::size(hop.len() as u64) + hop.len() + body_bytes) as u64);
        varint::put_prefixed(out, &hop);
    }
}

/// Up to six varints.
struct Head {
    bytes: [u8; 6 * 8],
    len: usize,
}

impl Head {
    #[inline]
    fn put(&mut self, value: u64) {
        let (bytes, size) = varint::encoded(value);
        if let Some(place) = self.bytes.get_mut(self.len..self.len + 8) {
            place.copy_from_slice(&bytes);
            self.len += size;
        }
    }
}

/// Largest body of a frame on a data stream.
pub const FRAME_BYTES_MAX: usize = DATA_FRAME_BYTES_MAX;
