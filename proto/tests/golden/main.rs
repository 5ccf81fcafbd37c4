//! Golden vectors: every frame of the wire, byte for byte, and the shards of tag sets.
//!
//! `frames.txt` holds them, one `stream name: hex` a line, for other implementations to use. The
//! examples of `docs/wire.md` are taken from it, which is checked here too. A difference means that
//! the wire has changed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod features;
mod frames;

use millrace_proto::control::{ControlFrame, Hello, Refused, RefusedReason};
use millrace_proto::data::{
    self, DataFrame, Gap, GapReason, HopHeader, PublisherOnStream, TagsOnStream, flag, optional::StandbySet,
    put_run,
};
use millrace_proto::id::ClusterId;
use millrace_proto::mesh::MeshFrame;
use millrace_proto::run::RunBody;
use millrace_proto::stream::{DeliverPreamble, LanePreamble, ReplayPreamble};
use millrace_proto::{PublisherId, ReceiverNumber, RouterId, TagSet, feature, frame, limits};

use features::*;
use frames::*;

const GOLDEN: &str = include_str!("frames.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The golden bytes of `stream name`.
fn golden(key: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let digits = line.unwrap_or_else(|| panic!("no golden vector {key}")).split(' ');
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// All frames of control streams between client and router.
fn control_frames() -> Vec<(&'static str, ControlFrame)> {
    session_frames()
        .into_iter()
        .chain(receiver_frames())
        .chain(feature_frames())
        .chain(outcome_frames())
        .chain(standby_frames())
        .collect()
}

#[test]
fn every_frame_is_written_as_its_golden_vector_says() {
    let mut lines = Vec::new();
    let mut line =
        |stream: &str, name: &str, bytes: &[u8]| lines.push(format!("{stream} {name}: {}", hex(bytes)));
    for (name, bytes) in preambles() {
        line("preamble", name, &bytes);
    }
    for (name, frame) in control_frames() {
        let mut out = Vec::new();
        frame.encode(&mut out);
        line("control", name, &out);
    }
    for (name, bytes) in data_frames().into_iter().chain(feature_data_frames()) {
        line("data", name, &bytes);
    }
    for (name, frame) in mesh_frames().into_iter().chain(feature_mesh_frames()).chain(history_frames()) {
        let mut out = Vec::new();
        frame.encode(&mut out);
        line("mesh", name, &out);
    }
    let written = lines.join("\n") + "\n";
    assert!(written == GOLDEN, "the wire has changed; it is now\n{written}");
}

#[test]
fn golden_control_frames_are_read() {
    for (name, expected) in control_frames() {
        let bytes = golden(&format!("control {name}"));
        let (kind, body, taken) = frame::split(&bytes, 4096).unwrap().unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(ControlFrame::decode(kind, body).unwrap(), expected);
    }
    for (name, expected) in mesh_frames().into_iter().chain(feature_mesh_frames()).chain(history_frames()) {
        let bytes = golden(&format!("mesh {name}"));
        let (kind, body, _) = frame::split(&bytes, 4096).unwrap().unwrap();
        assert_eq!(MeshFrame::decode(kind, body).unwrap(), expected);
    }
}

fn decode_data(bytes: &[u8]) -> DataFrame<'_> {
    let (kind, body, _) = frame::split(bytes, 4096).unwrap().unwrap();
    data::decode(kind, body).unwrap()
}

#[test]
fn whom_a_run_is_for_can_be_read_without_the_rest() {
    let targets = |first: data::Target<'_>| {
        let mut bytes = Vec::new();
        first.put(&mut bytes);
        data::Target::plain(ReceiverNumber(900)).put(&mut bytes);
        bytes
    };
    let matched = data::Target { matched: &[1, 2], ..data::Target::plain(ReceiverNumber(70)) };
    // An optional field that nobody knows, of two bytes.
    let positioned = HopHeader { fields: &[0x3f, 2, 40, 3], ..HopHeader::numbered(20_000, 1) };
    for (hop, first, tags, receiver) in [
        (HopHeader::numbered(3, 1), data::Target::plain(ReceiverNumber(0)), 3, 0),
        (positioned, matched, 20_000, 70),
    ] {
        let mut frame = Vec::new();
        data::put_deliver(&mut frame, &hop, &targets(first), &[1, 2, 3]);
        let (kind, body, _) = frame::split(&frame, 1000).unwrap().unwrap();
        let known = Some((tags, ReceiverNumber(receiver)));
        assert_eq!((kind, data::peek_delivery(body)), (data::kind::DELIVER, known));
        // A body that ends anywhere is looked at without harm.
        let cut = (0..body.len()).filter(|&len| data::peek_delivery(&body[..len]).is_none());
        assert!(cut.count() > 3);
    }
    assert_eq!(data::peek_delivery(&[0xff; 20]), None);
}

