//! Reads runs from a stream: a publisher's, a lane's, or a sibling core's batches, which use the
//! same frames.

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{
    self, Cursor, DataFrame, Gap, HopHeader, Mark, Packed, PublisherOnStream, Replay, Source, TagsOnStream,
};
use millrace_proto::frame::{self, Frame, FrameReader, WINDOW_FRAMES};
use millrace_proto::run::RunBody;
use millrace_proto::table::TableReader;
use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{DecodeError, Epoch, PublisherId, PublisherKey, TagSet, TagSetRef};

use super::unwanted::Unwanted;
use crate::core::metrics::DropReason;
use crate::packing::unpack;
use crate::routes::TagId;

/// A tag set that has a number on a stream, and what this core knows of it.
#[derive(Debug)]
pub(in crate::core) struct KnownTags {
    canonical: Box<[u8]>,
    /// XXH3-64 of the canonical bytes, which gives the shard.
    pub(in crate::core) hash: u64,
    /// The route cache's last name for it, by which it is found without hashing while it is cached.
    pub(in crate::core) id: TagId,
    /// Its runs are dropped, and why: the sink does not take it.
    pub(in crate::core) refusal: Option<DropReason>,
    /// Flags that its runs have between the cores of this router.
    pub(in crate::core) entry_flags: u16,
    /// Only routers publish and want it.
    pub(super) is_internal: bool,
    /// Whether anybody wants it, on the stream of a publisher that can be told.
    pub(in crate::core) unwanted: Unwanted,
}

/// The tag set of a run that may have to wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) enum RunTags<'a> {
    /// One that has a number on the stream.
    Numbered(&'a KnownTags),
    /// One that the run has written out.
    Written(TagSetRef<'a>),
}

/// What a sink makes of a tag set.
#[derive(Debug, Default)]
pub(in crate::core) struct Admission {
    /// What its runs are routed with; none: the tags as they were read.
    pub(in crate::core) stamped: Option<TagSet>,
    /// Its runs are dropped, and why.
    pub(in crate::core) refusal: Option<DropReason>,
    /// Flags that its runs have between the cores of this router.
    pub(in crate::core) entry_flags: u16,
}

impl KnownTags {
    fn new(tags: TagSetRef<'_>, sink: &mut impl RunSink) -> Self {
        let Admission { stamped, refusal, entry_flags } = sink.admit(tags);
        let tags = stamped.as_ref().map_or(tags, TagSet::borrow);
        Self { refusal, entry_flags, ..Self::effective(tags) }
    }

    /// A tag set as the owner routes it.
    pub(super) fn effective(tags: TagSetRef<'_>) -> Self {
        let (canonical, hash) = (tags.canonical().into(), tags.hash());
        Self {
            canonical,
            hash,
            id: TagId::default(),
            refusal: None,
            entry_flags: 0,
            is_internal: tags.get(INTERNAL_KEY).is_some(),
            unwanted: Unwanted::default(),
        }
    }

    pub(in crate::core) fn tags(&self) -> TagSetRef<'_> {
        TagSetRef::trusted(&self.canonical)
    }
}

/// Who published a run, as its stream says.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct RunPublisher {
    pub(in crate::core) key: PublisherKey,
    /// Its number on the stream, if it has one.
    pub(in crate::core) number: Option<u64>,
}

/// The body of a run, and the buffer it may stay in.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct RunIn<'a> {
    pub(in crate::core) body: RunBody<'a>,
    /// The buffer that the body lies in, if the body is large and most of the buffer: then an
    /// outlet may keep it without a copy.
    pub(in crate::core) buffer: Option<&'a Bytes>,
}

/// Bytes from which on an outlet may keep a body. Each kept body is two pieces of a stream, which
/// QUIC looks through one by one for each packet, so that they must be few.
const KEPT_FROM: usize = 8 * 1024;

impl<'a> RunIn<'a> {
    /// A body, and the buffer of its frame. An outlet that keeps a body keeps the whole buffer,
    /// while only the body counts against its bounds, so that a frame with more than the body in it
    /// is copied.
    fn new(body: RunBody<'a>, buffer: Option<&'a Bytes>) -> Self {
        let bytes = body.bytes().len();
        Self { body, buffer: buffer.filter(|buffer| bytes >= KEPT_FROM && bytes >= buffer.len() / 4 * 3) }
    }
}

