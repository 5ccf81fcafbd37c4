//! A connection on a transport in memory: what it opens, writes, counts as taken, and closes for.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_client::session::{
    ConnectionConfig, DeliveredRun, DeliverySink, PassedBy, PublisherConfig, PublisherSession,
};
use millrace_proto::control::{
    Ack, AckKind, ControlFrame, Credit, OpenReceiver, Received, Refused, RefusedReason, TableCapacity,
    Welcome,
};
use millrace_proto::data::{self, Gap, HopHeader, Mark, Replay, Source, Target};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble};
use millrace_proto::{
    CloseCode, DecodeError, Epoch, PublisherId, PublisherKey, ReceiverNumber, SubscriptionNumber, TagSet,
};
use millrace_sansio::{ConnId, ReadState, StreamGone, StreamId, Time, Transport};

use super::*;

const CONN: ConnId = ConnId(5);
const CONTROL: StreamId = StreamId(0);
const PUBLISH: StreamId = StreamId(2);
/// The first stream that the router opens.
const DELIVERIES: StreamId = StreamId(3);
const WINDOW_BYTES: u64 = 200;
/// No publisher.
const NOBODY: Option<&mut PublisherSession> = None;

/// Streams of one connection, as the peer of the tested side sees them.
#[derive(Default)]
struct Memory {
    arrived: BTreeMap<u64, Vec<u8>>,
    finished: bool,
    written: BTreeMap<u64, Vec<u8>>,
    /// Bytes that streams take; none: all.
    room: Option<usize>,
    allows_bi: bool,
    closed: Option<u64>,
}

impl Transport for Memory {
    fn open_uni(&mut self, _: ConnId) -> Option<StreamId> {
        Some(PUBLISH)
    }

    fn open_bi(&mut self, _: ConnId) -> Option<StreamId> {
        self.allows_bi.then_some(CONTROL)
    }

    fn write(&mut self, _: ConnId, stream: StreamId, bytes: &mut Bytes) -> Result<(), StreamGone> {
        let count = bytes.len().min(self.room.unwrap_or(usize::MAX));
        self.room = self.room.map(|room| room - count);
        self.written.entry(stream.0).or_default().extend(bytes.split_to(count));
        Ok(())
    }

    fn read(&mut self, _: ConnId, stream: StreamId, limit: usize, sink: &mut dyn FnMut(&[u8])) -> ReadState {
        let bytes = self.arrived.entry(stream.0).or_default();
        let rest = bytes.split_off(bytes.len().min(limit));
        sink(&std::mem::replace(bytes, rest));
        match bytes.is_empty() {
            false => ReadState::More,
            true if self.finished => ReadState::Finished,
            true => ReadState::Drained,
        }
    }

    fn congestion_window(&self, _: ConnId) -> u64 {
        0
    }

    fn finish(&mut self, _: ConnId, _: StreamId) {}

    fn stop(&mut self, _: ConnId, _: StreamId, _: u64) {}

    fn close(&mut self, _: ConnId, code: u64, _: &str) {
        self.closed = Some(code);
    }
}

#[derive(Debug, Default)]
struct Seen {
    runs: Vec<(u32, u64)>,
    gaps: u64,
    marks: Vec<(u32, u64)>,
    places: Vec<(u32, u64)>,
}

impl DeliverySink for Seen {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        self.runs.push((run.receiver.0, run.first_seq()));
    }

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {
        self.gaps += 1;
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        self.marks.push((receiver.0, mark.number));
    }

    fn passed(&mut self, receiver: ReceiverNumber, _: Source, position: u64, _: PassedBy) {
        self.places.push((receiver.0, position));
    }
}

/// A connection, its transport, and what arrived.
struct World {
    memory: Memory,
    connection: ClientConnection,
    seen: Seen,
}

impl World {
    /// Dialled and connected, not welcomed.
    fn new(share_deliveries: bool) -> Self {
        Self::with(ConnectionConfig { receivers: 8, share_deliveries, ..ConnectionConfig::default() })
    }

    fn with(config: ConnectionConfig) -> Self {
        let mut memory = Memory { allows_bi: true, ..Memory::default() };
        let mut connection = ClientConnection::new(CONN, config, Time::ZERO);
        connection.connected(&mut memory);
        Self { memory, connection, seen: Seen::default() }
    }

