//! Every message, tag set, run and hop header reads back as it was written, whatever it holds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use millrace_proto::control::{
    Ack, AckKind, CloseReceiver, ControlFrame, Credit, Goaway, Grant, Hello, OpenReceiver, Outcome,
    OutcomeKind, OutcomeReason, OverflowPolicy, Ping, Pong, Quench, Received, ReceiverClosed, Refused,
    RefusedReason, SeqRanges, SetState, Stage, Standing, Subscribe, Subscribed, TableCapacity, Ticket,
    Unsubscribe, Welcome,
};
use millrace_proto::data::optional::Addressed;
use millrace_proto::data::{
    self, DataFrame, Gap, GapReason, HopHeader, PublisherOnStream, TagsOnStream, Target, flag,
};
use millrace_proto::id::ClusterId;
use millrace_proto::mesh::{
    EndedLife, GroupMember, Interest, InterestAck, InterestDigest, InterestEntry, InterestKind,
    InterestRequest, KnownPeer, LegAck, Literal, Load, MeshFrame, PeerHello, Peers,
};
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::stream::{DeliverPreamble, LanePreamble};
use millrace_proto::{
    Epoch, Features, Incarnation, PublisherId, PublisherKey, PublisherSecret, ReceiverNumber, RouterId,
    SubscriptionNumber, TagSet, Token, frame, varint,
};
use proptest::prelude::*;
use proptest::strategy::Union;

fn number() -> BoxedStrategy<u64> {
    prop_oneof![0..100u64, 0..=varint::MAX, Just(varint::MAX)].boxed()
}

fn text() -> BoxedStrategy<String> {
    "\\PC{0,20}".boxed()
}

fn router() -> BoxedStrategy<RouterId> {
    any::<u64>().prop_map(RouterId).boxed()
}

fn incarnation() -> BoxedStrategy<Incarnation> {
    any::<u64>().prop_map(Incarnation).boxed()
}

fn receiver() -> BoxedStrategy<ReceiverNumber> {
    any::<u32>().prop_map(ReceiverNumber).boxed()
}

fn subscription() -> BoxedStrategy<SubscriptionNumber> {
    any::<u32>().prop_map(SubscriptionNumber).boxed()
}

fn publisher_id() -> BoxedStrategy<PublisherId> {
    any::<u128>().prop_map(PublisherId).boxed()
}

fn publisher() -> BoxedStrategy<PublisherKey> {
    (any::<u128>(), number())
        .prop_map(|(id, epoch)| PublisherKey { publisher: PublisherId(id), epoch: Epoch(epoch) })
        .boxed()
}

fn tables() -> BoxedStrategy<TableCapacity> {
    (number(), number(), number())
        .prop_map(|(tag_sets, tag_bytes, publishers)| TableCapacity { tag_sets, tag_bytes, publishers })
        .boxed()
}

fn features() -> BoxedStrategy<Features> {
    prop::collection::vec(0u64..100, 0..8)
        .prop_map(|numbers| numbers.into_iter().fold(Features::default(), Features::with))
        .boxed()
}

fn ranges() -> BoxedStrategy<SeqRanges> {
    prop::collection::vec((number(), 1u64..1 << 40), 0..8)
        .prop_map(|mut found| {
            found.sort_unstable();
            let mut ranges = SeqRanges::new();
            for (first, count) in found {
                ranges.push(first, count);
            }
            ranges
        })
        .boxed()
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> BoxedStrategy<T> {
    prop::sample::select(all).boxed()
}

fn list<T: std::fmt::Debug + 'static>(element: BoxedStrategy<T>) -> BoxedStrategy<Vec<T>> {
    prop::collection::vec(element, 0..5).boxed()
}

fn entry() -> BoxedStrategy<InterestEntry> {
    (
        number(),
        one_of(InterestKind::ALL),
        text(),
        number(),
        list(prop::collection::vec(any::<u8>(), 0..64).boxed()),
        prop::option::of(text().prop_map(|group| GroupMember { group, level: 1, ..GroupMember::default() })),
        text(),
    )
        .prop_map(|(number, kind, selector, generation, literals, member, identity)| InterestEntry {
            number,
            kind,
            selector,
            generation,
            literals: literals.into_iter().map(Literal).collect(),
            member,
            identity,
        })
        .boxed()
}

