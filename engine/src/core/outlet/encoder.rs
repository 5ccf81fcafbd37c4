//! Encodes runs for one reader: numbers for tag sets and publishers, and frames.
//!
//! The encoder copies bodies behind their heads, so that the transport gets few pieces. An outlet
//! that shares a large body with others takes the head alone, and puts the body behind it.

use std::sync::Arc;

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{
    self, Cursor, Gap, HopHeader, Mark, PublisherOnStream, ReceiverEnd, ReceiverGap, Replay, Source,
    TagsOnStream, optional,
};
use millrace_proto::table::{Memo, Naming, TableWriter};
use millrace_proto::{PublisherKey, ReceiverNumber};

use crate::core::run::RunOut;
use crate::history::KnownSource;
use crate::routes::TagId;

/// Room for the head of a run frame.
pub(super) const HEAD_BYTES: usize = 64;

/// Counts of what was encoded, which is never dropped.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::core) struct Written {
    pub(in crate::core) events: u64,
    pub(in crate::core) gaps: u64,
}

/// Encodes for one reader. What every run touches comes first, so that it lies in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Encoder {
    /// Encoded bytes that were not taken.
    out: Vec<u8>,
    /// Length of the last buffer that was taken. The next one starts with as much, and an idle
    /// stream holds no memory.
    out_hint: usize,
    written: Written,
    tags: TableWriter<TagId>,
    publishers: TableWriter<PublisherKey>,
    /// Sources that have a number here; none where places are not told.
    sources: Option<Box<SourceWriter>>,
}

impl Encoder {
    /// An encoder for a reader with tables of `capacity`.
    pub(super) fn new(capacity: TableCapacity) -> Self {
        Self {
            out: Vec::new(),
            out_hint: 0,
            written: Written::default(),
            tags: TableWriter::new(capacity.tag_sets, capacity.tag_bytes),
            publishers: TableWriter::new(capacity.publishers, u64::MAX),
            sources: None,
        }
    }

    /// Tells the reader the places of runs.
    pub(super) fn tell_places(&mut self) {
        self.sources.get_or_insert_default();
    }

    /// Whether the reader is told the places of runs.
    pub(super) const fn tells_places(&self) -> bool {
        self.sources.is_some()
    }

    /// Appends how far everything of some sources has arrived.
    pub(super) fn cursor(&mut self, positions: &[(Arc<KnownSource>, u64)], receivers: &[ReceiverNumber]) {
        let Some(sources) = &mut self.sources else { return };
        positions.iter().for_each(|(source, _)| sources.name(source, &mut self.out));
        let (sources, positions) =
            positions.iter().map(|(source, position)| (u64::from(source.number), *position)).unzip();
        Cursor { sources, positions, receivers: receivers.to_vec() }.encode(&mut self.out);
    }

    /// Appends the begin of a replay, or its end.
    pub(super) fn replay(&mut self, replay: &Replay) {
        replay.encode(&mut self.out);
    }

    /// The optional fields of a run with its place in front. To be given back.
    fn place(&mut self, run: &RunOut<'_>) -> Option<Vec<u8>> {
        let place = run.place?;
        let sources = self.sources.as_mut()?;
        sources.name(&place.source, &mut self.out);
        let mut fields = std::mem::take(&mut sources.fields);
        fields.clear();
        optional::put_position(&mut fields, place.source.number.into(), place.position);
        fields.extend_from_slice(run.fields);
        Some(fields)
    }

