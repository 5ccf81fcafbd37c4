//! Publishing: the sessions that carry the emitters of a thread, and when they are written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use millrace_attach::ClientConnection;
use millrace_client::session::{PublisherConfig, PublisherSession};
use millrace_client::time::Time;
use millrace_proto::control::TableCapacity;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};
use millrace_quic::Io;
use millrace_verify::workload::Workload;

use super::clock::Epochs;
use super::connections::Connection;
use super::schedule::Schedule;
use super::tally::Tally;

/// A publisher with so much queued is written at once.
const FLUSH_BYTES: usize = 16 * 1024;
/// Bytes of an event beside its payload, about.
const EVENT_HEAD_BYTES: usize = 8;
/// An event waits for others for this time at most, however long its publisher lingers, so that the
/// work of a long linger is spread over it.
const PATIENCE_MAX: Duration = Duration::from_micros(500);
/// A publisher without credit is asked again after this time.
const RETRY: Duration = Duration::from_micros(500);

/// One publishing connection's half.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) session: PublisherSession,
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
        Self { session: PublisherSession::new(config), lingering: false, full: false, credited: false }
    }

    pub(super) fn welcomed(&mut self, tables: TableCapacity) {
        self.session.stream_started(tables);
    }

    /// Its connection is lost before anything was published; whether it had credit.
    pub(super) fn lost(&mut self) -> bool {
        self.session.stream_lost();
        std::mem::take(&mut self.credited)
    }

    /// Its session has taken credit; whether that is the first.
    pub(super) const fn has_credit(&mut self) -> bool {
        !std::mem::replace(&mut self.credited, true)
    }

    /// Writes what is due.
    pub(super) fn write(&mut self, io: &mut Io<'_>, client: &mut ClientConnection, now: Time, tally: &Tally) {
        tally.writes.add(client.publish(io, now, &mut self.session));
    }
}

/// The emitters of one thread, and which of their publishers have something to write.
#[derive(Debug)]
pub(super) struct Emitters {
    pub(super) schedule: Schedule,
    linger_ns: u64,
    /// Events that are enough for a write of one publisher.
    events_per_write: u64,
    /// Publishers of this thread: events are spread evenly over them.
    publishers: u64,
    /// Events that were offered and wait for a write, about.
    gathered: u64,
    /// Publishers with queued events, by the time at which their linger is over.
    lingering: BinaryHeap<Reverse<(Time, u32)>>,
    /// Publishers that have enough for a write.
    full: Vec<u32>,
}

impl Emitters {
    /// `share` is this thread's part of all emitters, which take turns with its `publishers`.
    pub(super) fn new(workload: &Workload, linger: Duration, share: f64, publishers: usize) -> Self {
        let event_bytes = workload.payload_bytes as usize + EVENT_HEAD_BYTES;
        Self {
            schedule: Schedule::new(workload, share, linger.min(PATIENCE_MAX)),
            events_per_write: (FLUSH_BYTES / event_bytes).max(1) as u64,
            publishers: publishers.max(1) as u64,
            gathered: 0,
            linger_ns: u64::try_from(linger.as_nanos()).unwrap_or(u64::MAX),
            lingering: BinaryHeap::new(),
            full: Vec::new(),
        }
    }

    /// Adds an emitter; its tags are registered with its publisher.
    pub(super) fn add(&mut self, number: u32, publisher: u32, session: &mut Publisher, tags: &TagSet) {
        if let Ok(handle) = session.session.register(tags) {
            self.schedule.add(number, publisher, handle);
        }
    }

    /// Publishes what is due by the schedule.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        clock: Epochs,
        publishers: &mut [Publisher],
        tally: &Tally,
    ) {
        let Self { schedule, linger_ns, lingering, full, gathered, .. } = self;
        schedule.offer(now, clock, tally, |event| {
            let publisher = &mut publishers[event.publisher as usize];
            // Its linger begins when it is due, as if it had been published then.
            let due = clock.time_of(event.scheduled_ns);
            publisher.session.publish(due, event.tags, event.scheduled_ns, event.payload)?;
            if !std::mem::replace(&mut publisher.lingering, true) {
                lingering.push(Reverse((due.after(*linger_ns), event.publisher)));
            }
            if publisher.session.queued_bytes() >= FLUSH_BYTES
                && !std::mem::replace(&mut publisher.full, true)
            {
                full.push(event.publisher);
            }
            *gathered += 1;
            Ok(())
        });
    }

    /// Writes the publishers that have enough, and those whose linger is over.
    pub(super) fn write(
        &mut self,
        io: &mut Io<'_>,
        (connections, places): (&mut [Connection], &[usize]),
        publishers: &mut [Publisher],
        now: Time,
        tally: &Tally,
    ) {
        let mut write = |number: u32, publisher: &mut Publisher| {
            // A publisher that is not dialled has no stream to write to.
            if let Some(connection) = connections.get_mut(places[number as usize]) {
                publisher.write(io, &mut connection.client, now, tally);
            }
        };
        for number in self.full.drain(..) {
            let publisher = &mut publishers[number as usize];
            publisher.full = false;
            self.gathered = self.gathered.saturating_sub(self.events_per_write);
            write(number, publisher);
        }
        let later = now + RETRY;
        while let Some(&Reverse((due, number))) = self.lingering.peek()
            && due <= now
        {
            self.lingering.pop();
            self.gathered -= self.gathered / self.publishers;
            let publisher = &mut publishers[number as usize];
            write(number, publisher);
            publisher.lingering = publisher.session.queued_bytes() > 0;
            if publisher.lingering {
                // Without credit there is no time to name; it is asked again.
                let due = publisher.session.poll_timeout().map_or(later, |due| due.max(later));
                self.lingering.push(Reverse((due, number)));
            }
        }
    }

    /// The time at which there is work: a linger is over, a publisher has enough for a write, or an
    /// event has waited long enough.
    pub(super) fn next_due(&self, clock: Epochs) -> Option<Instant> {
        let write = self.lingering.peek().map(|&Reverse((due, _))| clock.instant(due));
        let to_fill = (self.events_per_write * self.publishers).saturating_sub(self.gathered).max(1);
        [self.schedule.deadline(to_fill), write].into_iter().flatten().min()
    }
}