/// A run that comes next.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Coming {
    /// The route cache's last name for its tag set.
    pub(in crate::core) tag: TagId,
    /// XXH3-64 of its tag set.
    pub(in crate::core) hash: u64,
    pub(in crate::core) publisher: PublisherKey,
}

/// The next runs of a stream, as far as their names are known.
///
/// Routing a run touches memory in many places, each of which takes some hundred cycles when it is
/// out of cache. A single run waits for one after the other; the runs of a window wait together.
#[derive(Debug)]
pub(in crate::core) struct Window {
    runs: [Coming; WINDOW_FRAMES],
    len: usize,
}

impl Window {
    /// The runs.
    pub(in crate::core) fn runs(&self) -> &[Coming] {
        &self.runs[..self.len]
    }
}

/// Takes the runs of a stream.
pub(in crate::core) trait RunSink {
    /// Prefetches what the core reads to route these runs, which come next. Changes nothing.
    fn prefetch(&mut self, window: &Window);
    /// Takes a run.
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>);
    /// Gives a number to a publisher. Returns the publisher that its runs carry: the claimed one,
    /// if the other side is trusted with it.
    fn publisher_defined(&mut self, number: u64, claimed: PublisherKey, index: u64) -> PublisherKey {
        let _ = (number, index);
        claimed
    }
    /// Whether runs may have this tag set, and with which they are routed.
    fn admit(&mut self, tags: TagSetRef<'_>) -> Admission {
        let _ = tags;
        Admission::default()
    }
    /// Takes a gap marker.
    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError>;
    /// Takes the preamble: the first frame of the stream, not a data frame.
    fn preamble(&mut self, kind: u64, body: &[u8]) -> Result<(), DecodeError>;
    /// The publisher asks to be told what was received, which publish streams alone do.
    fn report(&mut self) {
        self.skipped();
    }
    /// A number stands for a source of positions from here on.
    fn source_defined(&mut self, number: u64, source: Source) -> Result<(), DecodeError> {
        let _ = (number, source);
        Err(DecodeError::UnknownFrame { kind: data::kind::DEFINE_SOURCE })
    }
    /// The writer says how far it has come with sources.
    fn cursor(&mut self, cursor: &Cursor) {
        let _ = cursor;
        self.skipped();
    }
    /// The writer says what of a source's history follows.
    fn replay(&mut self, replay: &Replay) -> Result<(), DecodeError> {
        let _ = replay;
        self.skipped();
        Ok(())
    }
    /// Everything that its writer was to write before a mark was read.
    fn mark(&mut self, mark: &Mark) {
        let _ = mark;
        self.skipped();
    }
    /// Whether frames may come packed.
    fn takes_packed(&self) -> bool {
        false
    }
    /// Counts a frame that was skipped.
    fn skipped(&mut self);
    /// Whether the turn has no more time for lookups of tag sets.
    fn is_spent(&self) -> bool {
        false
    }
    /// Whether a tag set is new, and there is no more time for new ones.
    fn is_too_new(&self, tags: RunTags<'_>) -> bool {
        let _ = tags;
        false
    }
    /// Whether each run is looked at before it is taken, because it may have to wait.
    fn checks_runs(&self) -> bool {
        self.is_spent()
    }
    /// Pays for a run, by the body of its frame; false if it has to wait until that counts.
    fn pays_for(&mut self, frame: &[u8]) -> bool {
        let _ = frame;
        true
    }
    /// Whether the runs of a tag set need no lookup.
    fn is_settled(&self, tags: &KnownTags) -> bool {
        let _ = tags;
        true
    }
}

/// Reads the runs of one stream: its frames, and the tables that its writer fills.
#[derive(Debug)]
pub(in crate::core) struct RunReader {
    frames: FrameReader,
    tables: Tables,
    /// Whole frames that were left unread in this turn.
    left: Vec<u8>,
}

#[derive(Debug)]
struct Tables {
    preamble: bool,
    tags: TableReader<KnownTags>,
    /// How many times a tag set was given a number.
    definitions: u64,
    publishers: TableReader<PublisherKey>,
}

impl RunReader {
    /// A reader whose first frame is a preamble, if `preamble` says so.
    pub(in crate::core) fn new(capacity: TableCapacity, preamble: bool) -> Self {
        Self {
            frames: FrameReader::new(),
            left: Vec::new(),
            tables: Tables {
                preamble,
                tags: TableReader::new(capacity.tag_sets, capacity.tag_bytes, "tag set"),
                definitions: 0,
                publishers: TableReader::new(capacity.publishers, u64::MAX, "publisher"),
            },
        }
    }

