//! One core, a transport in memory, and a control that says yes to everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::control::{ControlFrame, Hello, OpenReceiver, Stage, Subscribe, TableCapacity};
use millrace_proto::data::{self, DataFrame, HopHeader};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::stream_kind;
use millrace_proto::tag::Shard;
use millrace_proto::{
    CloseCode, DecodeError, Epoch, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, RouterId,
    Selector, SubscriptionNumber, TagSet,
};

use crate::core::{Core, CoreConfig};
use crate::message::{CoreIndex, CoreOutput, Effective, PrepareOrder, Prepared, ToControl, ToCore};
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};

pub(super) const CONTROL: StreamKey = StreamKey(0);
pub(super) const PUBLISH: StreamKey = StreamKey(2);
pub(super) const KEY: PublisherKey = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };

/// Streams in memory: what the core reads, and what it wrote.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) input: BTreeMap<(ConnKey, StreamKey), VecDeque<u8>>,
    pub(super) written: BTreeMap<(ConnKey, StreamKey), Vec<u8>>,
    pub(super) closed: Vec<(ConnKey, CloseCode)>,
    pub(super) next_uni: BTreeMap<ConnKey, u64>,
    /// Bytes that each stream takes in all.
    pub(super) room: Option<usize>,
    pub(super) finished: Vec<(ConnKey, StreamKey)>,
    /// Streams that the other side has reset.
    pub(super) reset: BTreeSet<(ConnKey, StreamKey)>,
    /// Streams have ended when all of them was read.
    pub(super) finish_when_drained: bool,
    /// Streams that the other side has finished behind what is there.
    pub(super) ended: BTreeSet<(ConnKey, StreamKey)>,
    pub(super) congestion_window: u64,
    /// Buffers that the other host has not acknowledged, once somebody wants to keep them.
    pub(super) unacknowledged: Option<Vec<Bytes>>,
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
        match input.is_empty() {
            true if self.finish_when_drained || self.ended.contains(&(conn, stream)) => ReadState::Finished,
            true => ReadState::Drained,
            false => ReadState::More,
        }
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
pub(super) struct World {
    pub(super) core: Core,
    pub(super) memory: Memory,
    pub(super) now: Time,
}

