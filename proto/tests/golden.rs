//! Golden vectors: every frame of the wire, byte for byte, and the shards of tag sets.
//!
//! `golden/frames.txt` holds them, one `stream name: hex` a line, for other implementations to use. The examples of
//! `docs/wire.md` are taken from it, which is checked here too. A difference means that the wire has changed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use millrace_proto::control::{
    CloseReceiver, ControlFrame, Credit, Goaway, Grant, Hello, OpenReceiver, OverflowPolicy, Ping, Pong,
    Received, ReceiverClosed, Refused, RefusedReason, Stage, Subscribe, Subscribed, TableCapacity,
    Unsubscribe, Welcome,
};
use millrace_proto::data::{
    self, DataFrame, Gap, GapReason, HopHeader, PublisherOnStream, TagsOnStream, flag, put_define_publisher,
    put_define_tags, put_run,
};
use millrace_proto::mesh::{
    Interest, InterestAck, InterestDigest, InterestEntry, InterestKind, InterestRequest, KnownPeer,
    MeshFrame, PeerHello, Peers,
};
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::stream::{DeliverPreamble, LanePreamble, PublishPreamble};
use millrace_proto::{
    Epoch, Incarnation, PublisherId, PublisherKey, ReceiverNumber, RouterId, SubscriptionNumber, TagSet,
    frame, limits,
};

