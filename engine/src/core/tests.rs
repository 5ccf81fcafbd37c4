//! One core against a transport in memory: what clients see on their streams.

mod deliveries;
mod frames;
mod large;
mod pacing;
mod payload;
mod proof;
mod queue_budget;
mod received;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::control::{
    ControlFrame, Hello, OpenReceiver, OverflowPolicy, Ping, Stage, Subscribe, TableCapacity, Unsubscribe,
};
use millrace_proto::data::{self, DataFrame, GapReason, HopHeader};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::LanePreamble;
use millrace_proto::stream::stream_kind;
use millrace_proto::{
    CloseCode, DecodeError, Epoch, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, ReceiverNumber,
    RouterId, Selector, SubscriptionNumber, TagSet,
};

use super::agenda::FRAMES_PER_TURN;
use super::mail::OUTPUTS_MAX;
use super::{Core, CoreConfig, DropReason};
use crate::message::{CoreOutput, PrepareOrder, Prepared, ToControl, ToCore};
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};

const CONTROL: StreamKey = StreamKey(0);
const PUBLISH: StreamKey = StreamKey(2);
const KEY: PublisherKey = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };

/// Streams in memory: what the core reads, and what it wrote.
#[derive(Default)]
struct Memory {
    input: BTreeMap<(ConnKey, StreamKey), VecDeque<u8>>,
    written: BTreeMap<(ConnKey, StreamKey), Vec<u8>>,
    closed: Vec<(ConnKey, CloseCode)>,
    next_uni: BTreeMap<ConnKey, u64>,
    /// Bytes that each stream takes in all.
    room: Option<usize>,
    finished: Vec<(ConnKey, StreamKey)>,
    /// Streams that the other side has reset.
    reset: BTreeSet<(ConnKey, StreamKey)>,
    congestion_window: u64,
    /// Buffers that the other host has not acknowledged, once somebody wants to keep them.
    unacknowledged: Option<Vec<Bytes>>,
}

impl Transport for Memory {
    fn open_uni(&mut self, conn: ConnKey) -> Option<StreamKey> {
        let next = self.next_uni.entry(conn).or_insert(3);
        *next += 4;
        Some(StreamKey(*next - 4))
    }
    fn open_bi(&mut self, _: ConnKey) -> Option<StreamKey> {
        Some(StreamKey(1))
    }
    fn write(&mut self, conn: ConnKey, stream: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone> {
        let written = self.written.entry((conn, stream)).or_default();
        let room = self.room.map_or(bytes.len(), |room| room.saturating_sub(written.len()).min(bytes.len()));
        let taken = bytes.split_to(room);
        written.extend_from_slice(&taken);
        if let Some(unacknowledged) = &mut self.unacknowledged {
            unacknowledged.push(taken);
        }
        Ok(())
    }
    fn read(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState {
        if self.reset.contains(&(conn, stream)) {
            return ReadState::Lost;
        }
        let Some(input) = self.input.get_mut(&(conn, stream)) else { return ReadState::Drained };
        let taken: Vec<u8> = input.drain(..input.len().min(limit)).collect();
        for piece in taken.chunks(97) {
            sink(piece);
        }
        if input.is_empty() { ReadState::Drained } else { ReadState::More }
    }
    fn congestion_window(&self, _: ConnKey) -> u64 {
        self.congestion_window
    }
    fn finish(&mut self, conn: ConnKey, stream: StreamKey) {
        self.finished.push((conn, stream));
    }
    fn stop(&mut self, _: ConnKey, _: StreamKey, _: u64) {}
    fn close(&mut self, conn: ConnKey, code: u64, _: &str) {
        self.closed.push((conn, CloseCode::from_code(code).unwrap()));
    }
}

/// One core with a control that says yes to everything.
struct World {
    core: Core,
    memory: Memory,
    now: Time,
}

impl World {
    fn new() -> Self {
        let now = Time(1_000_000_000);
        let mut config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
        // Queues are filled here to see what overflows.
        config.limits.pace_max = Duration::ZERO;
        let mut world = Self { core: Core::new(config, now), memory: Memory::default(), now };
        world.core.handle_message(now, &mut world.memory, ToCore::Synced(true));
        world
    }

    fn send(&mut self, conn: ConnKey, stream: StreamKey, bytes: &[u8]) {
        let known = self.memory.input.contains_key(&(conn, stream));
        self.memory.input.entry((conn, stream)).or_default().extend(bytes);
        if !known {
            self.core.stream_opened(self.now, &mut self.memory, conn, stream);
        }
        self.core.readable(self.now, &mut self.memory, conn, stream);
        self.settle();
    }

    fn say(&mut self, conn: ConnKey, frame: &ControlFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send(conn, CONTROL, &bytes);
    }

    /// Answers the core as control would, and ends the turn.
    fn settle(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let answers = match output {
                CoreOutput::Prepare(PrepareOrder { token, selectors, .. }) => {
                    let prepare = |text: &String| {
                        let selector = Arc::new(Selector::parse(text).map_err(|error| error.to_string())?);
                        let payload =
                            selector.compile_payload().map_err(|error| error.to_string())?.map(Arc::new);
                        let interest = Arc::new(selector.without_payload());
                        Ok(Prepared { selector, interest, payload, cover: None })
                    };
                    vec![ToCore::Prepared { token, result: selectors.iter().map(prepare).collect() }]
                }
                CoreOutput::ToControl(ToControl::Interest { token: Some(token), .. }) => {
                    [Stage::Router, Stage::Cluster]
                        .map(|stage| ToCore::Effective { token, stage, left_out: Vec::new(), unanswered: 0 })
                        .into()
                }
                _ => Vec::new(),
            };
            for answer in answers {
                self.core.handle_message(self.now, &mut self.memory, answer);
            }
        }
        self.core.turn(self.now, &mut self.memory);
    }

    fn client(&mut self, number: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    fn receiver(&mut self, number: u64, open: OpenReceiver, selectors: &[&str]) -> ConnKey {
        let conn = self.client(number);
        let receiver = open.receiver;
        self.say(conn, &ControlFrame::OpenReceiver(open));
        for (subscription, selector) in (0..).zip(selectors) {
            let selectors = vec![(*selector).to_owned()];
            let subscription = SubscriptionNumber(subscription);
            self.say(conn, &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }));
        }
        conn
    }

