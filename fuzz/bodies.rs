//! What each fuzz target checks, as plain functions: `cargo test -p millrace-proto` replays the
//! committed corpus through the same code, and property tests feed it random bytes.
//!
//! None may panic on any input but for a defect of `millrace-proto`. A frame that decodes must
//! encode to bytes that decode to the same value, and encoding that value again gives the same
//! bytes.

use millrace_proto::control::ControlFrame;
use millrace_proto::data::{self, DataFrame, HopHeader, Targets, optional};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::limits::{CONTROL_FRAME_BYTES_MAX, DATA_FRAME_BYTES_MAX, RUN_BYTES_MAX};
use millrace_proto::mesh::MeshFrame;
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::stream::{
    DeliverAllPreamble, DeliverPreamble, LanePreamble, PublishPreamble, ReplayPreamble,
};
use millrace_proto::table::{Memo, Naming, TableReader, TableWriter};
use millrace_proto::{DecodeError, Selector, TagSet, TagSetRef};

/// What a target does with one input.
pub type Body = fn(&[u8]);

/// All targets, with the names of their corpus folders.
pub const TARGETS: [(&str, Body); 9] = [
    ("control_frame", control_frame),
    ("mesh_frame", mesh_frame),
    ("stream_preamble", stream_preamble),
    ("data_frame", data_frame),
    ("tag_set", tag_set),
    ("run_body", run_body),
    ("selector", selector),
    ("frame_reader", frame_reader),
    ("table", table),
];

/// The bytes of the frame `encode` writes, split again.
fn reframe(encode: impl FnOnce(&mut Vec<u8>)) -> Option<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    encode(&mut out);
    if out.is_empty() {
        return None;
    }
    let (kind, body, taken) =
        frame::split(&out, usize::MAX).expect("within bounds").expect("one whole frame");
    assert_eq!(taken, out.len(), "exactly one frame is written");
    Some((kind, body.to_vec()))
}

/// One frame of a control stream between client and router.
pub fn control_frame(bytes: &[u8]) {
    let Ok(Some((kind, body, _))) = frame::split(bytes, CONTROL_FRAME_BYTES_MAX) else { return };
    let Ok(decoded) = ControlFrame::decode(kind, body) else { return };
    let Some((kind, body)) = reframe(|out| decoded.encode(out)) else { return };
    let again = ControlFrame::decode(kind, &body).expect("what is written is read");
    assert_eq!(again, decoded);
    assert_eq!(reframe(|out| again.encode(out)), Some((kind, body)));
}

/// One frame of a lane's control stream.
pub fn mesh_frame(bytes: &[u8]) {
    let Ok(Some((kind, body, _))) = frame::split(bytes, CONTROL_FRAME_BYTES_MAX) else { return };
    let Ok(decoded) = MeshFrame::decode(kind, body) else { return };
    let Some((kind, body)) = reframe(|out| decoded.encode(out)) else { return };
    let again = MeshFrame::decode(kind, &body).expect("what is written is read");
    assert_eq!(again, decoded);
    assert_eq!(reframe(|out| again.encode(out)), Some((kind, body)));
}

/// The first frame of a unidirectional stream.
///
/// A preamble of another version may have more fields: what is written again has those that are
/// known.
pub fn stream_preamble(bytes: &[u8]) {
    macro_rules! reads_what_it_writes {
        ($preamble:ty, $body:expr) => {
            let Ok(decoded) = <$preamble>::decode($body) else { return };
            let (kind, body) = reframe(|out| decoded.encode(out)).expect("a preamble is a frame");
            assert_eq!(kind, <$preamble>::KIND);
            assert_eq!(<$preamble>::decode(&body).as_ref(), Ok(&decoded));
        };
    }
    let Ok(Some((kind, body, _))) = frame::split(bytes, CONTROL_FRAME_BYTES_MAX) else { return };
    match kind {
        PublishPreamble::KIND => {
            reads_what_it_writes!(PublishPreamble, body);
        }
        DeliverPreamble::KIND => {
            reads_what_it_writes!(DeliverPreamble, body);
        }
        LanePreamble::KIND => {
            reads_what_it_writes!(LanePreamble, body);
        }
        DeliverAllPreamble::KIND => {
            reads_what_it_writes!(DeliverAllPreamble, body);
        }
        ReplayPreamble::KIND => {
            reads_what_it_writes!(ReplayPreamble, body);
        }
        _ => {}
    }
}

