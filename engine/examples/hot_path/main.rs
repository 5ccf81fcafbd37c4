//! The hot path of one core, for counting: runs enter on a publisher's stream, are routed, and are
//! written to receivers' streams, which are acknowledged at once. No time is taken. `hot_path RUNS
//! EVENTS_PER_RUN DELIVERIES` prints the allocations per run; receivers have streams of their own
//! (`DELIVERIES` 0), or share that of their connection (1), or are a group of four that
//! acknowledges what it is given (2), or have streams of their own while ten tag rules are on, one
//! of which adds a tag (3); under `valgrind --tool=callgrind`, two numbers of runs give
//! the instructions per run. `bench-results/hot-path.sh` does both and compares them with limits.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "its result")]

use std::sync::Arc;

use millrace_engine::core::{Core, CoreConfig};
use millrace_engine::message::{CoreOutput, Effective, PrepareOrder, Prepared, ToControl, ToCore};
use millrace_engine::rules::{RuleLimits, RuleSet};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, StreamKey};
use millrace_proto::control::{Hello, OpenReceiver, Stage, Subscribe, TableCapacity};
use millrace_proto::data::{self, HopHeader};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::rule::RuleText;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::stream_kind;
use millrace_proto::{
    Epoch, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, ReceiverNumber, RouterId, Selector,
    SubscriptionNumber, TagSet,
};

#[path = "../../benches/matching/allocations.rs"]
mod allocations;
mod group;
mod pipe;

use group::Group;
use pipe::Pipe;

const CONTROL: StreamKey = StreamKey(0);
const PUBLISH: StreamKey = StreamKey(2);
const PUBLISHER: ConnKey = ConnKey(1);
const RECEIVERS: ConnKey = ConnKey(2);
/// Receivers share the stream of their connection, in place of streams of their own.
const SHARED: u64 = 1;
/// Receivers are a group.
const GROUPED: u64 = 2;
/// Tag rules are on.
const RULED: u64 = 3;
/// Tag sets that are published in turn, and receivers, each of which wants one in so many.
const TAG_SETS: u64 = 1_000;
const RECEIVERS_NUMBER: u16 = 100;
/// Runs that are read in one turn.
const BATCH: u64 = 100;
/// Bytes of an event.
const PAYLOAD: [u8; 128] = [7; 128];

struct World {
    core: Core,
    pipe: Pipe,
    now: Time,
    seq: u64,
    group: Option<Group>,
}