    /// Publishes one run per payload list.
    fn publish(&mut self, conn: ConnKey, tags: &str, first_seq: u64, payloads: &[&str]) {
        let mut bytes = Vec::new();
        if !self.memory.input.contains_key(&(conn, PUBLISH)) {
            frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
            data::put_define_publisher(&mut bytes, 0, KEY);
        }
        data::put_define_tags(&mut bytes, 0, TagSet::from_texts(tags.split(',')).unwrap().borrow());
        let mut run = RunBuilder::default();
        run.start(first_seq, first_seq, 5);
        for payload in payloads {
            run.push(5, payload.as_bytes());
        }
        let mut body = Vec::new();
        run.finish(&mut body);
        data::put_run(&mut bytes, &HopHeader::numbered(0, 0), &body);
        self.send(conn, PUBLISH, &bytes);
    }

    /// What a receiver's stream says: `seq payload [subscriptions]` for events, `gap reason events` for gaps.
    fn stream(&self, conn: ConnKey) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, StreamKey(3))) else { return lines };
        let mut each = |kind: u64, body: &[u8]| {
            if kind == stream_kind::DELIVER {
                return Ok(());
            }
            match data::decode(kind, body)? {
                DataFrame::Run { hop, body } => {
                    let matched: Vec<u32> = hop.matched().collect();
                    for event in body.events() {
                        let payload = String::from_utf8_lossy(event.payload);
                        lines.push(format!("{} {payload} {matched:?}", event.seq));
                    }
                }
                DataFrame::Gap(gap) => lines.push(format!("gap {} {}", gap.reason.name(), gap.events)),
                _ => {}
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        lines
    }

    fn control_frames(&self, conn: ConnKey) -> Vec<ControlFrame> {
        let mut frames = Vec::new();
        let written = self.memory.written.get(&(conn, CONTROL)).cloned().unwrap_or_default();
        FrameReader::new()
            .feed::<DecodeError>(&written, 65_536, |kind, body| {
                frames.push(ControlFrame::decode(kind, body)?);
                Ok(())
            })
            .unwrap();
        frames
    }
}

fn open() -> OpenReceiver {
    OpenReceiver { grant: 1 << 20, ..OpenReceiver::default() }
}

#[test]
fn an_event_reaches_those_who_asked_for_it_once_with_the_subscriptions_that_matched() {
    let mut world = World::new();
    let web = world.receiver(1, open(), &["service=web", "host=a*"]);
    let other = world.receiver(2, open(), &["service=db"]);
    let publisher = world.client(3);
    world.publish(publisher, "service=web,host=a1", 0, &["one", "two"]);
    world.publish(publisher, "service=web,host=b1", 2, &["three"]);
    assert_eq!(world.stream(web), ["0 one [0, 1]", "1 two [0, 1]", "2 three [0]"]);
    assert_eq!(world.stream(other), Vec::<String>::new());
    assert_eq!(world.core.metrics().events_in, 3);
}

