//! What numbers stand for on one delivery stream.

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Cursor, DataFrame, HopHeader, PublisherOnStream, Replay, Source, TagsOnStream};
use millrace_proto::run::RunBody;
use millrace_proto::table::TableReader;
use millrace_proto::{PublisherKey, ReceiverNumber, TagSet};

use super::preamble::StreamFor;
use super::sink::{DeliveredRun, DeliverySink, PassedBy};
use crate::session::SessionError;

#[derive(Debug)]
pub(super) struct Tables {
    tags: TableReader<TagSet>,
    publishers: TableReader<PublisherKey>,
    /// By number.
    sources: Vec<Option<Source>>,
    /// Up to where sources are replayed: on a stream of one receiver it says which runs are.
    pinned: Vec<(Source, u64)>,
}

impl Tables {
    pub(super) fn new(tables: TableCapacity) -> Self {
        Self {
            tags: TableReader::new(tables.tag_sets, tables.tag_bytes, "tag set"),
            publishers: TableReader::new(tables.publishers, tables.publishers * 16, "publisher"),
            sources: Vec::new(),
            pinned: Vec::new(),
        }
    }

    /// Whether a number stands for a tag set.
    #[inline]
    pub(super) fn is_known(&self, tags: u64) -> bool {
        self.tags.get(tags).is_ok()
    }

    /// A run with what its numbers stand for; whom it is for is yet to be filled in.
    #[inline]
    pub(super) fn read<'a>(
        &'a self,
        hop: &HopHeader<'a>,
        body: RunBody<'a>,
    ) -> Result<DeliveredRun<'a>, SessionError> {
        let (tags, tag_number, shared) = match hop.tags {
            TagsOnStream::Number(number) => {
                let set = self.tags.get(number)?;
                (set.borrow(), Some(number), Some(set))
            }
            TagsOnStream::Inline(tags) => (tags, None, None),
        };
        let publisher = match hop.publisher {
            PublisherOnStream::Number(number) => *self.publishers.get(number)?,
            PublisherOnStream::Inline(key) => key,
        };
        let receiver = ReceiverNumber(0);
        let place = if self.sources.is_empty() { None } else { self.place(hop)? };
        Ok(DeliveredRun {
            receiver,
            tags,
            tag_number,
            publisher,
            number: 0,
            ticket: None,
            matched: &[],
            addressed: &[],
            set: &[],
            flags: hop.flags,
            body,
            shared,
            place,
            replayed: false,
        })
    }

    /// The source and the position of a run, if its header has them.
    fn place(&self, hop: &HopHeader<'_>) -> Result<Option<(Source, u64)>, SessionError> {
        let Some((number, position)) = hop.position()? else { return Ok(None) };
        Ok(self.source(number).map(|source| (source, position)))
    }

    fn source(&self, number: u64) -> Option<Source> {
        *self.sources.get(usize::try_from(number).ok()?)?
    }

    /// Whether a run of a stream of one receiver comes from history.
    pub(super) fn is_replayed(&self, place: Option<(Source, u64)>) -> bool {
        let Some((source, position)) = place else { return false };
        self.pinned.iter().any(|&(pinned, to)| pinned == source && position < to)
    }

    /// Gives the positions of a cursor to `sink`, for one receiver.
    pub(super) fn cursor(&self, receiver: ReceiverNumber, cursor: &Cursor, sink: &mut impl DeliverySink) {
        for (&number, &position) in cursor.sources.iter().zip(&cursor.positions) {
            if let Some(source) = self.source(number) {
                sink.passed(receiver, source, position, PassedBy::Quiet);
            }
        }
    }

    /// Gives what a replay says to `sink`.
    fn replay(&mut self, replay: &Replay, sink: &mut impl DeliverySink) {
        let Replay { receiver, router, incarnation, owner, from, to, joined, subscription, .. } = *replay;
        let source = Source { router, incarnation, owner };
        if joined {
            return sink.passed(receiver, source, to, PassedBy::Joined(subscription));
        }
        self.pinned.retain(|&(known, _)| known.router != router || known.owner != owner);
        self.pinned.push((source, to));
        sink.passed(receiver, source, from, PassedBy::Begun(subscription));
    }

    /// Takes a frame of `stream` that stands on both kinds of streams.
    pub(super) fn common(
        &mut self,
        stream: StreamFor,
        frame: &DataFrame<'_>,
        sink: &mut impl DeliverySink,
    ) -> Result<(), SessionError> {
        match frame {
            DataFrame::DefineTags { number, tags } => {
                let set = (*tags).to_owned();
                self.tags.define(*number, set.clone(), set.canonical().len() as u64)?;
                sink.tags_defined(stream, *number, &set);
            }
            DataFrame::DefinePublisher { number, publisher, .. } => {
                self.publishers.define(*number, *publisher, 16)?;
            }
            DataFrame::DefineSource { number, source } => {
                // The decoder bounds the number.
                let index = usize::try_from(*number).unwrap_or(0);
                if self.sources.len() <= index {
                    self.sources.resize(index + 1, None);
                }
                self.sources[index] = Some(*source);
            }
            DataFrame::Replay(replay) => self.replay(replay, sink),
            DataFrame::Report | DataFrame::Skipped { .. } | DataFrame::Cursor(_) => {}
            _ => {
                return Err(SessionError::Unexpected {
                    frame: "a frame of another kind of stream, or of a feature that this client does not list",
                });
            }
        }
        Ok(())
    }
}
