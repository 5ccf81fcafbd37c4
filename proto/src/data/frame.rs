//! Any frame of a data stream, read.

use super::define::{Source, take_publisher, take_source};
use super::deliver::Targets;
use super::hop::HopHeader;
use super::kind;
use super::marker::{Cursor, Gap, Mark, ReceiverEnd, ReceiverGap, Replay};
use super::packed::Packed;
use crate::error::DecodeError;
use crate::frame;
use crate::id::PublisherKey;
use crate::limits::{SOURCES_MAX, TARGETS_BYTES_MAX};
use crate::run::RunBody;
use crate::tag::TagSetRef;
use crate::varint;

/// One frame of a data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
        /// On publish streams: what the id is derived from besides secret and identity; 0 when it
        /// is not said.
        index: u64,
    },
    /// A number for a source of positions.
    DefineSource {
        /// The number, below [`SOURCES_MAX`].
        number: u64,
        /// The source.
        source: Source,
    },
    /// A run.
    Run {
        /// Its header on this stream.
        hop: HopHeader<'a>,
        /// Its body.
        body: RunBody<'a>,
    },
    /// A run for several receivers of the connection.
    Deliver {
        /// Its header on this stream; it says nothing about subscriptions.
        hop: HopHeader<'a>,
        /// The receivers that it is for.
        targets: Targets<'a>,
        /// Its body.
        body: RunBody<'a>,
    },
    /// A gap.
    Gap(Gap),
    /// A gap of some receivers.
    ReceiverGap(ReceiverGap),
    /// The end of a receiver.
    ReceiverEnd(ReceiverEnd),
    /// How far receivers are.
    Cursor(Cursor),
    /// The begin or the end of a replay.
    Replay(Replay),
    /// A mark.
    Mark(Mark),
    /// The publisher wants to be told what was received.
    Report,
    /// Other frames, packed together.
    Packed(Packed<'a>),
    /// A frame that this version skips.
    Skipped {
        /// Its type.
        kind: u64,
    },
}

/// Decodes the body of a [`kind::RUN`] frame: its header on this stream, which `hop` becomes, and
/// the run. For readers that see little else, and so need not ask which frame it was.
///
/// # Errors
/// [`DecodeError`] for malformed and oversized runs; `hop` is of no use then.
#[inline(always)]
pub fn decode_run<'a>(mut body: &'a [u8], hop: &mut HopHeader<'a>) -> Result<RunBody<'a>, DecodeError> {
    hop.take_from(&mut body)?;
    RunBody::parse(body)
}

/// Decodes one frame that was split off a data stream.
///
/// # Errors
/// [`DecodeError`] for malformed, oversized and unknown must-understand frames.
#[inline]
pub fn decode(kind: u64, mut body: &[u8]) -> Result<DataFrame<'_>, DecodeError> {
    match kind {
        kind::RUN => {
            let hop = HopHeader::take(&mut body)?;
            Ok(DataFrame::Run { hop, body: RunBody::parse(body)? })
        }
        kind::DELIVER => {
            let hop = HopHeader::take(&mut body)?;
            let targets = varint::take_prefixed(&mut body, TARGETS_BYTES_MAX, "targets")?;
            Ok(DataFrame::Deliver { hop, targets: Targets::parse(targets)?, body: RunBody::parse(body)? })
        }
        kind::DEFINE_TAGS => {
            let number = varint::take(&mut body)?;
            Ok(DataFrame::DefineTags { number, tags: TagSetRef::parse(body)? })
        }
        kind::DEFINE_PUBLISHER => {
            let number = varint::take(&mut body)?;
            let publisher = take_publisher(&mut body)?;
            let index = if body.is_empty() { 0 } else { varint::take(&mut body)? };
            if !body.is_empty() {
                return Err(DecodeError::Malformed { what: "publisher" });
            }
            Ok(DataFrame::DefinePublisher { number, publisher, index })
        }
        kind::DEFINE_SOURCE => {
            let number = varint::take(&mut body)?;
            if number >= SOURCES_MAX {
                return Err(DecodeError::Limit { what: "source number" });
            }
            Ok(DataFrame::DefineSource { number, source: take_source(body)? })
        }
        kind::RECEIVER_GAP => Ok(DataFrame::ReceiverGap(ReceiverGap::decode(body)?)),
        kind::RECEIVER_END => Ok(DataFrame::ReceiverEnd(ReceiverEnd::decode(body)?)),
        kind::CURSOR => Ok(DataFrame::Cursor(Cursor::decode(body)?)),
        kind::REPLAY => Ok(DataFrame::Replay(Replay::decode(body)?)),
        kind::MARK => Ok(DataFrame::Mark(Mark::decode(body)?)),
        kind::GAP => Ok(DataFrame::Gap(Gap::decode(body)?)),
        kind::REPORT => Ok(DataFrame::Report),
        kind::PACKED => Ok(DataFrame::Packed(Packed::decode(body)?)),
        _ => frame::skip_unknown(kind).map(|()| DataFrame::Skipped { kind }),
    }
}