fn peer() -> BoxedStrategy<KnownPeer> {
    let ended = (incarnation(), number()).prop_map(|(incarnation, ago_us)| EndedLife { incarnation, ago_us });
    (router(), text(), any::<bool>(), prop::option::of(ended))
        .prop_map(|(router, advertise, linked, ended)| KnownPeer { router, advertise, linked, ended })
        .boxed()
}

/// A strategy for a message, from one for each of its fields.
macro_rules! message {
    ($frames:ident :: $name:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        message!($name { $($field: $strategy),* }).prop_map($frames::$name).boxed()
    };
    (into $frames:ident: $name:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        message!($name { $($field: $strategy),* }).prop_map($frames::from).boxed()
    };
    ($name:ident { $($field:ident: $strategy:expr),* $(,)? }) => {{
        let mut message = Just($name::default()).boxed();
        $(
            message = (message, $strategy)
                .prop_map(|(mut message, value)| { message.$field = value; message })
                .boxed();
        )*
        message
    }};
}

#[expect(clippy::too_many_lines, reason = "a list: one entry for each frame")]
fn control_frames() -> impl Strategy<Value = ControlFrame> {
    Union::new([
        message!(ControlFrame::Hello {
            version: number(),
            software: text(),
            tables: tables(),
            receivers: any::<u32>(),
            received_within_us: number(),
            features: features(),
            deliveries: number(),
            secret: prop::option::of(any::<[u8; 32]>().prop_map(PublisherSecret)),
            token: text().prop_map(Token),
            zone: text(),
            cluster: any::<u64>().prop_map(ClusterId),
            positions: any::<bool>(),
        }),
        message!(ControlFrame::Welcome {
            version: number(),
            router: router(),
            incarnation: incarnation(),
            cores: any::<u16>(),
            core: any::<u16>(),
            tables: tables(),
            receivers_max: any::<u32>(),
            alternates: list(text()),
            silence_us: number(),
            software: text(),
            features: features(),
            identity: text(),
            alternate_zones: list(text()),
        }),
        message!(ControlFrame::Ping { nonce: number() }),
        message!(ControlFrame::Pong { nonce: number() }),
        message!(ControlFrame::Goaway {
            delay_us: number(),
            alternates: list(text()),
            reason: text(),
            grace_us: number()
        }),
        message!(ControlFrame::Credit { bytes: number() }),
        message!(ControlFrame::Received { publisher: number(), next_seq: number() }),
        message!(ControlFrame::OpenReceiver {
            receiver: receiver(),
            policy: one_of(OverflowPolicy::ALL),
            queue_bytes: number(),
            linger_us: number(),
            grant: number(),
            name: text(),
            group: text(),
            level: any::<u32>(),
            max_inflight: number(),
            exclusive: any::<bool>(),
        }),
        message!(ControlFrame::Subscribe {
            receiver: receiver(),
            subscription: subscription(),
            selectors: list(text()),
            since_us: number(),
            cursor: Just(Vec::new()),
            last: number()
        }),
        message!(ControlFrame::Unsubscribe { receiver: receiver(), subscription: subscription() }),
        message!(ControlFrame::Subscribed {
            receiver: receiver(),
            subscription: subscription(),
            stage: one_of(Stage::ALL),
            left_out: list(router()),
            unanswered: number(),
            left_out_publishers: list(publisher_id()),
        }),
        message!(ControlFrame::Refused {
            reason: one_of(RefusedReason::ALL),
            receiver: receiver(),
            subscription: prop::option::of(number()),
            message: text(),
        }),
        message!(ControlFrame::Grant { receiver: receiver(), bytes: number() }),
        message!(ControlFrame::CloseReceiver { receiver: receiver() }),
        message!(ControlFrame::ReceiverClosed { receiver: receiver(), reason: text() }),
        message!(ControlFrame::Outcome {
            publisher: number(),
            kind: one_of(OutcomeKind::ALL),
            seqs: ranges(),
            receivers: number(),
            missed: number(),
            reasons: list(one_of(OutcomeReason::ALL)),
        }),
        message!(ControlFrame::Ack {
            receiver: receiver(),
            kind: one_of(AckKind::ALL),
            runs: ranges(),
            tickets: list(
                (number(), number()).prop_map(|(ticket, generation)| Ticket { ticket, generation }).boxed()
            ),
        }),
        message!(ControlFrame::Quench { version: number(), tag_sets: list(number()), read: number() }),
        message!(ControlFrame::SetState {
            set: text(),
            publisher: number(),
            standing: one_of(Standing::ALL),
            generation: number(),
            next_source_seq: number(),
            vacant: any::<bool>(),
        }),
    ])
}

