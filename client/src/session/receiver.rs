//! One receiver's stream: bytes in, runs of events out, and the grant that keeps the router from sending too much.
//!
//! The stream begins with a preamble that names the receiver ([`PreambleReader`]); this session reads everything behind it.
//! Runs go to a [`DeliverySink`] while they stand in the chunk: nothing is copied, and nothing is allocated but for new tag
//! sets and for a frame that straddles two chunks.
//!
//! The grant is a position in the stream: the router writes no further. The application *consumes* bytes as it takes events;
//! when half of the window is used up the session raises the grant to `consumed + window`. A chunk counts whole, its
//! incomplete last frame included, so that a frame larger than the window still arrives.

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, DataFrame, Gap, HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::{Events, RunBody};
use millrace_proto::stream::{DeliverPreamble, stream_kind};
use millrace_proto::table::TableReader;
use millrace_proto::{PublisherKey, ReceiverNumber, TagSet, TagSetRef};

use super::SessionError;

/// Default of [`ReceiverConfig::window_bytes`].
pub const WINDOW_BYTES: u64 = 1024 * 1024;

/// Bytes of a stream's preamble, at most: it holds one small field, and room for a few that later versions add.
const PREAMBLE_BYTES_MAX: usize = 256;

/// Settings of one receiver's stream.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// Bytes that may be on the way or waiting in this process. Default 1 MiB; fleets of many receivers use 64 KiB.
    pub window_bytes: u64,
    /// What the connection's Hello announced.
    pub tables: TableCapacity,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self { window_bytes: WINDOW_BYTES, tables: TableCapacity::CLIENT }
    }
}

/// Takes what a receiver's stream carries, in its order.
pub trait DeliverySink {
    /// A run of events that match.
    fn run(&mut self, run: &DeliveredRun<'_>);

    /// Events are missing at this place.
    fn gap(&mut self, gap: &Gap);

    /// From here on `number` stands for `tags`: for sinks that keep something of their own per tag set, so that no event
    /// needs a hash.
    fn tags_defined(&mut self, number: u64, tags: &TagSet) {
        let _ = (number, tags);
    }
}

/// A run of events as it was delivered.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredRun<'a> {
    /// The tag set.
    pub tags: TagSetRef<'a>,
    /// The tag set's number on the stream; `None` when it was written in full.
    pub tag_number: Option<u64>,
    /// Who published.
    pub publisher: PublisherKey,
    hop: HopHeader<'a>,
    body: RunBody<'a>,
    shared: Option<&'a TagSet>,
}

impl<'a> DeliveredRun<'a> {
    /// The events, in order of their seqs.
    #[inline]
    #[must_use]
    pub fn events(&self) -> Events<'a> {
        self.body.events()
    }

    /// Number of events, at least 1.
    #[inline]
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.body.count()
    }

    /// Seq of the first event.
    #[inline]
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.body.first_seq()
    }

    /// Bytes of the run on the wire, about: for budgets.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.body.bytes().len()
    }

    /// Numbers of the subscriptions that matched.
    pub fn matched(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.hop.matched()
    }

    /// The matched subscriptions as they stand on the wire: varints, ascending; empty means subscription 0 alone.
    #[must_use]
    pub fn matched_bytes(&self) -> &'a [u8] {
        self.hop.matched_bytes()
    }

    /// [`flag`](millrace_proto::data::flag) bits of the run.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        self.hop.flags
    }

    /// The tag set to keep: counts a reference where the stream defined it, copies it where it was written in full.
    #[must_use]
    pub fn tag_set(&self) -> TagSet {
        self.shared.map_or_else(|| self.tags.to_owned(), TagSet::clone)
    }
}

/// One receiver's stream on one connection.
#[derive(Debug)]
pub struct ReceiverSession {
    reader: FrameReader,
    tables: Tables,
    window_bytes: u64,
    arrived: u64,
    consumed: u64,
    granted: u64,
}

#[derive(Debug)]
struct Tables {
    tags: TableReader<TagSet>,
    publishers: TableReader<PublisherKey>,
}