#[test]
fn payload_patterns_choose_events_within_a_run() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["payload ~ /bad/", "payload ~ /very/"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 10, &["good", "bad", "very bad", "good", "bad"]);
    assert_eq!(world.stream(receiver), ["11 bad [0]", "12 very bad [0, 1]", "14 bad [0]"]);
}

#[test]
fn without_a_grant_the_oldest_events_give_way_and_a_gap_stands_where_they_were() {
    let mut world = World::new();
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
    assert_eq!(world.stream(receiver), Vec::<String>::new());
    let grant = millrace_proto::control::Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    let stream = world.stream(receiver);
    let dropped = world.core.metrics().dropped[DropReason::ReceiverOverflow as usize];
    assert_eq!(stream[0], format!("gap overflow {dropped}"));
    assert_eq!(stream.len() as u64, 1 + 10 - dropped);
    assert_eq!(stream.last().map(String::as_str), Some("9 event [0]"));
}

#[test]
fn an_event_larger_than_the_queue_is_a_gap_with_its_own_reason() {
    let mut world = World::new();
    let policy = OverflowPolicy::Disconnect;
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, policy, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["small"]);
    world.publish(publisher, "host=a", 1, &[&"x".repeat(1000)]);
    let grant = millrace_proto::control::Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    assert_eq!(world.stream(receiver), ["0 small [0]", "gap too_large 1"]);
    assert_eq!(world.core.metrics().dropped[DropReason::TooLarge as usize], 1);
    assert_eq!(world.memory.closed, []);
}

#[test]
fn a_run_that_is_cut_off_is_counted_however_its_stream_was_lost() {
    for reset in [true, false] {
        let mut world = World::new();
        let publisher = world.client(1);
        world.publish(publisher, "host=a", 0, &["x"]);
        world.send(publisher, PUBLISH, &[0x14, 0x40]);
        if reset {
            world.memory.reset.insert((publisher, PUBLISH));
            world.core.readable(world.now, &mut world.memory, publisher, PUBLISH);
        }
        world.core.closed(world.now, &mut world.memory, publisher, None);
        assert_eq!(world.core.metrics().dropped[DropReason::StreamLost as usize], 1);
    }
}

#[test]
fn drop_newest_leaves_the_gap_behind_what_was_kept() {
    let mut world = World::new();
    let policy = OverflowPolicy::DropNewest;
    let receiver = world.receiver(1, OpenReceiver { grant: 0, queue_bytes: 600, policy, ..open() }, &["*"]);
    let publisher = world.client(2);
    for seq in 0..10 {
        world.publish(publisher, "host=a", seq, &["event"]);
    }
    let grant = millrace_proto::control::Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
    world.say(receiver, &ControlFrame::Grant(grant));
    let stream = world.stream(receiver);
    assert_eq!(stream[0], "0 event [0]");
    assert_eq!(stream.last(), Some(&format!("gap {} {}", GapReason::Overflow.name(), 11 - stream.len())));
}

#[test]
fn a_stream_that_takes_little_at_a_time_gets_everything_in_order() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(10);
    for seq in 0..50 {
        world.publish(publisher, "host=a", seq, &["some event"]);
    }
    for room in (10..20_000).step_by(150) {
        world.memory.room = Some(room);
        world.core.writable(world.now, &mut world.memory, receiver, StreamKey(3));
        world.settle();
    }
    let expected: Vec<String> = (0..50).map(|seq| format!("{seq} some event [0]")).collect();
    assert_eq!(world.stream(receiver), expected);
}

/// A receiver whose host acknowledges nothing, and events of 1,000 bytes for it until some are dropped.
fn unacknowledged(congestion_window: u64) -> (World, ConnKey) {
    let mut world = World::new();
    world.memory.congestion_window = congestion_window;
    world.memory.unacknowledged = Some(Vec::new());
    let open = OpenReceiver { grant: 1 << 30, queue_bytes: 20_000, ..open() };
    let receiver = world.receiver(1, open, &["*"]);
    let publisher = world.client(2);
    let payload = "x".repeat(1000);
    for seq in 0..3000 {
        world.publish(publisher, "host=a", seq, &[&payload]);
    }
    (world, receiver)
}