    /// Encodes a run with its place, if the reader is told it. Apart, so that runs without a place
    /// pay for one comparison.
    #[cold]
    fn encode_placed(&mut self, run: &RunOut<'_>, encode: impl FnOnce(&mut Self, &RunOut<'_>)) {
        let Some(fields) = self.place(run) else { return encode(self, run) };
        encode(self, &RunOut { fields: &fields, ..*run });
        if let Some(sources) = &mut self.sources {
            sources.fields = fields;
        }
    }

    /// The stream's first frame, before everything else.
    pub(super) fn preamble(&mut self, frame: &[u8]) {
        self.out.splice(0..0, frame.iter().copied());
    }

    /// Encoded bytes that were not taken.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing is encoded and no memory is held for it.
    #[inline]
    pub(super) const fn is_bare(&self) -> bool {
        self.out.capacity() == 0
    }

    /// Appends a run with a copy of its body, behind the definitions that it needs.
    #[inline(always)]
    pub(super) fn run(&mut self, run: &RunOut<'_>, lane_seq: Option<u64>) {
        self.count(run.events);
        self.reserve(self.out_hint.max(run.body.len() + HEAD_BYTES));
        if run.place.is_some() {
            return self.encode_placed(run, |encoder, run| encoder.bare_run(run, lane_seq));
        }
        self.bare_run(run, lane_seq);
    }

    #[inline(always)]
    fn bare_run(&mut self, run: &RunOut<'_>, lane_seq: Option<u64>) {
        let header = self.header(run, lane_seq);
        data::put_run(&mut self.out, &header, run.body);
    }

    /// Appends a run up to its body, which the caller puts behind it.
    pub(super) fn head(&mut self, run: &RunOut<'_>) {
        self.count(run.events);
        self.reserve(HEAD_BYTES);
        if run.place.is_some() {
            return self.encode_placed(run, |encoder, run| encoder.bare_head(run));
        }
        self.bare_head(run);
    }

    #[inline(always)]
    fn bare_head(&mut self, run: &RunOut<'_>) {
        let header = self.header(run, None);
        data::put_run_head(&mut self.out, &header, run.body.len());
    }

    /// Counts events as written: once for each receiver of a run, by the caller, who knows how many
    /// there are.
    #[inline]
    pub(super) const fn count(&mut self, events: u64) {
        self.written.events += events;
    }

    /// Appends a run for `targets` with a copy of its body, behind the definitions that it needs.
    #[inline(always)]
    pub(super) fn deliver(&mut self, run: &RunOut<'_>, targets: &[u8]) {
        self.reserve(self.out_hint.max(run.body.len() + targets.len() + HEAD_BYTES));
        if run.place.is_some() {
            return self.encode_placed(run, |encoder, run| encoder.bare_deliver(run, targets));
        }
        self.bare_deliver(run, targets);
    }

    #[inline(always)]
    fn bare_deliver(&mut self, run: &RunOut<'_>, targets: &[u8]) {
        let header = self.header(run, None);
        data::put_deliver(&mut self.out, &header, targets, run.body);
    }

    /// Appends a run for `targets` up to its body, which the caller puts behind it.
    pub(super) fn deliver_head(&mut self, run: &RunOut<'_>, targets: &[u8]) {
        self.reserve(HEAD_BYTES + targets.len());
        if run.place.is_some() {
            return self.encode_placed(run, |encoder, run| encoder.bare_deliver_head(run, targets));
        }
        self.bare_deliver_head(run, targets);
    }

    #[inline(always)]
    fn bare_deliver_head(&mut self, run: &RunOut<'_>, targets: &[u8]) {
        let header = self.header(run, None);
        data::put_deliver_head(&mut self.out, &header, targets, run.body.len());
    }

    /// Appends a gap marker for these receivers of the stream; for all of them when the list is
    /// empty.
    pub(super) fn deliver_gap(&mut self, gap: &Gap, receivers: Vec<ReceiverNumber>) {
        self.written.gaps += 1;
        let Gap { reason, events, router } = *gap;
        ReceiverGap { reason, events, router, receivers }.encode(&mut self.out);
    }

    /// Appends the end of a receiver.
    pub(super) fn end_receiver(&mut self, end: &ReceiverEnd) {
        end.encode(&mut self.out);
    }

    /// Appends a mark.
    pub(super) fn mark(&mut self, mark: &Mark) {
        mark.encode(&mut self.out);
    }

    /// Appends a gap marker.
    pub(super) fn gap(&mut self, gap: &Gap) {
        self.written.gaps += 1;
        gap.encode(&mut self.out);
    }

    #[inline]
    fn reserve(&mut self, bytes: usize) {
        if self.out.capacity() == 0 {
            self.out = Vec::with_capacity(bytes);
        }
    }

    /// The header of a run on this stream, behind the definitions that it needs. Inlined, because
    /// its caller writes at once what a call would return in memory.
    #[inline(always)]
    fn header<'a>(&mut self, run: &RunOut<'a>, lane_seq: Option<u64>) -> HopHeader<'a> {
        let tag_bytes = run.tags.canonical().len() as u64;
        let naming = match run.number {
            Some(memo) => self.tags.name_by_memo(&run.tag, tag_bytes, memo),
            None => self.tags.name(&run.tag, tag_bytes),
        };
        let tags = match naming {
            Naming::Known(number) => TagsOnStream::Number(number),
            Naming::Define(number) => {
                data::put_define_tags(&mut self.out, number, run.tags);
                TagsOnStream::Number(number)
            }
            Naming::Inline => TagsOnStream::Inline(run.tags),
        };
        let publisher = match self.publishers.name_as_before(&run.publisher, 0) {
            Naming::Known(number) => PublisherOnStream::Number(number),
            Naming::Define(number) => {
                data::put_define_publisher(&mut self.out, number, run.publisher);
                PublisherOnStream::Number(number)
            }
            Naming::Inline => PublisherOnStream::Inline(run.publisher),
        };
        HopHeader { tags, publisher, flags: run.flags, lane_seq, fields: run.fields }
    }

    /// Takes the encoded bytes, if there are any. The next buffer starts with as much room.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.out.is_empty() {
            // `take_head` may have left room: an idle stream holds none.
            self.out = Vec::new();
            return None;
        }
        self.out_hint = self.out.len();
        Some(std::mem::take(&mut self.out))
    }

    /// Takes the encoded bytes up to a head whose body stands elsewhere. Room beyond them stays
    /// here, because only written bytes count.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        if self.out.capacity() > 2 * self.out.len() + HEAD_BYTES {
            let head = self.out.clone();
            self.out.clear();
            head
        } else {
            std::mem::take(&mut self.out)
        }
    }

    /// Counts of what was encoded since the last call.
    pub(super) fn take_written(&mut self) -> Written {
        std::mem::take(&mut self.written)
    }

    /// Reads a word of each cache line that encoding a run touches.
    #[inline]
    pub(super) fn lines(&self) -> usize {
        self.out.len() ^ self.tags.len() ^ self.publishers.len()
    }

    /// Prefetches the names of a run's tag set and publisher; `memo` is the number of the tag set,
    /// as the route keeps it.
    #[inline(always)]
    pub(super) fn prefetch_names(&self, tag: &TagId, memo: Memo, publisher: &PublisherKey) {
        if !self.tags.knows(memo) {
            self.tags.prefetch(tag);
        }
        if !self.publishers.is_as_before(publisher) {
            self.publishers.prefetch(publisher);
        }
    }
}

/// The sources that one reader knows by number.
#[derive(Debug, Default)]
struct SourceWriter {
    /// By number: what the reader was told last.
    told: Vec<Option<Source>>,
    /// Memory to use again.
    fields: Vec<u8>,
}

impl SourceWriter {
    /// Has the reader know a source by its number.
    fn name(&mut self, known: &KnownSource, out: &mut Vec<u8>) {
        let number = usize::from(known.number);
        if self.told.len() <= number {
            self.told.resize(number + 1, None);
        }
        if self.told[number] != Some(known.source) {
            self.told[number] = Some(known.source);
            data::put_define_source(out, known.number.into(), known.source);
        }
    }
}