fn put_data(out: &mut Vec<u8>, frame: &DataFrame<'_>) {
    match frame {
        DataFrame::DefineTags { number, tags } => data::put_define_tags(out, *number, *tags),
        DataFrame::DefinePublisher { number, publisher, index } => {
            data::put_define_indexed_publisher(out, *number, *publisher, *index);
        }
        DataFrame::DefineSource { number, source } => data::put_define_source(out, *number, *source),
        DataFrame::Deliver { hop, targets, body } => {
            data::put_deliver(out, hop, targets.bytes(), body.bytes());
        }
        DataFrame::Run { hop, body } => data::put_run(out, hop, body.bytes()),
        DataFrame::Gap(gap) => gap.encode(out),
        DataFrame::Report => data::put_report(out),
        DataFrame::ReceiverGap(gap) => gap.encode(out),
        DataFrame::ReceiverEnd(end) => end.encode(out),
        DataFrame::Cursor(cursor) => cursor.encode(out),
        DataFrame::Replay(replay) => replay.encode(out),
        // Nothing is written for what was skipped.
        _ => {}
    }
}

/// The optional fields of a hop header: what can be read can be written, and reads the same.
fn optional_fields(hop: &HopHeader<'_>) {
    let mut fields = Vec::new();
    if let Ok(Some((source, position))) = hop.position() {
        optional::put_position(&mut fields, source, position);
    }
    if let Ok(Some(ticket)) = hop.ticket() {
        ticket.put(&mut fields);
    }
    if let Ok(Some(addressed)) = hop.addressed() {
        addressed.put(&mut fields);
    }
    if let Ok(path) = hop.cluster_path() {
        optional::put_cluster_path(&mut fields, path);
    }
    if let Ok(Some((version, tags))) = hop.added_tags() {
        optional::put_added_tags(&mut fields, version, tags);
    }
    if let Ok(Some(set)) = hop.standby_set() {
        set.put_again(&mut fields);
    }
    if let Ok(Some(left)) = hop.expiry_us() {
        optional::put_expiry_us(&mut fields, left);
    }
    let again = HopHeader { fields: &fields, ..*hop };
    assert_eq!(again.position().ok().flatten(), hop.position().ok().flatten());
    assert_eq!(again.ticket().ok().flatten(), hop.ticket().ok().flatten());
    assert_eq!(again.addressed().ok().flatten(), hop.addressed().ok().flatten());
    let added = |hop: &HopHeader<'_>| {
        hop.added_tags().ok().flatten().map(|(version, tags)| (version, tags.to_owned()))
    };
    assert_eq!(added(&again), added(hop));
    let set = |hop: &HopHeader<'_>| {
        let set = hop.standby_set().ok().flatten()?;
        let seqs: Vec<u64> = set.source_seqs().collect();
        Some((set.set.to_owned(), set.generation, set.is_behind_hole, seqs))
    };
    assert_eq!(set(&again), set(hop));
    assert_eq!(again.expiry_us().ok().flatten(), hop.expiry_us().ok().flatten());
}

/// One frame of a data stream.
pub fn data_frame(bytes: &[u8]) {
    let Ok(Some((kind, body, _))) = frame::split(bytes, DATA_FRAME_BYTES_MAX) else { return };
    let Ok(decoded) = data::decode(kind, body) else { return };
    if let DataFrame::Run { hop, body } = &decoded {
        assert_eq!(body.events().count() as u64, body.count());
        assert!(hop.matched().is_sorted() && hop.matched().count() > 0);
        optional_fields(hop);
    }
    if let DataFrame::Deliver { hop, targets, .. } = &decoded {
        let mut written = Vec::new();
        for target in targets.iter() {
            assert!(target.matched().is_sorted() && target.matched().count() > 0);
            target.put(&mut written);
        }
        assert!(Targets::parse(&written).expect("what is written is read").iter().eq(targets.iter()));
        optional_fields(hop);
    }
    let Some((kind, body)) = reframe(|out| put_data(out, &decoded)) else { return };
    assert!(body.len() <= DATA_FRAME_BYTES_MAX);
    let again = data::decode(kind, &body).expect("what is written is read");
    assert_eq!(again, decoded);
    assert_eq!(reframe(|out| put_data(out, &again)), Some((kind, body.clone())));
}

/// Canonical bytes of a tag set: the same tags make the same bytes.
pub fn tag_set(bytes: &[u8]) {
    let Ok(tags) = TagSetRef::parse(bytes) else { return };
    let rebuilt = TagSet::new(tags.iter()).expect("a tag set that was read can be made");
    assert_eq!(rebuilt.canonical(), bytes);
    assert_eq!(rebuilt.shard(), tags.shard());
    assert_eq!(tags.iter().count(), tags.len());
    for (key, value) in tags.iter() {
        assert_eq!(tags.get(key), Some(value));
    }
}