    fn arrive(&mut self, stream: StreamId, bytes: &[u8]) -> Result<ReadState, Failure> {
        self.memory.arrived.entry(stream.0).or_default().extend(bytes);
        self.read(stream)
    }

    fn read(&mut self, stream: StreamId) -> Result<ReadState, Failure> {
        self.connection.readable(&mut self.memory, Time::ZERO, stream, 1 << 16, &mut self.seen)
    }

    fn hear(&mut self, frame: &ControlFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.arrive(CONTROL, &bytes).unwrap();
    }

    fn welcome(&mut self, deliveries: u64) {
        self.hear(&ControlFrame::Welcome(Welcome { version: 1, deliveries, ..Welcome::default() }));
        assert!(matches!(self.event(), Event::Welcomed(_)));
    }

    fn event(&mut self) -> Event {
        self.connection.poll_event(&mut self.memory, NOBODY).unwrap().expect("an event")
    }

    fn open(&mut self, receiver: u32) {
        let request = OpenReceiver { receiver: ReceiverNumber(receiver), ..OpenReceiver::default() };
        self.connection.open_receiver(request, WINDOW_BYTES).unwrap();
    }

    /// What the control stream carried since this was asked last.
    fn said(&mut self) -> Vec<ControlFrame> {
        self.connection.flush(&mut self.memory);
        let mut frames = Vec::new();
        let bytes = self.memory.written.remove(&CONTROL.0).unwrap_or_default();
        FrameReader::new()
            .feed::<DecodeError>(&bytes, CONTROL_FRAME_BYTES_MAX, |kind, body| {
                frames.push(ControlFrame::decode(kind, body)?);
                Ok(())
            })
            .unwrap();
        frames
    }

    fn grants(&mut self) -> Vec<(u32, u64)> {
        let grant = |frame| match frame {
            ControlFrame::Grant(grant) => Some((grant.receiver.0, grant.bytes)),
            _ => None,
        };
        self.said().into_iter().filter_map(grant).collect()
    }
}

/// A run of one event, with the definitions that it needs.
fn run(seq: u64, bytes: usize, target: Option<u32>) -> Vec<u8> {
    let mut builder = RunBuilder::default();
    builder.start(seq, seq, 1_000);
    builder.push(1_000, &vec![0; bytes]);
    let mut body = Vec::new();
    builder.finish(&mut body);
    let mut out = Vec::new();
    if seq == 0 {
        data::put_define_tags(&mut out, 0, TagSet::from_texts(["host=web-1"]).unwrap().borrow());
        let key = PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) };
        data::put_define_publisher(&mut out, 0, key);
    }
    match target {
        None => data::put_run(&mut out, &HopHeader::numbered(0, 0), &body),
        Some(receiver) => {
            let mut targets = Vec::new();
            Target::plain(ReceiverNumber(receiver)).put(&mut targets);
            data::put_deliver(&mut out, &HopHeader::numbered(0, 0), &targets, &body);
        }
    }
    out
}

/// The preamble of a stream of its own for a receiver.
fn own(receiver: u32) -> Vec<u8> {
    let mut out = Vec::new();
    DeliverPreamble { receiver: ReceiverNumber(receiver) }.encode(&mut out);
    out
}

#[test]
fn what_is_asked_for_early_follows_the_hello_behind_the_welcome() {
    let mut world = World::new(false);
    world.open(0);
    world.connection.subscribe(ReceiverNumber(0), SubscriptionNumber(0), &["host=web-*".to_owned()]);
    assert!(matches!(world.said()[..], [ControlFrame::Hello(_)]));
    world.welcome(0);
    let said = world.said();
    let [ControlFrame::OpenReceiver(open), ControlFrame::Subscribe(_)] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(open.grant, WINDOW_BYTES);
}

#[test]
fn a_control_stream_that_is_not_allowed_yet_is_opened_when_it_is() {
    let mut world = World::new(false);
    world.connection = ClientConnection::new(CONN, ConnectionConfig::default(), Time::ZERO);
    world.memory.allows_bi = false;
    world.connection.connected(&mut world.memory);
    assert!(world.said().is_empty());
    world.memory.allows_bi = true;
    assert!(matches!(world.said()[..], [ControlFrame::Hello(_)]));
}