#[test]
fn the_numbers_of_a_run_can_be_read_without_the_rest() {
    let body = [1, 2, 3];
    for (tags, publisher) in [(0, 0), (63, 64), (20_000, 1)] {
        let mut frame = Vec::new();
        put_run(&mut frame, &HopHeader::numbered(tags, publisher), &body);
        let (kind, frame_body, _) = frame::split(&frame, 1000).unwrap().unwrap();
        assert_eq!((kind, data::peek_numbers(frame_body)), (data::kind::RUN, Some((tags, publisher))));
        assert_eq!(data::peek_numbers(&frame_body[..2]), None);
    }
    let inline = HopHeader { publisher: PublisherOnStream::Inline(PUBLISHER), ..HopHeader::numbered(1, 1) };
    let mut frame = Vec::new();
    put_run(&mut frame, &inline, &body);
    let (_, frame_body, _) = frame::split(&frame, 1000).unwrap().unwrap();
    assert_eq!(data::peek_numbers(frame_body), None);
}

#[test]
fn golden_data_frames_are_read() {
    let (tags, body) = (tags(), body());
    let tags = tags.borrow();
    assert_eq!(decode_data(&golden("data define_tags")), DataFrame::DefineTags { number: 0, tags });
    let defined = DataFrame::DefinePublisher { number: 0, publisher: PUBLISHER, index: 0 };
    assert_eq!(decode_data(&golden("data define_publisher")), defined);
    let body = RunBody::parse(&body).unwrap();
    let run = DataFrame::Run { hop: HopHeader::numbered(0, 0), body };
    assert_eq!(decode_data(&golden("data run")), run);
    let bytes = golden("data run_inline");
    let DataFrame::Run { hop, body: read } = decode_data(&bytes) else { panic!("not a run") };
    assert_eq!(read, body);
    assert_eq!(hop.tags, TagsOnStream::Inline(tags));
    assert_eq!(hop.publisher, PublisherOnStream::Inline(PUBLISHER));
    assert_eq!(hop.flags & flag::LEVEL_MASK, 1);
    assert_eq!(hop.lane_seq, Some(77));
    assert_eq!(hop.matched().collect::<Vec<_>>(), [0, 5, 1023]);
    let gap = Gap { reason: GapReason::RouterLost, events: 1000, router: Some(ROUTER) };
    assert_eq!(decode_data(&golden("data gap")), DataFrame::Gap(gap));
    assert_eq!(decode_data(&golden("data report")), DataFrame::Report);
    assert_eq!(decode_data(&golden("data skipped")), DataFrame::Skipped { kind: 0x1f });
    let events: Vec<_> = body.events().map(|event| (event.seq, event.time_ns, event.payload)).collect();
    let first = 1_700_000_000_000_000_000;
    assert_eq!(events, [(42, first, &b"up"[..]), (43, first + 1000, b"down")]);
}

#[test]
fn golden_data_frames_of_features_are_read() {
    assert_eq!(decode_data(&golden("data packed")), DataFrame::Packed(PACKED));
    let bytes = golden("data define_publisher_indexed");
    let indexed = DataFrame::DefinePublisher { number: 1, publisher: PUBLISHER, index: 3 };
    assert_eq!(decode_data(&bytes), indexed);
    let bytes = golden("data define_source");
    assert_eq!(decode_data(&bytes), DataFrame::DefineSource { number: 2, source: source() });
    for (name, written) in [("deliver", targets()), ("deliver_with_all", target_with_all())] {
        let bytes = golden(&format!("data {name}"));
        let DataFrame::Deliver { hop, targets, body: read } = decode_data(&bytes) else { panic!("{name}") };
        assert_eq!((hop, read), (HopHeader::numbered(0, 0), RunBody::parse(&body()).unwrap()));
        assert_eq!(targets.bytes(), written);
    }
    let bytes = golden("data deliver_with_all");
    let DataFrame::Deliver { targets, .. } = decode_data(&bytes) else { panic!("not a delivery") };
    let target = targets.iter().next().unwrap();
    assert_eq!((target.receiver, target.flags, target.ticket), (RECEIVER, 1, Some((9, 1))));
    assert_eq!(target.matched().collect::<Vec<_>>(), [1, 2]);
    for (name, expected) in [
        ("receiver_gap", DataFrame::ReceiverGap(receiver_gap())),
        ("receiver_end", DataFrame::ReceiverEnd(receiver_end())),
        ("cursor", DataFrame::Cursor(cursor())),
        ("replay", DataFrame::Replay(replay())),
        ("mark", DataFrame::Mark(mark())),
    ] {
        assert_eq!(decode_data(&golden(&format!("data {name}"))), expected);
    }
}