impl ReceiverSession {
    /// The session of a stream that has not begun.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        let ReceiverConfig { window_bytes, tables } = config;
        Self {
            reader: FrameReader::new(),
            tables: Tables {
                tags: TableReader::new(tables.tag_sets, tables.tag_bytes, "tag set"),
                publishers: TableReader::new(tables.publishers, tables.publishers * 16, "publisher"),
            },
            window_bytes,
            arrived: 0,
            consumed: 0,
            granted: window_bytes,
        }
    }

    /// The grant that opens the receiver: [`OpenReceiver::grant`](millrace_proto::control::OpenReceiver::grant).
    #[must_use]
    pub const fn first_grant(&self) -> u64 {
        self.window_bytes
    }

    /// Feeds bytes of the stream from behind its preamble; `sink` gets what they complete.
    ///
    /// # Errors
    /// [`SessionError`] for bytes that no router sends; the stream cannot be read further.
    pub fn data(&mut self, chunk: &[u8], sink: &mut impl DeliverySink) -> Result<(), SessionError> {
        self.arrived += chunk.len() as u64;
        // The frame that crosses the grant may be finished; more is an attack on this side's memory.
        if self.arrived > self.granted + data::FRAME_BYTES_MAX as u64 {
            return Err(SessionError::Limit { what: "the receiver's grant" });
        }
        let tables = &mut self.tables;
        self.reader.feed::<SessionError>(chunk, data::FRAME_BYTES_MAX, |kind, body| {
            tables.deliver(data::decode(kind, body)?, sink)
        })
    }

    /// The application has taken `bytes` of what was fed.
    pub fn consumed(&mut self, bytes: u64) {
        self.consumed = (self.consumed + bytes).min(self.arrived);
    }

    /// A new grant for the router, when half of the window is used up.
    pub fn poll_grant(&mut self) -> Option<u64> {
        let wanted = self.consumed + self.window_bytes;
        if wanted.saturating_sub(self.granted) < (self.window_bytes / 2).max(1) {
            return None;
        }
        self.granted = wanted;
        Some(wanted)
    }

    /// Bytes that arrived and are not consumed.
    #[must_use]
    pub const fn unconsumed(&self) -> u64 {
        self.arrived - self.consumed
    }
}

impl Tables {
    #[inline]
    fn deliver(&mut self, frame: DataFrame<'_>, sink: &mut impl DeliverySink) -> Result<(), SessionError> {
        match frame {
            DataFrame::Run { hop, body } => {
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
                sink.run(&DeliveredRun { tags, tag_number, publisher, hop, body, shared });
            }
            DataFrame::DefineTags { number, tags } => {
                let set = tags.to_owned();
                self.tags.define(number, set.clone(), set.canonical().len() as u64)?;
                sink.tags_defined(number, &set);
            }
            DataFrame::DefinePublisher { number, publisher, .. } => {
                self.publishers.define(number, publisher, 16)?;
            }
            DataFrame::Gap(gap) => sink.gap(&gap),
            DataFrame::Report | DataFrame::Skipped { .. } | DataFrame::Cursor(_) | DataFrame::Replay(_) => {}
            _ => {
                return Err(SessionError::Unexpected {
                    frame: "a frame of a feature that this client does not list",
                });
            }
        }
        Ok(())
    }
}

/// Reads the preamble of a stream that the router opened: which receiver it belongs to.
#[derive(Debug, Default)]
pub struct PreambleReader {
    partial: Vec<u8>,
}

