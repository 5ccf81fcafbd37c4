//! One stream for all receivers of a connection.

use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::control::{
    CloseReceiver, ControlFrame, Grant, Hello, OpenReceiver, OverflowPolicy, Subscribe,
};
use millrace_proto::data::{
    self, DataFrame, EndReason, Gap, GapReason, HopHeader, ReceiverEnd, ReceiverGap, Target,
};
use millrace_proto::frame::FrameReader;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{DeliverAllPreamble, stream_kind};
use millrace_proto::{
    DecodeError, Features, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, ReceiverNumber,
    RouterId, SubscriptionNumber, TagSet, feature,
};

use super::world::{KEY, World, open};
use crate::core::CoreConfig;
use crate::transport::{ConnKey, StreamKey};

/// The stream that the receivers of a connection share.
const SHARED: StreamKey = StreamKey(3);

impl World {
    pub(super) fn sharing(&mut self, number: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            deliveries: 1,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    pub(super) fn open_with(&mut self, conn: ConnKey, receiver: u32, open: OpenReceiver, selectors: &[&str]) {
        let receiver = ReceiverNumber(receiver);
        self.say(conn, &ControlFrame::OpenReceiver(OpenReceiver { receiver, ..open }));
        for (subscription, selector) in (0..).zip(selectors) {
            let selectors = vec![(*selector).to_owned()];
            let subscription = SubscriptionNumber(subscription);
            self.say(
                conn,
                &ControlFrame::Subscribe(Subscribe {
                    receiver,
                    subscription,
                    selectors,
                    ..Subscribe::default()
                }),
            );
        }
    }

    fn grant(&mut self, conn: ConnKey, receiver: u32, bytes: u64) {
        self.say(conn, &ControlFrame::Grant(Grant { receiver: ReceiverNumber(receiver), bytes }));
    }

    /// What the shared stream says: `seq payload for receiver [subscriptions], …`, `gap reason
    /// events for [receivers]`, `end receiver reason dropped`.
    pub(super) fn shared(&self, conn: ConnKey) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, SHARED)) else { return lines };
        let mut each = |kind: u64, body: &[u8]| {
            if kind == stream_kind::DELIVER_ALL {
                return Ok(());
            }
            match data::decode(kind, body)? {
                DataFrame::Deliver { targets, body, .. } => {
                    let target = |target: Target<'_>| {
                        let matched: Vec<u32> = target.matched().collect();
                        format!("{} {matched:?}", target.receiver.0)
                    };
                    let targets: Vec<String> = targets.iter().map(target).collect();
                    for event in body.events() {
                        let payload = String::from_utf8_lossy(event.payload);
                        lines.push(format!("{} {payload} for {}", event.seq, targets.join(", ")));
                    }
                }
                DataFrame::ReceiverGap(gap) => {
                    let receivers: Vec<u32> = gap.receivers.iter().map(|number| number.0).collect();
                    lines.push(format!("gap {} {} for {receivers:?}", gap.reason.name(), gap.events));
                }
                DataFrame::ReceiverEnd(end) => {
                    lines.push(format!("end {} {} {}", end.receiver.0, end.reason.name(), end.dropped));
                }
                DataFrame::DefineTags { .. } | DataFrame::DefinePublisher { .. } => {}
                other => panic!("{other:?}"),
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        lines
    }
}

/// Bytes of a run body with one event that [`World::publish`] sends.
fn body_of(seq: u64, payload: &str) -> Vec<u8> {
    let (mut run, mut body) = (RunBuilder::default(), Vec::new());
    run.start(seq, seq, 5);
    run.push(5, payload.as_bytes());
    run.finish(&mut body);
    body
}