fn mesh_frames() -> impl Strategy<Value = MeshFrame> {
    Union::new([
        message!(into MeshFrame: PeerHello {
            version: number(),
            router: router(),
            incarnation: incarnation(),
            cores: any::<u16>(),
            lane: any::<u16>(),
            epoch: number(),
            advertise: text(),
            tables: tables(),
            name: text(),
            software: text(),
            features: features(),
            zone: text(),
        }),
        message!(into MeshFrame: LegAck {
            runs: ranges(),
            kind: one_of(OutcomeKind::ALL),
            level: any::<u32>(),
            reasons: list(one_of(OutcomeReason::ALL)),
            events: ranges(),
        }),
        message!(into MeshFrame: Interest {
            version: number(),
            reset: any::<bool>(),
            more: any::<bool>(),
            add: list(entry()),
            remove: list(number()),
            from: number(),
        }),
        message!(into MeshFrame: InterestAck {
            version: number(),
            positions: list(number()),
            left_out_publishers: list(publisher_id()),
        }),
        message!(into MeshFrame: InterestDigest { version: number(), count: number(), sum: number() }),
        message!(into MeshFrame: InterestRequest { version: number() }),
        message!(into MeshFrame: Load { clients: number() }),
        message!(into MeshFrame: Peers { peers: list(peer()) }),
        message!(into MeshFrame: Ping { nonce: number() }),
        message!(into MeshFrame: Pong { nonce: number() }),
        message!(into MeshFrame: Goaway {
            delay_us: number(),
            alternates: list(text()),
            reason: text(),
            grace_us: number()
        }),
    ])
}

fn tag_sets() -> impl Strategy<Value = TagSet> {
    prop::collection::btree_map("[a-zA-Z0-9._/-]{1,20}", "[^\\pC]{0,20}", 0..8)
        .prop_map(|tags| TagSet::new(tags).unwrap())
}

/// Splits the one frame in `bytes`.
fn split(bytes: &[u8]) -> (u64, &[u8]) {
    let (kind, body, taken) = frame::split(bytes, 1 << 20).unwrap().unwrap();
    assert_eq!(taken, bytes.len());
    (kind, body)
}

