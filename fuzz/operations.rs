//! What clients and a peer do to one core, in any order, as bytes choose it: they connect, say
//! hello, open receivers, subscribe, publish, grant, acknowledge, close, send frames that are well
//! formed and frames that are not, while time goes on and streams take little.
//!
//! No input may panic; interest that a core tells control of is told once and taken back once; and
//! when all connections are gone nothing of them is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millrace_engine::core::{Core, CoreConfig, Queued};
use millrace_engine::message::{CoreOutput, Effective, Prepared, ToControl, ToCore};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};
use millrace_proto::control::{
    Ack, AckKind, CloseReceiver, ControlFrame, Grant, Hello, Member, Move, OpenReceiver, OverflowPolicy,
    Ping, Stage, Subscribe, TableCapacity, Unsubscribe,
};
use millrace_proto::data::{self, HopHeader};
use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::PeerHello;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{LanePreamble, stream_kind};
use millrace_proto::{
    Epoch, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, PublisherSecret, ReceiverNumber,
    RouterId, Selector, SubscriptionNumber, TagSet, frame,
};

/// What a target does with one input.
pub type Body = fn(&[u8]);

/// All targets, with the names of their corpus folders.
pub const TARGETS: [(&str, Body); 1] = [("core_operations", core_operations)];

/// Connections at a time; the first is a peer's.
const SLOTS: usize = 6;
const PEER: usize = 0;
const OPERATIONS_MAX: usize = 300;
const CONTROL: StreamKey = StreamKey(0);
const SELECTORS: [&str; 8] =
    ["*", "host=a", "host=b|c, x", "host~^[ab]$", "x>5", "!y", "host=a; host=b; host=c", "payload ~ /ab+c/"];
const TAGS: [&[&str]; 4] = [&["host=a"], &["host=b", "x=10"], &["host=c", "y=1"], &["z=1"]];

/// Bytes that choose what happens.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn one_of(&mut self, count: usize) -> Option<usize> {
        Some(usize::from(self.byte()?) % count)
    }

    fn some(&mut self) -> Option<&'a [u8]> {
        let count = usize::from(self.byte()?).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(taken)
    }
}

/// Streams in memory.
#[derive(Default)]
struct Memory {
    input: BTreeMap<(ConnKey, StreamKey), VecDeque<u8>>,
    next_uni: BTreeMap<ConnKey, u64>,
    written: BTreeMap<(ConnKey, StreamKey), usize>,
    /// Bytes that each stream takes in all.
    room: usize,
    ended: BTreeSet<(ConnKey, StreamKey)>,
    reset: BTreeSet<(ConnKey, StreamKey)>,
    closed: BTreeSet<ConnKey>,
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
        if self.closed.contains(&conn) {
            return Err(StreamGone);
        }
        let written = self.written.entry((conn, stream)).or_default();
        let taken = bytes.split_to(self.room.saturating_sub(*written).min(bytes.len()));
        *written += taken.len();
        Ok(())
    }

    fn read(
        &mut self,
        conn: ConnKey,
        stream: StreamKey,
        limit: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadState {
        if self.reset.contains(&(conn, stream)) || self.closed.contains(&conn) {
            return ReadState::Lost;
        }
        let Some(input) = self.input.get_mut(&(conn, stream)) else { return ReadState::Drained };
        let taken: Vec<u8> = input.drain(..input.len().min(limit)).collect();
        taken.chunks(53).for_each(sink);
        match input.is_empty() {
            true if self.ended.contains(&(conn, stream)) => ReadState::Finished,
            true => ReadState::Drained,
            false => ReadState::More,
        }
    }

    fn congestion_window(&self, _: ConnKey) -> u64 {
        32 << 10
    }

    fn finish(&mut self, _: ConnKey, _: StreamKey) {}

    fn stop(&mut self, _: ConnKey, _: StreamKey, _: u64) {}

    fn close(&mut self, conn: ConnKey, _: u64, _: &str) {
        self.closed.insert(conn);
    }
}

struct World {
    core: Core,
    memory: Memory,
    now: Time,
    slots: [Option<ConnKey>; SLOTS],
    connections: u64,
    /// What the core has told control that it wants.
    interest: BTreeSet<String>,
    seq: u64,
}

impl World {
    fn new() -> Self {
        let now = Time(1_000_000_000);
        let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
        let memory = Memory { room: 1 << 20, ..Memory::default() };
        let mut world = Self {
            core: Core::new(config, now),
            memory,
            now,
            slots: [None; SLOTS],
            connections: 0,
            interest: BTreeSet::new(),
            seq: 0,
        };
        world.tell(ToCore::Synced(true));
        world
    }

    fn tell(&mut self, message: ToCore) {
        self.core.handle_message(self.now, &mut self.memory, message);
    }

