//! What publishers are told of their events, on one core.

use std::time::Duration;

use millrace_proto::control::{
    Ack, AckKind, CloseReceiver, ControlFrame, Hello, OpenReceiver, OutcomeKind, OverflowPolicy, SeqRanges,
    Subscribe, TableCapacity,
};
use millrace_proto::data::{self, DataFrame, HopHeader, Target, flag, target_flag};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::limits::UNCONFIRMED_PER_PUBLISHER_MAX;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::stream_kind;
use millrace_proto::{CloseCode, DecodeError, PROTOCOL_VERSION, ReceiverNumber, SubscriptionNumber, TagSet};

use super::world::{KEY, PUBLISH, World, open};
use crate::core::CoreLimits;
use crate::ledger::LedgerLimits;
use crate::transport::{ConnKey, StreamKey};

pub(super) const ROUTED: u64 = 1;
pub(super) const DELIVERED: u64 = 2;

impl World {
    /// A client that lists confirms.
    pub(super) fn confirming(&mut self, number: u64, deliveries: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            features: Features::default().with(feature::CONFIRMS).with(feature::DELIVERIES),
            deliveries,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// Opens a receiver with one subscription.
    fn subscribed(&mut self, conn: ConnKey, receiver: u32, open: OpenReceiver, selector: &str) {
        let receiver = ReceiverNumber(receiver);
        self.say(conn, &ControlFrame::OpenReceiver(OpenReceiver { receiver, ..open }));
        let (subscription, selectors) = (SubscriptionNumber(0), vec![selector.to_owned()]);
        self.say(
            conn,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
    }

    /// A receiver that acknowledges.
    pub(super) fn taker(&mut self, number: u64, selector: &str) -> ConnKey {
        let conn = self.confirming(number, 0);
        self.subscribed(conn, 0, open(), selector);
        conn
    }

    /// Publishes a run with these flags.
    pub(super) fn publish_with(
        &mut self,
        conn: ConnKey,
        tags: &str,
        first_seq: u64,
        payloads: &[&str],
        flags: u64,
    ) {
        let mut bytes = Vec::new();
        if !self.memory.input.contains_key(&(conn, PUBLISH)) {
            frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
            data::put_define_publisher(&mut bytes, 0, KEY);
        }
        bytes.extend(run(tags, first_seq, payloads, flags));
        self.send(conn, PUBLISH, &bytes);
    }

    fn ack(&mut self, conn: ConnKey, receiver: u32, first: u64, count: u64, kind: AckKind) {
        let mut runs = SeqRanges::new();
        runs.push(first, count);
        let receiver = ReceiverNumber(receiver);
        self.say(conn, &ControlFrame::Ack(Ack { receiver, kind, runs, ..Ack::default() }));
    }

    pub(super) fn take(&mut self, conn: ConnKey, first: u64, count: u64) {
        self.ack(conn, 0, first, count, AckKind::Taken);
    }

    /// What a publisher was told: `kind [seqs] receivers/missed reasons`.
    pub(super) fn told(&self, conn: ConnKey) -> Vec<String> {
        let each = |frame| match frame {
            ControlFrame::Outcome(outcome) => {
                let seqs: Vec<u64> =
                    outcome.seqs.iter().flat_map(|(first, count)| first..first + count).collect();
                let reasons: Vec<&str> = outcome.reasons.iter().map(|reason| reason.name()).collect();
                let (kind, receivers, missed) = (outcome.kind.name(), outcome.receivers, outcome.missed);
                Some(format!("{kind} {seqs:?} {receivers}/{missed} {}", reasons.join(",")).trim().to_owned())
            }
            _ => None,
        };
        self.control_frames(conn).into_iter().filter_map(each).collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.settle();
    }
}

pub(super) fn run(tags: &str, first_seq: u64, payloads: &[&str], flags: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    data::put_define_tags(&mut bytes, 0, TagSet::from_texts(tags.split(',')).unwrap().borrow());
    let mut run = RunBuilder::default();
    run.start(first_seq, first_seq, 5);
    payloads.iter().for_each(|payload| run.push(5, payload.as_bytes()));
    let mut body = Vec::new();
    run.finish(&mut body);
    data::put_run(&mut bytes, &HopHeader { flags, ..HopHeader::numbered(0, 0) }, &body);
    bytes
}

#[test]
fn routed_is_told_in_the_turn_with_the_number_of_receivers_and_zero_when_nobody_wants_it() {
    let mut world = World::new();
    world.taker(1, "host=a");
    world.receiver(2, open(), &["host"]);
    let publisher = world.confirming(3, 0);
    world.publish_with(publisher, "host=a", 0, &["x", "y"], ROUTED);
    world.publish_with(publisher, "rack=a", 2, &["x"], ROUTED);
    world.publish_with(publisher, "host=a", 3, &["x"], 0);
    assert_eq!(world.told(publisher), ["confirmed [0, 1] 2/0", "confirmed [2] 0/0"]);
    assert_eq!(world.core.metrics().open_confirms, 0);
    assert_eq!(world.core.metrics().outcomes[OutcomeKind::Confirmed as usize], 3);
}

#[test]
fn a_queue_that_refuses_is_partial_at_once() {
    let mut world = World::new();
    let receiver = world.confirming(1, 0);
    let policy = OverflowPolicy::DropNewest;
    world.subscribed(receiver, 0, OpenReceiver { policy, queue_bytes: 200, grant: 0, ..open() }, "*");
    let publisher = world.confirming(2, 0);
    for seq in 0..2 {
        world.publish_with(publisher, "host=a", seq, &["x"], ROUTED);
    }
    world.publish_with(publisher, "host=a", 2, &["x"], DELIVERED);
    assert_eq!(
        world.told(publisher),
        ["confirmed [0] 1/0", "partial [1] 0/1 overflow", "partial [2] 0/1 overflow"]
    );
}

#[test]
fn delivered_waits_for_the_application_and_one_slow_receiver_holds_up_no_other_event() {
    let mut world = World::new();
    let (slow, quick) = (world.taker(1, "host=a"), world.taker(2, "host"));
    let publisher = world.confirming(3, 0);
    world.publish_with(publisher, "host=a", 0, &["x", "y"], DELIVERED);
    world.publish_with(publisher, "host=b", 2, &["x"], DELIVERED);
    world.publish_with(publisher, "host=b", 3, &["x"], 0);
    world.publish_with(publisher, "host=b", 4, &["x"], DELIVERED);
    assert_eq!(world.told(publisher), [""; 0]);
    // The run without a level counts, too.
    world.take(quick, 0, 2);
    assert_eq!(world.told(publisher), ["confirmed [2] 1/0"]);
    world.take(quick, 0, 1 << 61);
    assert_eq!(world.told(publisher)[1..], ["confirmed [4] 1/0"]);
    world.take(slow, 7, 3);
    world.ack(slow, 0, 0, 1, AckKind::Refused);
    world.take(slow, 0, 1);
    assert_eq!(world.told(publisher)[2..], ["partial [0, 1] 1/1 refused"]);
    assert_eq!(world.core.metrics().open_confirms, 0);
}

#[test]
fn what_waited_or_was_written_for_a_receiver_that_leaves_is_missed() {
    let mut world = World::new();
    let receiver = world.confirming(1, 0);
    world.subscribed(receiver, 0, OpenReceiver { grant: 30, ..open() }, "*");
    let publisher = world.confirming(2, 0);
    for seq in 0..4 {
        world.publish_with(publisher, "host=a", seq, &["some payload"], DELIVERED);
    }
    assert!(world.stream(receiver).len() < 4);
    world.say(receiver, &ControlFrame::CloseReceiver(CloseReceiver { receiver: ReceiverNumber(0) }));
    assert_eq!(world.told(publisher), ["partial [0, 1, 2, 3] 0/1 departed"]);
}

#[test]
fn who_cannot_acknowledge_is_said_to_be_missed_at_delivered_and_counts_at_routed() {
    let mut world = World::new();
    world.receiver(1, open(), &["*"]);
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], ROUTED);
    world.publish_with(publisher, "host=a", 1, &["x"], DELIVERED);
    assert_eq!(world.told(publisher), ["confirmed [0] 1/0", "partial [1] 0/1 cannot_acknowledge"]);
}