#[test]
fn golden_optional_hop_fields_are_read() {
    let bytes = golden("data run_optional");
    let DataFrame::Run { hop, .. } = decode_data(&bytes) else { panic!("not a run") };
    assert_eq!(hop.position(), Ok(Some((2, 300))));
    let ticket = hop.ticket().unwrap().unwrap();
    assert_eq!((ticket.ticket, ticket.generation, ticket.group), (9, 1, "disks"));
    let addressed = hop.addressed().unwrap().unwrap();
    assert_eq!((addressed.to, addressed.reply_to), (vec!["desk"], Some([0xaa; 24])));
    assert_eq!((addressed.answers, addressed.request, addressed.deadline_us), (None, Some(0), 300));
    let path: Vec<_> = hop.cluster_path().unwrap().collect();
    assert_eq!(path, [ClusterId(0x0a0b), ClusterId(1)]);
    let (version, tags) = hop.added_tags().unwrap().unwrap();
    assert_eq!((version, tags.to_string()), (4, "rule=x".to_owned()));
    let set = hop.standby_set().unwrap().unwrap();
    assert_eq!((set.set, set.generation), ("feed", 7));
    assert_eq!(set.source_seqs().collect::<Vec<_>>(), [300, 302]);
    assert_eq!(hop.expiry_us(), Ok(Some(300)));
    assert_eq!(hop.matched().collect::<Vec<_>>(), [0]);
    assert!(!set.is_behind_hole);
    assert!(HopHeader::numbered(0, 0).standby_set().unwrap().is_none());
}

#[test]
fn a_request_says_how_many_replies_it_wants_and_one_that_does_not_wants_all() {
    let bytes = golden("data run_request");
    let DataFrame::Run { hop, .. } = decode_data(&bytes) else { panic!("not a run") };
    let asks = hop.addressed().unwrap().unwrap();
    assert_eq!((asks.request, asks.deadline_us, asks.replies), (Some(7), 5000, 2));
    let bytes = golden("data run_optional");
    let DataFrame::Run { hop, .. } = decode_data(&bytes) else { panic!("not a run") };
    assert_eq!(hop.addressed().unwrap().unwrap().replies, 0);
}

/// A reader that asks for the number alone takes it from either form.
#[test]
fn a_holder_behind_a_hole_says_so_by_the_form_of_its_generation() {
    let mut fields = Vec::new();
    StandbySet::with_encoded("feed", 7, true, &[5]).put_again(&mut fields);
    assert_eq!(fields, [10, 14, 0xc0, 0, 0, 0, 0, 0, 0, 7, 4, b'f', b'e', b'e', b'd', 5]);
    let hop = HopHeader { fields: &fields, ..HopHeader::numbered(0, 0) };
    let set = hop.standby_set().unwrap().unwrap();
    assert_eq!((set.set, set.generation, set.is_behind_hole), ("feed", 7, true));
    assert_eq!(set.source_seqs().collect::<Vec<_>>(), [5]);
}

#[test]
fn ids_follow_from_what_proves_them() {
    assert_eq!(PublisherId::derive(&secret(), "web", 3).to_string(), "3a557188b882110784df7d71400c77d4");
    assert_eq!(PublisherId::derive(&secret(), "", 0).to_string(), "a9d6e500293a88bd38cbe213d07ab71f");
    assert_eq!(RouterId::derive("r1", "10.0.0.1:7400").to_string(), "7663ebc8c2efc541");
}

