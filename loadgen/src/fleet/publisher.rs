//! Publishing: the emitters of a thread, their schedule, and the sessions that carry them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_client::session::{PublishError, PublisherConfig, PublisherSession, TagHandle};
use millrace_client::time::Time;
use millrace_proto::control::TableCapacity;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};
use millrace_quic::{ConnId, Io, StreamId};
use millrace_verify::payload::Stamp;
use millrace_verify::workload::{Words, Workload};

use super::latency::{LATENCY_MAX_US, Latency, empty_latency};
use super::order::{Stretch, whole};
use super::tally::Tally;

/// Events published between two looks at the sockets: bounds how long a thread that fell behind is deaf.
const EVENTS_PER_TURN_MAX: u64 = 8192;

/// A publisher with so much queued is written at once.
const FLUSH_BYTES: usize = 16 * 1024;

/// One publishing connection's half.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) session: PublisherSession,
    stream: Option<StreamId>,
    pending: Bytes,
    /// Stands in the list of those whose linger goes by.
    lingering: bool,
    /// Stands in the list of those that have enough for a write.
    full: bool,
    credited: bool,
}

impl Publisher {
    pub(super) fn new(id: u128, linger: Duration, buffer_bytes: usize) -> Self {
        let key = PublisherKey { publisher: PublisherId(id), epoch: Epoch(1) };
        let mut config = PublisherConfig::new(key);
        config.flush_bytes = FLUSH_BYTES;
        config.linger_ns = u64::try_from(linger.as_nanos()).unwrap_or(u64::MAX);
        config.buffer_bytes = buffer_bytes;
        Self {
            session: PublisherSession::new(config),
            stream: None,
            pending: Bytes::new(),
            lingering: false,
            full: false,
            credited: false,
        }
    }

    pub(super) fn welcomed(&mut self, tables: TableCapacity) {
        self.session.stream_started(tables);
    }

    /// Takes credit; whether it is the first.
    pub(super) fn credit(&mut self, bytes: u64) -> bool {
        self.session.on_credit(bytes);
        !std::mem::replace(&mut self.credited, true)
    }

    /// Writes what is due.
    pub(super) fn write(&mut self, io: &mut Io<'_>, conn: ConnId, now: Time, tally: &Tally) {
        loop {
            if self.pending.is_empty() {
                let Some(bytes) = self.session.take_output(now) else { return };
                tally.writes.add(1);
                self.pending = bytes;
            }
            if self.stream.is_none() {
                self.stream = io.open_uni(conn);
            }
            let Some(stream) = self.stream else { return };
            let mut chunks = [std::mem::take(&mut self.pending)];
            // A stream that is gone goes with its connection, which is counted there.
            if io.write(conn, stream, &mut chunks).is_err() {
                return;
            }
            let [rest] = chunks;
            self.pending = rest;
            if !self.pending.is_empty() {
                return;
            }
        }
    }
}

/// One emitter.
#[derive(Debug, Clone, Copy)]
struct Emitter {
    number: u32,
    /// Its publisher, as an index into the thread's.
    publisher: u32,
    handle: TagHandle,
    next_n: u64,
}

/// A stretch as one thread follows it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    order: u64,
    start: Instant,
    interval_ns: f64,
    done: u64,
    events: u64,
    measured: bool,
}

impl Pace {
    /// Scheduled time of the thread's event with this index.
    fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_nanos(whole(index as f64 * self.interval_ns))
    }
}

/// The emitters of one thread.
#[derive(Debug)]
pub(super) struct Emitters {
    emitters: Vec<Emitter>,
    next: usize,
    run: u64,
    events_per_run: u64,
    words: Words,
    payload: Vec<u8>,
    pace: Option<Pace>,
    share: f64,
    linger_ns: u64,
    /// Publishers with queued events, by the time at which their linger is over.
    lingering: BinaryHeap<Reverse<(Time, u32)>>,
    /// Publishers that have enough for a write.
    full: Vec<u32>,
    /// How late events were offered, against the schedule of the measured part, microseconds.
    pub(super) lag: Latency,
}

impl Emitters {
    /// `share` is this thread's part of all emitters.
    pub(super) fn new(workload: &Workload, linger: Duration, share: f64) -> Self {
        Self {
            emitters: Vec::new(),
            next: 0,
            run: 0,
            events_per_run: u64::from(workload.events_per_run.max(1)),
            words: workload.words.clone(),
            payload: vec![0; workload.payload_bytes as usize],
            pace: None,
            share,
            linger_ns: u64::try_from(linger.as_nanos()).unwrap_or(u64::MAX),
            lingering: BinaryHeap::new(),
            full: Vec::new(),
            lag: empty_latency(),
        }
    }

    /// Adds an emitter; its tags are registered with its publisher.
    pub(super) fn add(&mut self, number: u32, publisher: u32, session: &mut Publisher, tags: &TagSet) {
        if let Ok(handle) = session.session.register(tags) {
            self.emitters.push(Emitter { number, publisher, handle, next_n: 0 });
        }
    }

    /// Follows a new stretch.
    pub(super) fn begin(&mut self, order: u64, stretch: &Stretch, first: bool) {
        if stretch.reset {
            for emitter in &mut self.emitters {
                emitter.next_n = 0;
            }
            self.lag.reset();
        }
        let rate = (stretch.events_per_second * self.share).max(1.0);
        // Rounding is settled by the first thread, so that all of it is published.
        let mut events = whole(stretch.events as f64 * self.share);
        if first && stretch.events > 0 {
            events += 1;
        }
        let events = if self.emitters.is_empty() { 0 } else { events };
        self.pace = Some(Pace {
            order,
            start: stretch.start,
            interval_ns: 1e9 / rate,
            done: 0,
            events,
            measured: stretch.measured,
        });
    }