    fn send(&mut self, conn: ConnKey, stream: StreamKey, bytes: &[u8]) {
        let is_new = !self.memory.input.contains_key(&(conn, stream));
        self.memory.input.entry((conn, stream)).or_default().extend(bytes);
        if self.memory.closed.contains(&conn) {
            return;
        }
        if is_new {
            self.core.stream_opened(self.now, &mut self.memory, conn, stream);
        }
        self.core.readable(self.now, &mut self.memory, conn, stream);
    }

    fn say(&mut self, conn: ConnKey, control: &ControlFrame) {
        let mut bytes = Vec::new();
        control.encode(&mut bytes);
        self.send(conn, CONTROL, &bytes);
    }

    /// Answers the core as control would, and ends the turn.
    fn settle(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                CoreOutput::Prepare(order) => {
                    let read = order.selectors.iter().map(|text| prepare(text)).collect();
                    self.tell(ToCore::Prepared { token: order.token, result: read });
                }
                CoreOutput::ToControl(ToControl::Interest { add, remove, token }) => {
                    for selector in add {
                        assert!(self.interest.insert(selector.text().to_owned()), "told twice: {selector:?}");
                    }
                    for selector in remove {
                        assert!(self.interest.remove(selector.text()), "never told: {selector:?}");
                    }
                    if let Some(token) = token {
                        for stage in [Stage::Router, Stage::Cluster] {
                            self.tell(ToCore::Effective(Effective::new(token, stage)));
                        }
                    }
                }
                CoreOutput::ToControl(ToControl::LaneHello { conn, hello, .. }) => {
                    self.tell(ToCore::AcceptLane {
                        conn,
                        peer: 0,
                        router: hello.router,
                        proven: true,
                        lane: 0,
                        epoch: hello.epoch,
                        outgoing: true,
                        incoming: true,
                        missed: false,
                        lost: false,
                        hello: None,
                        tables: hello.tables,
                    });
                }
                CoreOutput::ToControl(_) => {}
            }
        }
        self.core.turn(self.now, &mut self.memory);
        for slot in &mut self.slots {
            *slot = slot.filter(|conn| !self.memory.closed.contains(conn));
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(conn) = self.slots[slot].take() {
            self.memory.closed.insert(conn);
            self.core.closed(self.now, &mut self.memory, conn, None);
        }
    }

    fn connect(&mut self, slot: usize, features: u8) {
        self.close(slot);
        self.connections += 1;
        let conn = ConnKey(self.connections);
        self.slots[slot] = Some(conn);
        let mut listed = Features::default();
        if features & 1 == 0 {
            listed = (feature::DELIVERIES..=feature::FILES).fold(listed, Features::with);
        }
        if slot == PEER {
            self.core.peer_connected(self.now, &mut self.memory, conn);
            let hello = PeerHello {
                version: PROTOCOL_VERSION,
                router: RouterId(5),
                incarnation: Incarnation(1),
                cores: 1,
                epoch: 3,
                advertise: "peer:1".to_owned(),
                tables: TableCapacity::CLIENT,
                features: listed,
                ..PeerHello::default()
            };
            let mut bytes = Vec::new();
            hello.encode(&mut bytes);
            return self.send(conn, CONTROL, &bytes);
        }
        self.core.client_connected(self.now, conn);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            tables: TableCapacity::CLIENT,
            receivers: 4,
            features: listed,
            deliveries: u64::from(features & 2 != 0),
            secret: (features & 4 != 0).then_some(PublisherSecret([features; 32])),
            positions: features & 8 != 0,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
    }

    /// Publishes a run of some events, on the stream that this has begun.
    fn publish(&mut self, slot: usize, conn: ConnKey, choices: &mut Choices<'_>) -> Option<()> {
        let stream = StreamKey(2);
        let mut bytes = Vec::new();
        if !self.memory.input.contains_key(&(conn, stream)) {
            if slot == PEER {
                LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
            } else {
                frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
            }
            let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
            data::put_define_publisher(&mut bytes, 0, key);
        }
        let number = choices.one_of(TAGS.len())?;
        let tags = TagSet::from_texts(TAGS[number].iter().copied()).expect("these are tags");
        data::put_define_tags(&mut bytes, number as u64, tags.borrow());
        let mut run = RunBuilder::default();
        run.start(self.seq, self.seq, 5);
        for _ in 0..choices.one_of(4)? + 1 {
            self.seq += 1;
            run.push(5, choices.some()?);
        }
        let mut body = Vec::new();
        run.finish(&mut body);
        data::put_run(&mut bytes, &HopHeader::numbered(number as u64, 0), &body);
        self.send(conn, stream, &bytes);
        Some(())
    }

    /// Does one thing; `None` when the input is at its end.
    fn operate(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        let (what, slot) = (choices.one_of(12)?, choices.one_of(SLOTS)?);
        let Some(conn) = self.slots[slot] else {
            self.connect(slot, choices.byte()?);
            return Some(());
        };
        match what {
            0 => self.connect(slot, choices.byte()?),
            1 => self.close(slot),
            2..=5 if slot != PEER => {
                let control = client_frame(choices)?;
                self.say(conn, &control);
            }
            2..=7 => self.publish(slot, conn, choices)?,
            8 => {
                let stream = [CONTROL, StreamKey(2), StreamKey(6)][choices.one_of(3)?];
                let mut bytes = Vec::new();
                frame::put(&mut bytes, choices.byte()?.into(), |body| {
                    body.extend(choices.some().unwrap_or_default());
                });
                self.send(conn, stream, &bytes);
            }
            9 => {
                let stream = [CONTROL, StreamKey(2), StreamKey(6)][choices.one_of(3)?];
                match choices.one_of(3)? {
                    0 => self.memory.ended.insert((conn, stream)),
                    1 => self.memory.reset.insert((conn, stream)),
                    _ => {
                        let bytes = choices.some()?;
                        self.send(conn, stream, bytes);
                        return Some(());
                    }
                };
                if self.memory.input.contains_key(&(conn, stream)) {
                    self.core.readable(self.now, &mut self.memory, conn, stream);
                }
            }
            10 => {
                self.now = self.now.after(u64::from(choices.byte()?).pow(3) * 1_000_000);
            }
            _ => {
                self.memory.room = 1 << (choices.one_of(21)?);
                let is_open = |&(conn, _): &(ConnKey, StreamKey)| !self.memory.closed.contains(&conn);
                let written: Vec<_> = self.memory.written.keys().copied().filter(is_open).collect();
                for (conn, stream) in written {
                    self.core.writable(self.now, &mut self.memory, conn, stream);
                }
            }
        }
        Some(())
    }
}

