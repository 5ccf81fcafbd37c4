//! What numbers stand for on one delivery stream.

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{DataFrame, HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::run::RunBody;
use millrace_proto::table::TableReader;
use millrace_proto::{PublisherKey, ReceiverNumber, TagSet};

use super::preamble::StreamFor;
use super::sink::{DeliveredRun, DeliverySink};
use crate::session::SessionError;

#[derive(Debug)]
pub(super) struct Tables {
    tags: TableReader<TagSet>,
    publishers: TableReader<PublisherKey>,
}

impl Tables {
    pub(super) fn new(tables: TableCapacity) -> Self {
        Self {
            tags: TableReader::new(tables.tag_sets, tables.tag_bytes, "tag set"),
            publishers: TableReader::new(tables.publishers, tables.publishers * 16, "publisher"),
        }
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
        Ok(DeliveredRun {
            receiver,
            tags,
            tag_number,
            publisher,
            number: 0,
            ticket: None,
            matched: &[],
            flags: hop.flags,
            body,
            shared,
        })
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
            DataFrame::Report | DataFrame::Skipped { .. } | DataFrame::Cursor(_) | DataFrame::Replay(_) => {}
            _ => {
                return Err(SessionError::Unexpected {
                    frame: "a frame of another kind of stream, or of a feature that this client does not list",
                });
            }
        }
        Ok(())
    }
}