#[test]
fn a_stream_runs_ahead_of_acknowledgements_by_twice_the_congestion_window_within_its_bounds() {
    for (congestion_window, bound) in
        [(0, 32 << 10), (10_000, 32 << 10), (100_000, 200_000), (1 << 30, 1 << 20)]
    {
        let (world, receiver) = unacknowledged(congestion_window);
        let ahead = world.core.queued().ahead_bytes;
        assert!((bound..bound + 1100).contains(&ahead), "{congestion_window}: {ahead}");
        let written = world.memory.written[&(receiver, StreamKey(3))].len() as u64;
        assert_eq!(written, ahead);
        assert!(world.core.queued().bytes <= 20_000);
        assert!(world.core.metrics().dropped[DropReason::ReceiverOverflow as usize] > 1000);
    }
}

#[test]
fn what_a_stream_does_not_hold_drops_its_oldest_in_the_queue_and_goes_on_when_it_is_acknowledged() {
    let (mut world, receiver) = unacknowledged(0);
    let before = world.stream(receiver).len();
    assert_eq!(world.core.poll_timeout().filter(|&due| due == Time::ZERO), None);
    while let Some(acknowledged) = world.memory.unacknowledged.as_mut().filter(|held| !held.is_empty()) {
        acknowledged.remove(0);
        world.core.turn(world.now, &mut world.memory);
    }
    let stream = world.stream(receiver);
    let dropped = world.core.metrics().dropped[DropReason::ReceiverOverflow as usize];
    assert_eq!(stream[before], format!("gap overflow {dropped}"));
    assert_eq!(stream.len() as u64, 3000 - dropped + 1);
    assert!(stream.last().is_some_and(|line| line.starts_with("2999 ")));
    let queued = world.core.queued();
    assert_eq!((queued.bytes, queued.receivers, queued.ahead_bytes), (0, 0, 0));
}

#[test]
fn a_receiver_that_lingers_is_written_when_its_time_is_over_or_enough_has_gathered() {
    let mut world = World::new();
    let lingering = world.receiver(1, OpenReceiver { linger_us: 100_000, ..open() }, &["*"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["early"]);
    world.now = world.now + Duration::from_millis(99);
    world.settle();
    assert_eq!(world.stream(lingering), Vec::<String>::new());
    assert!(world.core.poll_timeout().is_some_and(|due| due <= world.now + Duration::from_millis(1)));
    world.now = world.now + Duration::from_millis(1);
    world.settle();
    assert_eq!(world.stream(lingering), ["0 early [0]"]);
    let payload = "x".repeat(super::outlet::LINGER_BYTES);
    world.publish(publisher, "host=a", 1, &[&payload]);
    assert_eq!(world.stream(lingering).len(), 2, "enough has gathered");
}

#[test]
fn bad_selectors_are_refused_with_the_column_and_disturb_nothing() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host=a", "type in (a"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["x"]);
    assert_eq!(world.stream(receiver), ["0 x [0]"]);
    let refused = world.control_frames(receiver).into_iter().find_map(|frame| match frame {
        ControlFrame::Refused(refused) => Some(refused.message),
        _ => None,
    });
    assert!(refused.unwrap().contains("column"));
    assert_eq!(world.core.metrics().refused, 1);
}

#[test]
fn each_kind_of_bad_input_closes_its_connection_with_its_code_and_no_other() {
    let unknown_even = [0x7f, 0xfe, 0x00];
    let oversized = [0x24, 0xbf, 0xff, 0xff, 0xff];
    let malformed = [0x36, 0x03, 0x01, 0x05, 0x00];
    for (bytes, code) in [
        (&unknown_even[..], CloseCode::UnknownFrame),
        (&oversized, CloseCode::Limit),
        (&malformed, CloseCode::Malformed),
    ] {
        let mut world = World::new();
        let good = world.receiver(1, open(), &["*"]);
        let bad = world.client(2);
        world.send(bad, CONTROL, bytes);
        assert_eq!(world.memory.closed, [(bad, code)]);
        let publisher = world.client(3);
        world.publish(publisher, "host=a", 0, &["x"]);
        assert_eq!(world.stream(good), ["0 x [0]"]);
    }
}

#[test]
fn hello_comes_first_and_in_our_version() {
    let mut world = World::new();
    let early = ConnKey(1);
    world.core.client_connected(world.now, early);
    world.say(early, &ControlFrame::Ping(Ping { nonce: 1 }));
    let foreign = ConnKey(2);
    world.core.client_connected(world.now, foreign);
    world.say(foreign, &ControlFrame::Hello(Hello { version: 99, ..Hello::default() }));
    let silent = ConnKey(3);
    world.core.client_connected(world.now, silent);
    world.now = world.now + Duration::from_secs(6);
    world.settle();
    assert_eq!(
        world.memory.closed,
        [(early, CloseCode::Unexpected), (foreign, CloseCode::Version), (silent, CloseCode::Timeout)]
    );
}

#[test]
fn a_closed_receiver_takes_its_interest_with_it() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host=a", "host=b"]);
    world.core.closed(world.now, &mut world.memory, receiver, None);
    let removed = std::iter::from_fn(|| world.core.poll_output()).find_map(|output| match output {
        CoreOutput::ToControl(ToControl::Interest { remove, .. }) => Some(remove.len()),
        _ => None,
    });
    assert_eq!(removed, Some(2));
    let metrics = world.core.metrics();
    assert_eq!((metrics.receivers, metrics.selectors, metrics.clients), (0, 0, 0));
}