proptest! {
    #[test]
    fn control_frames_read_back(message in control_frames()) {
        let mut out = Vec::new();
        message.encode(&mut out);
        let (kind, body) = split(&out);
        prop_assert_eq!(ControlFrame::decode(kind, body), Ok(message.clone()));
        // A later version adds fields: they are skipped.
        let mut longer = body.to_vec();
        millrace_proto::field::put_str(&mut longer, 99, "later");
        prop_assert_eq!(ControlFrame::decode(kind, &longer), Ok(message));
    }

    #[test]
    fn mesh_frames_read_back(message in mesh_frames()) {
        let mut out = Vec::new();
        message.encode(&mut out);
        let (kind, body) = split(&out);
        prop_assert_eq!(MeshFrame::decode(kind, body), Ok(message));
    }

    #[test]
    fn preambles_and_gaps_read_back(
        deliver in message!(DeliverPreamble { receiver: receiver() }),
        lane in message!(LanePreamble { first_seq: number(), epoch: number() }),
        gap in message!(Gap { reason: one_of(GapReason::ALL), events: number(), router: prop::option::of(router()) }),
    ) {
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        deliver.encode(&mut a);
        lane.encode(&mut b);
        gap.encode(&mut c);
        prop_assert_eq!(DeliverPreamble::decode(split(&a).1), Ok(deliver));
        prop_assert_eq!(LanePreamble::decode(split(&b).1), Ok(lane));
        let (kind, body) = split(&c);
        prop_assert_eq!(data::decode(kind, body), Ok(DataFrame::Gap(gap)));
    }

    #[test]
    fn tag_sets_read_back_and_do_not_depend_on_order(tags in tag_sets()) {
        let pairs: Vec<_> = tags.borrow().iter().collect();
        prop_assert_eq!(TagSet::new(pairs.iter().rev().copied()), Ok(tags.clone()));
        let parsed = millrace_proto::TagSetRef::parse(tags.canonical()).unwrap();
        prop_assert_eq!(parsed, tags.borrow());
        for (key, value) in pairs {
            prop_assert_eq!(parsed.get(key), Some(value));
        }
        prop_assert_eq!(parsed.get("~"), None);
    }

    #[test]
    fn runs_read_back(
        first_seq in 0..varint::MAX - 100, distance in 0u64..100, base in number(),
        events in prop::collection::vec((0u64..1 << 40, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
    ) {
        let mut run = RunBuilder::default();
        run.start(first_seq, first_seq.saturating_sub(distance), base);
        for (delta, payload) in &events {
            prop_assert!(run.fits(payload.len()));
            run.push(base.saturating_add(*delta), payload);
        }
        let size = run.finished_bytes();
        let mut out = Vec::new();
        run.finish(&mut out);
        prop_assert_eq!(out.len(), size);
        let body = RunBody::parse(&out).unwrap();
        prop_assert_eq!(body.first_seq(), first_seq);
        prop_assert_eq!(body.last_seq() + 1, first_seq + events.len() as u64);
        prop_assert_eq!(body.floor(), first_seq.saturating_sub(distance));
        for (event, (delta, payload)) in body.events().zip(&events) {
            prop_assert_eq!(event.time_ns, (base + delta).min(varint::MAX));
            prop_assert_eq!(event.payload, &payload[..]);
        }
        for cut in 0..out.len() {
            prop_assert!(RunBody::parse(&out[..cut]).is_err());
        }
    }

    #[test]
    fn hop_headers_read_back(
        tags in tag_sets(), key in publisher(), numbers in (number(), number()), inline in any::<(bool, bool)>(),
        flags in prop::sample::subsequence(vec![1u64, 2, 1 << 4, 1 << 5, flag::UNROUTED], 0..5),
        lane_seq in prop::option::of(number()), matched in prop::collection::btree_set(0u16..1024, 0..100),
    ) {
        let mut fields = Vec::new();
        data::put_matched(&mut fields, matched.iter().copied());
        let hop = HopHeader {
            tags: if inline.0 { TagsOnStream::Inline(tags.borrow()) } else { TagsOnStream::Number(numbers.0) },
            publisher: if inline.1 { PublisherOnStream::Inline(key) } else { PublisherOnStream::Number(numbers.1) },
            flags: flags.iter().sum(),
            lane_seq,
            fields: &fields,
        };
        let run = [0, 0, 0, 1, 0, 1, b'x'];
        let mut out = Vec::new();
        data::put_run(&mut out, &hop, &run);
        let (kind, frame) = split(&out);
        let body = RunBody::parse(&run).unwrap();
        prop_assert_eq!(data::decode(kind, frame), Ok(DataFrame::Run { hop, body }));
        let expected: Vec<u16> = if matched.is_empty() { vec![0] } else { matched.into_iter().collect() };
        prop_assert!(hop.matched().eq(expected.into_iter().map(u32::from)));
    }

    #[test]
    fn deliveries_read_back(
        numbers in (number(), number()), fields in prop::collection::vec(any::<u8>(), 0..40),
        wanted in prop::collection::vec(
            (0u32..1024, prop::collection::btree_set(0u64..1024, 0..70), 0u64..4, prop::option::of((number(), number()))),
            1..20,
        ),
    ) {
        let mut hop_fields = Vec::new();
        millrace_proto::field::put_bytes(&mut hop_fields, 99, &fields);
        let hop = HopHeader { fields: &hop_fields, ..HopHeader::numbered(numbers.0, numbers.1) };
        let matched: Vec<Vec<u8>> = wanted.iter().map(|(_, matched, ..)| {
            let mut bytes = Vec::new();
            matched.iter().for_each(|&subscription| varint::put(&mut bytes, subscription));
            bytes
        }).collect();
        let addressed = Addressed { request: Some(numbers.0), ..Addressed::default() }.encode();
        let mut set = Vec::new();
        varint::put(&mut set, numbers.1);
        varint::put_prefixed(&mut set, b"feed");
        varint::put(&mut set, numbers.0);
        let expected: Vec<Target<'_>> = wanted.iter().zip(&matched).map(|(&(receiver, _, flags, ticket), matched)| {
            Target { receiver: ReceiverNumber(receiver), matched, flags, ticket, addressed: &addressed, set: &set }
        }).collect();
        let mut targets = Vec::new();
        expected.iter().for_each(|target| target.put(&mut targets));
        let run = [0, 0, 0, 1, 0, 1, b'x'];
        let (mut out, mut head) = (Vec::new(), Vec::new());
        data::put_deliver(&mut out, &hop, &targets, &run);
        data::put_deliver_head(&mut head, &hop, &targets, run.len());
        head.extend(run);
        prop_assert_eq!(&head, &out);
        let (kind, frame) = split(&out);
        let DataFrame::Deliver { hop: read, targets: found, body } = data::decode(kind, frame).unwrap() else {
            panic!("not a delivery")
        };
        prop_assert_eq!((read, body), (hop, RunBody::parse(&run).unwrap()));
        prop_assert!(found.iter().eq(expected));
    }

    #[test]
    fn definitions_read_back(number in number(), tags in tag_sets(), publisher in publisher()) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        data::put_define_tags(&mut a, number, tags.borrow());
        data::put_define_publisher(&mut b, number, publisher);
        let (kind, body) = split(&a);
        prop_assert_eq!(data::decode(kind, body), Ok(DataFrame::DefineTags { number, tags: tags.borrow() }));
        let (kind, body) = split(&b);
        prop_assert_eq!(data::decode(kind, body), Ok(DataFrame::DefinePublisher { number, publisher, index: 0 }));
    }
}