#[test]
fn a_publisher_that_does_not_list_confirms_is_told_nothing_and_nobody_follows_its_runs() {
    let mut world = World::new();
    world.taker(1, "*");
    let publisher = world.client(2);
    world.publish_with(publisher, "host=a", 0, &["x"], DELIVERED);
    assert_eq!((world.told(publisher).len(), world.core.metrics().open_confirms), (0, 0));
}

#[test]
fn events_of_one_run_count_the_receivers_that_want_their_payload() {
    for level in [ROUTED, DELIVERED] {
        let mut world = World::new();
        let (all, some) = (world.taker(1, "*"), world.taker(2, "payload ~ /b/"));
        let publisher = world.confirming(3, 0);
        world.publish_with(publisher, "host=a", 0, &["a", "b", "ab", "c"], level);
        world.take(all, 0, 1);
        world.take(some, 0, 1);
        let mut told = world.told(publisher);
        told.sort();
        assert_eq!(told, ["confirmed [0, 3] 1/0", "confirmed [1, 2] 2/0"]);
    }
}

#[test]
fn what_is_not_answered_ends_after_the_timeout_and_is_forgotten() {
    let mut world = World::new();
    let receiver = world.taker(1, "*");
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], DELIVERED);
    world.pass(Duration::from_millis(29_900));
    assert_eq!(world.told(publisher), [""; 0]);
    world.pass(Duration::from_millis(110));
    assert_eq!(world.told(publisher), ["partial [0] 0/1 timeout"]);
    world.take(receiver, 0, 1);
    let metrics = world.core.metrics();
    assert_eq!((metrics.confirms_timed_out, metrics.open_confirms, world.told(publisher).len()), (1, 0, 1));
}