/// A reader of the first version skips what is odd and refuses what is even, and takes no unknown
/// value for malformed.
#[test]
fn what_this_version_does_not_know_is_skipped_refused_or_other() {
    let gap = Gap::decode(&[0x01, 0x02, 0x41, 0x2c]).unwrap();
    assert_eq!((gap.reason, gap.reason.name()), (GapReason::Other, "other"));
    assert_eq!(Gap::decode(&[]).unwrap().reason, GapReason::Other);
    let refused = Refused::decode(&[0x01, 0x01, 0x3e]).unwrap();
    assert_eq!(refused.reason, RefusedReason::Other);
    let hello = Hello::decode(&[0x06, 0x01, 0x01, 0x06, 0x02, 0x41, 0x2c, 0x63, 0x01, 0x00]).unwrap();
    assert!(hello.features.iter().eq([feature::DELIVERIES]));
    assert_eq!(data::decode(0x1f, &[]), Ok(DataFrame::Skipped { kind: 0x1f }));
    assert_eq!(data::decode(0x4e, &[]).unwrap_err().close_code().name(), "unknown_frame");
}

#[test]
fn golden_preambles_are_read() {
    let (deliver, lane) = (golden("preamble deliver"), golden("preamble lane"));
    assert_eq!(DeliverPreamble::decode(&deliver[3..]).unwrap().receiver, RECEIVER);
    assert_eq!(LanePreamble::decode(&lane[3..]).unwrap(), LanePreamble { first_seq: 1, epoch: 9 });
    assert_eq!(golden("preamble publish"), [0x40, 0x50, 0x00]);
    assert_eq!(golden("preamble deliver_all"), [0x40, 0x56, 0x00]);
    assert_eq!(ReplayPreamble::decode(&golden("preamble replay")[3..]).unwrap().request, 5);
}

#[test]
fn shards_are_the_same_on_every_machine() {
    for (tags, hash, shard) in SHARDS {
        let set = TagSet::from_texts(*tags).unwrap();
        assert_eq!((set.borrow().hash(), set.shard().number()), (*hash, *shard), "{set}");
    }
}

/// Tag sets, XXH3-64 of their canonical bytes, and the shard: its low twelve bits.
const SHARDS: &[(&[&str], u64, u16)] = &[
    (&[], 0xc44b_dff4_074e_ecdb, 3291),
    (&["host=web-1"], 0x7d3a_28c8_5082_9195, 405),
    (&["host=web-1", "rack=r7"], 0x3014_ba83_513c_6f34, 3892),
    (
        &["cluster=compute1", "fqdn=n17.example.org", "severity=info", "type=raid"],
        0xc4c1_ba05_6a7e_75fa,
        1530,
    ),
    (&["name=Zürich"], 0x548e_eeff_0610_b838, 2104),
    (&["empty="], 0x8779_f2c0_97b1_2c52, 3154),
];

#[test]
fn the_examples_of_the_wire_document_are_golden() {
    let document = include_str!("../../../docs/wire.md");
    let mut examples = 0;
    for line in document.lines() {
        // An example stands in a table row or a block as `stream name`: `hex`.
        let Some((name, digits)) = line.trim_start_matches("- ").split_once("`: `") else { continue };
        let (name, digits) = (name.trim_start_matches('`'), digits.trim_end_matches('`'));
        assert_eq!(hex(&golden(name)), digits, "{name}");
        examples += 1;
    }
    assert!(examples >= 10, "only {examples} examples found");
}

#[test]
fn the_wire_document_states_the_bounds_that_hold() {
    let document = include_str!("../../../docs/wire.md");
    for (bound, unit) in [
        (limits::CONTROL_FRAME_BYTES_MAX, "bytes of body"),
        (limits::DATA_FRAME_BYTES_MAX, "bytes of body"),
        (limits::HOP_HEADER_BYTES_MAX, "bytes"),
        (limits::TARGETS_BYTES_MAX, "bytes"),
        (limits::RUN_BYTES_MAX, "bytes"),
        (limits::PAYLOAD_BYTES_MAX, "bytes"),
    ] {
        let digits = bound.to_string();
        let mut stated = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                stated.push(',');
            }
            stated.push(digit);
        }
        assert!(document.contains(&format!("| {stated} {unit}")), "{stated} {unit}");
    }
}