/// A run body: its events, written again, are the same events.
pub fn run_body(bytes: &[u8]) {
    let Ok(body) = RunBody::parse(bytes) else { return };
    assert_eq!(RunBody::parse_head(bytes).as_ref(), Ok(&body));
    let mut builder = RunBuilder::default();
    builder.start(body.first_seq(), body.floor(), body.base_time_ns());
    for event in body.events() {
        // Integers in longer form than necessary make a body that barely fits larger than what is
        // written.
        assert!(builder.fits(event.payload.len()) || bytes.len() + 64 > RUN_BYTES_MAX);
        builder.push(event.time_ns, event.payload);
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    assert!(out.len() <= bytes.len());
    let again = RunBody::parse(&out).expect("what is written is read");
    assert_eq!(
        (again.first_seq(), again.floor(), again.count()),
        (body.first_seq(), body.floor(), body.count())
    );
    assert_eq!(again.last_seq(), body.last_seq());
    assert!(again.events().eq(body.events()));
}

/// A selector's text: its canonical text reads back to the same selector.
pub fn selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Selector::parse(text) {
        Ok(selector) => {
            assert_eq!(Selector::parse(selector.text()).as_ref(), Ok(&selector));
            let bare = selector.without_payload();
            assert_eq!(Selector::parse(bare.text()).as_ref(), Ok(&bare));
            let tags = TagSet::new([("host", "web-1"), ("x", "10")]).expect("these are tags");
            let each = selector.requirements().all(|requirement| requirement.matches(tags.borrow()));
            assert_eq!(selector.matches_tags(tags.borrow()), each);
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column)),
    }
}

/// A stream cut into chunks at places that the first bytes choose: the same frames as in one piece.
/// The stream goes on with one more frame, large enough to come in a buffer of its own.
pub fn frame_reader(bytes: &[u8]) {
    const BODY_MAX: usize = 10_000;
    let Some((cuts, stream)) = bytes.split_at_checked(8) else { return };
    let mut stream = stream.to_vec();
    frame::put(&mut stream, 0x14, |body| body.extend(cuts.iter().cycle().take(BODY_MAX)));
    let stream = &stream[..];
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut frames, mut result) = (FrameReader::new(), Vec::new(), Ok(()));
        for chunk in chunks {
            result = reader.feed_windows::<DecodeError>(chunk, BODY_MAX, |window| {
                for frame in window {
                    let kept = frame.buffer.map(|buffer| buffer.slice_ref(frame.body));
                    assert!(kept.is_none_or(|kept| kept == frame.body));
                    frames.push((frame.kind, frame.body.to_vec()));
                }
                Ok(())
            });
            if result.is_err() {
                assert!(reader.feed::<DecodeError>(&[], BODY_MAX, |_, _| Ok(())).is_err(), "poisoned");
                break;
            }
            assert!(reader.buffered() <= 16 + BODY_MAX);
        }
        (frames, result)
    };
    let whole = read(&mut std::iter::once(stream));
    let (mut rest, mut lens) = (stream, cuts.iter().cycle());
    let mut pieces = std::iter::from_fn(|| {
        let wanted = usize::from(*lens.next()?) * 7 % 1301 + 1;
        let (piece, behind) = rest.split_at(wanted.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(read(&mut pieces), whole);
}

/// A writer's table and its reader's: the reader never overflows, and each number stands for the
/// key that was named.
///
/// The first two bytes are the capacity; each later byte is a key to be named.
pub fn table(bytes: &[u8]) {
    let Some((&[entries, space], keys)) = bytes.split_first_chunk() else { return };
    let (entries_max, bytes_max) = (u64::from(entries % 24), u64::from(space) * 2);
    let mut writer = TableWriter::new(entries_max, bytes_max);
    let mut reader = TableReader::new(entries_max, bytes_max, "tag set");
    let mut stands_for = std::collections::BTreeMap::new();
    // Each key keeps the number that it was given last, as routes do.
    let mut memos = std::collections::BTreeMap::<u8, std::cell::Cell<Memo>>::new();
    for (turn, &key) in keys.iter().enumerate() {
        let size = u64::from(key).pow(2) % 61;
        let naming = match turn % 3 {
            0 => writer.name(&key, size),
            1 => writer.name_as_before(&key, size),
            _ => writer.name_by_memo(&key, size, memos.entry(key).or_default()),
        };
        match naming {
            Naming::Known(number) => assert_eq!(stands_for.get(&number), Some(&key), "known means defined"),
            Naming::Define(number) => {
                assert!(!stands_for.iter().any(|(_, &named)| named == key), "defined once while it stands");
                reader.define(number, key, size).expect("a writer honours the reader's capacity");
                stands_for.insert(number, key);
            }
            Naming::Inline => {
                assert!(stands_for.len() as u64 == entries_max || reader.bytes() + size > bytes_max);
            }
        }
        for (&number, key) in &stands_for {
            assert_eq!(reader.get(number), Ok(key));
        }
        assert_eq!(writer.len(), stands_for.len());
        assert!(reader.bytes() <= bytes_max);
    }
    assert!(reader.get(entries_max).is_err() && reader.define(entries_max, 0, 0).is_err());
}
