//! What a hop between two cores of a router costs per run: the same runs of one event enter on the
//! core that owns them, and on its sibling, from where they cross in a mailbox. The difference is
//! the hop: encoding into the batch, the mailbox, and reading the batch. Nobody subscribes, so
//! nothing else happens to a run.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_client::session::{PublisherConfig, PublisherSession, TagHandle};
use millrace_engine::core::{Core, CoreConfig};
use millrace_engine::message::ToCore;
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamGone, StreamKey, Transport};
use millrace_mailbox::{Doorbell, Inbox, Outbox, mailbox};
use millrace_proto::control::{Hello, TableCapacity};
use millrace_proto::{Epoch, Incarnation, PROTOCOL_VERSION, PublisherId, PublisherKey, RouterId, TagSet};

const CONN: ConnKey = ConnKey(1);
const CONTROL: StreamKey = StreamKey(0);
const PUBLISH: StreamKey = StreamKey(2);
/// Tag sets, each a run's: more than the fast caches of a processor hold.
const TAG_SETS: usize = 10_000;
/// Runs that are read in one go: a full batch of some 64 KiB.
const RUNS: usize = 400;
/// Bytes of an event.
const PAYLOAD: [u8; 128] = [7; 128];
/// The core that owns every tag set here.
const OWNER: u16 = 1;

/// One publisher's bytes; what the core writes goes nowhere.
#[derive(Default)]
struct Pipe {
    input: Vec<(StreamKey, Vec<u8>)>,
}

impl Transport for Pipe {
    fn open_uni(&mut self, _: ConnKey) -> Option<StreamKey> {
        None
    }
    fn open_bi(&mut self, _: ConnKey) -> Option<StreamKey> {
        None
    }
    fn write(&mut self, _: ConnKey, _: StreamKey, bytes: &mut Bytes) -> Result<(), StreamGone> {
        bytes.clear();
        Ok(())
    }
    fn read(&mut self, _: ConnKey, stream: StreamKey, _: usize, sink: &mut dyn FnMut(&[u8])) -> ReadState {
        let at = self.input.iter().position(|(of, _)| *of == stream);
        if let Some(at) = at {
            sink(&self.input.swap_remove(at).1);
        }
        ReadState::Drained
    }
    fn congestion_window(&self, _: ConnKey) -> u64 {
        1 << 20
    }
    fn finish(&mut self, _: ConnKey, _: StreamKey) {}
    fn stop(&mut self, _: ConnKey, _: StreamKey, code: u64) {
        panic!("stopped: {code:?}");
    }
    fn close(&mut self, _: ConnKey, code: u64, reason: &str) {
        panic!("closed: {code:?} {reason}");
    }
}

/// Two cores, a publisher on one of them, and the mailbox from core 0 to core 1.
struct World {
    cores: [Core; 2],
    /// Where the publisher is.
    entry: usize,
    pipe: Pipe,
    publisher: PublisherSession,
    handles: Vec<TagHandle>,
    next: usize,
    outbox: Outbox<Vec<u8>>,
    inbox: Inbox<Vec<u8>>,
    now: Time,
}

impl World {
    fn new(entry: u16) -> Self {
        let now = Time(1_000_000_000);
        let core = |number| Core::new(CoreConfig::new(RouterId(1), Incarnation(2), number, 2), now);
        let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
        let mut publisher = PublisherSession::new(PublisherConfig::new(key));
        let owned = (0..)
            .map(|host: u32| {
                TagSet::from_texts([format!("host=web-{host}"), "service=checkout".into()]).unwrap()
            })
            .filter(|tags| tags.shard().owner(2) == OWNER);
        let handles = owned.take(TAG_SETS).map(|tags| publisher.register(&tags).unwrap()).collect();
        publisher.stream_started(TableCapacity::CLIENT);
        publisher.on_credit(u64::MAX);
        let (outbox, inbox) = mailbox(64, &Doorbell::new(|| {}));
        let cores = [core(0), core(1)];
        let (entry, pipe) = (usize::from(entry), Pipe::default());
        let mut world = Self { cores, entry, pipe, publisher, handles, next: 0, outbox, inbox, now };
        for core in &mut world.cores {
            core.handle_message(now, &mut world.pipe, ToCore::Synced(true));
        }
        world.cores[world.entry].client_connected(now, CONN);
        let mut hello = Vec::new();
        let tables = TableCapacity::CLIENT;
        Hello { version: PROTOCOL_VERSION, tables, ..Hello::default() }.encode(&mut hello);
        world.cores[world.entry].stream_opened(now, &mut world.pipe, CONN, CONTROL);
        world.feed(CONTROL, hello);
        world.pipe.input.push((PUBLISH, Vec::new()));
        world.cores[world.entry].stream_opened(now, &mut world.pipe, CONN, PUBLISH);
        // Every tag set is known to both sides before anything is measured.
        for _ in 0..=TAG_SETS / RUNS {
            world.pass();
        }
        world
    }

    fn feed(&mut self, stream: StreamKey, bytes: Vec<u8>) {
        self.pipe.input.push((stream, bytes));
        self.cores[self.entry].readable(self.now, &mut self.pipe, CONN, stream);
    }

    /// One batch of runs of one event each, from the publisher's bytes to the owner; returns the
    /// time without making them.
    fn pass(&mut self) -> Duration {
        for _ in 0..RUNS {
            let handle = self.handles[self.next];
            self.next = (self.next + 1) % self.handles.len();
            self.publisher.publish(Time::ZERO, handle, 1, &PAYLOAD).unwrap();
        }
        self.publisher.flush();
        let mut bytes = Vec::new();
        while let Some(chunk) = self.publisher.take_output(Time::ZERO) {
            bytes.extend_from_slice(&chunk);
        }
        self.now = Time(self.now.0 + 1_000_000);
        let start = Instant::now();
        self.feed(PUBLISH, bytes);
        while let Some(batch) = self.cores[0].next_batch(1) {
            self.outbox.push(batch).unwrap();
        }
        self.outbox.ring();
        while let Some(batch) = self.inbox.pop() {
            self.cores[1].batch(self.now, 0, black_box(&batch)).unwrap();
        }
        let time = start.elapsed();
        for core in &mut self.cores {
            core.turn(self.now, &mut self.pipe);
            while core.poll_output().is_some() {}
        }
        time
    }

    /// Runs that the owner has given a position.
    fn owned(&self) -> u64 {
        self.cores[usize::from(OWNER)].position()
    }
}

fn hop(c: &mut Criterion) {
    let mut group = c.benchmark_group("run of one event");
    group.throughput(Throughput::Elements(1));
    for (name, entry) in [("enters on its owner", OWNER), ("enters on the sibling", 1 - OWNER)] {
        let mut world = World::new(entry);
        group.bench_function(name, |b| {
            b.iter_custom(|runs| {
                let passes = usize::try_from(runs).unwrap().div_ceil(RUNS);
                let before = world.owned();
                let time: Duration = (0..passes).map(|_| world.pass()).sum();
                assert_eq!(world.owned() - before, (passes * RUNS) as u64, "every run has reached its owner");
                time.mul_f64(runs as f64 / (passes * RUNS) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hop);
criterion_main!(benches);