#[test]
fn texts_for_people_are_cut_to_their_bound() {
    let mut out = Vec::new();
    ReceiverClosed { reason: "é".repeat(1000), ..ReceiverClosed::default() }.encode(&mut out);
    assert_eq!(ReceiverClosed::decode(split(&out).1).unwrap().reason, "é".repeat(512));
}

#[test]
fn beyond_their_bounds_messages_are_refused() {
    let refused =
        |bytes: &[u8], kind: u64| ControlFrame::decode(kind, bytes).unwrap_err().close_code().name();
    // A field that is longer than the frame, an integer of 70 bits, a list that is too long, a text
    // that is no UTF-8.
    assert_eq!(refused(&[0x01, 0x02, 0x05], Ping::KIND), "malformed");
    assert_eq!(refused(&[0x01, 0x09, 0xc0, 0, 0, 0, 0, 0, 0, 0, 1], Ping::KIND), "malformed");
    assert_eq!(refused(&[0x03, 0x00].repeat(1025), Subscribe::KIND), "limit");
    assert_eq!(refused(&[0x02, 0x01, 0xff], Hello::KIND), "malformed");
    // A secret of another length, ranges that are empty, and one field of another kind.
    assert_eq!(refused(&[0x08, 0x01, 0x09], Hello::KIND), "malformed");
    assert_eq!(refused(&[0x03, 0x02, 0x01, 0x00], Outcome::KIND), "malformed");
    assert_eq!(refused(&[0x03, 0x01, 0x01], Ack::KIND), "malformed");
    assert_eq!(refused(&[], 0x7e), "unknown_frame");
    assert_eq!(ControlFrame::decode(0x7f, &[1, 2, 3]), Ok(ControlFrame::Skipped { kind: 0x7f }));
}
