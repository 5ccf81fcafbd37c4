//! One thread's connections, as the app on top of its QUIC loop.

use std::time::{Duration, Instant};

use millrace_attach::Event;
use millrace_measure::kernel;
use millrace_proto::CloseCode;
use millrace_proto::control::Stage;
use millrace_quic::{App, CloseReason, ConnId, ConnectedInfo, Io, StreamId};
use millrace_sansio::ReadState;

use super::connections::{Connection, Role};
use super::dial::{dial_more, redial};
use super::order::Order;
use super::receiver::Nothing;
use super::shared::Report;
use super::state::FleetApp;
use super::watch::checkers;

/// How often sessions' clocks are looked at: far below their timeouts.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// Many sessions are looked at in parts, all of them within this many looks: a second, of timeouts
/// of ten and more.
const TEND_PARTS: usize = 20;
/// So many are looked at each time, at least.
const TENDED_MIN: usize = 1024;

/// Bytes read from one stream before the next one's turn.
const READ_BYTES: usize = 256 * 1024;

impl FleetApp {
    /// When to publish and write next, by the schedule.
    fn publish_due(&self) -> Option<Instant> {
        self.emitters
            .next_due(self.clock)
            .map(|due| due.max(self.published_at + self.dialling.plan.scenario.look_every))
    }

    fn mark(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(index);
        }
    }

    fn events(&mut self, io: &mut Io<'_>, index: usize) {
        let Self { connections, publishers, tally, dialling, clock, .. } = self;
        let connection = &mut connections[index];
        let mut publisher = match connection.role {
            Role::Publisher(number) => Some(&mut publishers[number]),
            Role::Receiver(_) => None,
        };
        loop {
            let session = publisher.as_deref_mut().map(|publisher| &mut publisher.session);
            // What breaks the protocol, or is silent, is closed by then.
            let Ok(Some(event)) = connection.client.poll_event(io, session) else { return };
            match event {
                Event::Welcomed(welcome) => {
                    tally.welcomed.add(1);
                    dialling.pending = dialling.pending.saturating_sub(1);
                    connection.is_welcomed = true;
                    if let Some(publisher) = &mut publisher {
                        publisher.welcomed(welcome.tables);
                    }
                }
                Event::Credit { .. } => {
                    let Some(publisher) = &mut publisher else { continue };
                    tally.credited.add(u64::from(publisher.has_credit()));
                    publisher.write(io, &mut connection.client, clock.time(io.now()), tally);
                }
                Event::Received { seqs } => tally.received.add(seqs.end - seqs.start),
                Event::Subscribed(subscribed) if subscribed.stage == Stage::Cluster => {
                    tally.effective.add(1);
                    connection.effective += 1;
                }
                Event::Refused(_) => tally.refused.add(1),
                Event::Subscribed(_) | Event::ReceiverClosed(_) | Event::Goaway(_) => {}
            }
        }
    }

    fn read(&mut self, io: &mut Io<'_>, index: usize, stream: StreamId) {
        let now = io.now();
        let (now_ns, time) = (self.clock.ns(now), self.clock.time(now));
        let Self { connections, receivers, watch, tally, .. } = self;
        let Connection { client, role, .. } = &mut connections[index];
        let is_control = client.is_control(stream);
        let read = match *role {
            Role::Receiver(number) if !is_control => {
                watch.turn_slice(now_ns);
                let mut reading = receivers[number].reading(watch, now_ns, tally);
                let read = client.readable(io, time, stream, READ_BYTES, &mut reading);
                reading.count();
                read
            }
            _ => client.readable(io, time, stream, READ_BYTES, &mut Nothing),
        };
        match read {
            Ok(ReadState::More) => io.wake(client.id(), stream),
            Ok(_) => {}
            // It is closed by then.
            Err(_) => return,
        }
        if is_control {
            self.events(io, index);
        }
        if is_control || self.connections[index].client.has_output() {
            self.mark(index);
        }
    }

    fn obey(&mut self, io: &mut Io<'_>) {
        let Some((number, order)) = self.orders.newer(self.seen) else { return };
        self.seen = number;
        match order {
            Order::Idle => {}
            Order::Publish(stretch) => {
                if stretch.reset {
                    let mine = self.mine;
                    let mine = |receiver| mine.holds(receiver);
                    self.watch.reset(checkers(&self.expected, self.slow, mine));
                }
                self.watch.begin(&stretch, self.clock.ns(stretch.start));
                self.stall(stretch.stalled);
                self.emitters.schedule.begin(number, &stretch, self.first);
            }
            Order::Count => {
                // The run has gone away when nobody listens; Finish follows.
                let _ = self.reports.send(Report::Published(self.emitters.schedule.published().collect()));
            }
            Order::Judge(published) => {
                let mut judged = self.watch.judge(&published);
                judged.lag = self.emitters.schedule.lag().clone();
                let _ = self.reports.send(Report::Judged(Box::new(judged)));
            }
            Order::Finish => {
                self.finishing = true;
                for connection in &self.connections {
                    io.close(connection.client.id(), CloseCode::Done.code(), b"");
                }
            }
        }
    }

    /// Receivers that stall take nothing from here on, or go on.
    fn stall(&mut self, is_stalled: bool) {
        for index in 0..self.connections.len() {
            let Connection { client, role, .. } = &mut self.connections[index];
            let Role::Receiver(number) = *role else { continue };
            let slow = self.receivers[number].slow();
            if is_stalled {
                slow.for_each(|receiver| client.hold(receiver));
                continue;
            }
            let mut has_released = false;
            for receiver in slow {
                client.release(receiver);
                has_released = true;
            }
            if has_released {
                self.mark(index);
            }
        }
    }

    fn tend(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tended_at) < TEND_EVERY {
            return;
        }
        self.tended_at = now;
        self.tally.cpu_ns.set(kernel::thread_ns());
        self.tally.waited_ns.set(kernel::thread_waited_ns());
        self.tally.faults.set(self.watch.faults());
        self.tally.p99_us.set(self.watch.last_p99_us());
        let time = self.clock.time(now);
        let count = self.connections.len();
        let part = (count / TEND_PARTS).max(TENDED_MIN).min(count);
        for _ in 0..part {
            self.tended = if self.tended + 1 < count { self.tended + 1 } else { 0 };
            let client = &mut self.connections[self.tended].client;
            if client.poll_timeout().is_some_and(|due| due <= time) {
                client.handle_timeout(time);
                self.mark(self.tended);
            }
        }
    }
}