    /// The tag sets that the stream has numbers for.
    pub(in crate::core) fn tag_sets(&mut self) -> impl Iterator<Item = (u64, &mut KnownTags)> {
        self.tables.tags.numbered_mut()
    }

    /// The tag set of a number.
    pub(in crate::core) fn tag_set(&mut self, number: u64) -> Option<&mut KnownTags> {
        self.tables.tags.get_mut(number).ok()
    }

    /// How many times a tag set was given a number.
    pub(in crate::core) const fn definitions(&self) -> u64 {
        self.tables.definitions
    }

    /// The publisher of the lowest number.
    pub(in crate::core) fn first_publisher(&self) -> Option<PublisherId> {
        Some(self.tables.publishers.get(0).ok()?.publisher)
    }

    /// Whether the stream ends between two frames.
    pub(in crate::core) fn at_frame_boundary(&self) -> bool {
        self.frames.buffered() == 0
    }

    /// Whether some of the bytes that it was fed are left for the next turn.
    #[inline]
    pub(in crate::core) const fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Reads what was left unread.
    #[cold]
    pub(in crate::core) fn go_on(&mut self, sink: &mut impl RunSink) -> Result<(), DecodeError> {
        let bytes = std::mem::take(&mut self.left);
        let mut rest = &bytes[..];
        while let Ok(Some((kind, body, taken))) = frame::split(rest, data::FRAME_BYTES_MAX) {
            let frame = Frame { kind, body, buffer: None };
            if sink.checks_runs() && self.tables.must_wait(&frame, sink) {
                self.left = rest.to_vec();
                return Ok(());
            }
            rest = &rest[taken..];
            self.tables.frame(&frame, sink, &mut self.left)?;
            // What was packed is left in part, before everything behind it.
            if !self.left.is_empty() {
                self.left.extend_from_slice(rest);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the next chunk. Leaves what the turn has no more time for, and everything behind it.
    pub(in crate::core) fn feed(&mut self, chunk: &[u8], sink: &mut impl RunSink) -> Result<(), DecodeError> {
        let Self { frames, tables, left } = self;
        frames.feed_windows(chunk, data::FRAME_BYTES_MAX, |window| tables.window(window, sink, left))
    }
}

impl Tables {
    /// Reads some frames. Adds to `left` what the turn has no more time for, and everything behind
    /// it.
    #[inline(always)]
    fn window(
        &mut self,
        window: &[Frame<'_>],
        sink: &mut impl RunSink,
        left: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        // A single run has no other to wait with.
        if window.len() > 1 {
            self.look_ahead(window, sink);
        }
        for frame in window {
            if !left.is_empty() || (sink.checks_runs() && self.must_wait(frame, sink)) {
                frame::put(left, frame.kind, |out| out.extend_from_slice(frame.body));
            } else {
                self.frame(frame, sink, left)?;
            }
        }
        Ok(())
    }

    /// Whether a frame is a run that has to wait: the turn has no more time for the lookup that it
    /// needs, or it is not paid for.
    #[cold]
    fn must_wait(&self, frame: &Frame<'_>, sink: &mut impl RunSink) -> bool {
        let is_run = !self.preamble && frame.kind == data::kind::RUN;
        is_run
            && ((sink.is_spent() && self.has_lookup(frame, sink))
                || self.is_too_new(frame, sink)
                || !sink.pays_for(frame.body))
    }

    /// Whether a run has a tag set for which there is no more time, because it is new.
    fn is_too_new(&self, frame: &Frame<'_>, sink: &impl RunSink) -> bool {
        let of_number =
            |number| self.tags.get(number).is_ok_and(|tags| sink.is_too_new(RunTags::Numbered(tags)));
        if let Some((number, _)) = data::peek_numbers(frame.body) {
            return of_number(number);
        }
        let mut hop = HopHeader::numbered(0, 0);
        data::decode_run(frame.body, &mut hop).is_ok_and(|_| match hop.tags {
            TagsOnStream::Number(number) => of_number(number),
            TagsOnStream::Inline(tags) => sink.is_too_new(RunTags::Written(tags)),
        })
    }

    /// Whether a run needs a lookup, as far as its head shows.
    fn has_lookup(&self, frame: &Frame<'_>, sink: &impl RunSink) -> bool {
        let numbers = || data::peek_numbers(frame.body);
        let is_settled = |(tags, _)| self.tags.get(tags).is_ok_and(|tags| sink.is_settled(tags));
        !numbers().is_some_and(is_settled)
    }

    /// Shows the sink which runs are among these frames.
    #[inline]
    fn look_ahead(&self, frames: &[Frame<'_>], sink: &mut impl RunSink) {
        let publisher = PublisherKey { publisher: PublisherId(0), epoch: Epoch(0) };
        let none = Coming { tag: TagId::default(), hash: 0, publisher };
        let mut window = Window { runs: [none; WINDOW_FRAMES], len: 0 };
        let runs = frames.iter().filter(|frame| frame.kind == data::kind::RUN);
        for (tags, publisher) in runs.filter_map(|frame| data::peek_numbers(frame.body)) {
            if let (Ok(tags), Ok(&publisher)) = (self.tags.get(tags), self.publishers.get(publisher))
                && let Some(place) = window.runs.get_mut(window.len)
            {
                *place = Coming { tag: tags.id, hash: tags.hash, publisher };
                window.len += 1;
            }
        }
        if window.len > 1 {
            sink.prefetch(&window);
        }
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        sink: &mut impl RunSink,
        left: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let &Frame { kind, body, buffer } = frame;
        if std::mem::take(&mut self.preamble) {
            return sink.preamble(kind, body);
        }
        if kind == data::kind::RUN {
            let mut hop = HopHeader::numbered(0, 0);
            let body = data::decode_run(body, &mut hop)?;
            return self.run(&hop, &RunIn::new(body, buffer), sink);
        }
        match data::decode(kind, body)? {
            DataFrame::DefineTags { number, tags } => {
                self.definitions += 1;
                self.tags.define(number, KnownTags::new(tags, sink), tags.canonical().len() as u64)?;
            }
            DataFrame::DefinePublisher { number, publisher, index } => {
                self.publishers.define(number, publisher, 0)?;
                *self.publishers.get_mut(number)? = sink.publisher_defined(number, publisher, index);
            }
            DataFrame::Gap(gap) => sink.gap(&gap)?,
            DataFrame::Report => sink.report(),
            DataFrame::DefineSource { number, source } => sink.source_defined(number, source)?,
            DataFrame::Cursor(cursor) => sink.cursor(&cursor),
            DataFrame::Replay(replay) => sink.replay(&replay)?,
            DataFrame::Skipped { .. } => sink.skipped(),
            DataFrame::Mark(mark) => sink.mark(&mark),
            DataFrame::Packed(packed) if sink.takes_packed() => self.packed(&packed, sink, left)?,
            // These frames belong to features that this side does not list.
            _ => return Err(DecodeError::UnknownFrame { kind }),
        }
        Ok(())
    }

    /// Reads frames that came packed.
    #[cold]
    #[inline(never)]
    fn packed(
        &mut self,
        packed: &Packed<'_>,
        sink: &mut impl RunSink,
        left: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let malformed = || DecodeError::Malformed { what: "packed frames" };
        let plain = unpack(packed.packed, packed.plain_bytes).ok_or_else(malformed)?;
        let (mut frames, mut rest) = (Vec::new(), &plain[..]);
        while !rest.is_empty() {
            let (kind, body, taken) = frame::split(rest, data::FRAME_BYTES_MAX)?.ok_or_else(malformed)?;
            if kind == data::kind::PACKED {
                return Err(malformed());
            }
            frames.push(Frame { kind, body, buffer: None });
            rest = &rest[taken..];
        }
        frames.chunks(WINDOW_FRAMES).try_for_each(|window| self.window(window, sink, left))
    }

    fn run(
        &mut self,
        hop: &HopHeader<'_>,
        run: &RunIn<'_>,
        sink: &mut impl RunSink,
    ) -> Result<(), DecodeError> {
        let publisher = match hop.publisher {
            PublisherOnStream::Number(number) => {
                RunPublisher { key: *self.publishers.get(number)?, number: Some(number) }
            }
            PublisherOnStream::Inline(key) => RunPublisher { key, number: None },
        };
        match hop.tags {
            TagsOnStream::Number(number) => {
                sink.run(self.tags.get_mut(number)?, publisher, hop, run);
            }
            TagsOnStream::Inline(tags) => {
                let mut tags = KnownTags::new(tags, sink);
                sink.run(&mut tags, publisher, hop, run);
            }
        }
        Ok(())
    }
}