fn prepare(text: &str) -> Result<Prepared, String> {
    let selector = Selector::parse(text).map_err(|error| error.to_string())?;
    let payload = selector.compile_payload().map_err(|error| error.to_string())?.map(Arc::new);
    let interest = Arc::new(selector.without_payload());
    Ok(Prepared { selector: Arc::new(selector), interest, payload, cover: None })
}

/// A frame of a client, well formed.
fn client_frame(choices: &mut Choices<'_>) -> Option<ControlFrame> {
    let receiver = ReceiverNumber(u32::from(choices.byte()? % 5));
    let number = choices.byte()?;
    Some(match choices.one_of(9)? {
        0 | 1 => {
            let policies = [
                OverflowPolicy::DropOldest,
                OverflowPolicy::DropNewest,
                OverflowPolicy::Block,
                OverflowPolicy::Disconnect,
            ];
            let is_member = number & 1 != 0;
            ControlFrame::OpenReceiver(OpenReceiver {
                receiver,
                policy: if is_member { OverflowPolicy::DropOldest } else { policies[choices.one_of(4)?] },
                queue_bytes: u64::from(choices.byte()?) << 8,
                linger_us: u64::from(number >> 4) << 12,
                grant: u64::from(choices.byte()?) << 8,
                group: if is_member { "group".to_owned() } else { String::new() },
                level: u32::from(number >> 2 & 3),
                ..OpenReceiver::default()
            })
        }
        2 | 3 => {
            let selectors = [choices.one_of(SELECTORS.len())?, choices.one_of(SELECTORS.len())?];
            ControlFrame::Subscribe(Subscribe {
                receiver,
                subscription: SubscriptionNumber(u32::from(number % 4)),
                selectors: selectors.iter().map(|&at| SELECTORS[at].to_owned()).collect(),
                since_us: u64::from(number & 0x40) << 10,
                ..Subscribe::default()
            })
        }
        4 => {
            let subscription = SubscriptionNumber(u32::from(number % 4));
            ControlFrame::Unsubscribe(Unsubscribe { receiver, subscription })
        }
        5 => ControlFrame::Grant(Grant { receiver, bytes: u64::from(number) << 10 }),
        6 => match number % 2 {
            0 => ControlFrame::CloseReceiver(CloseReceiver { receiver }),
            _ => ControlFrame::Member(Member { receiver, busy: number & 2 != 0 }),
        },
        7 => {
            let mut ack = Ack { receiver, kind: AckKind::Taken, ..Ack::default() };
            ack.runs.push(number.into(), u64::from(choices.byte()?) + 1);
            ControlFrame::Ack(ack)
        }
        _ => match number % 2 {
            0 => ControlFrame::Move(Move { receiver, mark: number.into(), ..Move::default() }),
            _ => ControlFrame::Ping(Ping { nonce: number.into() }),
        },
    })
}

/// Operations on a core, as the input chooses them.
pub fn core_operations(input: &[u8]) {
    let (mut world, mut choices) = (World::new(), Choices(input));
    for _ in 0..OPERATIONS_MAX {
        if world.operate(&mut choices).is_none() {
            break;
        }
        world.settle();
    }
    for slot in 0..SLOTS {
        world.close(slot);
    }
    for _ in 0..20 {
        world.now = world.now.after(10_000_000_000);
        world.settle();
    }
    assert_eq!(world.core.queued(), Queued::default(), "nothing waits for who is gone");
    assert!(world.interest.is_empty(), "nobody is left who wants {:?}", world.interest);
}