#[test]
fn a_run_is_written_once_for_all_receivers_of_a_connection() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 3, open(), &["service=web"]);
    world.open_with(conn, 5, open(), &["host=b", "service=web", "host=a*"]);
    world.open_with(conn, 6, open(), &["service=db"]);
    let publisher = world.client(2);
    world.publish(publisher, "service=web,host=a1", 0, &["one"]);

    let mut expected = Vec::new();
    DeliverAllPreamble::default().encode(&mut expected);
    let tags = TagSet::from_texts("service=web,host=a1".split(',')).unwrap();
    data::put_define_tags(&mut expected, 0, tags.borrow());
    // Behind the frame's type, length and number stands the id: one that the router has made.
    let id = world.memory.written[&(conn, SHARED)][expected.len() + 3..][..16].try_into().unwrap();
    let key = PublisherKey { publisher: PublisherId(u128::from_be_bytes(id)), ..KEY };
    data::put_define_publisher(&mut expected, 0, key);
    let mut targets = Vec::new();
    Target::plain(ReceiverNumber(3)).put(&mut targets);
    Target { matched: &[1, 2], ..Target::plain(ReceiverNumber(5)) }.put(&mut targets);
    data::put_deliver(&mut expected, &HopHeader::numbered(0, 0), &targets, &body_of(0, "one"));
    assert_eq!(world.memory.written[&(conn, SHARED)], expected);
    assert_eq!(world.shared(conn), ["0 one for 3 [0], 5 [1, 2]"]);
    assert_eq!(world.memory.next_uni[&conn], 7, "there is no other stream");
    assert_eq!(world.core.metrics().events_out, 2);
    let welcome = world.control_frames(conn).into_iter().find_map(|frame| match frame {
        ControlFrame::Welcome(welcome) => Some(welcome),
        _ => None,
    });
    let welcome = welcome.unwrap();
    assert_eq!(welcome.deliveries, 1);
    assert!(welcome.features.contains(feature::DELIVERIES));
}

#[test]
fn a_run_is_written_once_for_each_connection_though_their_receivers_were_opened_in_turns() {
    let mut world = World::new();
    let conns = [1, 2, 3].map(|number| world.sharing(number));
    for receiver in 0..4 {
        for conn in conns {
            world.open_with(conn, receiver, open(), &["*"]);
        }
    }
    // One of them has no grant: it waits for itself, and what is set aside goes on without it.
    world.open_with(conns[1], 4, OpenReceiver { grant: 0, ..open() }, &["*"]);
    world.open_with(conns[0], 4, open(), &["host=b"]);
    let publisher = world.client(9);
    world.publish(publisher, "host=a", 0, &["one"]);
    world.publish(publisher, "host=b", 1, &["two"]);
    let four = |event: &str| format!("{event} for 0 [0], 1 [0], 2 [0], 3 [0]");
    assert_eq!(world.shared(conns[0]), [four("0 one"), four("1 two") + ", 4 [0]"]);
    for conn in &conns[1..] {
        assert_eq!(world.shared(*conn), [four("0 one"), four("1 two")]);
    }
    world.grant(conns[1], 4, 1 << 20);
    assert_eq!(world.shared(conns[1])[2..], ["0 one for 4 [0]", "1 two for 4 [0]"]);
    assert_eq!(world.core.metrics().events_out, 3 * 4 * 2 + 1 + 2);
}

#[test]
fn a_router_without_the_feature_gives_each_receiver_its_own_stream() {
    let features = Features::default().with(feature::PROOF);
    let mut world =
        World::with(CoreConfig { features, ..CoreConfig::new(RouterId(1), Incarnation(2), 0, 1) });
    let conn = world.sharing(1);
    world.open_with(conn, 0, open(), &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["one"]);
    assert_eq!(world.stream(conn), ["0 one [0]"]);
    let welcome = world.control_frames(conn).into_iter().find_map(|frame| match frame {
        ControlFrame::Welcome(welcome) => Some((welcome.deliveries, welcome.features)),
        _ => None,
    });
    assert_eq!(welcome, Some((0, features)));
}

#[test]
fn a_large_body_lies_behind_the_head_for_all_its_receivers() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, open(), &["*"]);
    world.open_with(conn, 1, open(), &["*"]);
    let publisher = world.client(2);
    let large = "x".repeat(100_000);
    world.publish(publisher, "host=a", 0, &[&large]);
    world.publish(publisher, "host=a", 1, &["y"]);
    assert_eq!(
        world.shared(conn),
        [format!("0 {large} for 0 [0], 1 [0]"), "1 y for 0 [0], 1 [0]".to_owned()]
    );
}

#[test]
fn a_receiver_without_grant_holds_up_nobody_and_gets_what_waits_in_order() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, OpenReceiver { grant: 0, ..open() }, &["*"]);
    world.open_with(conn, 1, open(), &["*"]);
    let publisher = world.client(2);
    for seq in 0..3 {
        world.publish(publisher, "host=a", seq, &["x"]);
    }
    let others = ["0 x for 1 [0]", "1 x for 1 [0]", "2 x for 1 [0]"];
    assert_eq!(world.shared(conn), others);
    world.grant(conn, 0, 1 << 20);
    assert_eq!(world.shared(conn)[3..], ["0 x for 0 [0]", "1 x for 0 [0]", "2 x for 0 [0]"]);
    world.publish(publisher, "host=a", 3, &["x"]);
    assert_eq!(world.shared(conn)[6..], ["3 x for 0 [0], 1 [0]"]);
}