impl App for FleetApp {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        self.connections[index].client.connected(io);
        self.mark(index);
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        if let Some(&index) = self.by_id.get(&conn) {
            self.connections[index].client.stream_opened(stream);
        }
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        if let Some(&index) = self.by_id.get(&conn) {
            self.read(io, index, stream);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let Some(&index) = self.by_id.get(&conn) else { return };
        let Connection { client, role, .. } = &mut self.connections[index];
        if client.is_control(stream) {
            self.mark(index);
        } else if let Role::Publisher(number) = *role {
            let time = self.clock.time(io.now());
            self.publishers[number].write(io, client, time, &self.tally);
        }
    }

    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}

    fn streams_available(&mut self, _: &mut Io<'_>, conn: ConnId, _: bool) {
        if let Some(&index) = self.by_id.get(&conn) {
            self.mark(index);
        }
    }

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        if self.finishing {
            self.dialling.open = self.dialling.open.saturating_sub(1);
            return;
        }
        let Some(place) = self.by_id.remove(&conn) else { return };
        // Until the first order, connections are being set up, and nothing can be lost with them.
        if self.seen > 0 || !redial(self, place) {
            self.tally.connections_lost.add(1);
        }
        let _ = self.reports.send(Report::Lost(reason.to_string()));
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.obey(io);
        if self.finishing {
            return;
        }
        dial_more(self, io);
        let now = io.now();
        let time = self.clock.time(now);
        if self.publish_due().is_some_and(|due| due <= now) {
            self.published_at = now;
            self.emitters.publish(now, self.clock, &mut self.publishers, &self.tally);
            let to = (&mut self.connections[..], &self.publisher_places[..]);
            self.emitters.write(io, to, &mut self.publishers, time, &self.tally);
        }
        self.tend(now);
        for index in std::mem::take(&mut self.dirty) {
            self.events(io, index);
            let connection = &mut self.connections[index];
            connection.dirty = false;
            connection.client.flush(io);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let tend = self.tended_at + TEND_EVERY;
        Some(self.publish_due().map_or(tend, |due| due.min(tend)))
    }
}