#[test]
fn a_blocked_control_stream_goes_on_where_it_stopped() {
    let mut world = World::new(false);
    world.memory.room = Some(3);
    world.connection.flush(&mut world.memory);
    assert_eq!(world.memory.written[&CONTROL.0].len(), 3);
    assert!(world.connection.has_output());
    world.memory.room = None;
    assert!(matches!(world.said()[..], [ControlFrame::Hello(_)]));
    assert!(!world.connection.has_output());
}

#[test]
fn runs_of_either_kind_of_stream_reach_the_sink_and_free_the_window() {
    for shared in [false, true] {
        let mut world = World::new(shared);
        world.open(0);
        world.welcome(u64::from(shared));
        world.open(1);
        world.said();
        world.connection.stream_opened(DELIVERIES);
        let mut bytes = own(1);
        if shared {
            bytes.clear();
            DeliverAllPreamble {}.encode(&mut bytes);
        }
        let target = shared.then_some(1);
        bytes.extend(run(0, 60, target));
        assert_eq!(world.arrive(DELIVERIES, &bytes), Ok(ReadState::Drained));
        assert_eq!(world.seen.runs, [(1, 0)]);
        world.arrive(DELIVERIES, &run(1, 60, target)).unwrap();
        assert_eq!(world.seen.runs, [(1, 0), (1, 1)]);
        let grants = world.grants();
        assert!(matches!(grants[..], [.., (1, bytes)] if bytes > WINDOW_BYTES), "{shared}: {grants:?}");
    }
}

#[test]
fn marks_and_places_of_either_kind_of_stream_reach_the_sink() {
    for shared in [false, true] {
        let mut world = World::new(shared);
        world.welcome(u64::from(shared));
        world.open(1);
        world.connection.stream_opened(DELIVERIES);
        let (mut bytes, mut receivers) = (own(1), Vec::new());
        if shared {
            bytes.clear();
            DeliverAllPreamble {}.encode(&mut bytes);
            receivers.push(ReceiverNumber(1));
        }
        Mark { number: 7, receivers, partial: false }.encode(&mut bytes);
        Replay { receiver: ReceiverNumber(1), to: 9, joined: true, ..Replay::default() }.encode(&mut bytes);
        world.arrive(DELIVERIES, &bytes).unwrap();
        assert_eq!((&world.seen.marks[..], &world.seen.places[..]), (&[(1, 7)][..], &[(1, 9)][..]));
    }
}

#[test]
fn a_receiver_on_hold_gets_no_grant_until_it_is_released() {
    for shared in [false, true] {
        let mut world = World::new(shared);
        world.welcome(u64::from(shared));
        world.open(0);
        world.connection.hold(ReceiverNumber(0));
        world.connection.stream_opened(DELIVERIES);
        let mut bytes = own(0);
        if shared {
            bytes.clear();
            DeliverAllPreamble {}.encode(&mut bytes);
        }
        bytes.extend(run(0, 150, shared.then_some(0)));
        world.arrive(DELIVERIES, &bytes).unwrap();
        assert_eq!(world.seen.runs, [(0, 0)], "it is read all the same");
        assert_eq!(world.grants(), []);
        world.connection.release(ReceiverNumber(0));
        assert!(matches!(world.grants()[..], [(0, bytes)] if bytes > WINDOW_BYTES));
    }
}

#[test]
fn a_number_is_taken_until_the_router_refuses_the_receiver() {
    let mut world = World::new(false);
    world.welcome(0);
    world.open(0);
    let request = OpenReceiver { receiver: ReceiverNumber(0), ..OpenReceiver::default() };
    assert!(world.connection.open_receiver(request.clone(), 1).is_err());
    world.hear(&ControlFrame::Refused(Refused {
        reason: RefusedReason::Limit,
        receiver: ReceiverNumber(0),
        ..Refused::default()
    }));
    assert!(matches!(world.event(), Event::Refused(_)));
    world.connection.open_receiver(request, 1).unwrap();
}

#[test]
fn streams_that_nobody_asked_for_close_the_connection() {
    let mut all = Vec::new();
    DeliverAllPreamble {}.encode(&mut all);
    for (deliveries, preamble) in [(None, own(0)), (Some(0), own(1)), (Some(0), all), (Some(1), own(0))] {
        let mut world = World::new(true);
        world.open(0);
        if let Some(deliveries) = deliveries {
            world.welcome(deliveries);
        }
        world.connection.stream_opened(DELIVERIES);
        let failure = world.arrive(DELIVERIES, &preamble).unwrap_err();
        assert_eq!(failure.close_code(), CloseCode::Unexpected, "{failure}");
        assert_eq!(world.memory.closed, Some(CloseCode::Unexpected.code()));
    }
}