    /// Publishes what is due by the schedule.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        time: Time,
        epoch: Epochs,
        publishers: &mut [Publisher],
        tally: &Tally,
    ) {
        let Some(pace) = &mut self.pace else { return };
        let elapsed_ns = now.saturating_duration_since(pace.start).as_nanos() as f64;
        let due = whole(elapsed_ns / pace.interval_ns).min(pace.events);
        let limit = due.min(pace.done + EVENTS_PER_TURN_MAX);
        let before = pace.done;
        while pace.done < limit {
            let scheduled = pace.due(pace.done);
            let emitter = &mut self.emitters[self.next];
            let publisher = &mut publishers[emitter.publisher as usize];
            let scheduled_ns = epoch.ns(scheduled);
            let stamp = Stamp { emitter: emitter.number, n: emitter.next_n, scheduled_ns };
            let text = self.words.text(emitter.number, emitter.next_n);
            if stamp.encode(text.as_bytes(), &mut self.payload).is_err() {
                break;
            }
            match publisher.session.publish(time, emitter.handle, scheduled_ns, &self.payload) {
                Ok(_) => {}
                Err(PublishError::WouldBlock) => {
                    tally.blocked.add(1);
                    break;
                }
                Err(PublishError::TooLarge { .. } | PublishError::UnknownHandle) => break,
            }
            emitter.next_n += 1;
            if !std::mem::replace(&mut publisher.lingering, true) {
                self.lingering.push(Reverse((time.after(self.linger_ns), emitter.publisher)));
            }
            if publisher.session.queued_bytes() >= FLUSH_BYTES
                && !std::mem::replace(&mut publisher.full, true)
            {
                self.full.push(emitter.publisher);
            }
            pace.done += 1;
            self.run += 1;
            if self.run == self.events_per_run {
                self.run = 0;
                self.next = (self.next + 1) % self.emitters.len();
            }
        }
        tally.published.add(pace.done - before);
        if pace.measured && pace.done > before {
            // The oldest one's, for all that were offered with it: never too small.
            let late = now.saturating_duration_since(pace.due(before)).as_micros();
            let _ = self
                .lag
                .record_n(u64::try_from(late).unwrap_or(u64::MAX).min(LATENCY_MAX_US), pace.done - before);
        }
        tally.behind_ns.set(whole(due.saturating_sub(pace.done) as f64 * pace.interval_ns));
        if pace.done == pace.events {
            tally.published_order.set(pace.order);
            self.pace = None;
        }
    }

    /// Writes the publishers that have enough, and those whose linger is over.
    pub(super) fn write(
        &mut self,
        io: &mut Io<'_>,
        conns: &[ConnId],
        publishers: &mut [Publisher],
        now: Time,
        tick: Duration,
        tally: &Tally,
    ) {
        for number in self.full.drain(..) {
            let publisher = &mut publishers[number as usize];
            publisher.full = false;
            publisher.write(io, conns[number as usize], now, tally);
        }
        let later = now.after(u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX));
        while let Some(&Reverse((due, number))) = self.lingering.peek()
            && due <= now
        {
            self.lingering.pop();
            let publisher = &mut publishers[number as usize];
            publisher.write(io, conns[number as usize], now, tally);
            publisher.lingering = publisher.session.queued_bytes() > 0;
            if publisher.lingering {
                // Without credit there is no time to name; it is asked again.
                let due = publisher.session.poll_timeout().map_or(later, |due| due.max(later));
                self.lingering.push(Reverse((due, number)));
            }
        }
    }

    /// When an event is due by the schedule, or a write.
    pub(super) fn next_due(&self, clock: Epochs) -> Option<Instant> {
        let event = self.pace.as_ref().map(|pace| pace.due(pace.done));
        let write = self.lingering.peek().map(|&Reverse((due, _))| clock.instant(due));
        [event, write].into_iter().flatten().min()
    }

    /// How many events each emitter has published since the last reset.
    pub(super) fn published(&self) -> impl Iterator<Item = (u32, u64)> {
        self.emitters.iter().map(|emitter| (emitter.number, emitter.next_n))
    }
}

/// Ties the monotonic clock to the time of day, once for the whole run, so that all threads agree.
#[derive(Debug, Clone, Copy)]
pub struct Epochs {
    base: Instant,
    base_ns: u64,
}

impl Epochs {
    /// Now, on both clocks.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { base: Instant::now(), base_ns: u64::try_from(since.as_nanos()).unwrap_or(0) }
    }

    /// Nanoseconds since 1970 at a moment.
    #[inline]
    #[must_use]
    pub fn ns(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_nanos();
        self.base_ns + u64::try_from(since).unwrap_or(0)
    }

    /// The moment of a time on the sessions' clock.
    #[must_use]
    pub fn instant(self, time: Time) -> Instant {
        self.base + Duration::from_nanos(time.since(Time::ZERO))
    }

    /// The sessions' clock at a moment.
    #[inline]
    #[must_use]
    pub fn time(self, at: Instant) -> Time {
        Time::from_nanos(u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(0))
    }
}
