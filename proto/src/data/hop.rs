//! The hop header: the part of a run's frame that is written anew for each stream that the run
//! crosses.
//!
//! `flags, [tag set number], [publisher number], optional fields`. A number is absent when its flag
//! says that the thing itself stands in a field.

use super::define::{put_publisher, take_publisher};
use crate::error::DecodeError;
use crate::field::{self, Fields};
use crate::id::{PublisherKey, ReceiverNumber};
use crate::limits::{HOP_HEADER_BYTES_MAX, SUBSCRIPTIONS_PER_RECEIVER_MAX};
use crate::tag::TagSetRef;
use crate::varint;

/// Bits of a hop header's flags. Unknown bits are ignored and not forwarded.
pub mod flag {
    /// Bits 0–1: confirm level that the publisher asked for (0 none, 1 routed, 2 delivered; 3 kept,
    /// reserved).
    pub const LEVEL_MASK: u64 = 0b11;
    /// The tag set stands in [`super::hop_field::TAGS`] instead of a number.
    pub const INLINE_TAGS: u64 = 1 << 2;
    /// The publisher stands in [`super::hop_field::PUBLISHER`] instead of a number.
    pub const INLINE_PUBLISHER: u64 = 1 << 3;
    /// This run was sent before; the receiver may know it.
    pub const RESENT: u64 = 1 << 4;
    /// The router could not decide whether this receiver had the run before.
    pub const MAYBE_DUPLICATE: u64 = 1 << 5;
    /// Reserved: the run's body is encoded.
    pub const ENCODED: u64 = 1 << 6;
    /// Between the cores of one router: its owner has not routed this run. Routers ignore it in
    /// what comes from anybody else.
    pub const UNROUTED: u64 = 1 << 7;
    /// Between the cores of one router: tag rules are not applied to this run. Routers ignore it in
    /// what comes from anybody else.
    pub const UNRULED: u64 = 1 << 9;
    /// All bits that this version knows, besides the inline ones.
    pub(in super::super) const KNOWN: u64 = LEVEL_MASK | RESENT | MAYBE_DUPLICATE | UNROUTED | UNRULED;
}

/// Numbers of a hop header's optional fields. Readers skip those they do not know;
/// [`super::optional`] says what is in those from [`TICKET`](hop_field::TICKET) on.
pub mod hop_field {
    /// Inline tag set, canonical bytes.
    pub const TAGS: u64 = 1;
    /// Inline publisher: id (16 bytes), epoch.
    pub const PUBLISHER: u64 = 2;
    /// Number of a source, and the run's position there.
    pub const POSITION: u64 = 3;
    /// Lane seq, when it is not one more than that of the run before.
    pub const LANE_SEQ: u64 = 4;
    /// Subscriptions that matched, varints in ascending order. Absent: subscription 0 alone.
    pub const MATCHED: u64 = 5;
    /// Ticket of a group's copy, its generation, and the group.
    pub const TICKET: u64 = 6;
    /// Recipients that the publisher named, request and reply token.
    pub const RECIPIENTS: u64 = 7;
    /// Clusters that the run has crossed.
    pub const CLUSTER_PATH: u64 = 8;
    /// Tags that routers added to the published ones, and the rules' version.
    pub const ADDED_TAGS: u64 = 9;
    /// Set of standby publishers, its generation, and the events' source seqs.
    pub const SET: u64 = 10;
    /// How long the run has left.
    pub const EXPIRY: u64 = 11;
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
    /// Optional fields that do not depend on the stream, as they stand on the wire: [`hop_field`]
    /// numbers besides `TAGS`, `PUBLISHER` and `LANE_SEQ`, which are members of their own. Who
    /// hands a run on copies them without knowing them.
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

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
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

    /// Takes a header off the front of a frame's body, behind its length.
    #[inline(always)]
    pub(super) fn take(body: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let mut header = Self::numbered(0, 0);
        header.take_from(body)?;
        Ok(header)
    }

    /// As [`take`](Self::take), written to where it stays: a header that is moved right behind its
    /// writing is read by wider words than it was written by, for which a processor waits until all
    /// writes before them are in the cache.
    #[inline(always)]
    pub(super) fn take_from(&mut self, body: &mut &'a [u8]) -> Result<(), DecodeError> {
        // The common case is read where it stands: three integers and nothing else.
        if let Some(Numbers { flags, tags, publisher, end, .. }) = peek(body)
            && flags & (flag::INLINE_TAGS | flag::INLINE_PUBLISHER) == 0
            && let Some(rest) = end.and_then(|end| body.get(end..))
        {
            *body = rest;
            self.tags = TagsOnStream::Number(tags);
            self.publisher = PublisherOnStream::Number(publisher);
            self.flags = flags & flag::KNOWN;
            self.lane_seq = None;
            self.fields = &[];
            return Ok(());
        }
        *self = Self::decode(varint::take_prefixed(body, HOP_HEADER_BYTES_MAX, "hop header")?)?;
        Ok(())
    }

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
        // Fields that depend on the stream are written first. One behind the others counts, too,
        // and stays among them.
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

/// Appends the field [`hop_field::MATCHED`]: subscription numbers in ascending order, of which
/// repeated ones count once. Nothing for subscription 0 alone.
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

/// The numbers of a run's tag set and publisher, from its frame's body; nothing else of it is
/// looked at. `None` when not both have one.
#[inline]
#[must_use]
pub fn peek_numbers(body: &[u8]) -> Option<(u64, u64)> {
    let Numbers { flags, tags, publisher, .. } = peek(body)?;
    (flags & (flag::INLINE_TAGS | flag::INLINE_PUBLISHER) == 0).then_some((tags, publisher))
}

/// The number of a delivered run's tag set and the first receiver that it is for, from its frame's
/// body; nothing else of it is looked at. `None` when the tag set has no number.
#[inline]
#[must_use]
pub fn peek_delivery(body: &[u8]) -> Option<(u64, ReceiverNumber)> {
    let Numbers { flags, tags, header_end, .. } = peek(body)?;
    let targets = body.get(usize::try_from(header_end).ok()?..)?;
    let (_, at) = varint::peek(targets)?;
    let (first, _) = varint::peek(targets.get(at..)?)?;
    let receiver = ReceiverNumber(u32::try_from(first >> 1).ok()?);
    (flags & flag::INLINE_TAGS == 0).then_some((tags, receiver))
}

/// The first integers of a run's frame, if it names tag set and publisher by numbers.
struct Numbers {
    flags: u64,
    tags: u64,
    publisher: u64,
    /// Where the header ends, as it says.
    header_end: u64,
    /// The same, if nothing else is in it.
    end: Option<usize>,
}

#[inline(always)]
fn peek(body: &[u8]) -> Option<Numbers> {
    let (len, start) = varint::peek(body)?;
    let mut at = start;
    let (flags, size) = varint::peek(body.get(at..)?)?;
    at += size;
    let (tags, size) = varint::peek(body.get(at..)?)?;
    at += size;
    let (publisher, size) = varint::peek(body.get(at..)?)?;
    at += size;
    let header_end = (start as u64).saturating_add(len);
    Some(Numbers { flags, tags, publisher, header_end, end: (at as u64 == header_end).then_some(at) })
}

pub(super) fn check_matched(bytes: &[u8]) -> Result<(), DecodeError> {
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