/// A tag that a core owns, of so many.
pub(super) fn tag_of(core: u16, cores: u16) -> String {
    let is_own = |tag: &String| {
        Shard::of_hash(TagSet::from_texts([tag.as_str()]).unwrap().borrow().hash()).owner(cores) == core
    };
    (0..).map(|number| format!("host=h{number}")).find(is_own).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(0, 1)
    }

    /// One core of a router with so many.
    pub(super) fn of(core: CoreIndex, cores: CoreIndex) -> Self {
        Self::with(CoreConfig::new(RouterId(1), Incarnation(2), core, cores))
    }

    /// A core that is set up so.
    pub(super) fn with(mut config: CoreConfig) -> Self {
        let now = Time(1_000_000_000);
        // Queues are filled here to see what overflows.
        config.limits.pace_max = Duration::ZERO;
        let mut world = Self { core: Core::new(config, now), memory: Memory::default(), now };
        world.core.handle_message(now, &mut world.memory, ToCore::Synced(true));
        world
    }

    pub(super) fn send(&mut self, conn: ConnKey, stream: StreamKey, bytes: &[u8]) {
        let known = self.memory.input.contains_key(&(conn, stream));
        self.memory.input.entry((conn, stream)).or_default().extend(bytes);
        if !known {
            self.core.stream_opened(self.now, &mut self.memory, conn, stream);
        }
        self.core.readable(self.now, &mut self.memory, conn, stream);
        self.settle();
    }

    pub(super) fn say(&mut self, conn: ConnKey, frame: &ControlFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send(conn, CONTROL, &bytes);
    }

    /// Answers the core as control would, and ends the turn.
    pub(super) fn settle(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let answers = match output {
                CoreOutput::Prepare(PrepareOrder { token, selectors, allowed, .. }) => {
                    let prepare = |asked: Selector| {
                        let narrowed = match &allowed {
                            None => vec![asked],
                            Some(allowed) => allowed.narrow(&asked).map_err(|error| error.to_string())?,
                        };
                        narrowed.into_iter().map(Self::compile).collect::<Result<Vec<_>, String>>()
                    };
                    let parse = |text: &String| Selector::parse(text).map_err(|error| error.to_string());
                    let read = selectors.iter().map(|text| parse(text).and_then(prepare));
                    let result = read.collect::<Result<Vec<_>, _>>().map(|read| read.concat());
                    vec![ToCore::Prepared { token, result }]
                }
                CoreOutput::ToControl(ToControl::Interest { token: Some(token), .. }) => {
                    [Stage::Router, Stage::Cluster]
                        .map(|stage| ToCore::Effective(Effective::new(token, stage)))
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

    fn compile(selector: Selector) -> Result<Prepared, String> {
        let payload = selector.compile_payload().map_err(|error| error.to_string())?.map(Arc::new);
        let interest = Arc::new(selector.without_payload());
        Ok(Prepared { selector: Arc::new(selector), interest, payload, cover: None })
    }

    pub(super) fn client(&mut self, number: u64) -> ConnKey {
        self.certified(number, None)
    }

    /// A client with this identity in its certificate, or none.
    pub(super) fn certified(&mut self, number: u64, identity: Option<&str>) -> ConnKey {
        let conn = ConnKey(number);
        self.core.certified_client_connected(self.now, conn, identity.map(str::to_owned));
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    pub(super) fn receiver(&mut self, number: u64, open: OpenReceiver, selectors: &[&str]) -> ConnKey {
        let conn = self.client(number);
        let receiver = open.receiver;
        self.say(conn, &ControlFrame::OpenReceiver(open));
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
        conn
    }

    /// Publishes one run per payload list.
    pub(super) fn publish(&mut self, conn: ConnKey, tags: &str, first_seq: u64, payloads: &[&str]) {
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

    /// Publishes a run of one event for each tag, on a stream of its own, in one piece. The turn
    /// ends once.
    pub(super) fn publish_at_once(&mut self, conn: ConnKey, tags: impl Iterator<Item = String>) {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
        data::put_define_publisher(&mut bytes, 0, KEY);
        for (number, tag) in (0..).zip(tags) {
            data::put_define_tags(&mut bytes, number, TagSet::from_texts([tag.as_str()]).unwrap().borrow());
            let (mut run, mut body) = (RunBuilder::default(), Vec::new());
            run.start(number, number, 5);
            run.push(5, tag.as_bytes());
            run.finish(&mut body);
            data::put_run(&mut bytes, &HopHeader::numbered(number, 0), &body);
        }
        self.send(conn, PUBLISH, &bytes);
    }

    /// Ends so many turns.
    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.core.turn(self.now, &mut self.memory);
        }
    }

    /// What a receiver's stream says: `seq payload [subscriptions]` for events, `gap reason events`
    /// for gaps, `mark number` for marks.
    pub(super) fn stream(&self, conn: ConnKey) -> Vec<String> {
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
                DataFrame::Mark(mark) => {
                    let partial = if mark.partial { " partial" } else { "" };
                    lines.push(format!("mark {}{partial}", mark.number));
                }
                _ => {}
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        lines
    }

    pub(super) fn control_frames(&self, conn: ConnKey) -> Vec<ControlFrame> {
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

pub(super) fn open() -> OpenReceiver {
    OpenReceiver { grant: 1 << 20, ..OpenReceiver::default() }
}

/// A lane of epoch 3 to router 5, which has no other.
pub(super) fn lane(world: &mut World, outgoing: bool, incoming: bool) -> ConnKey {
    lane_of(world, outgoing, incoming, true)
}

/// The same, of a peer that has proven its id or not.
pub(super) fn lane_of(world: &mut World, outgoing: bool, incoming: bool, proven: bool) -> ConnKey {
    let conn = ConnKey(9);
    world.core.peer_connected(world.now, &mut world.memory, conn);
    let accept = ToCore::AcceptLane {
        conn,
        peer: 0,
        router: RouterId(5),
        proven,
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
