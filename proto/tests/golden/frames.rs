//! The frames of a client's and a lane's session, with the values that the golden vectors are made
//! of.

use millrace_proto::control::{
    CloseReceiver, ControlFrame, Credit, Goaway, Grant, Hello, OpenReceiver, OverflowPolicy, Ping, Pong,
    Received, ReceiverClosed, Refused, RefusedReason, Stage, Subscribe, Subscribed, TableCapacity,
    Unsubscribe, Welcome,
};
use millrace_proto::data::optional::Addressed;
use millrace_proto::data::{
    self, Gap, GapReason, HopHeader, Packed, PublisherOnStream, TagsOnStream, flag, put_define_publisher,
    put_define_tags, put_run,
};
use millrace_proto::mesh::{
    EndedLife, Interest, InterestAck, InterestDigest, InterestEntry, InterestKind, InterestRequest,
    KnownPeer, Load, MeshFrame, PeerHello, Peers,
};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{
    DeliverAllPreamble, DeliverPreamble, LanePreamble, PublishPreamble, ReplayPreamble,
};
use millrace_proto::{
    Epoch, Incarnation, PublisherId, PublisherKey, ReceiverNumber, RouterId, SubscriptionNumber, TagSet,
    frame,
};

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) const RECEIVER: ReceiverNumber = ReceiverNumber(3);
pub(crate) const SUBSCRIPTION: SubscriptionNumber = SubscriptionNumber(5);
pub(crate) const ROUTER: RouterId = RouterId(0x0123_4567_89ab_cdef);
pub(crate) const PUBLISHER: PublisherKey = PublisherKey {
    publisher: PublisherId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
    epoch: Epoch(0x0123_4567_89ab_cdef),
};

/// A Report, stored in a frame of zstd as it is.
pub(crate) const PACKED: Packed<'_> =
    Packed { plain_bytes: 2, packed: &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 0x11, 0, 0, 0x1b, 0] };

pub(crate) fn session_frames() -> Vec<(&'static str, ControlFrame)> {
    let alternates = vec![text("a:7400"), text("b:7400")];
    vec![
        (
            "hello",
            ControlFrame::Hello(Hello {
                version: 1,
                software: text("demo/1"),
                tables: TableCapacity { tag_sets: 100, tag_bytes: 20_000, publishers: 10 },
                receivers: 2,
                ..Hello::default()
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
                ..Welcome::default()
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
                ..Goaway::default()
            }),
        ),
        ("credit", ControlFrame::Credit(Credit { bytes: 1 << 20 })),
        ("received", ControlFrame::Received(Received { publisher: 0, next_seq: 44 })),
    ]
}

