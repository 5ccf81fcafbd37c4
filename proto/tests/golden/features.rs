//! Frames of features: those that are sent only to a side that lists them.

use millrace_proto::control::{
    Ack, AckKind, ControlFrame, Demand, Hello, Member, Move, OpenReceiver, Outcome, OutcomeKind,
    OutcomeReason, Quench, Quenched, RecipientOutcome, Refused, RefusedReason, Replies, ReplyEnd, SeqRanges,
    SetState, SourcePosition, Standby, Standing, Ticket, Unquench, Welcome,
};
use millrace_proto::data::{
    Cursor, EndReason, GapReason, HopHeader, Mark, ReceiverEnd, ReceiverGap, Replay, Source, Target,
    optional, put_define_indexed_publisher, put_define_source, put_deliver, put_run, target_flag,
};
use millrace_proto::id::ClusterId;
use millrace_proto::mesh::{
    GroupMember, GroupMembers, HistoryRequest, HistorySpan, HistoryState, Hold, Interest, InterestEntry,
    InterestKind, LegAck, Literal, MarkRequest, MeshFrame, PeerHello, SetMember, SetRecord, SetRecords,
    Tickets,
};
use millrace_proto::{
    Features, Incarnation, PublisherSecret, ReceiverNumber, SubscriptionNumber, TagSet, Token, feature,
};

use crate::frames::{PUBLISHER, RECEIVER, ROUTER, body, request, text};