#[test]
fn a_receiver_that_is_closed_gets_what_was_written_before_its_stream_ends() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(120);
    for seq in 0..5 {
        world.publish(publisher, "host=a", seq, &["some event"]);
    }
    let close = millrace_proto::control::CloseReceiver { receiver: ReceiverNumber(0) };
    world.say(receiver, &ControlFrame::CloseReceiver(close));
    assert_eq!(world.memory.finished, []);
    world.memory.room = None;
    world.core.writable(world.now, &mut world.memory, receiver, StreamKey(3));
    world.settle();
    assert_eq!(world.memory.finished, [(receiver, StreamKey(3))]);
    assert_eq!(world.stream(receiver).len(), 5);
    assert_eq!(world.core.metrics().receivers, 0);
}

#[test]
fn a_stream_that_is_stopped_behind_the_close_of_its_receiver_ends_no_other_receiver() {
    let mut world = World::new();
    let conn = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    world.memory.room = Some(60);
    world.publish(publisher, "host=a", 0, &["some event that does not fit the room of its stream"]);
    let close = millrace_proto::control::CloseReceiver { receiver: ReceiverNumber(0) };
    world.say(conn, &ControlFrame::CloseReceiver(close));
    world.say(conn, &ControlFrame::OpenReceiver(open()));
    assert_eq!(world.core.metrics().receivers, 2, "the first of number 0 has not written everything");
    world.core.stopped(world.now, &mut world.memory, conn, StreamKey(3));
    world.memory.room = None;
    let other = world.receiver(3, open(), &["*"]);
    world.core.closed(world.now, &mut world.memory, conn, None);
    assert_eq!(world.core.metrics().receivers, 1);
    world.publish(publisher, "host=a", 1, &["for another client"]);
    assert_eq!(world.stream(other), ["1 for another client [0]"]);
}

#[test]
fn a_request_for_a_receiver_that_was_closed_is_not_for_the_next_one_of_its_number() {
    let mut world = World::new();
    let conn = world.client(1);
    let mut bytes = Vec::new();
    let receiver = ReceiverNumber(0);
    let subscription = SubscriptionNumber(0);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors: vec!["host=a".into()] })
        .encode(&mut bytes);
    ControlFrame::CloseReceiver(millrace_proto::control::CloseReceiver { receiver }).encode(&mut bytes);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    world.send(conn, CONTROL, &bytes);
    assert_eq!(world.core.metrics().selectors, 0);
    let acknowledged = |frame: &ControlFrame| matches!(frame, ControlFrame::Subscribed(_));
    assert!(!world.control_frames(conn).iter().any(acknowledged));
}

#[test]
fn selectors_that_are_still_being_read_count_against_the_bound() {
    let mut world = World::new();
    let conn = world.client(1);
    let mut bytes = Vec::new();
    let receiver = ReceiverNumber(0);
    ControlFrame::OpenReceiver(open()).encode(&mut bytes);
    for number in 0..4 {
        let selectors = (0..400).map(|index| format!("host=h{number}-{index}")).collect();
        let subscription = SubscriptionNumber(number);
        ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }).encode(&mut bytes);
    }
    world.send(conn, CONTROL, &bytes);
    // One turn does not take all of them.
    (0..4).for_each(|_| world.settle());
    assert_eq!(world.core.metrics().selectors, 800);
    assert_eq!(world.core.metrics().refused, 2);
}