#[test]
fn runs_of_a_publisher_that_is_gone_or_whose_number_is_anothers_are_told_to_nobody() {
    let mut world = World::new();
    let receiver = world.taker(1, "*");
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], DELIVERED);
    let mut anew = Vec::new();
    data::put_define_publisher(&mut anew, 0, KEY);
    world.send(publisher, PUBLISH, &anew);
    world.publish_with(publisher, "host=a", 5, &["x"], DELIVERED);
    world.take(receiver, 0, 2);
    assert_eq!(world.told(publisher), ["confirmed [5] 1/0"]);
    world.publish_with(publisher, "host=a", 6, &["x"], DELIVERED);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    world.settle();
    assert_eq!(world.core.metrics().open_confirms, 0);
    world.take(receiver, 2, 1);
}

#[test]
fn more_events_without_an_outcome_than_a_publisher_may_have_close_it_and_more_runs_than_a_core_follows_are_unknown()
 {
    let mut world = World::new();
    let receiver = world.taker(1, "*");
    let ledger = LedgerLimits { entries: 1, ..LedgerLimits::default() };
    world.core.set_limits(CoreLimits { ledger, ..CoreLimits::default() });
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], DELIVERED);
    world.publish_with(publisher, "host=a", 1, &["x"], DELIVERED);
    assert_eq!(world.told(publisher), ["unknown [1] 0/0 busy"]);
    assert_eq!(world.stream(receiver).len(), 2);
    world.core.set_limits(CoreLimits::default());
    let payloads = vec![""; 4_096];
    for number in 0..UNCONFIRMED_PER_PUBLISHER_MAX / 4_096 - 1 {
        world.publish_with(publisher, "host=a", 2 + number * 4_096, &payloads, DELIVERED);
    }
    assert_eq!(world.memory.closed, []);
    world.publish_with(publisher, "host=a", 100_000, &payloads, DELIVERED);
    assert_eq!(world.memory.closed, [(publisher, CloseCode::Limit)]);
}

#[test]
fn what_may_not_be_published_is_dropped() {
    let mut world = World::new();
    let publisher = world.confirming(1, 0);
    world.publish_with(publisher, "millrace/identity=me", 0, &["x"], ROUTED);
    assert_eq!(world.told(publisher), ["dropped [0] 0/0 forbidden"]);
}

#[test]
fn receivers_that_share_a_stream_count_each_for_itself_and_learn_of_duplicates() {
    let mut world = World::new();
    let client = world.confirming(1, 1);
    world.subscribed(client, 0, open(), "host=a");
    world.subscribed(client, 1, open(), "host");
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=b", 0, &["x"], DELIVERED);
    world.publish_with(publisher, "host=a", 1, &["x"], DELIVERED | flag::RESENT);
    world.ack(client, 0, 0, 1, AckKind::Taken);
    world.ack(client, 1, 1, 1, AckKind::Taken);
    assert_eq!(world.told(publisher), ["confirmed [1] 2/0"]);
    world.ack(client, 1, 0, 1, AckKind::Taken);
    assert_eq!(world.told(publisher)[1..], ["confirmed [0] 1/0"]);
    let mut flags = Vec::new();
    let each = |kind: u64, body: &[u8]| {
        if kind != stream_kind::DELIVER_ALL
            && let DataFrame::Deliver { targets, .. } = data::decode(kind, body)?
        {
            flags.push(targets.iter().map(|Target { flags, .. }| flags).collect::<Vec<_>>());
        }
        Ok(())
    };
    let written = &world.memory.written[&(client, StreamKey(3))];
    FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, each).unwrap();
    assert_eq!(flags, [vec![0], vec![target_flag::MAYBE_DUPLICATE; 2]]);
}

#[test]
fn a_run_that_was_sent_before_may_be_a_duplicate() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*", "payload ~ /x/"]);
    let publisher = world.confirming(2, 0);
    for (seq, flags) in [(0, ROUTED), (1, ROUTED | flag::RESENT), (2, flag::RESENT)] {
        world.publish_with(publisher, "host=a", seq, &["x"], flags);
    }
    assert_eq!(world.told(publisher), ["confirmed [0] 1/0", "confirmed [1] 1/0"]);
    let mut flags = Vec::new();
    let each = |kind: u64, body: &[u8]| {
        if kind != stream_kind::DELIVER
            && let DataFrame::Run { hop, .. } = data::decode(kind, body)?
        {
            flags.push(hop.flags & flag::MAYBE_DUPLICATE != 0);
        }
        Ok(())
    };
    let written = &world.memory.written[&(receiver, StreamKey(3))];
    FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, each).unwrap();
    assert_eq!(flags, [false, true, true]);
}