const GOLDEN: &str = include_str!("golden/frames.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The golden bytes of `stream name`.
fn golden(key: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let digits = line.unwrap_or_else(|| panic!("no golden vector {key}")).split(' ');
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn text(text: &str) -> String {
    text.to_owned()
}

const RECEIVER: ReceiverNumber = ReceiverNumber(3);
const SUBSCRIPTION: SubscriptionNumber = SubscriptionNumber(5);
const ROUTER: RouterId = RouterId(0x0123_4567_89ab_cdef);
const PUBLISHER: PublisherKey = PublisherKey {
    publisher: PublisherId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
    epoch: Epoch(0x0123_4567_89ab_cdef),
};

fn session_frames() -> Vec<(&'static str, ControlFrame)> {
    let alternates = vec![text("a:7400"), text("b:7400")];
    vec![
        (
            "hello",
            ControlFrame::Hello(Hello {
                version: 1,
                software: text("demo/1"),
                tables: TableCapacity { tag_sets: 100, tag_bytes: 20_000, publishers: 10 },
                receivers: 2,
                received_within_us: 0,
            }),
        ),
        (
            "hello_patient",
            ControlFrame::Hello(Hello { version: 1, received_within_us: 8_000_000, ..Hello::default() }),
        ),
        (
            "welcome",
            ControlFrame::Welcome(Welcome {
                version: 1,
                router: ROUTER,
                incarnation: Incarnation(0xfedc_ba98_7654_3210),
                cores: 4,
                core: 2,
                tables: TableCapacity::CLIENT,
                receivers_max: 64,
                alternates: alternates.clone(),
                silence_us: 1_500_000,
                software: text("millrace/0.1.0"),
            }),
        ),
        ("ping", ControlFrame::Ping(Ping { nonce: 300 })),
        ("pong", ControlFrame::Pong(Pong { nonce: 300 })),
        (
            "goaway",
            ControlFrame::Goaway(Goaway {
                delay_us: 250_000,
                alternates,
                reason: text("restart"),
                grace_us: 5_000_000,
            }),
        ),
        ("credit", ControlFrame::Credit(Credit { bytes: 1 << 20 })),
        ("received", ControlFrame::Received(Received { publisher: 0, next_seq: 44 })),
    ]
}

fn receiver_frames() -> Vec<(&'static str, ControlFrame)> {
    vec![
        (
            "open_receiver",
            ControlFrame::OpenReceiver(OpenReceiver {
                receiver: RECEIVER,
                policy: OverflowPolicy::DropNewest,
                queue_bytes: 1 << 20,
                linger_us: 100_000,
                grant: 65_536,
            }),
        ),
        (
            "subscribe",
            ControlFrame::Subscribe(Subscribe {
                receiver: RECEIVER,
                subscription: SUBSCRIPTION,
                selectors: vec![text("host=web-*"), text("payload ~ /RAID/")],
            }),
        ),
        (
            "unsubscribe",
            ControlFrame::Unsubscribe(Unsubscribe { receiver: RECEIVER, subscription: SUBSCRIPTION }),
        ),
        (
            "subscribed",
            ControlFrame::Subscribed(Subscribed {
                receiver: RECEIVER,
                subscription: SUBSCRIPTION,
                stage: Stage::Cluster,
                left_out: vec![ROUTER],
                unanswered: 1,
            }),
        ),
        (
            "refused",
            ControlFrame::Refused(Refused {
                reason: RefusedReason::Selector,
                receiver: RECEIVER,
                subscription: Some(0),
                message: text("column 4: no"),
            }),
        ),
        ("grant", ControlFrame::Grant(Grant { receiver: RECEIVER, bytes: 131_072 })),
        ("close_receiver", ControlFrame::CloseReceiver(CloseReceiver { receiver: RECEIVER })),
        (
            "receiver_closed",
            ControlFrame::ReceiverClosed(ReceiverClosed { receiver: RECEIVER, reason: text("overflow") }),
        ),
    ]
}

fn mesh_frames() -> Vec<(&'static str, MeshFrame)> {
    let plain = InterestEntry { number: 7, kind: InterestKind::Plain, selector: text("host=web-1") };
    let payload = InterestEntry { number: 8, kind: InterestKind::Payload, selector: text("*") };
    vec![
        (
            "peer_hello",
            MeshFrame::PeerHello(PeerHello {
                version: 1,
                router: ROUTER,
                incarnation: Incarnation(1),
                cores: 2,
                lane: 1,
                epoch: 9,
                advertise: text("10.0.0.1:7400"),
                tables: TableCapacity::LANE,
                name: text("r1"),
                software: text("millrace/0.1.0"),
            }),
        ),
        (
            "interest",
            MeshFrame::Interest(Interest {
                version: 12,
                reset: true,
                more: true,
                add: vec![plain, payload],
                remove: vec![1, 300],
                from: 11,
            }),
        ),
        ("interest_ack", MeshFrame::InterestAck(InterestAck { version: 12, positions: vec![0, 1000] })),
        (
            "interest_digest",
            MeshFrame::InterestDigest(InterestDigest { version: 12, count: 2, sum: 0x0fed_cba9_8765_4321 }),
        ),
        ("interest_request", MeshFrame::InterestRequest(InterestRequest { version: 12 })),
        (
            "peers",
            MeshFrame::Peers(Peers {
                peers: vec![KnownPeer { router: ROUTER, advertise: text("10.0.0.2:7400"), linked: true }],
            }),
        ),
        ("ping", MeshFrame::Ping(Ping { nonce: 1 })),
        ("pong", MeshFrame::Pong(Pong { nonce: 1 })),
        ("goaway", MeshFrame::Goaway(Goaway { reason: text("restart"), ..Goaway::default() })),
    ]
}

/// Two events, `up` and `down`, with seqs 42 and 43.
fn body() -> Vec<u8> {
    let mut run = RunBuilder::default();
    run.start(42, 40, 1_700_000_000_000_000_000);
    run.push(1_700_000_000_000_000_000, b"up");
    run.push(1_700_000_000_000_001_000, b"down");
    let mut body = Vec::new();
    run.finish(&mut body);
    body
}

fn tags() -> TagSet {
    TagSet::from_texts(["host=web-1", "rack=r7"]).unwrap()
}

fn matched(subscriptions: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut field = Vec::new();
    data::put_matched(&mut field, subscriptions.into_iter());
    field
}

fn data_frames() -> Vec<(&'static str, Vec<u8>)> {
    let (tags, body) = (tags(), body());
    let inline = HopHeader {
        tags: TagsOnStream::Inline(tags.borrow()),
        publisher: PublisherOnStream::Inline(PUBLISHER),
        flags: 1 | flag::RESENT | flag::MAYBE_DUPLICATE,
        lane_seq: Some(77),
        fields: &matched([0, 5, 1023]),
    };
    let frame = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    vec![
        ("define_tags", frame(&|out| put_define_tags(out, 0, tags.borrow()))),
        ("define_publisher", frame(&|out| put_define_publisher(out, 0, PUBLISHER))),
        ("run", frame(&|out| put_run(out, &HopHeader::numbered(0, 0), &body))),
        (
            "run_matched",
            frame(&|out| {
                put_run(out, &HopHeader { fields: &matched([0, 5]), ..HopHeader::numbered(1, 2) }, &body)
            }),
        ),
        ("run_inline", frame(&|out| put_run(out, &inline, &body))),
        (
            "gap",
            frame(&|out| {
                Gap { reason: GapReason::RouterLost, events: 1000, router: Some(ROUTER) }.encode(out);
            }),
        ),
        (
            "gap_unknown_count",
            frame(&|out| Gap { reason: GapReason::Overflow, ..Gap::default() }.encode(out)),
        ),
        ("report", frame(&|out| data::put_report(out))),
        ("cursor_reserved", frame(&|out| frame::put(out, data::kind::CURSOR, |body| body.push(0)))),
    ]
}

fn preambles() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    vec![
        ("publish", frame(&|out| PublishPreamble {}.encode(out))),
        ("deliver", frame(&|out| DeliverPreamble { receiver: RECEIVER }.encode(out))),
        ("lane", frame(&|out| LanePreamble { first_seq: 1, epoch: 9 }.encode(out))),
    ]
}

#[test]
fn every_frame_is_written_as_its_golden_vector_says() {
    let mut lines = Vec::new();
    let mut line =
        |stream: &str, name: &str, bytes: &[u8]| lines.push(format!("{stream} {name}: {}", hex(bytes)));
    for (name, bytes) in preambles() {
        line("preamble", name, &bytes);
    }
    for (name, frame) in session_frames().into_iter().chain(receiver_frames()) {
        let mut out = Vec::new();
        frame.encode(&mut out);
        line("control", name, &out);
    }
    for (name, bytes) in data_frames() {
        line("data", name, &bytes);
    }
    for (name, frame) in mesh_frames() {
        let mut out = Vec::new();
        frame.encode(&mut out);
        line("mesh", name, &out);
    }
    let written = lines.join("\n") + "\n";
    assert!(written == GOLDEN, "the wire has changed; it is now\n{written}");
}

#[test]
fn golden_control_frames_are_read() {
    for (name, expected) in session_frames().into_iter().chain(receiver_frames()) {
        let bytes = golden(&format!("control {name}"));
        let (kind, body, taken) = frame::split(&bytes, 4096).unwrap().unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(ControlFrame::decode(kind, body).unwrap(), expected);
    }
    for (name, expected) in mesh_frames() {
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
    let defined = DataFrame::DefinePublisher { number: 0, publisher: PUBLISHER };
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
    assert_eq!(decode_data(&golden("data cursor_reserved")), DataFrame::Skipped { kind: data::kind::CURSOR });
    let events: Vec<_> = body.events().map(|event| (event.seq, event.time_ns, event.payload)).collect();
    let first = 1_700_000_000_000_000_000;
    assert_eq!(events, [(42, first, &b"up"[..]), (43, first + 1000, b"down")]);
}

#[test]
fn golden_preambles_are_read() {
    let (deliver, lane) = (golden("preamble deliver"), golden("preamble lane"));
    assert_eq!(DeliverPreamble::decode(&deliver[3..]).unwrap().receiver, RECEIVER);
    assert_eq!(LanePreamble::decode(&lane[3..]).unwrap(), LanePreamble { first_seq: 1, epoch: 9 });
    assert_eq!(golden("preamble publish"), [0x40, 0x50, 0x00]);
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
    let document = include_str!("../../docs/wire.md");
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
    let document = include_str!("../../docs/wire.md");
    for (bound, unit) in [
        (limits::CONTROL_FRAME_BYTES_MAX, "bytes of body"),
        (limits::DATA_FRAME_BYTES_MAX, "bytes of body"),
        (limits::HOP_HEADER_BYTES_MAX, "bytes"),
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