#[test]
fn a_client_that_connects_while_the_router_leaves_is_welcomed_before_it_is_told() {
    let mut world = World::new();
    let early = ConnKey(9);
    world.core.client_connected(world.now, early);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Drain { grace_us: u64::MAX });
    let hello = Hello { version: PROTOCOL_VERSION, ..Hello::default() };
    world.say(early, &ControlFrame::Hello(hello));
    let frames = world.control_frames(early);
    assert!(matches!(frames[..2], [ControlFrame::Welcome(_), ControlFrame::Goaway(_)]), "{frames:?}");
}

#[test]
fn a_number_that_names_another_publisher_starts_to_be_received_anew() {
    let mut world = World::new();
    let publisher = world.client(1);
    world.publish(publisher, "host=a", 100, &["x"]);
    let mut bytes = Vec::new();
    let other = PublisherKey { publisher: PublisherId(8), epoch: Epoch(1) };
    data::put_define_publisher(&mut bytes, 0, other);
    world.send(publisher, PUBLISH, &bytes);
    world.publish(publisher, "host=a", 3, &["y"]);
    world.now = world.now + Duration::from_millis(25);
    world.settle();
    let received =
        |frame| if let ControlFrame::Received(received) = frame { Some(received.next_seq) } else { None };
    assert_eq!(world.control_frames(publisher).into_iter().filter_map(received).next_back(), Some(4));
}

/// A lane of epoch 3 to router 5, which has no other.
fn lane(world: &mut World, outgoing: bool, incoming: bool) -> ConnKey {
    let conn = ConnKey(9);
    world.core.peer_connected(world.now, &mut world.memory, conn);
    let accept = ToCore::AcceptLane {
        conn,
        peer: 0,
        router: RouterId(5),
        lane: 0,
        epoch: 3,
        outgoing,
        incoming,
        missed: false,
        lost: false,
        hello: None,
        tables: TableCapacity::CLIENT,
    };
    world.core.handle_message(world.now, &mut world.memory, accept);
    world.settle();
    conn
}

#[test]
fn a_lane_that_ends_before_its_stream_was_seen_is_a_gap_unless_the_peer_has_no_owner_on_it() {
    for incoming in [true, false] {
        let mut world = World::new();
        let receiver = world.receiver(1, open(), &["*"]);
        let conn = lane(&mut world, false, incoming);
        world.core.closed(world.now, &mut world.memory, conn, Some(CloseCode::GoingAway));
        world.settle();
        let gaps = if incoming { vec!["gap router_lost 0".to_owned()] } else { Vec::new() };
        assert_eq!(world.stream(receiver), gaps);
    }
}

#[test]
fn runs_of_another_epoch_than_the_lanes_close_it_and_are_counted() {
    for (epoch, closed) in [(3, vec![]), (2, vec![(ConnKey(9), CloseCode::Unexpected)])] {
        let mut world = World::new();
        let conn = lane(&mut world, false, true);
        let mut bytes = Vec::new();
        LanePreamble { first_seq: 0, epoch }.encode(&mut bytes);
        world.send(conn, StreamKey(2), &bytes);
        assert_eq!(world.core.metrics().lane_epochs_wrong, closed.len() as u64);
        assert_eq!(world.memory.closed, closed);
    }
}

#[test]
fn a_lane_whose_stream_is_stopped_is_closed_counted_and_leaves_a_gap() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let conn = lane(&mut world, true, true);
    assert!(world.memory.written.contains_key(&(conn, StreamKey(3))));
    world.core.stopped(world.now, &mut world.memory, conn, StreamKey(3));
    let told = std::iter::from_fn(|| world.core.poll_output());
    assert!(
        told.into_iter().any(|output| {
            matches!(output, CoreOutput::ToControl(ToControl::LaneClosed { orderly: false, .. }))
        }),
        "control has to dial it anew"
    );
    world.settle();
    assert_eq!(world.memory.closed, [(conn, CloseCode::Unexpected)]);
    assert_eq!(world.stream(receiver), ["gap router_lost 0"]);
    let metrics = world.core.metrics();
    assert_eq!((metrics.lane_stops, metrics.lanes), (1, 0));
}

#[test]
fn a_lane_whose_runs_are_reset_is_closed_counted_and_leaves_a_gap() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    world.send(conn, StreamKey(2), &bytes);
    world.memory.reset.insert((conn, StreamKey(2)));
    world.core.readable(world.now, &mut world.memory, conn, StreamKey(2));
    world.settle();
    assert_eq!(world.memory.closed, [(conn, CloseCode::Unexpected)]);
    assert_eq!(world.stream(receiver), ["gap router_lost 0"]);
    assert_eq!(world.core.metrics().lane_stops, 1);
}