#[test]
fn a_grant_counts_bodies_and_what_exceeds_it_is_owed() {
    let mut world = World::new();
    let conn = world.sharing(1);
    let body = body_of(0, "x").len() as u64;
    world.open_with(conn, 0, OpenReceiver { grant: body + 1, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..4 {
        world.publish(publisher, "host=a", seq, &["x"]);
    }
    // One byte of grant was left for the second.
    assert_eq!(world.shared(conn), ["0 x for 0 [0]", "1 x for 0 [0]"]);
    world.grant(conn, 0, 2 * body);
    assert_eq!(world.shared(conn).len(), 2, "no more than what is owed");
    world.grant(conn, 0, 2 * body + 1);
    assert_eq!(world.shared(conn)[2..], ["2 x for 0 [0]"]);
}

#[test]
fn an_overflow_is_a_gap_of_its_receiver_alone() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 4, OpenReceiver { grant: 0, queue_bytes: 600, ..open() }, &["*"]);
    world.open_with(conn, 5, open(), &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "host=a", seq, &["x"]);
    }
    assert_eq!(world.shared(conn).len(), 10);
    world.grant(conn, 4, 1 << 20);
    let lines = world.shared(conn);
    let dropped = 10 - (lines.len() - 11);
    assert_eq!(lines[10], format!("gap overflow {dropped} for [4]"));
    assert_eq!(lines.last().map(String::as_str), Some("9 x for 4 [0]"));
    assert_eq!(world.core.metrics().gaps, 1);
}

#[test]
fn a_gap_for_everybody_names_those_who_have_nothing_queued_unless_these_are_all() {
    let mut world = World::new();
    let conn = world.sharing(1);
    let gap = Gap { reason: GapReason::RouterLost, events: 0, router: Some(RouterId(9)) };
    world.open_with(conn, 1, open(), &["*"]);
    world.open_with(conn, 2, OpenReceiver { grant: 0, ..open() }, &["*"]);
    world.core.path.receivers.gap_to_all(&gap);
    world.settle();
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    world.core.path.receivers.gap_to_all(&gap);
    world.settle();
    let lines = ["gap router_lost 0 for []", "0 x for 1 [0]", "gap router_lost 0 for [1]"];
    assert_eq!(world.shared(conn), lines);
    world.grant(conn, 2, 1 << 20);
    assert_eq!(world.shared(conn)[3..], ["0 x for 2 [0]", "gap router_lost 0 for [2]"]);
    let mut expected = Vec::new();
    let receivers = vec![ReceiverNumber(2)];
    ReceiverGap { reason: gap.reason, events: 0, router: gap.router, receivers }.encode(&mut expected);
    assert!(world.memory.written[&(conn, SHARED)].ends_with(&expected));
}