impl PreambleReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds a chunk. Once the preamble is complete: the receiver, and how many bytes of this chunk belonged to the
    /// preamble. What follows them goes to the receiver's [`ReceiverSession::data`].
    ///
    /// # Errors
    /// [`SessionError`] when the stream is not a receiver's.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Option<(ReceiverNumber, usize)>, SessionError> {
        let before = self.partial.len();
        let room = (PREAMBLE_BYTES_MAX + 16).saturating_sub(before);
        self.partial.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let Some((kind, body, taken)) = frame::split(&self.partial, PREAMBLE_BYTES_MAX)? else {
            return Ok(None);
        };
        if kind != stream_kind::DELIVER {
            return Err(SessionError::Unexpected { frame: "a stream that is not a receiver's" });
        }
        let receiver = DeliverPreamble::decode(body)?.receiver;
        Ok(Some((receiver, taken.saturating_sub(before))))
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::data::GapReason;
    use millrace_proto::run::RunBuilder;
    use millrace_proto::{CloseCode, Epoch, PublisherId};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Seen {
        events: Vec<(String, u64, Vec<u8>)>,
        matched: Vec<Vec<u32>>,
        gaps: Vec<GapReason>,
    }

    impl DeliverySink for Seen {
        fn run(&mut self, run: &DeliveredRun<'_>) {
            for event in run.events() {
                self.events.push((run.tag_set().to_string(), event.seq, event.payload.to_vec()));
            }
            self.matched.push(run.matched().collect());
        }
        fn gap(&mut self, gap: &Gap) {
            self.gaps.push(gap.reason);
        }
    }

    fn body(first_seq: u64, payloads: &[&[u8]]) -> Vec<u8> {
        let mut run = RunBuilder::default();
        run.start(first_seq, first_seq, 1_000);
        for payload in payloads {
            run.push(1_000, payload);
        }
        let mut out = Vec::new();
        run.finish(&mut out);
        out
    }

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        let web = TagSet::from_texts(["host=web-1"]).unwrap();
        let db = TagSet::from_texts(["host=db-1"]).unwrap();
        let key = PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) };
        data::put_define_tags(&mut out, 0, web.borrow());
        data::put_define_publisher(&mut out, 0, key);
        data::put_run(&mut out, &HopHeader::numbered(0, 0), &body(0, &[b"a", b"b"]));
        Gap { reason: GapReason::Overflow, events: 3, router: None }.encode(&mut out);
        let mut matched = Vec::new();
        data::put_matched(&mut matched, [1, 5].into_iter());
        let inline = HopHeader {
            tags: TagsOnStream::Inline(db.borrow()),
            fields: &matched,
            ..HopHeader::numbered(0, 0)
        };
        data::put_run(&mut out, &inline, &body(2, &[b"c"]));
        out
    }

    #[test]
    fn runs_and_gaps_come_out_in_order_however_the_stream_is_cut() {
        let stream = stream();
        for step in [1, 2, 3, 7, stream.len()] {
            let mut session = ReceiverSession::new(ReceiverConfig::default());
            let mut seen = Seen::default();
            for chunk in stream.chunks(step) {
                session.data(chunk, &mut seen).unwrap();
            }
            let texts: Vec<_> = seen.events.iter().map(|(tags, seq, _)| (tags.as_str(), *seq)).collect();
            assert_eq!(texts, [("host=web-1", 0), ("host=web-1", 1), ("host=db-1", 2)]);
            assert_eq!(seen.matched, [vec![0], vec![1, 5]]);
            assert_eq!(seen.gaps, [GapReason::Overflow]);
            assert_eq!(session.unconsumed(), stream.len() as u64);
        }
    }

    #[test]
    fn the_grant_follows_what_the_application_takes() {
        let config = ReceiverConfig { window_bytes: 100, ..ReceiverConfig::default() };
        let mut session = ReceiverSession::new(config);
        let mut seen = Seen::default();
        assert_eq!((session.first_grant(), session.poll_grant()), (100, None));
        let stream = stream();
        session.data(&stream[..60], &mut seen).unwrap();
        assert_eq!(session.poll_grant(), None, "nothing was taken");
        session.consumed(49);
        assert_eq!(session.poll_grant(), None, "less than half of the window was taken");
        session.consumed(1);
        assert_eq!(session.poll_grant(), Some(150));
        assert_eq!(session.poll_grant(), None);
        session.consumed(1_000);
        assert_eq!(session.unconsumed(), 0, "no more than arrived can be taken");
    }

    #[test]
    fn a_router_that_ignores_the_grant_is_refused() {
        let mut session = ReceiverSession::new(ReceiverConfig { window_bytes: 1, ..Default::default() });
        let mut skipped = Vec::new();
        frame::put(&mut skipped, 0x7f, |body| body.resize(60_000, 0));
        let outcome = (0..100).try_for_each(|_| session.data(&skipped, &mut Seen::default()));
        assert_eq!(outcome.unwrap_err().close_code(), CloseCode::Limit);
    }

    #[test]
    fn undefined_numbers_and_full_tables_are_refused() {
        let mut run = Vec::new();
        data::put_run(&mut run, &HopHeader::numbered(3, 0), &body(0, &[b"x"]));
        let mut session = ReceiverSession::new(ReceiverConfig::default());
        let error = session.data(&run, &mut Seen::default()).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::Malformed);

        let tables = TableCapacity { tag_sets: 1, ..TableCapacity::CLIENT };
        let mut session = ReceiverSession::new(ReceiverConfig { tables, ..Default::default() });
        let mut define = Vec::new();
        data::put_define_tags(&mut define, 1, TagSet::from_texts(["a=b"]).unwrap().borrow());
        let error = session.data(&define, &mut Seen::default()).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::Limit);
    }

    #[test]
    fn preambles_are_read_however_they_are_cut() {
        let mut stream = Vec::new();
        DeliverPreamble { receiver: ReceiverNumber(300) }.encode(&mut stream);
        let whole = stream.len();
        stream.extend_from_slice(b"rest");
        assert_eq!(PreambleReader::new().feed(&stream), Ok(Some((ReceiverNumber(300), whole))));
        let mut reader = PreambleReader::new();
        for byte in &stream[..whole - 1] {
            assert_eq!(reader.feed(&[*byte]), Ok(None));
        }
        assert_eq!(reader.feed(&stream[whole - 1..]), Ok(Some((ReceiverNumber(300), 1))));
        let mut other = Vec::new();
        frame::put(&mut other, stream_kind::LANE, |_| {});
        assert_eq!(PreambleReader::new().feed(&other).unwrap_err().close_code(), CloseCode::Unexpected);
        assert!(PreambleReader::new().feed(&[0x52, 0x80, 0x01, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..100) {
            let mut stream = stream();
            let at = at.min(stream.len());
            stream.truncate(at);
            stream.append(&mut bytes);
            let mut session = ReceiverSession::new(ReceiverConfig::default());
            let _ = session.data(&stream, &mut Seen::default());
            let _ = PreambleReader::new().feed(&stream);
        }
    }
}