#[test]
fn a_client_that_stops_its_control_stream_has_ended_its_session() {
    let mut world = World::new();
    let client = world.client(1);
    world.core.stopped(world.now, &mut world.memory, client, CONTROL);
    assert_eq!(world.memory.closed, [(client, CloseCode::Done)]);
    assert_eq!(world.core.metrics().clients, 0);
}

#[test]
fn while_a_mailbox_is_above_half_publishers_wait_and_control_and_lanes_do_not() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["*"]);
    let publisher = world.client(2);
    let peer = lane(&mut world, false, true);
    world.core.set_pressed(true);
    world.publish(publisher, "host=a", 0, &["waits"]);
    assert_eq!(world.core.metrics().events_in, 0);
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");

    world.say(publisher, &ControlFrame::Ping(Ping { nonce: 7 }));
    assert!(world.control_frames(publisher).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_publisher(&mut bytes, 0, KEY);
    data::put_define_tags(&mut bytes, 0, TagSet::from_texts(["host=b"]).unwrap().borrow());
    let mut run = RunBuilder::default();
    run.start(5, 5, 5);
    run.push(5, b"passes");
    let mut body = Vec::new();
    run.finish(&mut body);
    data::put_run(&mut bytes, &HopHeader::numbered(0, 0), &body);
    world.send(peer, StreamKey(2), &bytes);
    assert_eq!(world.stream(receiver), ["5 passes [0]"]);
    assert!(world.core.metrics().paused_turns > 0);

    world.core.set_pressed(false);
    world.settle();
    assert_eq!(world.stream(receiver), ["5 passes [0]", "0 waits [0]"]);
}

#[test]
fn while_control_does_not_keep_up_control_streams_wait_and_nothing_grows() {
    let mut world = World::new();
    let clients: Vec<ConnKey> = (1..=4).map(|number| world.client(number)).collect();
    let mut subscribes = Vec::new();
    ControlFrame::OpenReceiver(open()).encode(&mut subscribes);
    for number in 0..600 {
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(number));
        let selectors = vec![format!("host=h{number}")];
        ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }).encode(&mut subscribes);
    }
    // Nobody takes what is for control.
    for &client in &clients {
        world.memory.input.entry((client, CONTROL)).or_default().extend(&subscribes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
    }
    assert!(world.core.metrics().control_paused > 2, "two clients and more have to wait");
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
    let first = std::iter::from_fn(|| world.core.poll_output()).count();
    assert!((OUTPUTS_MAX..OUTPUTS_MAX + FRAMES_PER_TURN).contains(&first), "{first}");
    assert_eq!(world.core.poll_timeout(), Some(Time::ZERO));
    let mut rest = 0;
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
        rest += std::iter::from_fn(|| world.core.poll_output()).count();
    }
    assert_eq!(first + rest, 4 * 600);
}

#[test]
fn a_flood_of_unsubscriptions_is_spread_over_turns_and_others_take_theirs() {
    let mut world = World::new();
    let (greedy, patient) = (world.client(1), world.client(2));
    world.say(greedy, &ControlFrame::OpenReceiver(open()));
    let receiver = ReceiverNumber(0);
    let mut unsubscribes = Vec::new();
    for number in 0..100 {
        let subscription = SubscriptionNumber(number);
        let selectors = (0..10).map(|n| format!("host=h{number}-{n}")).collect();
        world.say(greedy, &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }));
        ControlFrame::Unsubscribe(Unsubscribe { receiver, subscription }).encode(&mut unsubscribes);
    }
    let mut ping = Vec::new();
    ControlFrame::Ping(Ping { nonce: 7 }).encode(&mut ping);
    for (client, bytes) in [(greedy, &unsubscribes), (patient, &ping)] {
        world.memory.input.entry((client, CONTROL)).or_default().extend(bytes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    let mut left = 1000;
    for turn in 0.. {
        let before = left;
        world.core.turn(world.now, &mut world.memory);
        left = world.core.metrics().selectors;
        if turn == 0 {
            assert!(world.control_frames(patient).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
        }
        if left == 0 {
            break;
        }
        assert!(left < before && before - left <= 2 * FRAMES_PER_TURN as u64, "{before} to {left}");
        assert_eq!(world.core.poll_timeout(), Some(Time::ZERO), "it goes on");
    }
    world.core.turn(world.now, &mut world.memory);
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
}

#[test]
fn a_client_that_subscribes_faster_than_selectors_are_read_is_left_unread_meanwhile() {
    let mut world = World::new();
    let client = world.client(1);
    let mut bytes = Vec::new();
    for receiver in (0..4).map(ReceiverNumber) {
        ControlFrame::OpenReceiver(OpenReceiver { receiver, ..open() }).encode(&mut bytes);
        for number in 0..1000 {
            let (subscription, selectors) = (SubscriptionNumber(number), vec![format!("host=h{number}")]);
            ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }).encode(&mut bytes);
        }
    }
    world.memory.input.entry((client, CONTROL)).or_default().extend(&bytes);
    world.core.readable(world.now, &mut world.memory, client, CONTROL);
    let mut asked = Vec::new();
    for _ in 0..100 {
        world.core.turn(world.now, &mut world.memory);
        asked.extend(std::iter::from_fn(|| world.core.poll_output()));
    }
    assert!((1000..2000).contains(&asked.len()), "{}", asked.len());
    assert_ne!(world.core.poll_timeout(), Some(Time::ZERO), "it does not turn in vain");
    asked.into_iter().for_each(|output| world.core.mail.say_again(output));
    (0..200).for_each(|_| world.settle());
    assert_eq!((world.core.metrics().selectors, &world.memory.closed[..]), (4000, &[][..]));
}