/// 00 01 02 … 1f.
pub(crate) fn secret() -> PublisherSecret {
    PublisherSecret(std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

/// 3, 4, 5 and 10.
pub(crate) fn ranges() -> SeqRanges {
    let mut ranges = SeqRanges::new();
    assert!(ranges.push(3, 3) && ranges.push(10, 1));
    ranges
}

pub(crate) fn position() -> SourcePosition {
    SourcePosition { router: ROUTER, incarnation: Incarnation(1), owner: 2, position: 300 }
}

/// Frames of features.
pub(crate) fn feature_frames() -> Vec<(&'static str, ControlFrame)> {
    vec![
        (
            "hello_features",
            ControlFrame::Hello(Hello {
                version: 1,
                features: Features::default().with(feature::DELIVERIES).with(feature::PROOF),
                deliveries: 1,
                secret: Some(secret()),
                token: Token(text("t0k")),
                zone: text("eu-1"),
                cluster: ClusterId(0x0a0b),
                session: text("s1"),
                positions: true,
                ..Hello::default()
            }),
        ),
        (
            "welcome_features",
            ControlFrame::Welcome(Welcome {
                version: 1,
                alternates: vec![text("a:7400"), text("b:7400")],
                features: Features::default().with(feature::DELIVERIES),
                deliveries: 1,
                zone: text("eu-1"),
                identity: text("web"),
                cluster: ClusterId(0x0a0b),
                alternate_zones: vec![text("eu-1"), text("us")],
                session: text("s1"),
                ..Welcome::default()
            }),
        ),
        (
            "refused_publisher",
            ControlFrame::Refused(Refused {
                reason: RefusedReason::Publisher,
                publisher: Some(0),
                ..Refused::default()
            }),
        ),
    ]
}

/// What becomes of events, who takes them, and who sends them.
pub(crate) fn outcome_frames() -> Vec<(&'static str, ControlFrame)> {
    vec![
        (
            "outcome",
            ControlFrame::Outcome(Outcome {
                publisher: 0,
                kind: OutcomeKind::Partial,
                seqs: ranges(),
                receivers: 2,
                missed: 1,
                reasons: vec![OutcomeReason::Overflow],
                recipients: vec![RecipientOutcome {
                    name: text("desk"),
                    kind: OutcomeKind::Dropped,
                    reason: OutcomeReason::NoReceiver,
                }],
            }),
        ),
        (
            "ack",
            ControlFrame::Ack(Ack {
                receiver: RECEIVER,
                kind: AckKind::Taken,
                runs: ranges(),
                tickets: vec![Ticket { ticket: 9, generation: 1 }],
            }),
        ),
        (
            "move",
            ControlFrame::Move(Move { receiver: RECEIVER, positions: vec![position()], more: true, mark: 0 }),
        ),
        ("move_mark", ControlFrame::Move(Move { receiver: RECEIVER, mark: 7, ..Move::default() })),
        ("quench", ControlFrame::Quench(Quench { version: 1, tag_sets: vec![4, 5], read: 300 })),
        ("unquench", ControlFrame::Unquench(Unquench { version: 2, tag_sets: vec![4], read: 400 })),
        ("quenched", ControlFrame::Quenched(Quenched { version: 2 })),
        (
            "open_named",
            ControlFrame::OpenReceiver(OpenReceiver {
                receiver: RECEIVER,
                grant: 65_536,
                name: text("desk"),
                ..OpenReceiver::default()
            }),
        ),
        (
            "open_member",
            ControlFrame::OpenReceiver(OpenReceiver {
                receiver: RECEIVER,
                grant: 65_536,
                group: text("disks"),
                level: 2,
                max_inflight: 16,
                exclusive: true,
                ..OpenReceiver::default()
            }),
        ),
        ("member", ControlFrame::Member(Member { receiver: RECEIVER, busy: true })),
    ]
}

/// Frames of standby publishers, and what comes behind them.
pub(crate) fn standby_frames() -> Vec<(&'static str, ControlFrame)> {
    vec![
        (
            "standby",
            ControlFrame::Standby(Standby {
                set: text("feed"),
                publisher: 0,
                rank: 2,
                preempt: true,
                leave: false,
                index: 0,
                generation: 0,
                abreast: false,
            }),
        ),
        (
            "standby_again",
            ControlFrame::Standby(Standby {
                set: text("feed"),
                publisher: 0,
                rank: 2,
                index: 1,
                generation: 7,
                abreast: true,
                ..Standby::default()
            }),
        ),
        (
            "set_state",
            ControlFrame::SetState(SetState {
                set: text("feed"),
                publisher: 0,
                standing: Standing::Fenced,
                generation: 7,
                next_source_seq: 300,
                vacant: false,
            }),
        ),
        (
            "demand",
            ControlFrame::Demand(Demand {
                version: 1,
                reset: true,
                more: false,
                add: vec![text("host")],
                remove: vec![text("*")],
                accept: Vec::new(),
                links: vec![text("host")],
            }),
        ),
        (
            "replies",
            ControlFrame::Replies(Replies {
                request: Some(0),
                receivers: 3,
                end: ReplyEnd::Complete,
                token: vec![0xaa; 24],
            }),
        ),
    ]
}

pub(crate) fn feature_mesh_frames() -> Vec<(&'static str, MeshFrame)> {
    vec![
        (
            "leg_ack",
            MeshFrame::from(LegAck {
                runs: ranges(),
                kind: OutcomeKind::Partial,
                level: 2,
                receivers: 1,
                missed: 1,
                reasons: vec![OutcomeReason::Departed],
                events: SeqRanges::new(),
            }),
        ),
        (
            "leg_ack_of_some_events",
            MeshFrame::from(LegAck {
                runs: ranges(),
                kind: OutcomeKind::Confirmed,
                level: 1,
                receivers: 2,
                events: ranges(),
                ..LegAck::default()
            }),
        ),
        ("mark_request", MarkRequest { number: 7 }.into()),
        (
            "tickets",
            MeshFrame::from(Tickets {
                kind: AckKind::Refused,
                tickets: vec![Ticket { ticket: 9, generation: 1 }],
                reason: OutcomeReason::Busy,
            }),
        ),
        ("hold", MeshFrame::from(Hold { receiver: 3, publishers: vec![PUBLISHER.publisher] })),
        ("hold_ends", MeshFrame::from(Hold { receiver: 3, publishers: Vec::new() })),
        (
            "group_members",
            MeshFrame::from(GroupMembers {
                members: vec![GroupMember {
                    group: text("disks"),
                    member: 3,
                    level: 1,
                    in_flight: 10,
                    room: 246,
                    busy: false,
                    gone: false,
                    exclusive: false,
                }],
            }),
        ),
        (
            "set_records",
            MeshFrame::from(SetRecords {
                sets: vec![SetRecord {
                    set: text("feed"),
                    generation: 7,
                    rank: 2,
                    publisher: PUBLISHER.publisher.0.to_be_bytes().to_vec(),
                    router: ROUTER,
                    vacant: false,
                    identity: text("web"),
                    next_source_seq: 0,
                    why: 0,
                }],
                members: vec![],
                hand_over: vec![],
            }),
        ),
        (
            "set_members",
            MeshFrame::from(SetRecords {
                sets: vec![SetRecord {
                    set: text("feed"),
                    generation: 7,
                    vacant: true,
                    next_source_seq: 300,
                    ..SetRecord::default()
                }],
                members: vec![SetMember {
                    set: text("feed"),
                    publisher: PUBLISHER.publisher.0.to_be_bytes().to_vec(),
                    rank: 2,
                    preempt: true,
                    silent: true,
                    gone: true,
                    identity: text("web"),
                    abreast: true,
                }],
                hand_over: vec![text("feed")],
            }),
        ),
    ]
}

/// History, and what greets and wants.
pub(crate) fn history_frames() -> Vec<(&'static str, MeshFrame)> {
    vec![
        (
            "history_request",
            MeshFrame::from(HistoryRequest {
                request: 5,
                selectors: vec![text("host")],
                from: vec![position()],
                since_us: 0,
                cancel: false,
                last: 0,
            }),
        ),
        (
            "history_state",
            MeshFrame::from(HistoryState {
                request: 5,
                spans: vec![HistorySpan {
                    incarnation: Incarnation(1),
                    owner: 2,
                    from: 300,
                    to: 900,
                    oldest_kept: 100,
                }],
                ended: true,
            }),
        ),
        (
            "peer_hello_features",
            MeshFrame::from(PeerHello {
                version: 1,
                features: Features::default().with(feature::CONFIRMS).with(feature::GROUPS),
                zone: text("eu-1"),
                cluster: ClusterId(0x0a0b),
                ..PeerHello::default()
            }),
        ),
        (
            "interest_features",
            MeshFrame::from(Interest {
                version: 1,
                add: vec![
                    InterestEntry {
                        number: 1,
                        kind: InterestKind::Payload,
                        selector: text("*"),
                        literals: vec![Literal(b"RAID".to_vec())],
                        ..InterestEntry::default()
                    },
                    InterestEntry {
                        number: 2,
                        kind: InterestKind::Name,
                        selector: text("desk"),
                        generation: 3,
                        identity: text("ops"),
                        ..InterestEntry::default()
                    },
                    InterestEntry {
                        number: 3,
                        kind: InterestKind::Group,
                        selector: text("host"),
                        member: Some(GroupMember {
                            group: text("disks"),
                            member: 3,
                            level: 2,
                            room: 256,
                            exclusive: true,
                            ..GroupMember::default()
                        }),
                        ..InterestEntry::default()
                    },
                ],
                ..Interest::default()
            }),
        ),
    ]
}

/// A run on the stream of all receivers: for receiver 3, and for receiver 5 because of its
/// subscriptions 1 and 2.
pub(crate) fn targets() -> Vec<u8> {
    let mut targets = Vec::new();
    Target::plain(RECEIVER).put(&mut targets);
    Target { matched: &[1, 2], ..Target::plain(ReceiverNumber(5)) }.put(&mut targets);
    targets
}

/// For receiver 3, maybe for the second time, with ticket 9 in generation 1.
pub(crate) fn target_with_all() -> Vec<u8> {
    let mut targets = Vec::new();
    Target {
        matched: &[1, 2],
        flags: target_flag::MAYBE_DUPLICATE,
        ticket: Some((9, 1)),
        addressed: &optional::Addressed { reply_to: Some([0xaa; 24]), ..optional::Addressed::default() }
            .encode(),
        ..Target::plain(RECEIVER)
    }
    .put(&mut targets);
    targets
}

/// Every optional hop field of features.
pub(crate) fn optional_fields() -> Vec<u8> {
    let mut fields = Vec::new();
    optional::put_position(&mut fields, 2, 300);
    optional::GroupTicket { ticket: 9, generation: 1, group: "disks" }.put(&mut fields);
    optional::Addressed {
        to: vec!["desk"],
        reply_to: Some([0xaa; 24]),
        answers: None,
        request: Some(0),
        deadline_us: 300,
        replies: 0,
    }
    .put(&mut fields);
    optional::put_cluster_path(&mut fields, [ClusterId(0x0a0b), ClusterId(1)].into_iter());
    optional::put_added_tags(&mut fields, 4, TagSet::from_texts(["rule=x"]).unwrap().borrow());
    optional::StandbySet::put(&mut fields, "feed", 7, [300, 302].into_iter());
    optional::put_expiry_us(&mut fields, 300);
    fields
}

pub(crate) fn source() -> Source {
    Source { router: ROUTER, incarnation: Incarnation(1), owner: 2 }
}

pub(crate) fn receiver_gap() -> ReceiverGap {
    ReceiverGap {
        reason: GapReason::Overflow,
        events: 1000,
        router: None,
        receivers: vec![RECEIVER, ReceiverNumber(5)],
    }
}

pub(crate) fn receiver_end() -> ReceiverEnd {
    ReceiverEnd { receiver: RECEIVER, reason: EndReason::Overflow, dropped: 300, message: text("slow") }
}

pub(crate) fn cursor() -> Cursor {
    Cursor { sources: vec![0, 2], positions: vec![300, 7], receivers: vec![RECEIVER] }
}

pub(crate) fn replay() -> Replay {
    Replay {
        receiver: RECEIVER,
        router: ROUTER,
        incarnation: Incarnation(1),
        owner: 2,
        from: 300,
        to: 900,
        oldest_kept: 100,
        joined: false,
        subscription: SubscriptionNumber(0),
    }
}

pub(crate) fn mark() -> Mark {
    Mark { number: 7, receivers: vec![RECEIVER], partial: true }
}

pub(crate) fn feature_data_frames() -> Vec<(&'static str, Vec<u8>)> {
    let body = body();
    let frame = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    let numbered = HopHeader::numbered(0, 0);
    let fields = optional_fields();
    vec![
        ("define_publisher_indexed", frame(&|out| put_define_indexed_publisher(out, 1, PUBLISHER, 3))),
        ("define_source", frame(&|out| put_define_source(out, 2, source()))),
        ("deliver", frame(&|out| put_deliver(out, &numbered, &targets(), &body))),
        ("deliver_with_all", frame(&|out| put_deliver(out, &numbered, &target_with_all(), &body))),
        ("receiver_gap", frame(&|out| receiver_gap().encode(out))),
        (
            "receiver_gap_all",
            frame(&|out| {
                ReceiverGap { reason: GapReason::SessionLost, ..ReceiverGap::default() }.encode(out)
            }),
        ),
        ("receiver_end", frame(&|out| receiver_end().encode(out))),
        ("cursor", frame(&|out| cursor().encode(out))),
        ("replay", frame(&|out| replay().encode(out))),
        ("mark", frame(&|out| mark().encode(out))),
        ("run_optional", frame(&|out| put_run(out, &HopHeader { fields: &fields, ..numbered }, &body))),
        ("run_request", frame(&|out| put_run(out, &HopHeader { fields: &request(), ..numbered }, &body))),
    ]
}