impl World {
    fn new(deliveries: u64) -> Self {
        let now = Time(1_000_000_000);
        let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, 1);
        let group = (deliveries == GROUPED).then(|| Group::new(config.seed));
        let core = Core::new(config, now);
        let mut world = Self { core, pipe: Pipe::default(), now, seq: 0, group };
        world.core.handle_message(now, &mut world.pipe, ToCore::Synced(true));
        if deliveries == RULED {
            world.core.set_rules(rules());
        }
        let is_grouped = world.group.is_some();
        let receivers = if is_grouped { 0 } else { RECEIVERS_NUMBER };
        for (conn, receivers) in [(PUBLISHER, 0), (RECEIVERS, receivers)] {
            world.core.client_connected(now, conn);
            world.core.stream_opened(now, &mut world.pipe, conn, CONTROL);
            let tables = TableCapacity::CLIENT;
            let (receivers, deliveries) = (receivers.into(), u64::from(deliveries == SHARED));
            let hello =
                Hello { version: PROTOCOL_VERSION, tables, receivers, deliveries, ..Hello::default() };
            world.say(conn, |out| hello.encode(out));
        }
        for number in 0..receivers {
            let receiver = ReceiverNumber(number.into());
            world.say(RECEIVERS, |out| {
                OpenReceiver { receiver, grant: 1 << 60, ..OpenReceiver::default() }.encode(out);
                let selectors = vec![format!("group={number},host=web-*")];
                Subscribe {
                    receiver,
                    subscription: SubscriptionNumber(0),
                    selectors,
                    ..Subscribe::default()
                }
                .encode(out);
            });
        }
        if is_grouped {
            group::MEMBERS.for_each(|member| world.join(ConnKey(member)));
        }
        world.core.stream_opened(now, &mut world.pipe, PUBLISHER, PUBLISH);
        let mut first = Vec::new();
        frame::put(&mut first, stream_kind::PUBLISH, |_| {});
        data::put_define_publisher(
            &mut first,
            0,
            PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) },
        );
        for number in 0..TAG_SETS {
            let group = number % u64::from(RECEIVERS_NUMBER);
            let tags = [format!("host=web-{number}"), format!("group={group}"), "service=checkout".into()];
            data::put_define_tags(&mut first, number, TagSet::from_texts(tags).unwrap().borrow());
        }
        world.feed(PUBLISHER, PUBLISH, first);
        world
    }

    /// A member of the group, on a connection of its own.
    fn join(&mut self, member: ConnKey) {
        self.core.client_connected(self.now, member);
        self.core.stream_opened(self.now, &mut self.pipe, member, CONTROL);
        self.say(member, Group::asks);
        self.pipe.members.push((member, FrameReader::new(), 0));
    }

    /// Members take what they were given.
    fn acknowledge(&mut self) {
        for at in 0..self.pipe.members.len() {
            let (member, _, given) = &mut self.pipe.members[at];
            let (member, given) = (*member, std::mem::take(given));
            let Some(group) = self.group.as_mut().filter(|_| given > 0) else { continue };
            let ack = group.ack(member, given);
            self.say(member, |out| ack.encode(out));
        }
    }

    fn say(&mut self, conn: ConnKey, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.feed(conn, CONTROL, bytes);
    }

    fn feed(&mut self, conn: ConnKey, stream: StreamKey, bytes: Vec<u8>) {
        self.pipe.input = bytes;
        self.core.readable(self.now, &mut self.pipe, conn, stream);
        self.settle();
    }

    /// Ends the turn, and answers as control does.
    fn settle(&mut self) {
        while let Some(message) = self.core.poll_output() {
            match message {
                CoreOutput::Prepare(PrepareOrder { token, selectors, .. }) => {
                    let result = selectors.iter().map(|text| {
                        let selector = Arc::new(Selector::parse(text).unwrap());
                        let interest = Arc::new(selector.without_payload());
                        Ok(Prepared { selector, interest, payload: None, cover: None })
                    });
                    let answer = ToCore::Prepared { token, result: result.collect() };
                    self.core.handle_message(self.now, &mut self.pipe, answer);
                }
                CoreOutput::ToControl(ToControl::Interest { token: Some(token), add, .. }) => {
                    let news = self.group.as_mut().map(|group| group.joined(&add));
                    for message in news.into_iter().flatten() {
                        self.core.handle_message(self.now, &mut self.pipe, message);
                    }
                    for stage in [Stage::Router, Stage::Cluster] {
                        let answer = ToCore::Effective(Effective::new(token, stage));
                        self.core.handle_message(self.now, &mut self.pipe, answer);
                    }
                }
                _ => {}
            }
        }
        self.now = Time(self.now.0 + 1_000_000);
        self.core.turn(self.now, &mut self.pipe);
    }

    fn publish(&mut self, batches: u64, events_per_run: u64) -> u64 {
        let mut allocated = 0;
        let mut run = RunBuilder::default();
        let (mut input, mut body) = (Vec::new(), Vec::new());
        for _ in 0..batches {
            for _ in 0..BATCH {
                run.start(self.seq, self.seq, 5);
                (0..events_per_run).for_each(|_| run.push(5, &PAYLOAD));
                body.clear();
                run.finish(&mut body);
                let tags = self.seq / events_per_run % TAG_SETS;
                data::put_run(&mut input, &HopHeader::numbered(tags, 0), &body);
                self.seq += events_per_run;
            }
            let before = allocations::allocations();
            std::mem::swap(&mut self.pipe.input, &mut input);
            self.core.readable(self.now, &mut self.pipe, PUBLISHER, PUBLISH);
            self.settle();
            self.acknowledge();
            allocated += allocations::allocations() - before;
        }
        allocated
    }
}

/// Ten rules by tags: the number of a group ends with one digit, which is one rule's.
fn rules() -> Arc<RuleSet> {
    let rule = |digit: u32| RuleText {
        name: format!("digit-{digit}"),
        when: format!("group=*{digit}"),
        set: [("digit".to_owned(), digit.to_string())].into(),
    };
    let texts: Vec<RuleText> = (0..10).map(rule).collect();
    Arc::new(RuleSet::new(&texts, RuleLimits::default()).unwrap())
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().unwrap()).collect();
    let [runs, events_per_run, deliveries] = numbers[..] else {
        panic!("usage: hot_path RUNS EVENTS_PER_RUN DELIVERIES")
    };
    let mut world = World::new(deliveries);
    // Routes and tables are filled before anything counts.
    world.publish(TAG_SETS / BATCH * 2, events_per_run);
    let (events, bytes) = (world.core.metrics().events_out, world.pipe.written_bytes);
    let batches = runs.div_ceil(BATCH);
    let allocated = world.publish(batches, events_per_run);
    let delivered = world.core.metrics().events_out - events;
    assert_eq!(delivered, batches * BATCH * events_per_run, "every event reaches its receiver");
    assert!(world.pipe.written_bytes - bytes > delivered * PAYLOAD.len() as u64);
    println!("{:.3}", allocated as f64 / (batches * BATCH) as f64);
}