#[test]
fn a_control_stream_that_always_has_more_holds_up_no_other() {
    let mut world = World::new();
    let (greedy, patient) = (world.client(1), world.client(2));
    let subscribes = |from: u32| {
        let mut bytes = Vec::new();
        for number in from..from + 600 {
            let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(number));
            let selectors = vec!["host=a".to_owned()];
            ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }).encode(&mut bytes);
        }
        bytes
    };
    world.say(greedy, &ControlFrame::OpenReceiver(open()));
    world.core.mail.fill(OUTPUTS_MAX);
    let mut ping = Vec::new();
    ControlFrame::Ping(Ping { nonce: 7 }).encode(&mut ping);
    for (client, bytes) in [(patient, ping), (greedy, subscribes(0))] {
        world.memory.input.entry((client, CONTROL)).or_default().extend(&bytes);
        world.core.readable(world.now, &mut world.memory, client, CONTROL);
    }
    world.core.poll_output();
    world.core.turn(world.now, &mut world.memory);
    world.memory.input.entry((greedy, CONTROL)).or_default().extend(&subscribes(600)[..1000]);
    world.core.readable(world.now, &mut world.memory, greedy, CONTROL);
    world.core.mail.fill(OUTPUTS_MAX - 1);
    world.core.turn(world.now, &mut world.memory);
    assert!(world.control_frames(patient).iter().any(|frame| matches!(frame, ControlFrame::Pong(_))));
}

#[test]
fn a_peer_that_does_not_read_its_mesh_frames_is_closed_with_busy() {
    let mut world = World::new();
    world.core.config.limits.lane_out_bytes = 10_000;
    let conn = lane(&mut world, false, true);
    world.memory.input.entry((conn, CONTROL)).or_default();
    world.core.stream_opened(world.now, &mut world.memory, conn, CONTROL);
    world.memory.room = Some(0);
    let interest = millrace_proto::mesh::Interest {
        add: vec![millrace_proto::mesh::InterestEntry { selector: "x".repeat(1000), ..Default::default() }],
        ..Default::default()
    };
    let mut told = 0;
    while world.memory.closed.is_empty() {
        let frame = millrace_proto::mesh::LinkFrame::Interest(interest.clone());
        world.core.handle_message(world.now, &mut world.memory, ToCore::LinkFrame { conn, frame });
        told += 1;
        assert!(told < 100, "it grows without end");
    }
    assert_eq!(world.memory.closed, [(conn, CloseCode::Busy)]);
    assert_eq!(told, 10);
}

#[test]
fn receivers_that_are_closed_and_not_read_are_bounded() {
    let mut world = World::new();
    let conn = world.client(1);
    let publisher = world.client(2);
    world.memory.room = Some(60);
    for round in 0..20_u64 {
        world.say(conn, &ControlFrame::OpenReceiver(open()));
        let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(0));
        let selectors = vec!["*".to_owned()];
        world.say(conn, &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors }));
        world.publish(publisher, "host=a", round, &["some event that does not fit the room of its stream"]);
        world.say(conn, &ControlFrame::CloseReceiver(millrace_proto::control::CloseReceiver { receiver }));
    }
    assert_eq!(world.core.metrics().receivers, 8, "as many as the client announced");
    assert!(world.core.metrics().refused >= 12);
}
