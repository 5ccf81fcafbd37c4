//! What a mailbox costs, beside rtrb: on one thread (no contention), across two threads, and the
//! bell of an awake reader.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_mailbox::{Doorbell, mailbox};

/// As between cores of a router.
const SLOTS: usize = 64;
/// Values per iteration on one thread.
const BATCH: u64 = 32;

/// What a slot between cores holds: a batch of frames.
fn value() -> Vec<u8> {
    Vec::new()
}

fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("one thread");
    group.throughput(Throughput::Elements(BATCH));
    let (mut outbox, mut inbox) = mailbox(SLOTS, &Doorbell::new(|| {}));
    group.bench_function("mailbox", |b| {
        b.iter(|| {
            for _ in 0..BATCH {
                outbox.push(black_box(value())).unwrap();
            }
            outbox.ring();
            while let Some(value) = inbox.pop() {
                black_box(value);
            }
        });
    });
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(SLOTS);
    group.bench_function("rtrb", |b| {
        b.iter(|| {
            for _ in 0..BATCH {
                producer.push(black_box(value())).unwrap();
            }
            while let Ok(value) = consumer.pop() {
                black_box(value);
            }
        });
    });
    group.finish();
}

/// Time of `count` values from a thread to this one, both spinning, with what pushes and what pops.
fn across(
    count: u64,
    mut push: impl FnMut() -> bool + Send + 'static,
    mut pop: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    let writer = thread::spawn(move || {
        for _ in 0..count {
            while !push() {
                spin_loop();
            }
        }
    });
    for _ in 0..count {
        while !pop() {
            spin_loop();
        }
    }
    let time = start.elapsed();
    writer.join().unwrap();
    time
}

fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("two threads");
    group.throughput(Throughput::Elements(1));
    group.bench_function("mailbox", |b| {
        b.iter_custom(|count| {
            let (mut outbox, mut inbox) = mailbox(SLOTS, &Doorbell::new(|| {}));
            across(count, move || outbox.push(value()).is_ok(), || inbox.pop().is_some())
        });
    });
    group.bench_function("rtrb", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = rtrb::RingBuffer::new(SLOTS);
            across(count, move || producer.push(value()).is_ok(), || consumer.pop().is_ok())
        });
    });
    group.finish();
}

/// There and back between two threads, each of which sleeps until it is woken: twice the latency of
/// an idle hop, the system's part of waking a thread included.
fn asleep(c: &mut Criterion) {
    c.bench_function("there and back, both asleep", |b| {
        let here = thread::current();
        let bell = Doorbell::new(move || here.unpark());
        let (mut back, mut answers) = mailbox::<u64>(SLOTS, &bell);
        let (give, take) = std::sync::mpsc::channel();
        let echo = thread::spawn(move || {
            let there = thread::current();
            let bell = Doorbell::new(move || there.unpark());
            let (outbox, mut inbox) = mailbox::<u64>(SLOTS, &bell);
            give.send(outbox).unwrap();
            loop {
                bell.lie_down();
                if inbox.is_empty() {
                    thread::park();
                }
                bell.get_up();
                while let Some(value) = inbox.pop() {
                    if value == u64::MAX {
                        return;
                    }
                    back.push(value).unwrap();
                    back.ring();
                }
            }
        });
        let mut outbox = take.recv().unwrap();
        b.iter(|| {
            outbox.push(1).unwrap();
            outbox.ring();
            loop {
                bell.lie_down();
                if answers.is_empty() {
                    thread::park();
                }
                bell.get_up();
                if let Some(value) = answers.pop() {
                    break value;
                }
            }
        });
        outbox.push(u64::MAX).unwrap();
        outbox.ring();
        echo.join().unwrap();
    });
}

fn bell(c: &mut Criterion) {
    let bell = Doorbell::new(|| {});
    c.bench_function("bell of an awake reader", |b| b.iter(|| bell.ring()));
}

criterion_group!(benches, one_thread, two_threads, asleep, bell);
criterion_main!(benches);