#[test]
fn a_finished_stream_is_forgotten_and_its_receiver_stays() {
    let mut world = World::new(false);
    world.welcome(0);
    world.open(0);
    world.connection.stream_opened(DELIVERIES);
    world.memory.finished = true;
    assert_eq!(world.arrive(DELIVERIES, &own(0)), Ok(ReadState::Finished));
    assert_eq!(world.arrive(DELIVERIES, b"what a stream that is over might carry"), Ok(ReadState::Finished));
    assert_eq!(world.memory.closed, None);
}

#[test]
fn a_publisher_writes_as_far_as_its_stream_takes_it() {
    let mut world = World::new(false);
    let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
    let mut publisher = PublisherSession::new(PublisherConfig { linger_ns: 0, ..PublisherConfig::new(key) });
    let tags = TagSet::from_texts(["host=web-1"]).unwrap();
    publisher.publish(Time::ZERO, &tags, 1, b"up").unwrap();
    world.welcome(0);
    publisher.stream_started(TableCapacity::CLIENT);
    assert_eq!(world.connection.publish(&mut world.memory, Time::ZERO, &mut publisher), 0, "no credit");

    world.hear(&ControlFrame::Credit(Credit { bytes: 1 << 16 }));
    let World { memory, connection, .. } = &mut world;
    let event = connection.poll_event(memory, Some(&mut publisher)).unwrap();
    assert_eq!(event, Some(Event::Credit { bytes: 1 << 16 }));
    memory.room = Some(1);
    assert_eq!(connection.publish(memory, Time::ZERO, &mut publisher), 1);
    assert!(connection.is_publish_blocked());
    memory.room = None;
    assert_eq!(connection.publish(memory, Time::ZERO, &mut publisher), 0, "the rest of the same chunk");
    assert!(!connection.is_publish_blocked() && memory.written[&PUBLISH.0].len() > 1);

    world.hear(&ControlFrame::Received(Received { publisher: 0, next_seq: 1 }));
    let World { memory, connection, .. } = &mut world;
    let event = connection.poll_event(memory, Some(&mut publisher)).unwrap();
    assert_eq!(event, Some(Event::Received { seqs: 0..1 }));
    assert!(publisher.is_flushed());
}

#[test]
fn received_for_events_that_were_never_sent_closes_the_connection() {
    let mut world = World::new(false);
    world.welcome(0);
    let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
    let mut publisher = PublisherSession::new(PublisherConfig::new(key));
    world.hear(&ControlFrame::Received(Received { publisher: 0, next_seq: 9 }));
    let World { memory, connection, .. } = &mut world;
    assert!(connection.poll_event(memory, Some(&mut publisher)).is_err());
    assert_eq!(memory.closed, Some(CloseCode::Unexpected.code()));
}

#[test]
fn acknowledgements_go_to_a_router_that_takes_them() {
    for features in [Features::default(), Features::default().with(feature::CONFIRMS)] {
        let config = ConnectionConfig { receivers: 1, confirms: true, ..ConnectionConfig::default() };
        let mut world = World::with(config);
        let welcome = Welcome { version: 1, features, ..Welcome::default() };
        world.hear(&ControlFrame::Welcome(welcome));
        assert_eq!(world.connection.confirms(), features.contains(feature::CONFIRMS));
        world.said();
        let mut ack = Ack { kind: AckKind::Taken, ..Ack::default() };
        assert!(ack.runs.push(3, 2));
        world.connection.acknowledge(&ack);
        assert_eq!(world.said().contains(&ControlFrame::Ack(ack)), world.connection.confirms());
    }
}

#[test]
fn a_silent_router_is_left_with_the_code_that_says_so() {
    let mut world = World::new(false);
    let due = world.connection.poll_timeout().unwrap();
    world.connection.handle_timeout(due);
    let failure = world.connection.poll_event(&mut world.memory, NOBODY).unwrap_err();
    assert!(matches!(failure, Failure::Silent { .. }));
    assert_eq!(world.memory.closed, Some(CloseCode::Timeout.code()));
}