pub(crate) fn receiver_frames() -> Vec<(&'static str, ControlFrame)> {
    vec![
        (
            "open_receiver",
            ControlFrame::OpenReceiver(OpenReceiver {
                receiver: RECEIVER,
                policy: OverflowPolicy::DropNewest,
                queue_bytes: 1 << 20,
                linger_us: 100_000,
                grant: 65_536,
                ..OpenReceiver::default()
            }),
        ),
        (
            "subscribe",
            ControlFrame::Subscribe(Subscribe {
                receiver: RECEIVER,
                subscription: SUBSCRIPTION,
                selectors: vec![text("host=web-*"), text("payload ~ /RAID/")],
                ..Subscribe::default()
            }),
        ),
        (
            "subscribe_since",
            ControlFrame::Subscribe(Subscribe {
                receiver: RECEIVER,
                subscription: SUBSCRIPTION,
                selectors: vec![text("*")],
                since_us: 300_000_000,
                cursor: vec![crate::features::position()],
                last: 0,
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
                ..Subscribed::default()
            }),
        ),
        (
            "subscribed_unheard",
            ControlFrame::Subscribed(Subscribed {
                receiver: RECEIVER,
                subscription: SUBSCRIPTION,
                stage: Stage::Cluster,
                left_out_publishers: vec![PUBLISHER.publisher],
                ..Subscribed::default()
            }),
        ),
        (
            "refused",
            ControlFrame::Refused(Refused {
                reason: RefusedReason::Selector,
                receiver: RECEIVER,
                subscription: Some(0),
                message: text("column 4: no"),
                publisher: None,
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

pub(crate) fn mesh_frames() -> Vec<(&'static str, MeshFrame)> {
    let entry = |number, kind, selector: &str| InterestEntry {
        number,
        kind,
        selector: text(selector),
        ..InterestEntry::default()
    };
    let plain = entry(7, InterestKind::Plain, "host=web-1");
    let payload = entry(8, InterestKind::Payload, "*");
    vec![
        (
            "peer_hello",
            MeshFrame::from(PeerHello {
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
                ..PeerHello::default()
            }),
        ),
        (
            "interest",
            MeshFrame::from(Interest {
                version: 12,
                reset: true,
                more: true,
                add: vec![plain, payload],
                remove: vec![1, 300],
                from: 11,
            }),
        ),
        (
            "interest_ack",
            MeshFrame::from(InterestAck { version: 12, positions: vec![0, 1000], ..InterestAck::default() }),
        ),
        (
            "interest_digest",
            MeshFrame::from(InterestDigest { version: 12, count: 2, sum: 0x0fed_cba9_8765_4321 }),
        ),
        ("interest_request", MeshFrame::from(InterestRequest { version: 12 })),
        ("load", MeshFrame::from(Load { clients: 300 })),
        (
            "peers",
            MeshFrame::from(Peers {
                peers: vec![KnownPeer {
                    router: ROUTER,
                    advertise: text("10.0.0.2:7400"),
                    linked: true,
                    ended: None,
                }],
            }),
        ),
        (
            "peers_ended",
            MeshFrame::from(Peers {
                peers: vec![KnownPeer {
                    router: ROUTER,
                    advertise: text("10.0.0.2:7400"),
                    linked: true,
                    ended: Some(EndedLife { incarnation: Incarnation(8), ago_us: 1000 }),
                }],
            }),
        ),
        ("ping", MeshFrame::from(Ping { nonce: 1 })),
        ("pong", MeshFrame::from(Pong { nonce: 1 })),
        ("goaway", MeshFrame::from(Goaway { reason: text("restart"), ..Goaway::default() })),
    ]
}

/// Two events, `up` and `down`, with seqs 42 and 43.
pub(crate) fn body() -> Vec<u8> {
    let mut run = RunBuilder::default();
    run.start(42, 40, 1_700_000_000_000_000_000);
    run.push(1_700_000_000_000_000_000, b"up");
    run.push(1_700_000_000_000_001_000, b"down");
    let mut body = Vec::new();
    run.finish(&mut body);
    body
}

pub(crate) fn tags() -> TagSet {
    TagSet::from_texts(["host=web-1", "rack=r7"]).unwrap()
}

pub(crate) fn matched(subscriptions: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut field = Vec::new();
    data::put_matched(&mut field, subscriptions.into_iter());
    field
}

/// A request that wants two replies within 5 ms.
pub(crate) fn request() -> Vec<u8> {
    let mut field = Vec::new();
    Addressed { request: Some(7), deadline_us: 5000, replies: 2, ..Addressed::default() }.put(&mut field);
    field
}

pub(crate) fn data_frames() -> Vec<(&'static str, Vec<u8>)> {
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
        ("packed", frame(&|out| PACKED.encode(out))),
        ("skipped", frame(&|out| frame::put(out, 0x1f, |body| body.push(0)))),
    ]
}

pub(crate) fn preambles() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    vec![
        ("publish", frame(&|out| PublishPreamble {}.encode(out))),
        ("deliver", frame(&|out| DeliverPreamble { receiver: RECEIVER }.encode(out))),
        ("deliver_all", frame(&|out| DeliverAllPreamble {}.encode(out))),
        ("replay", frame(&|out| ReplayPreamble { request: 5 }.encode(out))),
        ("lane", frame(&|out| LanePreamble { first_seq: 1, epoch: 9 }.encode(out))),
    ]
}