#[test]
fn the_number_of_a_receiver_is_free_behind_its_end() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, open(), &["*"]);
    world.open_with(conn, 1, OpenReceiver { grant: 0, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x", "y"]);
    world.say(conn, &ControlFrame::CloseReceiver(CloseReceiver { receiver: ReceiverNumber(1) }));
    assert_eq!(world.shared(conn)[2..], ["end 1 closed 2"]);
    let end = ReceiverEnd {
        receiver: ReceiverNumber(1),
        reason: EndReason::Closed,
        dropped: 2,
        message: "closed by the client".to_owned(),
    };
    let mut expected = Vec::new();
    end.encode(&mut expected);
    assert!(world.memory.written[&(conn, SHARED)].ends_with(&expected));
    let closed = |frame: &ControlFrame| matches!(frame, ControlFrame::ReceiverClosed(_));
    assert!(!world.control_frames(conn).iter().any(closed));

    world.open_with(conn, 1, open(), &["host=a"]);
    world.publish(publisher, "host=a", 2, &["z"]);
    assert_eq!(world.shared(conn)[3..], ["2 z for 0 [0], 1 [0]"]);
    assert_eq!((world.core.metrics().receivers, world.core.metrics().selectors), (2, 2));
}

#[test]
fn the_policy_disconnect_ends_its_receiver_and_nobody_else() {
    let mut world = World::new();
    let conn = world.sharing(1);
    let policy = OverflowPolicy::Disconnect;
    world.open_with(conn, 0, open(), &["*"]);
    world.open_with(conn, 1, OpenReceiver { grant: 0, queue_bytes: 300, policy, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..4 {
        world.publish(publisher, "host=a", seq, &["x"]);
    }
    let lines = world.shared(conn);
    let end = lines.iter().find(|line| line.starts_with("end")).unwrap();
    assert!(end.starts_with("end 1 overflow "), "{end}");
    assert_eq!(lines.iter().filter(|line| line.ends_with("x for 0 [0]")).count(), 4);
    assert_eq!(world.memory.closed, []);
    assert_eq!(world.core.metrics().receivers, 1);
}

#[test]
fn what_the_stream_does_not_take_waits_for_each_receiver_and_is_written_in_turns() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, open(), &["host=a"]);
    world.open_with(conn, 1, open(), &["host=b"]);
    let publisher = world.client(2);
    world.memory.room = Some(10);
    let fill = "x".repeat(40_000);
    world.publish(publisher, "host=a", 0, &[&fill]);
    for seq in 1..3 {
        world.publish(publisher, "host=a", seq, &["x"]);
    }
    for seq in 3..5 {
        world.publish(publisher, "host=b", seq, &["x"]);
    }
    // Whoever closes one meanwhile is heard when there is room: before the others, whose runs were
    // not begun.
    world.open_with(conn, 2, open(), &["*"]);
    world.say(conn, &ControlFrame::CloseReceiver(CloseReceiver { receiver: ReceiverNumber(2) }));
    world.memory.room = None;
    world.core.writable(world.now, &mut world.memory, conn, SHARED);
    world.settle();
    let in_turns = ["end 2 closed 0", "1 x for 0 [0]", "3 x for 1 [0]", "2 x for 0 [0]", "4 x for 1 [0]"];
    assert_eq!(world.shared(conn)[1..], in_turns);
}

#[test]
fn payload_patterns_choose_events_of_one_receiver() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, open(), &["payload ~ /bad/", "payload ~ /very/"]);
    world.open_with(conn, 1, open(), &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["good", "very bad"]);
    let mut lines = world.shared(conn);
    lines.sort();
    assert_eq!(lines, ["0 good for 1 [0]", "1 very bad for 0 [0, 1]", "1 very bad for 1 [0]"]);
}

#[test]
fn a_shared_stream_crosses_its_bound_by_one_frame_at_most_beside_payload_patterns() {
    for selectors in [["*", "payload ~ /x/"], ["payload ~ /x/", "*"]] {
        let mut world = World::new();
        world.memory.unacknowledged = Some(Vec::new());
        let conn = world.sharing(1);
        for (receiver, selector) in (0..).zip(selectors) {
            world.open_with(conn, receiver, OpenReceiver { grant: 1 << 30, ..open() }, &[selector]);
        }
        let publisher = world.client(2);
        let payload = "x".repeat(5_000);
        for seq in 0..20 {
            world.publish(publisher, "host=a", seq, &[&payload]);
        }
        let (bound, frame) = (32 << 10, 5_100);
        let ahead = world.core.queued().ahead_bytes;
        assert!((bound..bound + frame).contains(&ahead), "{selectors:?}: {ahead}");
    }
}

#[test]
fn the_stream_is_written_when_the_first_of_its_receivers_is_due() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, OpenReceiver { linger_us: 50_000, ..open() }, &["host=a"]);
    world.open_with(conn, 1, OpenReceiver { linger_us: 10_000, ..open() }, &["host=b"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    let start = world.now;
    world.now = start + Duration::from_millis(5);
    world.publish(publisher, "host=b", 1, &["x"]);
    assert_eq!(world.shared(conn), [""; 0]);
    world.now = start + Duration::from_millis(14);
    world.settle();
    assert_eq!(world.shared(conn), [""; 0]);
    world.now = start + Duration::from_millis(15);
    world.settle();
    assert_eq!(world.shared(conn), ["0 x for 0 [0]", "1 x for 1 [0]"]);
    world.publish(publisher, "host=a", 2, &[&"x".repeat(20_000)]);
    assert_eq!(world.shared(conn).len(), 3, "16 KiB do not linger");
}

#[test]
fn a_stopped_stream_ends_its_connection_and_nothing_is_left_of_it() {
    let mut world = World::new();
    let conn = world.sharing(1);
    world.open_with(conn, 0, OpenReceiver { linger_us: 50_000, ..open() }, &["host=a"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    world.core.stopped(world.now, &mut world.memory, conn, SHARED);
    world.settle();
    assert_eq!(world.memory.closed.len(), 1);
    let metrics = world.core.metrics();
    assert_eq!((metrics.receivers, metrics.selectors, metrics.clients), (0, 0, 1));
    assert!(world.core.path.receivers.deliveries.iter().next().is_none());
    world.publish(publisher, "host=a", 1, &["x"]);
}
