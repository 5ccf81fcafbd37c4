//! The publish stream of one connection to a far cluster: tables, frames, credit.

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, HopHeader, Packed, PublisherOnStream, TagsOnStream};
use millrace_proto::limits::PACKED_PLAIN_BYTES_MAX;
use millrace_proto::stream::PublishPreamble;
use millrace_proto::table::{Naming, TableWriter};
use millrace_proto::{PublisherKey, TagSet};

use crate::packing::Packer;

/// What a publisher is called on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    /// Its number; none where it is written in full, so that the far router says nothing of it.
    pub(super) number: Option<u64>,
    /// Whether the number stands for it from here on only.
    pub(super) is_new: bool,
}

/// The stream of one connection.
#[derive(Debug)]
pub(super) struct CrossingStream {
    tags: TableWriter<TagSet>,
    publishers: TableWriter<PublisherKey>,
    started: bool,
    /// Frames are packed.
    packer: Option<Packer>,
    /// Encoded, but beyond the credit so far.
    staged: Bytes,
    /// Bytes handed out.
    written: u64,
    credit: u64,
}

impl CrossingStream {
    /// A stream with tables of this size, whose frames are packed if `packs` says so.
    pub(super) fn new(tables: TableCapacity, packs: bool) -> Self {
        Self {
            tags: TableWriter::new(tables.tag_sets, tables.tag_bytes),
            publishers: TableWriter::new(tables.publishers, 0),
            started: false,
            packer: packs.then(Packer::default),
            staged: Bytes::new(),
            written: 0,
            credit: 0,
        }
    }

    pub(super) fn on_credit(&mut self, bytes: u64) {
        self.credit = self.credit.max(bytes);
    }

    /// Whether another run may be encoded: all before were handed out, and there is credit.
    pub(super) const fn takes(&self) -> bool {
        self.staged.is_empty() && self.credit > self.written
    }

    /// Appends a run with the frames that it needs. Returns what its publisher is called.
    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        tags: &TagSet,
        publisher: PublisherKey,
        (flags, fields): (u64, &[u8]),
        body: &[u8],
    ) -> Named {
        let tags = match self.tags.name(tags, tags.canonical().len() as u64) {
            Naming::Known(number) => TagsOnStream::Number(number),
            Naming::Define(number) => {
                data::put_define_tags(out, number, tags.borrow());
                TagsOnStream::Number(number)
            }
            Naming::Inline => TagsOnStream::Inline(tags.borrow()),
        };
        let (named, publisher) = match self.publishers.name(&publisher, 0) {
            Naming::Known(number) => {
                (Named { number: Some(number), is_new: false }, PublisherOnStream::Number(number))
            }
            Naming::Define(number) => {
                data::put_define_publisher(out, number, publisher);
                (Named { number: Some(number), is_new: true }, PublisherOnStream::Number(number))
            }
            Naming::Inline => (Named { number: None, is_new: false }, PublisherOnStream::Inline(publisher)),
        };
        data::put_run(out, &HopHeader { tags, publisher, flags, lane_seq: None, fields }, body);
        named
    }

    /// Takes encoded frames, to be handed out as credit allows.
    pub(super) fn stage(&mut self, frames: Vec<u8>) {
        if frames.is_empty() {
            return;
        }
        let packer = self.packer.as_mut().filter(|_| frames.len() <= PACKED_PLAIN_BYTES_MAX);
        let packed = packer.and_then(|packer| packer.pack(&frames));
        if self.started && packed.is_none() {
            self.staged = frames.into();
            return;
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.started, true) {
            PublishPreamble {}.encode(&mut out);
        }
        match packed {
            Some(packed) => Packed { plain_bytes: frames.len(), packed: &packed }.encode(&mut out),
            None => out.extend_from_slice(&frames),
        }
        self.staged = out.into();
    }

    /// As much of what is staged as credit allows.
    pub(super) fn take_staged(&mut self) -> Option<Bytes> {
        let room = usize::try_from(self.credit.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let chunk = self.staged.split_to(self.staged.len().min(room));
        self.written += chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }
}
